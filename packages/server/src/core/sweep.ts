// Sweep: the one clock of the server. Promotes what is due, ends what ran out of time, forgets what has expired.
import type { ServiceConfig } from '../config/config-shape.ts';
import type { ClockTransition, Engine } from '../engine/engine.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import { pause, type Service } from '../lib/service.ts';
import type { Dispatch } from './dispatch.ts';
import { judgeClock } from './lifecycle.ts';
import type { Live } from './live.ts';
import type { Polls } from './polls.ts';
import { orphanPolicy } from './retry.ts';
import type { Services } from './services.ts';

export interface SweepDependencies {
  engine: Pick<Engine, 'sweep' | 'applyClock' | 'onSignal'>;
  services: Services;
  live: Live;
  dispatch: Pick<Dispatch, 'abort'>;
  polls: Pick<Polls, 'look'>;
  clock: Clock;
  log: Log;
  metrics: Metrics;
  /** The store's last known time at start: a long step since then holds removals back. */
  lastTimeMs: number;
}

/** Without a hint of the store. It bounds how late a lease or a retry can be when a hint is lost, and what an idle server costs. */
const everyMs = 1000;
/** A round this late is a pause; shorter delays are what a busy machine does and leases are made to bear. */
const pauseMs = 1500;
/** A step of the clock longer than this since the store was last written is believed only after as much time has really passed. */
const longStepMs = 3_600_000;

export class Sweep implements Service {
  readonly name = 'sweep';
  readonly #d: SweepDependencies;
  readonly #removeFromMs: number;
  #stop = new AbortController();
  #loop: Promise<void> | undefined;
  #lastRoundMs: number | undefined;
  #due = (): void => {};

  constructor(dependencies: SweepDependencies) {
    this.#d = dependencies;
    const now = dependencies.clock.now();
    const stepped = dependencies.lastTimeMs > 0 && now - dependencies.lastTimeMs > longStepMs;
    this.#removeFromMs = stepped ? now + longStepMs : now;
    if (stepped) {
      dependencies.log.warn('sweep.held-back', {
        detail:
          'the clock is far ahead of the store; expired operations are kept for another hour, so that a wrong clock can be mended before it costs anything',
        hoursAhead: Math.round((now - dependencies.lastTimeMs) / 360_000) / 10,
      });
    }
    dependencies.engine.onSignal((signal) => {
      if (signal.kind === 'due') this.#due();
    });
  }

  start(): Promise<void> {
    this.#stop = new AbortController();
    this.#loop = this.#run(this.#stop.signal);
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  async #run(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      const more = await this.once().catch((error: unknown) => {
        this.#d.log.warn('sweep.failed', { error });
        return false;
      });
      if (more) continue;
      const woken = new AbortController();
      this.#due = () => woken.abort();
      await pause(everyMs, AbortSignal.any([stop, woken.signal]));
    }
  }

  /** How much longer than planned the last round is ago: stopped, suspended or starved, nobody could reach us meanwhile. */
  #stoodStill(now: number): number {
    const gap = now - (this.#lastRoundMs ?? now);
    this.#lastRoundMs = now;
    return gap > everyMs + pauseMs ? gap - everyMs : 0;
  }

  /** One bounded round; true when more is due right now. */
  async once(): Promise<boolean> {
    const { engine, services, clock, live, dispatch, polls, metrics, log } = this.#d;
    const now = clock.now();
    const pausedMs = this.#stoodStill(now);
    if (pausedMs > 0) log.warn('process.paused', { ms: pausedMs, detail: 'leases last longer by it' });
    const outcome = await engine.sweep(now, { removeExpired: now >= this.#removeFromMs, pausedMs });
    metrics.swept += outcome.removed;
    polls.look(outcome.polls);
    if (outcome.due.length === 0) return outcome.more;
    const decisions: ClockTransition[] = [];
    for (const due of outcome.due) {
      const queue = await services.queue(due.queue);
      const service: ServiceConfig | undefined = queue && services.get(queue.service);
      const policy = service?.retry ?? orphanPolicy;
      decisions.push({
        seq: due.seq,
        version: due.version,
        transition: judgeClock(due.reason, {
          attempt: due.attempt,
          policy,
          nowMs: now,
          push: due.leaseKind !== 'pull',
        }),
      });
    }
    const applied = await engine.applyClock(decisions, now);
    for (const [i, decision] of decisions.entries()) {
      if (!applied[i]) continue;
      metrics.expired++;
      const done = decision.transition.to === 'failed';
      dispatch.abort(decision.seq);
      live.wake(decision.seq, { version: decision.version + 1, done });
      log.info?.('operation.due', { seq: decision.seq, reason: outcome.due[i]!.reason, to: decision.transition.to });
    }
    return true;
  }
}
