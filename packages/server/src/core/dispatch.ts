// Dispatch: takes operations of push services and carries each to its backend, never more at once than the service allows.
import type { ServiceConfig } from '../config/config-shape.ts';
import type { Engine, LeasedOperation, RequestHead, ResultContent } from '../engine/engine.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import { pause, type Service } from '../lib/service.ts';
import type { BodyBudget } from './body-budget.ts';
import type { FireAndForget } from './fire-and-forget.ts';
import type { Ids } from './ids.ts';
import type { Answer } from './lifecycle.ts';
import type { Live } from './live.ts';
import type { Reply } from './reply.ts';

/** One message out, as a target needs it. */
export interface OutboundRequest {
  service: ServiceConfig;
  head: RequestHead;
  /** Fields we add, in order. */
  headers: [string, string][];
  body: Uint8Array | AsyncIterable<Uint8Array>;
  bodyBytes: number;
  timeoutMs: number;
  signal: AbortSignal;
}

/** Carries one request to a backend. Never rejects: what goes wrong is an answer too. */
export interface Target {
  send(
    request: OutboundRequest,
  ): Promise<
    { kind: 'response'; response: ResultContent } | { kind: 'failure'; code: string; message: string; retry: boolean }
  >;
}

export interface DispatchDependencies {
  engine: Pick<Engine, 'lease' | 'readBody'>;
  services: Iterable<ServiceConfig>;
  target: Target;
  reply: Reply;
  ids: Ids;
  live: Live;
  clock: Clock;
  budget: BodyBudget;
  fireAndForget: FireAndForget;
  /** Base of reply and progress URLs, asked when it is needed: the port may be known only after listening. */
  backendBase: () => string;
  log: Log;
  metrics: Metrics;
}

/** A push lease outlives its attempt by this, so that the answer is recorded under it and not lost to the clock. */
const leaseSlackMs = 60_000;
/** The sweep ends an operation at its deadline and aborts its attempt; the attempt's own limit comes after, for a sweep that is held up. */
const deadlineSlackMs = 1000;
/** Bodies handed to one round of attempts. */
const mostBytes = 16 * 1024 * 1024;
/** After the store refused: long enough not to spin, short enough to be back within seconds. */
const storePauseMs = 500;

export class Dispatch implements Service {
  readonly name = 'dispatch';
  readonly #d: DispatchDependencies;
  readonly #attempts = new Map<number, { leaseNo: number; abort: AbortController }>();
  #stop = new AbortController();
  #loops: Promise<void>[] = [];

  constructor(dependencies: DispatchDependencies) {
    this.#d = dependencies;
  }

  get inFlight(): number {
    return this.#attempts.size;
  }

  start(): Promise<void> {
    this.#stop = new AbortController();
    for (const service of this.#d.services)
      if (service.target.kind === 'http') this.#loops.push(this.#run(service, this.#stop.signal));
    return Promise.resolve();
  }

  /** Takes nothing new and gives back what is in flight: it is queued again, here or after the restart. */
  async stop(): Promise<void> {
    this.#stop.abort();
    for (const { abort } of this.#attempts.values()) abort.abort('stopping');
    await Promise.all(this.#loops);
    this.#loops = [];
  }

  /** The operation was cancelled: its attempt in flight is aborted. */
  abort(seq: number): void {
    this.#attempts.get(seq)?.abort.abort('cancelled');
  }

  /** Takes work whenever there is room. */
  async #run(service: ServiceConfig, stop: AbortSignal): Promise<void> {
    const inFlight = new Set<Promise<void>>();
    let roomMade = (): void => {};
    const run = (attempt: Promise<void>): void => {
      const tracked: Promise<void> = attempt.finally(() => {
        inFlight.delete(tracked);
        roomMade();
      });
      inFlight.add(tracked);
    };
    const forgottenLoop = this.#runForgotten(service, stop);
    while (!stop.aborted) {
      const free = service.concurrency - inFlight.size;
      if (free <= 0) {
        await new Promise<void>((resolve) => (roomMade = resolve));
        continue;
      }
      try {
        const leaseMs = service.attemptTimeoutMs + leaseSlackMs;
        const leases = await this.#d.engine.lease(
          {
            service: service.name,
            namespace: null,
            kind: 'push',
            worker: null,
            max: free,
            maxBytes: mostBytes,
            leaseMs,
            wait: true,
          },
          this.#d.clock.now(),
          stop,
        );
        for (const lease of leases) run(this.#attempt(service, lease, stop));
      } catch (error) {
        this.#d.log.warn('dispatch.paused', { service: service.name, error });
        await pause(storePauseMs, stop);
      }
    }
    await Promise.all([...inFlight, forgottenLoop]);
  }

  async #attempt(service: ServiceConfig, lease: LeasedOperation, stop: AbortSignal): Promise<void> {
    const { reply, target, live, clock, ids, engine, budget, metrics, log } = this.#d;
    const { seq, queue, leaseNo, attempt, deadlineAt } = lease;
    const abort = new AbortController();
    this.#attempts.set(seq, { leaseNo, abort });
    if (live.has(seq)) live.wake(seq, { version: Number.MAX_SAFE_INTEGER, done: false });
    const held = lease.body?.length ?? 0;
    budget.hold(held);
    const startedAt = clock.now();
    metrics.attempts++;
    metrics.leased++;
    try {
      if (stop.aborted) abort.abort('stopping');
      const id = ids.operationId(lease);
      if (log.info) log.info('operation.leased', { operation: id, service: service.name, attempt });
      const answer = await target.send({
        service,
        head: JSON.parse(lease.head) as RequestHead,
        headers: this.#headers(service, lease, id),
        body: lease.body ?? engine.readBody(seq, 'request'),
        bodyBytes: lease.bodyBytes,
        timeoutMs: Math.max(1, Math.min(service.attemptTimeoutMs, deadlineAt + deadlineSlackMs - startedAt)),
        signal: abort.signal,
      });
      const settled: Answer = stop.aborted && answer.kind === 'failure' ? { kind: 'released' } : answer;
      const received = answer.kind === 'response' ? answer.response.body.length : 0;
      budget.hold(received);
      try {
        // A cancelled operation has ended already; the store says so and nothing is recorded.
        const [outcome] = await reply.settle([
          { queue, seq, leaseNo, attempt, serviceName: service.name, deadlineAt, answer: settled },
        ]);
        if (outcome?.kind === 'refused') throw outcome.error;
      } finally {
        budget.release(received);
      }
    } catch (error) {
      // The answer could not be recorded: the lease runs out and the attempt is made again.
      log.error('dispatch.unrecorded', { service: service.name, seq, error });
    } finally {
      budget.release(held);
      if (this.#attempts.get(seq)?.leaseNo === leaseNo) this.#attempts.delete(seq);
    }
  }

  #headers(service: ServiceConfig, lease: LeasedOperation, id: string): [string, string][] {
    const token = this.#d.ids.leaseToken(lease);
    const base = `${this.#d.backendBase()}/v1/leases/${token}`;
    const headers: [string, string][] = [
      ['Operation-Id', id],
      ['Correlation-Id', lease.correlationId ?? id],
      ['Operation-Attempt', String(lease.attempt)],
    ];
    if (lease.attempt >= service.retry.maxAttempts) headers.push(['Operation-Last-Attempt', 'true']);
    headers.push(
      ['Operation-Deadline', new Date(lease.deadlineAt).toISOString()],
      ['Idempotency-Key', `"${id}"`],
      ['Operation-Reply-Url', `${base}/reply`],
      ['Operation-Progress-Url', `${base}/progress`],
    );
    return headers;
  }

  /** Requests of durability `none`: one attempt each, whatever comes of it. */
  async #runForgotten(service: ServiceConfig, stop: AbortSignal): Promise<void> {
    const { fireAndForget, target, metrics, log } = this.#d;
    const sending = new Set<Promise<void>>();
    /** Ends the pause when there is something to do; one function, since a race with a promise that lives long would grow with every turn. */
    let changed = (): void => {};
    stop.addEventListener('abort', () => changed(), { once: true });
    while (!stop.aborted) {
      const item = sending.size < service.concurrency ? fireAndForget.take(service.name, null) : undefined;
      if (!item) {
        let unpark = (): void => {};
        await new Promise<void>((resolve) => {
          changed = resolve;
          unpark = fireAndForget.park(service.name, null, resolve);
        });
        unpark();
        continue;
      }
      metrics.attempts++;
      const headers: [string, string][] = item.correlationId === null ? [] : [['Correlation-Id', item.correlationId]];
      const one: Promise<void> = target
        .send({
          service,
          head: item.head,
          headers,
          body: item.body,
          bodyBytes: item.body.length,
          timeoutMs: service.attemptTimeoutMs,
          signal: stop,
        })
        .then((answer) => {
          if (answer.kind === 'failure' && log.info)
            log.info('forgotten.failed', { service: service.name, code: answer.code });
          sending.delete(one);
          changed();
        });
      sending.add(one);
    }
    await Promise.all(sending);
  }
}
