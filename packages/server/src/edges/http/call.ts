// ANY /v1/call/{service}/…: a submit over HTTP.
import { WaitlessError } from '@waitless/protocol';
import type { Fetch, Replay } from '../../core/fetch.ts';
import { receiptJson } from '../../core/document.ts';
import type { Outlooks } from '../../core/outlook.ts';
import type { Services } from '../../core/services.ts';
import type { Accepted, Hit, SubmitVerbs } from '../../core/submit.ts';
import { storedFields } from '../json/outcome.ts';
import type { Answer, Exchange, Handler } from './exchange.ts';
import type { Waiting } from './fields.ts';
import { ofOperation } from './problems.ts';
import { inMemory, type Replayed, replayAnswer } from './results.ts';
import { readSubmission } from './submission.ts';

export interface CallDependencies {
  services: Services;
  submit: SubmitVerbs;
  fetch: Fetch;
  outlooks: Pick<Outlooks, 'ofSubmitted'>;
  /** The stream of an operation's events, with these headers. */
  streamOf: (exchange: Exchange, id: string, headers?: string[]) => Promise<Answer>;
  maxWaitMs: number;
}

const prefixLength = '/v1/call/'.length;

export function callHandler({ services, submit, fetch, outlooks, streamOf, maxWaitMs }: CallDependencies): Handler {
  /** The result of an operation that has ended; undefined where it was a false alarm. A problem names the operation, so that it can be looked up. */
  async function ended(exchange: Exchange, accepted: Accepted): Promise<Replayed | undefined> {
    try {
      const found = await fetch.result(accepted.id, exchange.namespace, { waitMs: 0 });
      return found.kind === 'result'
        ? { id: accepted.id, status: found.record.status, replay: found.replay }
        : undefined;
    } catch (error) {
      // The store is away: what was accepted stays so, and its result is told when it can be read.
      if (error instanceof WaitlessError && error.status === 503) return undefined;
      throw ofOperation(error, {
        'Operation-Id': accepted.id,
        'Operation-Location': `${exchange.base}/v1/operations/${accepted.id}`,
        'Correlation-Id': accepted.correlationId ?? accepted.id,
      });
    }
  }

  /** A browser that lost the stream of its submit sends the submit again: it means the operation that it was told of, and no new one. */
  async function continued(exchange: Exchange, lastEventId: string): Promise<Answer> {
    const id = /^(.+)_\d+$/.exec(lastEventId)?.[1];
    if (id === undefined)
      throw new WaitlessError(
        'invalid-parameter',
        'Last-Event-ID on a submit must be the id of an event that an earlier answer told; leave it out to submit anew',
        { members: { accepted: false } },
      );
    return streamOf(exchange, id);
  }

  return async (exchange) => {
    const receivedAt = performance.now();
    const slash = exchange.path.indexOf('/', prefixLength);
    const { request, hold, streams } = readSubmission(
      {
        namespace: exchange.namespace,
        service: slash < 0 ? exchange.path.slice(prefixLength) : exchange.path.slice(prefixLength, slash),
        method: exchange.method,
        path: slash < 0 ? '' : exchange.path.slice(slash),
        query: exchange.query,
        headers: exchange.headers,
        rawHeaders: exchange.rawHeaders,
        base: exchange.base,
      },
      { services, maxWaitMs },
    );
    const { service, waits, durability: level } = request;
    const lastEventId = streams ? exchange.headers('last-event-id') : undefined;
    if (lastEventId) return continued(exchange, lastEventId);
    const outcome = await submit.submit({ ...request, body: await exchange.body(service.maxBodyBytes) });
    // The body is stored or handed on: its room is free for others while this caller waits.
    exchange.releaseBody();
    if (outcome.kind === 'forgotten')
      return { status: 202, headers: ['Operation-Durability', 'none', 'Cache-Control', 'no-store'] };
    if (streams) return streamOf(exchange, outcome.id, streamHeaders(exchange, outcome, level));
    if (outcome.kind === 'stored') return storedAnswer(exchange, outcome, fetch.replayOf(outcome.stored));
    const waitMs = hold.waitMs - (performance.now() - receivedAt);
    const news =
      waits || outcome.fromStore
        ? await submit.waitForEnd(outcome, { namespace: exchange.namespace, waitMs, signal: exchange.signal })
        : undefined;
    if (news?.done) {
      const replayed = news.result ? inMemory(outcome, news.result) : await ended(exchange, outcome);
      if (replayed) return withSubmitHeaders(replayAnswer(exchange, replayed), outcome, hold);
    }
    return acceptedAnswer(exchange, outcome, {
      level,
      hold,
      // What is left of the usual time, where the caller has waited for a part of it already.
      retryAfterSeconds: outlooks.ofSubmitted({ ...outcome, service, waitedMs: performance.now() - receivedAt }),
    });
  };
}

/** The 202 of a request that is computed, or joined to one that is. */
export function acceptedAnswer(
  exchange: Exchange,
  accepted: Accepted,
  { level, hold, retryAfterSeconds }: { level: string; hold: Waiting; retryAfterSeconds: number },
): Answer {
  const location = `${exchange.base}/v1/operations/${accepted.id}`;
  const headers = [
    'Content-Type',
    'application/json; charset=utf-8',
    'Cache-Control',
    'no-store',
    'Operation-Id',
    accepted.id,
    'Operation-Location',
    location,
    'Location',
    `${location}/result`,
    'Correlation-Id',
    accepted.correlationId ?? accepted.id,
    'Retry-After',
    String(retryAfterSeconds),
    'Operation-Durability',
    level,
  ];
  const applied = preferenceApplied(hold);
  if (applied) headers.push('Preference-Applied', applied);
  if (accepted.cacheStatus !== undefined) headers.push('Cache-Status', accepted.cacheStatus);
  if (accepted.replayed) headers.push('Idempotent-Replayed', 'true');
  addLimits(headers, accepted);
  return { status: 202, headers, body: receiptJson(accepted, exchange.base) };
}

/** What the answer to a submit says of its operation, when its body is the stream of events. */
function streamHeaders(exchange: Exchange, outcome: Accepted | Hit, level: string): string[] {
  const location = `${exchange.base}/v1/operations/${outcome.id}`;
  const headers = ['Operation-Location', location, 'Location', `${location}/result`];
  headers.push('Correlation-Id', outcome.correlationId ?? outcome.id);
  if (outcome.kind === 'stored') headers.push(...storedFields(outcome.stored, outcome.ageMs));
  else {
    headers.push('Operation-Durability', level);
    if (outcome.cacheStatus !== undefined) headers.push('Cache-Status', outcome.cacheStatus);
    if (outcome.replayed) headers.push('Idempotent-Replayed', 'true');
  }
  addLimits(headers, outcome);
  return headers;
}

function preferenceApplied({ preferences, waitMs }: Waiting): string | undefined {
  const applied = [];
  if (preferences.respondAsync) applied.push('respond-async');
  if (preferences.waitSeconds !== undefined) applied.push(`wait=${Math.floor(waitMs / 1000)}`);
  return applied.join(', ') || undefined;
}

function withSubmitHeaders(answer: Answer, accepted: Accepted, hold: Waiting): Answer {
  answer.headers.push('Correlation-Id', accepted.correlationId ?? accepted.id);
  if (hold.preferences.waitSeconds !== undefined)
    answer.headers.push('Preference-Applied', `wait=${Math.floor(hold.waitMs / 1000)}`);
  if (accepted.cacheStatus !== undefined) answer.headers.push('Cache-Status', accepted.cacheStatus);
  if (accepted.replayed) answer.headers.push('Idempotent-Replayed', 'true');
  addLimits(answer.headers, accepted);
  return answer;
}

/** RateLimit fields of a service that has a rate. */
function addLimits(headers: string[], { limits }: Pick<Accepted, 'limits'>): void {
  for (const name in limits) headers.push(name, limits[name]!);
}

/** The stored result, byte for byte as the first caller had it. */
function storedAnswer(exchange: Exchange, { id, correlationId, stored, ageMs, limits }: Hit, replay: Replay): Answer {
  const answer = replayAnswer(exchange, { id, status: stored.operation.status, replay });
  answer.headers.push('Correlation-Id', correlationId, ...storedFields(stored, ageMs));
  addLimits(answer.headers, { limits });
  return answer;
}
