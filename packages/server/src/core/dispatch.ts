// Dispatch: takes operations of push services and carries each to its backend, never more at once than the service allows.
import { WaitlessError } from '@waitless/protocol';
import type { ServiceConfig } from '../config/config-shape.ts';
import type { Engine, LeasedOperation, RequestHead, ResultContent } from '../engine/engine.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { Random } from '../lib/random.ts';
import { pause, type Service } from '../lib/service.ts';
import type { BodyBudget } from './body-budget.ts';
import type { FireAndForget, Forgettable } from './fire-and-forget.ts';
import type { Ids } from './ids.ts';
import type { Answer } from './lifecycle.ts';
import type { Live } from './live.ts';
import type { QueueCounts } from './queue-counts.ts';
import type { LeaseAnswer, Reply } from './reply.ts';
import { ServiceLoop, storePauseMs } from './service-loop.ts';
import type { ServiceChange, Services } from './services.ts';

/** One message out, as a target needs it. */
export interface OutboundRequest {
  service: ServiceConfig;
  /** Goes there instead, a URL of the service's own origin. */
  url?: string;
  head: RequestHead;
  /** Fields we add, in order. */
  headers: [string, string][];
  /** What a signature calls it: the same on every attempt. */
  messageId: string;
  /** A large one is read from the store when it is needed, and once more where it is signed: nobody holds the whole of it. */
  body: Uint8Array | (() => AsyncIterable<Uint8Array>);
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
  engine: Pick<Engine, 'lease' | 'readBody' | 'recordsOf' | 'onSignal'>;
  services: Pick<Services, 'all' | 'onChange'>;
  target: Target;
  reply: Reply;
  ids: Ids;
  live: Live;
  clock: Clock;
  budget: BodyBudget;
  counts: Pick<QueueCounts, 'moved'>;
  fireAndForget: FireAndForget;
  random: Random;
  /** Base of reply and progress URLs, asked when it is needed: the port may be known only after listening. */
  backendBase: () => string;
  /** How often attempts are looked after without a hint. */
  everyMs?: number | undefined;
  log: Log;
  metrics: Metrics;
}

/** The sweep ends an operation at its deadline and aborts its attempt; the attempt's own limit comes after, for a sweep that is held up. */
const deadlineSlackMs = 1000;
/** Without a hint: the longest an attempt goes on for an operation that another node has ended, against a read per attempt each time. */
const pollMs = 5000;
const pollBatch = 500;

export class Dispatch implements Service {
  readonly name = 'dispatch';
  readonly #d: DispatchDependencies;
  readonly #attempts = new Map<number, { leaseNo: number; abort: AbortController }>();
  #stop = new AbortController();
  /** By name of the service. */
  readonly #loops = new Map<string, ServiceLoop>();
  readonly #running = new Set<Promise<void>>();
  #isStarted = false;

  constructor(dependencies: DispatchDependencies) {
    this.#d = dependencies;
    dependencies.engine.onSignal((signal) => {
      if (signal.kind === 'operation' && this.#attempts.has(signal.seq)) void this.#lookAt([signal.seq]);
    });
    dependencies.services.onChange((change) => {
      if (this.#isStarted && !this.#stop.signal.aborted) this.#follow(change);
    });
  }

  /** Another node may have cancelled what is attempted here. */
  async #lookAt(seqs: readonly number[]): Promise<void> {
    // A store that cannot be read now is read at the next turn.
    const records = await this.#d.engine.recordsOf(seqs).catch(() => []);
    for (const { seq, finishedAt, leaseNo } of records) {
      const attempt = this.#attempts.get(seq);
      if (attempt && (finishedAt !== null || leaseNo > attempt.leaseNo)) this.abort(seq);
    }
  }

  /** The slow poll that finds what a lost hint did not tell. */
  async #watch(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      await pause(this.#d.everyMs ?? pollMs, stop);
      const seqs = [...this.#attempts.keys()];
      for (let i = 0; i < seqs.length && !stop.aborted; i += pollBatch)
        await this.#lookAt(seqs.slice(i, i + pollBatch));
    }
  }

  get inFlight(): number {
    return this.#attempts.size;
  }

  start(): Promise<void> {
    this.#stop = new AbortController();
    this.#isStarted = true;
    for (const service of this.#d.services.all()) this.#follow({ name: service.name, now: service });
    this.#hold(this.#watch(this.#stop.signal));
    return Promise.resolve();
  }

  /** Takes nothing new and gives back what is in flight: it is queued again, here or after the restart. */
  async stop(): Promise<void> {
    this.#stop.abort();
    for (const { abort } of this.#attempts.values()) abort.abort('stopping');
    await Promise.all(this.#running);
  }

  #hold(running: Promise<void>): void {
    const held: Promise<void> = running.finally(() => this.#running.delete(held));
    this.#running.add(held);
  }

  /** A service came, changed or went. Its attempts under way go on to their end, and the next ones are made by what it is now. */
  #follow({ name, now }: ServiceChange): void {
    const pushed = now?.target.kind === 'http' ? now : undefined;
    // Nobody would ever take them.
    if (!now) while (this.#d.fireAndForget.take(name, null));
    if (this.#loops.get(name)?.change(pushed) || !pushed) return;
    const { engine, clock, fireAndForget, log } = this.#d;
    const stop = this.#stop.signal;
    const loop = new ServiceLoop(pushed, {
      engine,
      clock,
      fireAndForget,
      log,
      stop,
      attempt: (service, lease) => this.#attempt(service, lease, stop),
      sendForgotten: (service, item) => this.#sendForgotten(service, item, stop),
    });
    this.#loops.set(name, loop);
    const ended = loop.run().finally(() => {
      if (this.#loops.get(name) === loop) this.#loops.delete(name);
    });
    this.#hold(ended);
  }

  /** The operation was cancelled: its attempt in flight is aborted. */
  abort(seq: number): void {
    this.#attempts.get(seq)?.abort.abort('cancelled');
  }

  async #attempt(service: ServiceConfig, lease: LeasedOperation, stop: AbortSignal): Promise<void> {
    const { target, live, clock, ids, engine, budget, counts, metrics, log } = this.#d;
    const { seq, queue, leaseNo, attempt, deadlineAt } = lease;
    const abort = new AbortController();
    this.#attempts.set(seq, { leaseNo, abort });
    if (live.has(seq)) live.wake(seq, { version: Number.MAX_SAFE_INTEGER, done: false });
    const held = lease.body?.length ?? 0;
    budget.hold(held);
    const startedAt = clock.now();
    metrics.attempts++;
    metrics.leased++;
    counts.moved({ queue, service: service.name }, { queued: -1, running: 1 });
    let unread: unknown;
    try {
      if (stop.aborted) abort.abort('stopping');
      const id = ids.operationId(lease);
      if (log.info) log.info('operation.leased', { operation: id, service: service.name, attempt });
      const head = JSON.parse(lease.head) as RequestHead;
      const answer = await target.send({
        service,
        head,
        headers: this.#headers(service, lease, id),
        messageId: id,
        body: lease.body ?? (() => noticing(engine.readBody(seq, 'request'), (error) => (unread = error))),
        bodyBytes: lease.bodyBytes,
        timeoutMs: Math.max(1, Math.min(service.attemptTimeoutMs, deadlineAt + deadlineSlackMs - startedAt)),
        signal: abort.signal,
      });
      // What we did not send whole is no fault of the backend.
      const ours = stop.aborted || (unread instanceof WaitlessError && unread.code === 'engine-unavailable');
      const settled: Answer = ours && answer.kind === 'failure' ? { kind: 'released' } : answer;
      const received = answer.kind === 'response' ? answer.response.body.length : 0;
      budget.hold(received);
      try {
        await this.#record(
          { queue, seq, leaseNo, attempt, serviceName: service.name, deadlineAt, path: head.path, answer: settled },
          { leaseUntil: lease.leaseUntil, stop },
        );
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

  /**
   * Records what came of an attempt. While the store refuses, the answer is kept in the attempt's place, so that no more are held than may be
   * under way, until the lease has run out. A cancelled operation has ended already: the store says so and nothing is recorded.
   */
  async #record(answer: LeaseAnswer, { leaseUntil, stop }: { leaseUntil: number; stop: AbortSignal }): Promise<void> {
    const { reply, clock, log } = this.#d;
    let until = leaseUntil;
    for (let tries = 1; ; tries++) {
      const askedAt = clock.now();
      const refusal = await reply.settle([answer]).then(
        ([outcome]) => (outcome?.kind === 'refused' ? outcome.error : undefined),
        (error: unknown) => error,
      );
      if (refusal === undefined) return;
      if (stop.aborted || !(refusal instanceof WaitlessError && refusal.retry)) throw refusal;
      if (tries === 1) log.warn('dispatch.kept', { service: answer.serviceName, seq: answer.seq, error: refusal });
      await pause(storePauseMs, stop);
      // No lease runs out while nobody can reach the store.
      if (refusal.code === 'engine-unavailable') until += clock.now() - askedAt;
      if (clock.now() >= until) throw refusal;
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

  async #sendForgotten(service: ServiceConfig, item: Forgettable, stop: AbortSignal): Promise<void> {
    const { target, metrics, log } = this.#d;
    metrics.attempts++;
    const answer = await target.send({
      service,
      head: item.head,
      headers: item.correlationId === null ? [] : [['Correlation-Id', item.correlationId]],
      messageId: this.#d.random.nonce(),
      body: item.body,
      bodyBytes: item.body.length,
      timeoutMs: service.attemptTimeoutMs,
      signal: stop,
    });
    if (answer.kind === 'failure' && log.info)
      log.info('forgotten.failed', { service: service.name, code: answer.code });
  }
}

/** The same chunks; says why they ended early. */
async function* noticing(
  chunks: AsyncIterable<Uint8Array>,
  broken: (error: unknown) => void,
): AsyncIterable<Uint8Array> {
  try {
    yield* chunks;
  } catch (error) {
    broken(error);
    throw error;
  }
}
