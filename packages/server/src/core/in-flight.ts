// How many events of a subscription are out, over all nodes, as far as one node can know without asking each time.
import type { SubscriptionEngine } from '../engine/subscriptions.ts';

interface Known {
  count: number;
  at: number;
  /** When something was last recorded here: a count from before may still hold it. */
  changedAt: number;
}

/** What other nodes have out is believed for so long: the limit holds softly over them, and strictly for what goes through here. */
const believedMs = 1000;
/** Where there is no room it is asked again sooner. */
const leastMs = 50;

export class InFlight {
  readonly #engine: Pick<SubscriptionEngine, 'subscription'>;
  readonly #nowMs: () => number;
  readonly #known = new Map<number, Known>();

  constructor(engine: Pick<SubscriptionEngine, 'subscription'>, nowMs = (): number => performance.now()) {
    this.#engine = engine;
    this.#nowMs = nowMs;
  }

  /** How many more may go out; 0 or less: none. */
  async room({
    number,
    namespace,
    name,
    maxInFlight,
  }: {
    number: number;
    namespace: string;
    name: string;
    maxInFlight: number;
  }): Promise<number> {
    const known = this.#known.get(number);
    if (known) {
      const isFull = known.count >= maxInFlight;
      const age = this.#nowMs() - known.at;
      if (age < (isFull ? leastMs : believedMs) && !(isFull && known.changedAt >= known.at))
        return maxInFlight - known.count;
    }
    const at = this.#nowMs();
    // Where it is gone, whoever takes is told so by the store.
    const count = (await this.#engine.subscription({ namespace, name }))?.sending ?? 0;
    this.#known.set(number, { count, at, changedAt: this.#known.get(number)?.changedAt ?? Number.NEGATIVE_INFINITY });
    return maxInFlight - count;
  }

  /** As many went out, or (negative) came back, here. */
  moved(number: number, by: number): void {
    const known = this.#known.get(number);
    if (!known) return;
    known.count += by;
    known.changedAt = this.#nowMs();
  }

  forget(number: number): void {
    this.#known.delete(number);
  }
}
