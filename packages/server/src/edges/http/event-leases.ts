// The consumer's side of pull subscriptions over HTTP: taking events, and answering them one by one or piggybacked on the next call.
import { isName, WaitlessError } from '@waitless/protocol';
import type { TakenEvent } from '../../core/event-taking.ts';
import { type EventTokens, ofAnEvent } from '../../core/event-tokens.ts';
import type { EventLeaseName } from '../../core/ids.ts';
import { type AnsweredEvent, type EventAnswer, eventSettleError, type Pull } from '../../core/pull.ts';
import type { EventSettleOutcome } from '../../engine/subscriptions.ts';
import { isoTime } from '../../lib/clock.ts';
import { eventLeaseMembers, nackFields, readNack } from '../json/event-lease.ts';
import { leaseMsIn } from '../json/lease-answers.ts';
import { fieldError, Shape } from '../json/shape.ts';
import { type Exchange, type Handler, jsonAnswer } from './exchange.ts';
import { jsonBody } from './json-body.ts';
import { subscriptionKey } from './subscriptions.ts';

export interface EventLeasesDependencies {
  pull: Pull;
  tokens: EventTokens;
  maxWaitMs: number;
}

const envelopeBytes = 1024 * 1024;
const controlBytes = 256 * 1024;
const mostLeases = 1000;

interface SettleItem {
  token: string;
  answer: EventAnswer;
}

export function eventLeaseHandlers({ pull, tokens, maxWaitMs }: EventLeasesDependencies) {
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
    const leaseMs = leaseMsIn(shape);
    // Every item is read before any is recorded: a malformed envelope leaves nothing behind.
    const items = (shape.list('settle', mostLeases) ?? []).map(readItem);
    const prepared = await prepare(items, exchange.namespace);
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
    const leases = events.map((one) => `{${eventLeaseMembers(one, tokens)}}`).join(',');
    return jsonAnswer(200, `{"settled":${JSON.stringify(settled.value)},"leases":[${leases}]${reset}}`);
  };

  /** Nobody is there to do it: it is ready for the next at once, not after its lease. */
  async function giveBack(events: readonly TakenEvent[]): Promise<void> {
    await pull.settle(events.map(({ lease: held }) => ({ lease: held, answer: { kind: 'released' } })));
  }

  async function prepare(items: readonly SettleItem[], namespace: string): Promise<(AnsweredEvent | WaitlessError)[]> {
    const leases = await tokens.leasesOf(items.map(({ token }) => ({ token, namespace })));
    return items.map(({ token, answer }, i) => {
      const named = leases[i];
      return named ? { lease: named, answer } : tokens.noLease(token);
    });
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

  /** The token is the credential; a key that comes along must be of the same namespace. */
  async function held(exchange: Exchange): Promise<EventLeaseName> {
    const token = exchange.params['token']!;
    const own = exchange.headers('authorization') === undefined ? undefined : exchange.namespace;
    const [found] = await tokens.leasesOf([{ token, namespace: own }]);
    if (!found) throw tokens.noLease(token);
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
    const leaseMs = leaseMsIn(new Shape(value, '', ['leaseSeconds']));
    const leaseUntil = await pull.extend(await held(exchange), leaseMs);
    return jsonAnswer(200, JSON.stringify({ expiresAt: isoTime(leaseUntil) }));
  };

  /** Verbs that leases of operations have too, or alone: the token tells which it is. */
  const either =
    (ofOperation: Handler, ofEvent?: Handler): Handler =>
    (exchange) => {
      if (!tokens.isOfEvent(exchange.params['token']!)) return ofOperation(exchange);
      if (ofEvent) return ofEvent(exchange);
      throw ofAnEvent();
    };

  return { lease, ack: plain({ kind: 'ack' }), release: plain({ kind: 'released' }), nack, extend, either };
}

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
