// The worker's side over HTTP: taking leases, and answering them one by one or piggybacked on the next call.
import { hash } from 'node:crypto';
import { isName, WaitlessError } from '@waitless/protocol';
import type { Answer as AttemptAnswer } from '../../core/lifecycle.ts';
import { progressJson } from '../../core/document.ts';
import { type LeaseAnswer, type Reply, settleError } from '../../core/reply.ts';
import type { Services } from '../../core/services.ts';
import type { Work, WorkVerb } from '../../core/work.ts';
import type { ProgressReport, ResultContent, SettleOutcome } from '../../engine/engine.ts';
import { isoTime } from '../../lib/clock.ts';
import type { Exchange, Handler } from './exchange.ts';
import { jsonAnswer } from './exchange.ts';
import { jsonBody } from './json-body.ts';
import { namedService } from './named-service.ts';
import { bodyMember } from './results.ts';
import { fieldError, Shape } from './shape.ts';

export interface LeasesDependencies {
  services: Services;
  work: WorkVerb;
  reply: Reply;
  maxWaitMs: number;
}

const envelopeBytes = 16 * 1024 * 1024;
const controlBytes = 256 * 1024;
const mostLeases = 1000;
const longestLeaseSeconds = 86_400;
const mostProgressDataBytes = 16 * 1024;

export function leaseHandlers({ services, work, reply, maxWaitMs }: LeasesDependencies) {
  const lease: Handler = async (exchange) => {
    const service = namedService(services, exchange.params['service']!);
    if (service.target.kind !== 'pull')
      throw new WaitlessError(
        'invalid-parameter',
        `service ${service.name} pushes to a backend; only a service with target pull hands out leases`,
      );
    const { value, verbatim } = await jsonBody(exchange, { limit: envelopeBytes, verbatim: { key: 'body', depth: 4 } });
    const shape = new Shape(value, '', ['worker', 'max', 'waitSeconds', 'leaseSeconds', 'settle']);
    const worker = shape.text('worker', { most: 128, least: 1 }) ?? null;
    if (worker !== null && !isName(worker))
      throw fieldError(
        'invalid-name',
        '/worker',
        'must start with a letter or digit and go on with letters, digits, "_" and "-", 128 at most',
      );
    const max = shape.number('max', { least: 1, most: mostLeases, whole: true }) ?? 1;
    const waitMs = Math.min(
      (shape.number('waitSeconds', { least: 0, most: Number.MAX_SAFE_INTEGER }) ?? 0) * 1000,
      maxWaitMs,
    );
    const leaseSeconds = shape.number('leaseSeconds', { above: 0, most: longestLeaseSeconds });
    // Every item is read before any is recorded: a malformed envelope leaves nothing behind.
    const items = (shape.list('settle', mostLeases) ?? []).map(settleReader(verbatim));
    const answers = await prepare(exchange, items, reply);
    // Both are asked in one turn, the answers first: they are recorded before the next work is handed out, in one commit where there is some.
    const unsettled = new AbortController();
    const settling = record(answers, reply).catch((error: unknown) => {
      unsettled.abort();
      throw error;
    });
    const signal = items.length > 0 ? AbortSignal.any([exchange.signal, unsettled.signal]) : exchange.signal;
    const taking = work({
      namespace: exchange.namespace,
      service,
      worker,
      max,
      leaseMs: leaseSeconds === undefined ? undefined : Math.ceil(leaseSeconds * 1000),
      waitMs,
      signal,
    });
    const [settled, taken] = await Promise.allSettled([settling, taking]);
    if (taken.status === 'fulfilled' && (settled.status === 'rejected' || exchange.signal.aborted))
      await giveBack(taken.value);
    if (settled.status === 'rejected') throw settled.reason;
    if (taken.status === 'rejected') throw taken.reason;
    const leases = await Promise.all(taken.value.map((item) => leaseJson(item, service.name)));
    return jsonAnswer(200, `{"settled":${JSON.stringify(settled.value)},"leases":[${leases.join(',')}]}`);
  };

  /** Work that nobody will get: whoever asked is gone. It is ready for the next at once, not after its lease. */
  async function giveBack(taken: readonly Work[]): Promise<void> {
    const released: LeaseAnswer[] = [];
    for (const { token } of taken) {
      const lease = await reply.leaseOf(token, undefined);
      if (lease) released.push({ ...lease, serviceName: lease.at.service, answer: { kind: 'released' } });
    }
    await reply.settle(released);
  }

  /** The lease of a token in the URL; the token is the credential, a key that comes along must be of the same namespace. */
  async function held(exchange: Exchange) {
    const found = await reply.leaseOf(
      exchange.params['token']!,
      exchange.headers('authorization') === undefined ? undefined : exchange.namespace,
    );
    if (!found) throw new WaitlessError('not-found', 'no lease has this token');
    return found;
  }

  async function settleOne(exchange: Exchange, answer: AttemptAnswer): Promise<SettleOutcome> {
    const { at, ...name } = await held(exchange);
    const [outcome] = await reply.settle([{ ...name, serviceName: at.service, answer }]);
    const error = settleError(outcome!);
    if (error) throw error;
    return outcome!;
  }

  const settledAnswer = (outcome: SettleOutcome) => jsonAnswer(200, JSON.stringify({ status: outcome.kind }));

  const replyOne: Handler = async (exchange) => {
    const found = await held(exchange);
    const status = resultStatus(exchange.headers('result-status'));
    const body = await exchange.body(services.get(found.at.service)?.maxBodyBytes ?? envelopeBytes);
    const kept: string[] = [];
    for (let i = 0; i < exchange.rawHeaders.length; i += 2) {
      if (/^(content-(?!length$).*|cache-control|location)$/i.test(exchange.rawHeaders[i]!))
        kept.push(exchange.rawHeaders[i]!, exchange.rawHeaders[i + 1]!);
    }
    return settledAnswer(await settleOne(exchange, { kind: 'response', response: content(status, kept, body) }));
  };

  const fail: Handler = async (exchange) => {
    const { value } = await jsonBody(exchange, { limit: controlBytes });
    return settledAnswer(await settleOne(exchange, readFail(value, '')));
  };

  const release: Handler = async (exchange) => {
    const { value } = await jsonBody(exchange, { limit: controlBytes });
    new Shape(value, '', []);
    return settledAnswer(await settleOne(exchange, { kind: 'released' }));
  };

  const extend: Handler = async (exchange) => {
    const { value } = await jsonBody(exchange, { limit: controlBytes });
    const seconds = new Shape(value, '', ['leaseSeconds']).number('leaseSeconds', {
      above: 0,
      most: longestLeaseSeconds,
    });
    const outcome = await reply.extend(await held(exchange), {
      leaseMs: seconds === undefined ? undefined : Math.ceil(seconds * 1000),
      progress: null,
    });
    return jsonAnswer(200, JSON.stringify({ expiresAt: isoTime(outcome.leaseUntil) }));
  };

  const progress: Handler = async (exchange) => {
    const { value, verbatim } = await jsonBody(exchange, { limit: controlBytes, verbatim: { key: 'data', depth: 1 } });
    const report = readProgress(value, verbatim);
    const outcome = await reply.extend(await held(exchange), { leaseMs: undefined, progress: report });
    return jsonAnswer(
      200,
      `{"expiresAt":${JSON.stringify(isoTime(outcome.leaseUntil))},"progress":${progressJson({ sequence: outcome.progressSequence, ...report })}}`,
    );
  };

  return { lease, reply: replyOne, fail, release, extend, progress };
}

const content = (status: number, headers: string[], body: Uint8Array): ResultContent => ({
  status,
  headers,
  body,
  hash: hash('sha256', body, 'base64url'),
});

function resultStatus(value: string | undefined): number {
  if (value === undefined) return 200;
  const status = /^\d{3}$/.test(value.trim()) ? Number(value) : Number.NaN;
  if (!(status >= 200 && status <= 599))
    throw new WaitlessError('invalid-parameter', 'Result-Status must be a status from 200 to 599');
  if (status === 202)
    throw new WaitlessError(
      'invalid-parameter',
      'Result-Status must not be 202: this reply is the answer that was promised for later',
    );
  return status;
}

interface SettleItem {
  token: string;
  answer: AttemptAnswer;
}

function settleReader(verbatim: string[]): (item: unknown, index: number) => SettleItem {
  let used = 0;
  return (item, index) => {
    const at = `/settle/${index}`;
    const shape = new Shape(item, at, ['token', 'reply', 'fail', 'release']);
    const token = shape.needText('token', { most: 256 });
    const given = ['reply', 'fail', 'release'].filter((name) => shape.has(name));
    if (given.length !== 1)
      throw fieldError('invalid-parameter', at, 'must have exactly one of reply, fail and release');
    if (shape.has('release')) {
      if (shape.any('release') !== true) throw fieldError('invalid-parameter', `${at}/release`, 'must be true');
      return { token, answer: { kind: 'released' } };
    }
    if (shape.has('fail')) return { token, answer: readFail(shape.any('fail'), `${at}/fail`) };
    const reply = new Shape(shape.any('reply'), `${at}/reply`, ['status', 'headers', 'body', 'bodyBase64']);
    const status = reply.number('status', { least: 200, most: 599, whole: true }) ?? 200;
    if (status === 202)
      throw fieldError(
        'invalid-parameter',
        `${at}/reply/status`,
        'must not be 202: this reply is the answer that was promised for later',
      );
    const text = reply.has('body') ? verbatim[used++]! : undefined;
    return {
      token,
      answer: {
        kind: 'response',
        response: content(
          status,
          readHeaders(reply.any('headers'), `${at}/reply/headers`),
          readBody(reply, text, `${at}/reply`),
        ),
      },
    };
  };
}

/** A string is its UTF-8 bytes, any other JSON value its source text as it came. */
function readBody(shape: Shape, text: string | undefined, at: string): Buffer {
  if (text !== undefined && shape.has('bodyBase64'))
    throw fieldError('invalid-parameter', at, 'must not have both body and bodyBase64');
  if (shape.has('bodyBase64')) {
    const base64 = shape.needText('bodyBase64', { most: envelopeBytes });
    if (!/^[A-Za-z0-9+/]*={0,2}$/.test(base64) || base64.length % 4 !== 0)
      throw fieldError('invalid-parameter', `${at}/bodyBase64`, 'is not base64');
    return Buffer.from(base64, 'base64');
  }
  if (text === undefined) return Buffer.alloc(0);
  const value = shape.any('body');
  return Buffer.from(typeof value === 'string' ? value : text, 'utf8');
}

const fieldName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/;
// oxlint-disable-next-line no-control-regex -- RFC 9110 5.5: what a field value may hold
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/;

function readHeaders(value: unknown, at: string): string[] {
  if (value === undefined) return [];
  const pairs: unknown[] = Array.isArray(value)
    ? value
    : typeof value === 'object' && value !== null
      ? Object.entries(value)
      : [null];
  if (pairs.length > 100) throw fieldError('invalid-parameter', at, 'must not have more than 100 fields');
  return pairs.flatMap((pair) => {
    const [name, text] = Array.isArray(pair) && pair.length === 2 ? (pair as unknown[]) : [];
    if (typeof name !== 'string' || typeof text !== 'string' || !fieldName.test(name) || !fieldValue.test(text))
      throw fieldError('invalid-parameter', at, 'must be an object of header fields or a list of [name, value] pairs');
    return /^(content-length|transfer-encoding|connection)$/i.test(name) ? [] : [name, text];
  });
}

function readFail(value: unknown, at: string): AttemptAnswer {
  const shape = new Shape(value, at, ['code', 'message', 'retry', 'retryAfter']);
  const retryAfterMs = shape.pauseMs('retryAfter');
  return {
    kind: 'failure',
    code: shape.needText('code', { least: 1, most: 128 }),
    message: shape.needText('message'),
    retry: shape.boolean('retry') ?? true,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}

function readProgress(value: unknown, verbatim: string[]): ProgressReport {
  const shape = new Shape(value, '', ['stage', 'percent', 'message', 'data']);
  const data = shape.has('data') ? verbatim[0] : undefined;
  if (data !== undefined && Buffer.byteLength(data) > mostProgressDataBytes)
    throw fieldError('payload-too-large', '/data', `must not be larger than ${mostProgressDataBytes} bytes`);
  const stage = shape.text('stage', { most: 128 });
  const percent = shape.number('percent', { least: 0, most: 100 });
  const message = shape.text('message');
  return {
    ...(stage === undefined ? {} : { stage }),
    ...(percent === undefined ? {} : { percent }),
    ...(message === undefined ? {} : { message }),
    ...(data === undefined ? {} : { data }),
  };
}

interface Prepared {
  token: string;
  /** Undefined where the token names no lease of this namespace. */
  answer: LeaseAnswer | undefined;
}

function prepare(exchange: Exchange, items: readonly SettleItem[], reply: Reply): Promise<Prepared[]> {
  return Promise.all(
    items.map(async ({ token, answer }) => {
      const lease = await reply.leaseOf(token, exchange.namespace);
      return { token, answer: lease && { ...lease, serviceName: lease.at.service, answer } };
    }),
  );
}

/** All answers in one commit; each token that names no lease of this namespace is refused alone. */
async function record(
  prepared: readonly Prepared[],
  reply: Reply,
): Promise<{ status: number; code?: string; detail?: string }[]> {
  const outcomes = await reply.settle(prepared.flatMap(({ answer }) => answer ?? []));
  let next = 0;
  return prepared.map(({ token, answer }) => {
    // The token of a request that nobody keeps answers to nothing, and that is right.
    if (token === 'none') return { status: 200 };
    const error = answer ? settleError(outcomes[next++]!) : new WaitlessError('not-found', 'no lease has this token');
    if (!error) return { status: 200 };
    return error instanceof WaitlessError
      ? { status: error.status, code: error.code, detail: error.message }
      : { status: 503, code: 'storage-unavailable', detail: 'the answer could not be stored' };
  });
}

/** Put together by hand: the request's head is JSON text already and must not be taken apart. */
async function leaseJson(work: Work, service: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  if (work.body instanceof Uint8Array) chunks.push(work.body);
  else for await (const chunk of work.body) chunks.push(chunk);
  const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
  const correlation = work.correlationId === null ? `"${work.id}"` : JSON.stringify(work.correlationId);
  return (
    `{"token":"${work.token}","operation":{"id":"${work.id}","correlationId":${correlation},"service":"${service}","labels":${work.labels === null ? '{}' : JSON.stringify(work.labels)},` +
    `"createdAt":"${isoTime(work.createdAt)}"},"request":${work.head.slice(0, -1)},${bodyMember(body)}},"attempt":${work.attempt},"lastAttempt":${work.lastAttempt},` +
    `"deadline":${work.deadlineAt === null ? 'null' : `"${isoTime(work.deadlineAt)}"`},"expiresAt":"${isoTime(work.leaseUntil)}"}`
  );
}
