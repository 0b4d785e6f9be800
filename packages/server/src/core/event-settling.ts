// Tells the store what came of events: all that ends in one turn in one commit, and kept while the store refuses, as long as its lease lasts.
import { WaitlessError } from '@waitless/protocol';
import type { EventSettlement, EventSettleOutcome, SubscriptionEngine } from '../engine/subscriptions.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { pause } from '../lib/service.ts';
import { storePauseMs } from './service-loop.ts';

export interface EventSettlingDependencies {
  engine: Pick<SubscriptionEngine, 'settleEvents'>;
  clock: Clock;
  log: Log;
}

export class EventSettling {
  readonly #d: EventSettlingDependencies;
  #ended: {
    settlement: EventSettlement;
    resolve: (outcome: EventSettleOutcome) => void;
    reject: (error: unknown) => void;
  }[] = [];

  constructor(dependencies: EventSettlingDependencies) {
    this.#d = dependencies;
  }

  /** While the store refuses, what is known is kept by whoever waits for this, until the lease has run out or `stop` aborts. */
  async settle(
    settlement: EventSettlement,
    { leaseUntil, stop }: { leaseUntil: number; stop: AbortSignal },
  ): Promise<EventSettleOutcome> {
    const { clock, log } = this.#d;
    let until = leaseUntil;
    for (let tries = 1; ; tries++) {
      const askedAt = clock.now();
      try {
        return await this.#inTurn(settlement);
      } catch (refusal) {
        if (stop.aborted || !(refusal instanceof WaitlessError && refusal.retry)) throw refusal;
        if (tries === 1) log.warn('event.kept', { position: settlement.position, error: refusal });
        await pause(storePauseMs, stop);
        // No lease runs out while nobody can reach the store.
        if (refusal.code === 'engine-unavailable') until += clock.now() - askedAt;
        if (clock.now() >= until) throw refusal;
      }
    }
  }

  #inTurn(settlement: EventSettlement): Promise<EventSettleOutcome> {
    return new Promise((resolve, reject) => {
      if (this.#ended.length === 0) setImmediate(() => void this.#flush());
      this.#ended.push({ settlement, resolve, reject });
    });
  }

  async #flush(): Promise<void> {
    const { engine, clock } = this.#d;
    const batch = this.#ended;
    this.#ended = [];
    try {
      const settlements = batch.map(({ settlement }) => settlement);
      const outcomes = await engine.settleEvents(settlements, clock.now());
      for (const [i, { resolve }] of batch.entries()) resolve(outcomes[i]!);
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }
}
