// The worker's side over HTTP: taking leases, and answering them one by one or piggybacked on the next call.
import { isName, WaitlessError } from '@waitless/protocol';
import type { Answer as AttemptAnswer } from '../../core/lifecycle.ts';
import { progressJson } from '../../core/document.ts';
import { type LeaseAnswer, type Reply, settleError } from '../../core/reply.ts';
import type { Services } from '../../core/services.ts';
import type { WorkVerb } from '../../core/work.ts';
import type { SettleOutcome } from '../../engine/engine.ts';
import { isoTime } from '../../lib/clock.ts';
import {
  content,
  failFields,
  leaseMsIn,
  progressFields,
  readFail,
  readProgress,
  readReply,
  replyFields,
} from '../json/lease-answers.ts';
import { leaseMembers, wholeBody } from '../json/lease.ts';
import { fieldError, Shape } from '../json/shape.ts';
import type { Exchange, Handler } from './exchange.ts';
import { jsonAnswer } from './exchange.ts';
import { jsonBody } from './json-body.ts';
import { namedService } from './named-service.ts';

export interface LeasesDependencies {
  services: Services;
  work: WorkVerb;
  reply: Reply;
  maxWaitMs: number;
}

const envelopeBytes = 16 * 1024 * 1024;
const controlBytes = 256 * 1024;
const mostLeases = 1000;

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
    const leaseMs = leaseMsIn(shape);
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
      leaseMs,
      waitMs,
      signal,
    });
    const [settled, taken] = await Promise.allSettled([settling, taking]);
    if (taken.status === 'fulfilled' && (settled.status === 'rejected' || exchange.signal.aborted))
      await reply.release(taken.value.map(({ token }) => token));
    if (settled.status === 'rejected') throw settled.reason;
    if (taken.status === 'rejected') throw taken.reason;
    const leases = await Promise.all(
      taken.value.map(
        async (item) => `{${leaseMembers(item, { service: service.name, body: await wholeBody(item.body) })}}`,
      ),
    );
    return jsonAnswer(200, `{"settled":${JSON.stringify(settled.value)},"leases":[${leases.join(',')}]}`);
  };

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
    return settledAnswer(await settleOne(exchange, readFail(new Shape(value, '', failFields))));
  };

  const release: Handler = async (exchange) => {
    const { value } = await jsonBody(exchange, { limit: controlBytes });
    new Shape(value, '', []);
    return settledAnswer(await settleOne(exchange, { kind: 'released' }));
  };

  const extend: Handler = async (exchange) => {
    const { value } = await jsonBody(exchange, { limit: controlBytes });
    const leaseMs = leaseMsIn(new Shape(value, '', ['leaseSeconds']));
    const outcome = await reply.extend(await held(exchange), { leaseMs, progress: null });
    return jsonAnswer(200, JSON.stringify({ expiresAt: isoTime(outcome.leaseUntil) }));
  };

  const progress: Handler = async (exchange) => {
    const { value, verbatim } = await jsonBody(exchange, { limit: controlBytes, verbatim: { key: 'data', depth: 1 } });
    const report = readProgress(new Shape(value, '', progressFields), verbatim[0]);
    const outcome = await reply.extend(await held(exchange), { leaseMs: undefined, progress: report });
    return jsonAnswer(
      200,
      `{"expiresAt":${JSON.stringify(isoTime(outcome.leaseUntil))},"progress":${progressJson({ sequence: outcome.progressSequence, ...report })}}`,
    );
  };

  return { lease, reply: replyOne, fail, release, extend, progress };
}

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
    if (shape.has('fail')) return { token, answer: readFail(new Shape(shape.any('fail'), `${at}/fail`, failFields)) };
    const reply = new Shape(shape.any('reply'), `${at}/reply`, replyFields);
    const text = reply.has('body') ? verbatim[used++]! : undefined;
    const value = reply.any('body');
    // A string is its UTF-8 bytes, any other JSON value its source text as it came.
    const body = text === undefined ? undefined : Buffer.from(typeof value === 'string' ? value : text, 'utf8');
    return { token, answer: readReply(reply, { at: `${at}/reply`, body, mostBytes: envelopeBytes }) };
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
