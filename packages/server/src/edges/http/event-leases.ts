// The consumer's side of pull subscriptions over HTTP: taking events, and answering them one by one or piggybacked on the next call.
import { isName, WaitlessError } from '@waitless/protocol';
import type { TakenEvent } from '../../core/event-taking.ts';
import { structuredJson } from '../../core/event-words.ts';
import type { EventLeaseName, Ids } from '../../core/ids.ts';
import { type AnsweredEvent, type EventAnswer, eventSettleError, type Pull } from '../../core/pull.ts';
import type { Subscriptions } from '../../core/subscriptions.ts';
import type { EventSettleOutcome } from '../../engine/subscriptions.ts';
import { isoTime } from '../../lib/clock.ts';
import { longestLeaseSeconds } from '../json/lease-answers.ts';
import { fieldError, Shape } from '../json/shape.ts';
import { type Exchange, type Handler, jsonAnswer } from './exchange.ts';
import { jsonBody } from './json-body.ts';
import { subscriptionKey } from './subscriptions.ts';

export interface EventLeasesDependencies {
  subscriptions: Subscriptions;
  pull: Pull;
  ids: Ids;
  maxWaitMs: number;
}

const envelopeBytes = 1024 * 1024;
const controlBytes = 256 * 1024;
const mostLeases = 1000;
const mostMessage = 2000;
const nackFields = ['retryAfter', 'message'] as const;

interface SettleItem {
  token: string;
  answer: EventAnswer;
}

export function eventLeaseHandlers({ subscriptions, pull, ids, maxWaitMs }: EventLeasesDependencies) {
  const lease: Handler = async (exchange) => {
    const key = subscriptionKey(exchange);
    const { value } = await jsonBody(exchange, { limit: envelopeBytes });
    const shape = new Shape(value, '', ['worker', 'max', 'waitSeconds', 'leaseSeconds', 'settle']);
    const worker = shape.text('worker', { most: 128, least: 1 }) ?? null;
    if (worker !== null && !isName(worker))
      throw fieldError(
        'invalid-name',
        '/worker',
        'must start with a letter or digit and go on with letters, digits, "_" and "-", 128 at most',
      );
    const max = shape.number('max', { least: 1, most: mostLeases, whole: true }) ?? 1;
    const waitSeconds = shape.number('waitSeconds', { least: 0, most: Number.MAX_SAFE_INTEGER }) ?? 0;
    const leaseMs = leaseMsOf(shape);
    // Every item is read before any is recorded: a malformed envelope leaves nothing behind.
    const items = (shape.list('settle', mostLeases) ?? []).map(readItem);
    const prepared = await Promise.all(items.map((item) => prepare(item, exchange.namespace)));
    // Both are asked in one turn, the answers first: they are recorded before the next events are handed out.
    const settling = record(prepared);
    const taking = pull.take({
      ...key,
      worker,
      max,
      leaseMs,
      waitMs: Math.min(waitSeconds * 1000, maxWaitMs),
      signal: exchange.signal,
    });
    const [settled, taken] = await Promise.allSettled([settling, taking]);
    if (taken.status === 'fulfilled' && (settled.status === 'rejected' || exchange.signal.aborted))
      await giveBack(taken.value.events);
    if (settled.status === 'rejected') throw settled.reason;
    if (taken.status === 'rejected') throw taken.reason;
    const { events, missed } = taken.value;
    const reset = missed ? `,"reset":${JSON.stringify(missed)}` : '';
    const leases = events.map((one) => leaseJson(one)).join(',');
    return jsonAnswer(200, `{"settled":${JSON.stringify(settled.value)},"leases":[${leases}]${reset}}`);
  };

  function leaseJson({ lease: held, event }: TakenEvent): string {
    const { position, attempt, leaseUntil } = held;
    const about = {
      token: ids.eventToken(held),
      position,
      topic: event.topic,
      attempt,
      lastAttempt: attempt >= (subscriptions.byNumber(held.subscription)?.retry.maxAttempts ?? Infinity),
      expiresAt: isoTime(leaseUntil),
    };
    return `${JSON.stringify(about).slice(0, -1)},"event":${structuredJson(event)}}`;
  }

  /** Nobody is there to do it: it is ready for the next at once, not after its lease. */
  async function giveBack(events: readonly TakenEvent[]): Promise<void> {
    await pull.settle(events.map(({ lease: held }) => ({ lease: held, answer: { kind: 'released' } })));
  }

  /** The lease of a token; undefined for one that was never issued, of another kind, or of another namespace. */
  async function leaseOf(token: string, namespace: string | undefined): Promise<EventLeaseName | undefined> {
    const found = ids.eventLeaseName(token);
    if (!found || namespace === undefined) return found;
    const settings = await subscriptions.find(found.subscription);
    return settings?.namespace === namespace ? found : undefined;
  }

  async function prepare({ token, answer }: SettleItem, namespace: string): Promise<AnsweredEvent | WaitlessError> {
    const found = await leaseOf(token, namespace);
    return found ? { lease: found, answer } : noSuchLease(token);
  }

  /** All answers in one commit; each token that names no lease of an event of this namespace is refused alone. */
  async function record(
    prepared: readonly (AnsweredEvent | WaitlessError)[],
  ): Promise<{ status: number; code?: string; detail?: string }[]> {
    const outcomes = await pull.settle(prepared.filter((one): one is AnsweredEvent => !(one instanceof WaitlessError)));
    let next = 0;
    return prepared.map((one) => {
      const error = one instanceof WaitlessError ? one : eventSettleError(outcomes[next++]!);
      return error ? { status: error.status, code: error.code, detail: error.message } : { status: 200 };
    });
  }

  const noSuchLease = (token: string): WaitlessError =>
    new WaitlessError(
      'not-found',
      ids.leaseName(token)
        ? 'this is the token of an operation; answer it with reply, fail or release'
        : 'no lease has this token',
    );

  /** The token is the credential; a key that comes along must be of the same namespace. */
  async function held(exchange: Exchange): Promise<EventLeaseName> {
    const token = exchange.params['token']!;
    const own = exchange.headers('authorization') === undefined ? undefined : exchange.namespace;
    const found = await leaseOf(token, own);
    if (!found) throw noSuchLease(token);
    return found;
  }

  async function settleOne(exchange: Exchange, answer: EventAnswer) {
    const [outcome] = (await pull.settle([{ lease: await held(exchange), answer }])) as [EventSettleOutcome];
    const error = eventSettleError(outcome);
    if (error) throw error;
    return jsonAnswer(200, JSON.stringify({ status: outcome.kind }));
  }

  const plain =
    (answer: EventAnswer): Handler =>
    async (exchange) => {
      const { value } = await jsonBody(exchange, { limit: controlBytes });
      new Shape(value, '', []);
      return settleOne(exchange, answer);
    };

  const nack: Handler = async (exchange) => {
    const { value } = await jsonBody(exchange, { limit: controlBytes });
    return settleOne(exchange, readNack(new Shape(value, '', nackFields)));
  };

  const extend: Handler = async (exchange) => {
    const { value } = await jsonBody(exchange, { limit: controlBytes });
    const leaseMs = leaseMsOf(new Shape(value, '', ['leaseSeconds']));
    const leaseUntil = await pull.extend(await held(exchange), leaseMs);
    return jsonAnswer(200, JSON.stringify({ expiresAt: isoTime(leaseUntil) }));
  };

  /** Verbs that leases of operations have too, or alone: the token tells which it is. */
  const either =
    (ofOperation: Handler, ofEvent?: Handler): Handler =>
    (exchange) => {
      if (!ids.eventLeaseName(exchange.params['token']!)) return ofOperation(exchange);
      if (ofEvent) return ofEvent(exchange);
      throw new WaitlessError('not-found', 'this is the token of an event; answer it with ack, nack or release');
    };

  return { lease, ack: plain({ kind: 'ack' }), release: plain({ kind: 'released' }), nack, extend, either };
}

function leaseMsOf(shape: Shape): number | undefined {
  const seconds = shape.number('leaseSeconds', { above: 0, most: longestLeaseSeconds });
  return seconds === undefined ? undefined : Math.ceil(seconds * 1000);
}

const readNack = (shape: Shape): EventAnswer => ({
  kind: 'nack',
  retryAfterMs: shape.pauseMs('retryAfter'),
  message: shape.text('message', { most: mostMessage }) ?? null,
});

function readItem(item: unknown, index: number): SettleItem {
  const at = `/settle/${index}`;
  const shape = new Shape(item, at, ['token', 'ack', 'nack', 'release']);
  const token = shape.needText('token', { most: 256 });
  const given = (['ack', 'nack', 'release'] as const).filter((name) => shape.has(name));
  const [kind] = given;
  if (kind === undefined || given.length > 1)
    throw fieldError('invalid-parameter', at, 'must have exactly one of ack, nack and release');
  if (kind === 'nack') return { token, answer: readNack(new Shape(shape.any('nack'), `${at}/nack`, nackFields)) };
  if (shape.any(kind) !== true) throw fieldError('invalid-parameter', `${at}/${kind}`, 'must be true');
  return { token, answer: { kind: kind === 'ack' ? 'ack' : 'released' } };
}
