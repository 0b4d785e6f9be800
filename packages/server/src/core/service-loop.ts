// One push service's loop: takes work whenever there is room for another attempt. The service may change, go and come back while it runs.
import type { ServiceConfig } from '../config/config-shape.ts';
import type { Engine, LeasedOperation } from '../engine/engine.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { pause } from '../lib/service.ts';
import type { FireAndForget, Forgettable } from './fire-and-forget.ts';

export interface ServiceLoopDependencies {
  engine: Pick<Engine, 'lease'>;
  clock: Clock;
  fireAndForget: FireAndForget;
  log: Log;
  /** Carries one leased operation to its backend; never rejects. */
  attempt: (service: ServiceConfig, lease: LeasedOperation) => Promise<void>;
  /** The same for a request that nobody keeps. */
  sendForgotten: (service: ServiceConfig, item: Forgettable) => Promise<void>;
  /** The server stops. */
  stop: AbortSignal;
}

/** A push lease outlives its attempt by this, so that the answer is recorded under it and not lost to the clock. */
const leaseSlackMs = 60_000;
/** Bodies handed to one round of attempts. */
const mostBytes = 16 * 1024 * 1024;
/** After the store refused: long enough not to spin, short enough to be back within seconds. */
export const storePauseMs = 500;

export class ServiceLoop {
  readonly #d: ServiceLoopDependencies;
  readonly #name: string;
  /** Undefined while it is not to take anything new. */
  #service: ServiceConfig | undefined;
  readonly #attempts = new Set<Promise<void>>();
  readonly #sending = new Set<Promise<void>>();
  #ended = false;
  /** Ends the lease that is parked, since it was asked for by what holds no longer. */
  #round = new AbortController();
  #lookAgain = (): void => {};
  #lookForForgotten = (): void => {};

  constructor(service: ServiceConfig, dependencies: ServiceLoopDependencies) {
    this.#d = dependencies;
    this.#name = service.name;
    this.#service = service;
  }

  /**
   * From now on attempts are made by this document; undefined: no new ones. Those under way go on as they began. False when the loop has ended and
   * another one is needed.
   */
  change(service: ServiceConfig | undefined): boolean {
    if (this.#ended) return false;
    this.#service = service;
    this.#wake();
    return true;
  }

  /** Resolves when the server stops or the service is gone, and no attempt is under way any more. */
  async run(): Promise<void> {
    const { engine, clock, log, attempt, stop } = this.#d;
    const onStop = (): void => this.#wake();
    stop.addEventListener('abort', onStop, { once: true });
    const forgottenLoop = this.#runForgotten();
    while (!this.#isOver()) {
      const service = this.#service;
      const free = service ? service.concurrency - this.#attempts.size : 0;
      if (!service || free <= 0) {
        await new Promise<void>((resolve) => (this.#lookAgain = resolve));
        continue;
      }
      try {
        const leases = await engine.lease(
          {
            service: this.#name,
            namespace: null,
            kind: 'push',
            worker: null,
            max: free,
            maxBytes: mostBytes,
            leaseMs: service.attemptTimeoutMs + leaseSlackMs,
            wait: true,
            now: () => clock.now(),
          },
          clock.now(),
          this.#round.signal,
        );
        for (const lease of leases) this.#track(this.#attempts, attempt(service, lease));
      } catch (error) {
        log.warn('dispatch.paused', { service: this.#name, error });
        await pause(storePauseMs, stop);
      }
    }
    await Promise.all([...this.#attempts, forgottenLoop]);
    stop.removeEventListener('abort', onStop);
  }

  /** Requests of durability `none`: one attempt each, whatever comes of it. */
  async #runForgotten(): Promise<void> {
    const { fireAndForget, sendForgotten } = this.#d;
    while (!this.#isOver()) {
      const service = this.#service;
      const item =
        service && this.#sending.size < service.concurrency ? fireAndForget.take(this.#name, null) : undefined;
      if (service && item) {
        this.#track(this.#sending, sendForgotten(service, item));
        continue;
      }
      // One function, since a race with a promise that lives long would grow with every turn.
      let unpark = (): void => {};
      await new Promise<void>((resolve) => {
        this.#lookForForgotten = resolve;
        if (service) unpark = fireAndForget.park(this.#name, null, resolve);
      });
      unpark();
    }
    await Promise.all(this.#sending);
  }

  /** Both loops end together, or a service that comes back would have half of one. */
  #isOver(): boolean {
    this.#ended ||=
      this.#d.stop.aborted || (this.#service === undefined && this.#attempts.size === 0 && this.#sending.size === 0);
    return this.#ended;
  }

  #track(set: Set<Promise<void>>, work: Promise<void>): void {
    const tracked: Promise<void> = work.finally(() => {
      set.delete(tracked);
      this.#lookAgain();
      this.#lookForForgotten();
    });
    set.add(tracked);
  }

  #wake(): void {
    this.#round.abort();
    this.#round = new AbortController();
    // Once the server stops nothing may be parked again.
    if (this.#d.stop.aborted) this.#round.abort();
    this.#lookAgain();
    this.#lookForForgotten();
  }
}
