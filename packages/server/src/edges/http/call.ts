// ANY /v1/call/{service}/…: a submit over HTTP.
import { WaitlessError } from '@waitless/protocol';
import type { Fetch } from '../../core/fetch.ts';
import { receiptJson } from '../../core/document.ts';
import type { Pace } from '../../core/pace.ts';
import type { Services } from '../../core/services.ts';
import type { Accepted, SubmitVerbs } from '../../core/submit.ts';
import type { Answer, Exchange, Handler } from './exchange.ts';
import {
  checkCacheControl,
  correlationId,
  durability,
  durationField,
  forwarded,
  idempotencyKey,
  isTraceparent,
  labels,
  priority,
  refuseUnbuilt,
  waiting,
  type Waiting,
} from './fields.ts';
import { namedService } from './named-service.ts';
import { ofOperation } from './problems.ts';
import { inMemory, type Replayed, replayAnswer } from './results.ts';

export interface CallDependencies {
  services: Services;
  submit: SubmitVerbs;
  fetch: Fetch;
  pace: Pace;
  maxWaitMs: number;
}

const prefixLength = '/v1/call/'.length;

export function callHandler({ services, submit, fetch, pace, maxWaitMs }: CallDependencies): Handler {
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

  return async (exchange) => {
    const receivedAt = performance.now();
    const { headers } = exchange;
    const slash = exchange.path.indexOf('/', prefixLength);
    const service = namedService(
      services,
      slash < 0 ? exchange.path.slice(prefixLength) : exchange.path.slice(prefixLength, slash),
    );
    refuseUnbuilt(headers);
    checkCacheControl(headers);
    const hold = waiting(headers, service, maxWaitMs);
    const level = durability(headers);
    const key = idempotencyKey(headers);
    const delayMs = durationField(headers, 'Operation-Delay');
    if (level === 'none') refuseWithNone(headers, hold);
    const trace = headers('traceparent');
    const passedOn = forwarded(exchange.rawHeaders, service.forward);
    const head = {
      method: exchange.method,
      path: slash < 0 ? '' : exchange.path.slice(slash),
      query: exchange.query,
      headers:
        trace !== undefined && !isTraceparent(trace)
          ? passedOn.filter(([name]) => !/^trace(parent|state)$/i.test(name))
          : passedOn,
    };
    const waits = level !== 'none' && hold.waitMs > 0;
    const request = {
      namespace: exchange.namespace,
      service,
      head,
      contentType: headers('content-type'),
      correlationId: correlationId(headers),
      labels: labels(headers),
      idempotencyKey: key,
      durability: level,
      timeoutMs: durationField(headers, 'Operation-Timeout'),
      delayMs,
      startByMs: durationField(headers, 'Operation-Start-By'),
      priority: priority(headers),
      waits,
    };
    const outcome = await submit.submit({ ...request, body: await exchange.body(service.maxBodyBytes) });
    // The body is stored or handed on: its room is free for others while this caller waits.
    exchange.releaseBody();
    if (outcome.kind === 'forgotten')
      return { status: 202, headers: ['Operation-Durability', 'none', 'Cache-Control', 'no-store'] };
    const waitMs = hold.waitMs - (performance.now() - receivedAt);
    const news = waits ? await submit.waitForEnd(outcome, { waitMs, signal: exchange.signal }) : undefined;
    if (news?.done) {
      const replayed = news.result ? inMemory(outcome, news.result) : await ended(exchange, outcome);
      if (replayed) return withSubmitHeaders(replayAnswer(exchange, replayed), outcome, hold);
    }
    return acceptedAnswer(exchange, outcome, {
      level,
      hold,
      // What is left of the usual time, where the caller has waited for a part of it already.
      retryAfterSeconds: pace.retryAfterSeconds(service.name, performance.now() - receivedAt),
    });
  };
}

/** What keeps nothing cannot wait, be repeated safely, or be held to a time. */
const kept = [
  'Idempotency-Key',
  'Operation-Delay',
  'Operation-Timeout',
  'Operation-Start-By',
  'Operation-Priority',
] as const;

function refuseWithNone(headers: Exchange['headers'], { preferences }: Waiting): void {
  const clash =
    preferences.waitSeconds === undefined
      ? kept.find((name) => headers(name.toLowerCase()) !== undefined)
      : 'Prefer: wait';
  if (clash) {
    throw new WaitlessError(
      'conflicting-headers',
      `Operation-Durability: none keeps nothing, so ${clash} cannot be honoured; drop one of the two`,
      { members: { accepted: false } },
    );
  }
}

function acceptedAnswer(
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
  if (accepted.replayed) headers.push('Idempotent-Replayed', 'true');
  return { status: 202, headers, body: receiptJson(accepted, exchange.base) };
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
  if (accepted.replayed) answer.headers.push('Idempotent-Replayed', 'true');
  return answer;
}
