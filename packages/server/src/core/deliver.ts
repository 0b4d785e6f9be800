// Deliver: takes notices that are due and carries each to its receiver, never more at once than a few for one place and some for all.
import { WaitlessError } from '@waitless/protocol';
import {
  type DeliverySettlement,
  type DeliverySettleOutcome,
  interrupted,
  type LeasedDelivery,
  type OutletNews,
} from '../engine/deliveries.ts';
import type { Engine } from '../engine/engine.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { Random } from '../lib/random.ts';
import { pause, type Service } from '../lib/service.ts';
import { hasWaitedTooLong, judgeTry, tripAt, type Tried, tryCodes, unsentPauseMs } from './delivery-rules.ts';
import type { Envelopes } from './envelopes.ts';
import type { Ids } from './ids.ts';
import { OutletBlocks } from './outlet-blocks.ts';
import { storePauseMs } from './service-loop.ts';
import { Settling } from './settling.ts';

/** One notice out, as a target needs it. */
export interface OutboundNotice {
  url: string;
  headers: [string, string][];
  body: Uint8Array;
  signal: AbortSignal;
}

/** Carries one notice to its receiver. Never rejects: what goes wrong is an answer too. */
export interface NoticeTarget {
  post(notice: OutboundNotice): Promise<Tried>;
}

export interface DeliverDependencies {
  engine: Pick<Engine, 'leaseDeliveries' | 'settleDeliveries' | 'onSignal'>;
  envelopes: Pick<Envelopes, 'of'>;
  /** For the log. */
  ids: Pick<Ids, 'deliveryId' | 'operationId'>;
  target: NoticeTarget;
  clock: Clock;
  /** What a date in an answer is compared with: the wall's time, not the store's. */
  wallNow?: () => number;
  random: Pick<Random, 'fraction'>;
  /** How often it looks for what is due without a hint. */
  everyMs?: number | undefined;
  log: Log;
  metrics: Metrics;
}

/** Notices on their way at once. Each holds a socket and its body; fewer, and some slow receivers would hold up all others. */
const mostInFlight = 128;
/** Of them to one outlet, over all nodes: more would be a load test of somebody's small receiver; with fewer a distant one gets too few a second. */
const mostPerOutlet = 8;
/** A try outlives the time limit of its sending by far, so that what came of it can be recorded; when a node dies its tries are made again after so long. */
const leaseMs = 60_000;
/** Without a hint: the longest that a notice is late, against a look at the store each time. */
const pollMs = 1000;

/** What became of a try, also where nothing could be sent. */
type Ended =
  | Tried
  | { kind: 'unsent'; code: 'secrets-locked' | 'not-sent' }
  | { kind: 'forgotten' | 'interrupted' | 'too-late' };

export class Deliver implements Service {
  readonly name = 'deliver';
  readonly #d: DeliverDependencies;
  readonly #blocks = new OutletBlocks();
  readonly #tries = new Map<Promise<void>, AbortController>();
  readonly #settling: Settling<DeliverySettlement, DeliverySettleOutcome>;
  /** Namespaces whose secrets could not be used the last time: an operator is told once, not for each notice. */
  readonly #locked = new Set<string>();
  #stop = new AbortController();
  #loop: Promise<void> | undefined;
  #again = false;
  #wakeUp = (): void => {};

  constructor(dependencies: DeliverDependencies) {
    this.#d = dependencies;
    const { engine, ids, clock, log } = dependencies;
    this.#settling = new Settling({
      write: (batch, nowMs) => engine.settleDeliveries(batch, nowMs),
      onKept: ({ number }, error) => log.warn('delivery.kept', { delivery: ids.deliveryId(number), error }),
      clock,
    });
    engine.onSignal((signal) => {
      if (signal.kind === 'deliveries' || signal.kind === 'due') this.#wake();
    });
  }

  get inFlight(): number {
    return this.#tries.size;
  }

  start(): Promise<void> {
    this.#stop = new AbortController();
    this.#loop = this.#run(this.#stop.signal);
    return Promise.resolve();
  }

  /** Takes nothing new and gives back what is on its way: whether it arrived is not known, so it is sent again. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake();
    for (const abort of this.#tries.values()) abort.abort('stopping');
    await this.#loop;
    await Promise.all(this.#tries.keys());
  }

  async #run(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      this.#again = false;
      try {
        await this.once();
      } catch (error) {
        this.#d.log.warn('deliveries.paused', { error });
        await pause(storePauseMs, stop);
        continue;
      }
      await this.#sleep();
    }
  }

  /** Until a hint, or the slow poll. */
  async #sleep(): Promise<void> {
    if (this.#again) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, this.#d.everyMs ?? pollMs);
      this.#wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #wake(): void {
    this.#again = true;
    this.#wakeUp();
  }

  /** Takes what is due and there is room for; how many that were. */
  async once(): Promise<number> {
    const max = mostInFlight - this.#tries.size;
    if (max <= 0) return 0;
    const { engine, clock } = this.#d;
    const nowMs = clock.now();
    const leases = await engine.leaseDeliveries({ max, leaseMs, maxInFlight: mostPerOutlet }, nowMs);
    for (const lease of leases) this.#begin(lease, nowMs + leaseMs);
    return leases.length;
  }

  #begin(lease: LeasedDelivery, leaseUntil: number): void {
    const abort = new AbortController();
    if (this.#stop.signal.aborted) abort.abort('stopping');
    const trying: Promise<void> = this.#try(lease, { leaseUntil, signal: abort.signal }).finally(() => {
      this.#tries.delete(trying);
      // There is room for another, and its outlet may take one more.
      this.#wake();
    });
    this.#tries.set(trying, abort);
  }

  async #try(
    lease: LeasedDelivery,
    { leaseUntil, signal }: { leaseUntil: number; signal: AbortSignal },
  ): Promise<void> {
    const { clock, metrics, log } = this.#d;
    const { namespace, attempt } = lease;
    const at = clock.now();
    try {
      const ended = await this.#send(lease, signal);
      const settlement = this.#settlement(lease, { ended, at });
      const outcome = await this.#settling.settle(settlement, { leaseUntil, stop: this.#stop.signal });
      const { tried } = settlement;
      const written = outcome.kind === 'recorded' ? outcomeOf(settlement) : 'lost';
      metrics.deliveries[written]++;
      if (outcome.kind === 'recorded' && outcome.outlet) this.#blocks.told(placeOf(lease), outcome.outlet, clock.now());
      if (log.info) {
        const { status, code, durationMs } = tried;
        const names = { ...this.#namesOf(lease), namespace, attempt };
        log.info('delivery.attempted', { ...names, outcome: written, status, code, durationMs });
      }
    } catch (error) {
      // It could not be recorded: the lease runs out and the try is made again.
      log.error('delivery.unrecorded', { ...this.#namesOf(lease), namespace, error });
    }
  }

  /** As they are shown elsewhere. */
  #namesOf({ number, operation }: Pick<LeasedDelivery, 'number' | 'operation'>): Record<string, string> {
    const { ids } = this.#d;
    return { delivery: ids.deliveryId(number), operation: ids.operationId(operation) };
  }

  async #send(lease: LeasedDelivery, signal: AbortSignal): Promise<Ended> {
    const { envelopes, target, metrics, log } = this.#d;
    const { namespace, callback } = lease;
    if (signal.aborted) return { kind: 'interrupted' };
    const nowMs = this.#d.clock.now();
    if (hasWaitedTooLong(lease, nowMs) && this.#blocks.isDead(placeOf(lease), nowMs)) return { kind: 'too-late' };
    let envelope;
    try {
      envelope = await envelopes.of(lease, signal);
      this.#locked.delete(namespace);
    } catch (error) {
      if (signal.aborted) return { kind: 'interrupted' };
      const locked = error instanceof WaitlessError && error.code === 'secrets-locked';
      if (!locked || !this.#locked.has(namespace))
        log.warn('delivery.unsent', { ...this.#namesOf(lease), namespace, error });
      if (locked) this.#locked.add(namespace);
      return { kind: 'unsent', code: locked ? 'secrets-locked' : 'not-sent' };
    }
    if (!envelope) return { kind: 'forgotten' };
    metrics.deliveryAttempts++;
    try {
      const tried = await target.post({ url: callback.url, ...envelope, signal });
      // Whatever it was that failed, it may have been our own end.
      return tried.kind === 'failed' && signal.aborted ? { kind: 'interrupted' } : tried;
    } finally {
      envelope.release();
    }
  }

  #settlement(lease: LeasedDelivery, { ended, at }: { ended: Ended; at: number }): DeliverySettlement {
    const { number, leaseNo } = lease;
    const nowMs = this.#d.clock.now();
    const { verdict, outlet = { kind: 'none' }, ...seen } = this.#judge(lease, ended, nowMs);
    const tried = { at, durationMs: nowMs - at, status: null, code: null, detail: null, answer: null, ...seen };
    return { number, leaseNo, tried, verdict, outlet };
  }

  /** What follows from a try, and what is written of it. */
  #judge(
    lease: LeasedDelivery,
    ended: Ended,
    nowMs: number,
  ): Partial<DeliverySettlement['tried']> & { verdict: DeliverySettlement['verdict']; outlet?: OutletNews } {
    const { failures, attempt } = lease;
    switch (ended.kind) {
      case 'interrupted':
        return { durationMs: null, code: interrupted, verdict: { to: 'waiting', at: nowMs, failed: false } };
      case 'unsent': {
        const { code } = ended;
        const at = nowMs + unsentPauseMs(attempt - failures - 1);
        return { code, detail: tryCodes[code], verdict: { to: 'waiting', at, failed: false } };
      }
      case 'forgotten':
      case 'too-late': {
        const code = ended.kind === 'forgotten' ? 'operation-forgotten' : 'waited-too-long';
        return { code, detail: tryCodes[code], verdict: { to: 'dead' } };
      }
      default:
        return this.#judgeTried(lease, ended, nowMs);
    }
  }

  #judgeTried(
    lease: LeasedDelivery,
    tried: Tried,
    nowMs: number,
  ): Partial<DeliverySettlement['tried']> & { verdict: DeliverySettlement['verdict']; outlet: OutletNews } {
    const { random, wallNow = Date.now } = this.#d;
    const place = placeOf(lease);
    const { verdict, code, detail, outlet, askedMs } = judgeTry(tried, {
      failures: lease.failures,
      tooLong: hasWaitedTooLong(lease, nowMs) && this.#blocks.hasLongFailed(place),
      nowMs,
      wallMs: wallNow(),
      fraction: random.fraction(),
    });
    if (code === 'waited-too-long') this.#blocks.foundDead(place, nowMs);
    return {
      ...(tried.kind === 'answered' ? { status: tried.status, answer: tried.answer } : {}),
      code,
      detail,
      verdict,
      outlet:
        outlet === 'ill'
          ? { kind: 'ill', tripAt, blockUntil: this.#blocks.blockUntil(place, { nowMs, askedMs }) }
          : { kind: outlet },
    };
  }
}

/** Another namespace's receivers are others, whatever their address. */
const placeOf = ({ namespace, callback }: LeasedDelivery): string => `${namespace} ${callback.outlet}`;

const outcomeOf = ({ verdict }: DeliverySettlement): 'delivered' | 'failed' | 'dead' | 'returned' =>
  verdict.to === 'waiting' ? (verdict.failed ? 'failed' : 'returned') : verdict.to;
