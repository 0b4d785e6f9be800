// How many events of a subscription are out, over all nodes, as far as one node can know without asking each time.
import type { SubscriptionEngine } from '../engine/subscriptions.ts';

interface Known {
  count: number;
  at: number;
}

/** What other nodes have out is believed for so long: the limit holds softly over them, and strictly for what goes through here. */
const believedMs = 1000;
/** At the limit it is asked again sooner. */
const leastMs = 50;

export class InFlight {
  readonly #engine: Pick<SubscriptionEngine, 'subscription'>;
  readonly #nowMs: () => number;
  readonly #known = new Map<number, Known>();

  constructor(engine: Pick<SubscriptionEngine, 'subscription'>, nowMs = (): number => performance.now()) {
    this.#engine = engine;
    this.#nowMs = nowMs;
  }

  /** How many more may go out, up to `wanted` or a few more; 0 or less: none. */
  async room(
    {
      number,
      namespace,
      name,
      maxInFlight,
    }: { number: number; namespace: string; name: string; maxInFlight: number },
    wanted: number,
  ): Promise<number> {
    const known = this.#known.get(number);
    const age = known ? this.#nowMs() - known.at : Number.POSITIVE_INFINITY;
    const isNear = !known || known.count + wanted > maxInFlight;
    if (age < (isNear ? leastMs : believedMs)) return maxInFlight - known!.count;
    const record = await this.#engine.subscription({ namespace, name });
    // Gone: whoever takes is told so by the store.
    const count = record?.sending ?? 0;
    this.#known.set(number, { count, at: this.#nowMs() });
    return maxInFlight - count;
  }

  /** As many went out, or (negative) came back, here. */
  moved(number: number, by: number): void {
    const known = this.#known.get(number);
    if (known) known.count += by;
  }

  forget(number: number): void {
    this.#known.delete(number);
  }
}
