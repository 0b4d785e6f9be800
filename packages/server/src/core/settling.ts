// Tells the store what came of leases: all that ends in one turn in one commit, and kept while the store refuses, as long as its lease lasts.
import { WaitlessError } from '@waitless/protocol';
import type { Clock } from '../lib/clock.ts';
import { pause } from '../lib/service.ts';
import { storePauseMs } from './service-loop.ts';

export interface SettlingDependencies<Settlement, Outcome> {
  /** Each settlement has its own outcome, in the same order. */
  write: (batch: readonly Settlement[], nowMs: number) => Promise<readonly Outcome[]>;
  /** The store refuses this one for the first time, and it is kept. */
  onKept: (settlement: Settlement, refusal: WaitlessError) => void;
  clock: Pick<Clock, 'now'>;
  /** What ends while a batch is being written goes with the next one: for a store in which two of them would only wait for each other. */
  oneAtATime?: boolean;
  /** How often a store that refuses is asked again. */
  everyMs?: number;
}

export class Settling<Settlement, Outcome> {
  readonly #d: SettlingDependencies<Settlement, Outcome>;
  /** What ended in this turn and is written together. */
  #ended: {
    settlement: Settlement;
    resolve: (outcome: Outcome) => void;
    reject: (error: unknown) => void;
  }[] = [];
  #isDue = false;
  #isWriting = false;

  constructor(dependencies: SettlingDependencies<Settlement, Outcome>) {
    this.#d = dependencies;
  }

  /**
   * While the store refuses, what is known is kept by whoever waits for this, until the lease has run out or `stop` aborts: who lets go of its place
   * only then never holds more than may be on its way.
   */
  async settle(
    settlement: Settlement,
    { leaseUntil, stop }: { leaseUntil: number; stop: AbortSignal },
  ): Promise<Outcome> {
    const { clock, onKept, everyMs = storePauseMs } = this.#d;
    let until = leaseUntil;
    for (let tries = 1; ; tries++) {
      const askedAt = clock.now();
      try {
        return await this.#inTurn(settlement);
      } catch (refusal) {
        if (stop.aborted || !(refusal instanceof WaitlessError && refusal.retry)) throw refusal;
        if (tries === 1) onKept(settlement, refusal);
        await pause(everyMs, stop);
        // No lease runs out while nobody can reach the store.
        if (refusal.code === 'engine-unavailable') until += clock.now() - askedAt;
        if (clock.now() >= until) throw refusal;
      }
    }
  }

  #inTurn(settlement: Settlement): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      this.#ended.push({ settlement, resolve, reject });
      this.#flushSoon();
    });
  }

  /** Has the store asked now for what would be written at the end of this turn, so that it hears of that before anything that is asked next. */
  flush(): void {
    if (!(this.#isWriting && this.#d.oneAtATime)) void this.#flush();
  }

  #flushSoon(): void {
    if (this.#isDue || (this.#isWriting && this.#d.oneAtATime)) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      void this.#flush();
    });
  }

  async #flush(): Promise<void> {
    const { write, clock } = this.#d;
    const batch = this.#ended;
    if (batch.length === 0) return;
    this.#ended = [];
    this.#isWriting = true;
    try {
      const settlements = batch.map(({ settlement }) => settlement);
      const outcomes = await write(settlements, clock.now());
      for (const [i, { resolve }] of batch.entries()) resolve(outcomes[i]!);
    } catch (error) {
      for (const { reject } of batch) reject(error);
    } finally {
      this.#isWriting = false;
      if (this.#ended.length > 0) this.#flushSoon();
    }
  }
}
