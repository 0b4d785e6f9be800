// What goes out for an event: the message and its name, the request and what it is known by, and what each refusal means.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WaitlessError } from '@waitless/protocol';
import type { ServiceConfig } from '../config/config-shape.ts';
import type { LoggedEvent } from '../engine/topics.ts';
import { silentLog } from '../lib/log.ts';
import type { OutboundNotice } from './deliver.ts';
import { messageIdOf, serviceCarrier, webhookCarrier } from './event-carriers.ts';
import { mostHops } from './event-origins.ts';
import { readFilter } from './event-filter.ts';
import type { SubmitRequest } from './submit.ts';
import type { SubscriptionSettings } from './subscriptions.ts';

const secret = `whsec_${Buffer.alloc(32, 1).toString('base64')}`;
const event = (more: Partial<LoggedEvent> = {}, attributes: Record<string, unknown> = {}): LoggedEvent => ({
  position: 7,
  topic: 'orders.placed',
  head: JSON.stringify({ specversion: '1.0', id: 'order-1', source: '/shop', type: 'order.placed', ...attributes }),
  body: Buffer.from('{"n":1.0}'),
  orderingKey: 'customer-1',
  appendedAt: 1,
  ...more,
});
const settings = (target: SubscriptionSettings['target']): SubscriptionSettings => ({
  number: 3,
  version: 1,
  namespace: 'shop',
  name: 'sub',
  topics: ['orders.*'],
  filter: readFilter(undefined),
  target,
  ordered: false,
  maxInFlight: 16,
  retry: { maxAttempts: 3, initialDelayMs: 1000, maxDelayMs: 1000 },
  leaseMs: 1000,
  deadLetter: true,
  paused: false,
});
const { signal } = new AbortController();

test('a message is known by subscription, source and id: the same at every position and try, another one for anything else', () => {
  const id = messageIdOf({ number: 3 }, { source: '/shop', id: 'order-1' });
  assert.match(id, /^evt_[0-9a-f]{40}$/);
  assert.equal(messageIdOf({ number: 3 }, { source: '/shop', id: 'order-1' }), id);
  const others = [
    messageIdOf({ number: 4 }, { source: '/shop', id: 'order-1' }),
    messageIdOf({ number: 3 }, { source: '/shop', id: 'order-2' }),
    messageIdOf({ number: 3 }, { source: '/shopo', id: 'rder-1' }),
  ];
  assert.equal(new Set([id, ...others]).size, 4);
});

test('a webhook is signed with the secrets of the namespace or those of its own; the fields of its document take the place of ours but never of the signature', async () => {
  const sent: OutboundNotice[] = [];
  const asked: string[] = [];
  const carry = webhookCarrier({
    target: {
      post: (notice) => {
        sent.push(notice);
        return Promise.resolve({ kind: 'failed', code: 'timed-out' });
      },
    },
    secrets: {
      current: (namespace) => {
        asked.push(namespace);
        return Promise.resolve([
          { id: 'a', secret },
          { id: 'b', secret },
        ]);
      },
    },
    wallNow: () => 5000,
    log: silentLog,
  });
  const to = { kind: 'webhook', url: 'https://example.com/', headers: { 'user-agent': 'Shop', 'X-A': '1' } } as const;
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const carried = await carry({ settings: settings(to), event: event({}, { traceparent }), signal });
  assert.deepEqual(carried, { kind: 'tried', tried: { kind: 'failed', code: 'timed-out' } });
  await carry({ settings: settings({ ...to, secrets: [secret] }), event: event({}, { traceparent: 'x' }), signal });
  assert.deepEqual(asked, ['shop']);
  const [first, second] = sent.map(({ headers }) => new Map(headers));
  assert.deepEqual(
    [...first!.keys()],
    ['user-agent', 'traceparent', 'X-A', 'Content-Type', 'webhook-id', 'webhook-timestamp', 'webhook-signature'],
  );
  assert.deepEqual([first!.get('user-agent'), first!.get('webhook-timestamp')], ['Shop', '5']);
  assert.deepEqual(
    [first!, second!].map((fields) => fields.get('webhook-signature')!.split(' ').length),
    [2, 1],
  );
  assert.equal(second!.has('traceparent'), false, 'what is no trace is dropped');
});

test('a webhook that cannot be signed waits, and one that our own end has cut off is not blamed for it', async () => {
  const abort = new AbortController();
  const carry = webhookCarrier({
    target: {
      post: () => {
        abort.abort();
        return Promise.resolve({ kind: 'failed', code: 'connection-failed' });
      },
    },
    secrets: { current: () => Promise.reject(new WaitlessError('secrets-locked')) },
    log: silentLog,
  });
  const to = { kind: 'webhook', url: 'https://example.com/', headers: {} } as const;
  const locked = await carry({ settings: settings(to), event: event(), signal: abort.signal });
  assert.deepEqual([locked.kind, locked.kind === 'postponed' && locked.code], ['postponed', 'secrets-locked']);
  const own = settings({ ...to, secrets: [secret] });
  assert.deepEqual(await carry({ settings: own, event: event(), signal: abort.signal }), { kind: 'interrupted' });
});

const jobs = { name: 'jobs', maxBodyBytes: 100 } as ServiceConfig;
const toJobs = settings({ kind: 'service', service: 'jobs' });

function serviceOn(answer: () => Promise<unknown>, { hops = 0 } = {}) {
  const requests: SubmitRequest[] = [];
  const carry = serviceCarrier({
    submit: async (request) => {
      requests.push(request);
      await answer();
      return { kind: 'forgotten' };
    },
    find: (name) => Promise.resolve(name === 'jobs' ? jobs : undefined),
    origins: { of: () => Promise.resolve({ hops, correlationId: 'conversation' }) },
    log: silentLog,
  });
  return { carry, requests };
}

test('an operation is asked for as by a POST in the binary mode, under a key that no client can send and each event has once', async () => {
  const { carry, requests } = serviceOn(() => Promise.resolve(), { hops: 2 });
  assert.deepEqual(await carry({ settings: toJobs, event: event(), signal }), { kind: 'started' });
  await carry({ settings: toJobs, event: event(), signal });
  await carry({ settings: toJobs, event: event({ position: 8 }), signal });
  const [one, again, other] = requests;
  assert.equal(one!.idempotencyKey, again!.idempotencyKey);
  assert.notEqual(one!.idempotencyKey, other!.idempotencyKey);
  assert.match(one!.idempotencyKey!, /[^\x20-\x7e]/);
  const { namespace, head, body, contentType, correlationId, orderingKey, durability, retryFailed } = one!;
  assert.deepEqual(
    { namespace, contentType, correlationId, orderingKey, durability, retryFailed, text: Buffer.from(body).toString() },
    {
      namespace: 'shop',
      contentType: 'application/json',
      correlationId: 'conversation',
      orderingKey: 'customer-1',
      durability: 'stored',
      retryFailed: false,
      text: '{"n":1.0}',
    },
  );
  assert.deepEqual([head.method, head.path, head.query], ['POST', '', '']);
  assert.deepEqual(Object.fromEntries(head.headers), {
    'ce-specversion': '1.0',
    'ce-id': 'order-1',
    'ce-source': '/shop',
    'ce-type': 'order.placed',
    'Content-Type': 'application/json',
    'ce-waitlesshops': '3',
  });
});

test('what a service can never take is refused with the reason; a full queue or a store that is away is waited for', async () => {
  const outcome = async (error: unknown, more: Partial<LoggedEvent> = {}, to = toJobs): Promise<unknown[]> => {
    const { carry } = serviceOn(() => (error === undefined ? Promise.resolve() : Promise.reject(error as Error)));
    const carried = await carry({ settings: to, event: event(more), signal });
    if (carried.kind === 'postponed') return [carried.kind, carried.code, carried.afterMs];
    return carried.kind === 'refused' ? [carried.kind, carried.code] : [carried.kind];
  };
  const gone = settings({ kind: 'service', service: 'gone' });
  assert.deepEqual(await outcome(undefined, {}, gone), ['refused', 'unknown-target']);
  assert.deepEqual(await outcome(undefined, { body: Buffer.alloc(101) }), ['refused', 'payload-too-large']);
  assert.deepEqual(await outcome(new WaitlessError('invalid-parameter')), ['refused', 'invalid-parameter']);
  const full = new WaitlessError('queue-full', 'full', { retryAfterSeconds: 7 });
  assert.deepEqual(await outcome(full), ['postponed', 'queue-full', 7000]);
  assert.deepEqual(await outcome(new WaitlessError('engine-unavailable')), ['postponed', 'engine-unavailable', 1000]);
  assert.deepEqual(await outcome(new Error('a bug')), ['postponed', 'not-sent', 5000]);
});

test('a service starts nothing from its own transitions, and a chain of too many operations ends as a dead letter', async () => {
  const own = serviceOn(() => Promise.resolve());
  const told = event({ topic: 'operations.jobs.succeeded' });
  assert.deepEqual(await own.carry({ settings: toJobs, event: told, signal }), { kind: 'left-out' });
  assert.equal(own.requests.length, 0);
  const others = event({ topic: 'operations.other.succeeded' });
  assert.equal((await own.carry({ settings: toJobs, event: others, signal })).kind, 'started');
  const last = serviceOn(() => Promise.resolve(), { hops: mostHops - 1 });
  assert.equal((await last.carry({ settings: toJobs, event: event(), signal })).kind, 'started');
  const beyond = serviceOn(() => Promise.resolve(), { hops: mostHops });
  const carried = await beyond.carry({ settings: toJobs, event: event(), signal });
  assert.deepEqual([carried.kind, carried.kind === 'refused' && carried.code], ['refused', 'too-many-hops']);
  assert.equal(beyond.requests.length, 0);
});
