// Asks backends that answer later and cannot call back: each look is due in the store, so that it outlives this process and is taken by one node.
import { WaitlessError } from '@waitless/protocol';
import type { ServiceConfig } from '../config/config-shape.ts';
import type { DuePoll, Engine, RequestHead, ResultContent } from '../engine/engine.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { Service } from '../lib/service.ts';
import type { Target } from './dispatch.ts';
import type { Ids } from './ids.ts';
import type { Answer } from './lifecycle.ts';
import type { Live } from './live.ts';
import { judgeLook, type Looked, nextLookAt, readPoll } from './polling.ts';
import type { Reply } from './reply.ts';
import type { Services } from './services.ts';

export interface PollsDependencies {
  engine: Pick<Engine, 'extend'>;
  services: Services;
  target: Target;
  reply: Reply;
  ids: Ids;
  live: Live;
  clock: Clock;
  log: Log;
  metrics: Metrics;
}

/** Looks under way at once; those beyond are given out again by the store after a while. More would open as many sockets. */
const mostLooks = 256;

export class Polls implements Service {
  readonly name = 'polls';
  readonly #d: PollsDependencies;
  /** Looks under way, by operation; with the percent that was told last. */
  readonly #looking = new Map<number, Promise<void>>();
  #percents = new Map<number, number>();
  #stop = new AbortController();

  constructor(dependencies: PollsDependencies) {
    this.#d = dependencies;
  }

  start(): Promise<void> {
    this.#stop = new AbortController();
    return Promise.resolve();
  }

  /** What is asked and not answered is asked again by whoever is alive. */
  async stop(): Promise<void> {
    this.#stop.abort('stopping');
    await Promise.all(this.#looking.values());
  }

  /** Looks at what is due. Resolves for nobody: a slow backend must not hold up the clock. */
  look(due: readonly DuePoll[]): void {
    for (const one of due) {
      if (this.#stop.signal.aborted || this.#looking.size >= mostLooks) return;
      if (this.#looking.has(one.seq)) continue;
      const looking = this.#lookAt(one)
        .catch((error: unknown) => this.#d.log.warn('poll.failed', { seq: one.seq, error }))
        .finally(() => this.#looking.delete(one.seq));
      this.#looking.set(one.seq, looking);
    }
  }

  async #lookAt(due: DuePoll): Promise<void> {
    const { services, clock, log } = this.#d;
    const queue = await services.queue(due.queue);
    const service = queue && services.get(queue.service);
    // A service that is not configured any more: its reply timeout ends what nobody can ask for.
    if (!service || service.target.kind !== 'http') return;
    const asked = readPoll(due.url);
    if (new URL(asked.url).origin !== new URL(service.target.url).origin)
      return this.#settle(due, service, ended('the service has moved to another origin since this was submitted'));
    const answer = await this.#get(due, service, asked.url);
    const nowMs = clock.now();
    const looked: Looked = { url: asked.url, nowMs, sinceMs: due.attemptAt };
    log.info?.('operation.polled', { seq: due.seq, service: service.name, outcome: answer.kind });
    if (answer.kind !== 'response')
      return this.#again(due, { url: due.url, at: nextLookAt({ headers: [] }, looked) }, undefined);
    let verdict;
    try {
      verdict = judgeLook(answer.response, due.url, looked);
    } catch (error) {
      if (!(error instanceof WaitlessError)) throw error;
      return this.#settle(due, service, ended(error.message));
    }
    switch (verdict.kind) {
      case 'pending':
        return this.#again(due, verdict.poll, verdict.percent);
      case 'result':
        return this.#settle(due, service, answer);
      case 'failed':
        return this.#settle(due, service, { kind: 'failure', ...verdict.error, retry: false });
      case 'elsewhere':
        return this.#fetch(due, service, { url: verdict.url, looked });
    }
  }

  /** The work is done and its result is there. One that cannot be fetched now is fetched at the next look. */
  async #fetch(due: DuePoll, service: ServiceConfig, { url, looked }: { url: string; looked: Looked }): Promise<void> {
    const answer = await this.#get(due, service, url);
    const later = answer.kind !== 'response' || answer.response.status === 202 || answer.response.status >= 500;
    if (!later) return this.#settle(due, service, answer);
    return this.#again(due, { url: due.url, at: nextLookAt({ headers: [] }, looked) }, undefined);
  }

  #get(
    due: DuePoll,
    service: ServiceConfig,
    url: string,
  ): Promise<{ kind: 'response'; response: ResultContent } | { kind: 'failure' }> {
    const { target, ids, metrics, clock } = this.#d;
    const id = ids.operationId(due);
    const head = JSON.parse(due.head) as RequestHead;
    metrics.polls++;
    return target.send({
      service,
      url,
      head: {
        method: 'GET',
        path: '',
        query: '',
        // Of the client's fields what the operator passes on as credentials, and what it wants to read.
        headers: head.headers.filter(
          ([name]) =>
            /^(accept|accept-language|traceparent|tracestate)$/i.test(name) ||
            service.forward.includes(name.toLowerCase()),
        ),
      },
      headers: [
        ['Operation-Id', id],
        ['Correlation-Id', due.correlationId ?? id],
      ],
      messageId: id,
      body: new Uint8Array(0),
      bodyBytes: 0,
      timeoutMs: Math.max(1, Math.min(service.attemptTimeoutMs, due.deadlineAt - clock.now())),
      signal: this.#stop.signal,
    });
  }

  async #settle(due: DuePoll, service: ServiceConfig, answer: Answer): Promise<void> {
    const { queue, seq, leaseNo, attempt, deadlineAt } = due;
    this.#percents.delete(seq);
    await this.#d.reply.settle([{ queue, seq, leaseNo, attempt, deadlineAt, serviceName: service.name, answer }]);
  }

  async #again(
    { seq, leaseNo }: DuePoll,
    poll: { url: string; at: number },
    percent: number | undefined,
  ): Promise<void> {
    const { engine, clock, live } = this.#d;
    const told = percent !== undefined && percent !== this.#percents.get(seq);
    const outcome = await engine.extend(
      { seq, leaseNo, leaseMs: null, progress: told ? { percent } : null, poll },
      clock.now(),
    );
    if (outcome.kind !== 'extended') return void this.#percents.delete(seq);
    if (!told) return;
    // Advice, not state: what is forgotten is only told once more.
    if (this.#percents.size >= 10_000) this.#percents = new Map();
    this.#percents.set(seq, percent);
    live.wake(seq, { version: outcome.version, done: false });
  }
}

const ended = (message: string): Answer => ({ kind: 'failure', code: 'bad-backend-response', message, retry: false });
