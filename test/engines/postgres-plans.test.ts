// Every statement of the engine looks rows up by the index made for it: by plans made while the store is new and empty, which are kept while it
// grows, and by those made when the database knows its tables. One that reads a whole table or a wrong index is not slow here, and is with a million rows.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { Client } from 'pg';
import { readAddress } from '../../packages/server/src/engines/postgres/address.ts';
import { cleanUp } from '../support/cleanup.ts';
import type { DueOperation, Sharing, Transition } from '../../packages/server/src/engine/engine.ts';
import {
  again,
  callbackTo,
  kept,
  kindsOf,
  lease,
  leaseDeliveries,
  postgresStore,
  settle,
  settlementOf,
  skip,
  submission,
  submit,
  succeeded,
  tell,
  type TestNode,
  type TestStore,
  waits,
} from './postgres-store.ts';
import { event as newEvent } from '../../packages/server/src/engine/conformance/log-race.ts';

/** Tables that grow with the operations, and with the log. */
const large = new Set([
  'operation',
  'request',
  'result',
  'happening',
  'idempotency',
  'label',
  'event',
  'keyed',
  'poll',
  'callback',
  'outlet',
  'delivery',
  'delivery_attempt',
  'ordered',
  'known_event',
  'taken',
  'dead_event',
]);

/** Indexes that a statement may use besides the keys of the tables. */
const others: Record<string, readonly string[]> = {
  lease: ['operation_ready'],
  'ready-queues': ['operation_ready'],
  due: ['operation_carried', 'operation_held', 'operation_waiting'],
  'next-timer': ['operation_carried', 'operation_held', 'operation_waiting', 'poll_at'],
  'void-push-leases': ['operation_carried'],
  'remove-expired': ['operation_ended', 'label_seq', 'idempotency_told', 'delivery_seq'],
  'remove-one': ['label_seq', 'idempotency_told', 'delivery_seq'],
  'list-correlation': ['request_correlation'],
  'list-trouble': ['operation_trouble'],
  'list-key': ['request_key'],
  ahead: ['operation_ready'],
  shares: ['keyed_queue_share_key'],
  'look-up': ['keyed_identity'],
  forget: ['keyed_identity'],
  'due-polls': ['poll_at'],
  'lease-deliveries': ['outlet_due', 'outlet_full', 'delivery_waiting'],
  'lease-deliveries-waiting': ['outlet_due', 'outlet_full', 'delivery_waiting'],
  'settle-deliveries': ['delivery_waiting'],
  'interrupt-late': ['delivery_sending'],
  'interrupt-gone': ['delivery_sending'],
  'drop-outlets': ['outlet_idle'],
  'next-outlet': ['outlet_due'],
  deliveries: ['delivery_listed'],
  'deliveries-of': ['delivery_seq'],
  'read-log': ['event_topic'],
  topics: ['event_topic'],
  trim: ['event_topic'],
  'forget-known': ['known_event_until'],
  claim: ['taken_ordering'],
  'lease-due': ['taken_waiting', 'taken_ordering'],
  'taken-settle': ['taken_ordering'],
  'taken-redrive': ['taken_ordering'],
  'taken-expire': ['taken_sending'],
  'taken-void': ['taken_sending'],
  'taken-next': ['taken_timer', 'taken_sending'],
};
/** They read an index from its beginning: up to a limit, or all that the nodes carry. */
const fromTheStart = new Set([
  'next-timer',
  'void-push-leases',
  'interrupt-gone',
  'drop-outlets',
  'next-outlet',
  'taken-void',
  'taken-next',
]);

/** Keys of a log or a subscription and a position in it: by the first part alone all of it is read. */
const positioned = new Set(['event_pkey', 'taken_pkey', 'dead_event_pkey']);
/** Those that mean all of a subscription. */
const ofAll = new Set(['subscriptions', 'subscription', 'subscription-remove', 'taken-redrive', 'taken-forget']);

interface Plan {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  'Index Cond'?: string;
  'Join Filter'?: string;
  Plans?: Plan[];
}

function* nodesOf(plan: Plan): Generator<Plan> {
  yield plan;
  for (const below of plan.Plans ?? []) yield* nodesOf(below);
}

/** What is wrong with the plan of a statement. */
function faultsOf(name: string, plan: Plan): string[] {
  const allowed = new Set([...[...large].map((table) => `${table}_pkey`), ...(others[name] ?? [])]);
  return [...nodesOf(plan)].flatMap((node) => {
    const { 'Node Type': type, 'Relation Name': table = '', 'Index Name': index = '', 'Index Cond': condition } = node;
    if (type.startsWith('Gather')) return ['starts other processes'];
    if (type === 'Hash Join' || type === 'Merge Join') return [`joins by ${type}`];
    if (!large.has(table) || type === 'ModifyTable' || type === 'LockRows' || type === 'Tid Scan') return [];
    if (type === 'Seq Scan') return [`reads all of ${table}`];
    if (!type.startsWith('Index')) return [`${type} on ${table}`];
    if (!allowed.has(index)) return [`reads ${table} by ${index}`];
    if (positioned.has(index) && condition?.includes('"position"') === false && !ofAll.has(name))
      return [`reads all that ${index} has of one`];
    return condition === undefined && !fromTheStart.has(name) ? [`walks the whole of ${index}`] : [];
  });
}

/** Has an engine run every statement it has once; their texts by name. */
async function statementsOf(t: TestContext, store: TestStore): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  const prototype = Client.prototype as unknown as { query: (...values: unknown[]) => unknown };
  const original = Reflect.get(prototype, 'query');
  prototype.query = function record(...values) {
    const { name, text } = (values[0] ?? {}) as { name?: string; text?: string };
    // What begins and ends a transaction has no plan.
    if (name !== undefined && text !== undefined && !/^(BEGIN|COMMIT|ROLLBACK)$/.test(text)) texts.set(name, text);
    return original.apply(this, values);
  };
  cleanUp(t, () => (prototype.query = original));
  const node = await store.node({ pollMs: 20 });
  const { engine, clock } = node;
  const key = { key: 'k', fingerprint: 'f', expiresAt: clock.now() + 10, retryFailed: false };
  const labels = { a: 'b' };
  for (const part of [
    {},
    { labels },
    { idempotency: key },
    { idempotency: { ...key, key: 'k2' }, labels },
    { idempotency: key },
  ])
    await submit(node, [part]);
  clock.advance(10);
  await submit(node, [{ idempotency: key }, { runAt: clock.now() + 2000 }]);
  const [a, b, c, d] = await lease(node, { leaseMs: 2000 });
  await engine.extend({ ...a!, leaseMs: 60_000, progress: { percent: 1 } }, clock.now());
  await engine.extend({ ...a!, leaseMs: 60_000, progress: null }, clock.now());
  await settle(node, [b!, { seq: 99_999, leaseNo: 1 }]);
  await settle(node, [c!], again(node));
  const [ended] = await engine.recordsOf([b!.seq]);
  for await (const part of engine.readBody(b!.seq, 'request')) assert.ok(part.length > 0);
  for await (const part of engine.readBody(b!.seq, 'result')) assert.ok(part.length > 0);
  await Promise.all([engine.result(b!.seq), engine.timeline(a!.seq), engine.counts(), engine.health()]);
  for (const filter of [{}, { correlationId: 'x' }, { labels }, { service: 'work', statuses: ['failed' as const] }])
    await engine.operations({ namespace: 'default', limit: 5, ...filter });
  await engine.purge({ ...ended!, namespace: 'default' });
  const [open] = await engine.recordsOf([d!.seq]);
  await engine.cancel({ ...open!, namespace: 'default' }, clock.now());
  await engine.append([newEvent({ namespace: 'n' })], clock.now());
  await engine.read({ namespace: 'n', topics: ['**'], after: 0, limit: 5, maxBytes: 100 });
  const due: DueOperation[] = [];
  // In steps: after a longer time the node would find that nobody lived, and no lease would have ended.
  for (let i = 0; i < 3; i++) {
    clock.advance(2000);
    due.push(...(await engine.sweep(clock.now(), { removeExpired: true })).due);
  }
  const transition = { to: 'failed' as const, error: { code: 'x', message: 'y' }, result: null };
  await engine.applyClock(
    due.map(({ seq, version }) => ({ seq, version, transition })),
    clock.now(),
  );
  await keyedStatements(node);
  await laneStatements(node);
  await eventStatements(node);
  await deliveryStatements(t, store, node);
  const waiting = new AbortController();
  const taker = lease(node, { wait: true, namespace: 'nowhere' }, waiting.signal);
  while (!texts.has('ready-queues')) await pause(5);
  waiting.abort();
  await taker;
  await node.close();
  return texts;
}

const share = (name: string): Sharing => ({
  identity: name,
  share: name,
  use: 'stored',
  maxAgeMs: null,
  onlyStored: false,
});

/** Those about business keys, backends that are asked, and documents. */
async function keyedStatements(node: TestNode): Promise<void> {
  const { engine, clock } = node;
  const { id } = await engine.queue('default', 'keyed');
  const idempotency = { key: 'told', fingerprint: 'f', expiresAt: clock.now() + 10, retryFailed: false };
  const ask = { queue: id, key: 'a', sharing: share('a') };
  await submit(node, [ask]);
  assert.deepEqual(kindsOf(await submit(node, [{ ...ask, idempotency }])), ['joined']);
  clock.advance(10);
  assert.deepEqual(kindsOf(await submit(node, [{ ...ask, idempotency }])), ['joined']);
  const [one] = await lease(node, { service: 'keyed' });
  const poll = { url: 'http://backend', at: clock.now() };
  await settle(node, [one!], { to: 'later', leaseUntil: clock.now() + 60_000, poll });
  await engine.extend({ ...one!, leaseMs: null, progress: null, poll }, clock.now());
  assert.equal((await engine.sweep(clock.now(), { removeExpired: false })).polls.length, 1);
  await settle(node, [one!], kept(1000));
  assert.equal((await engine.lookUp({ queue: id, identity: 'a' }, clock.now()))?.kind, 'stored');
  assert.equal(await engine.forget({ queue: id, identity: 'a' }), true);
  await engine.operations({ namespace: 'default', key: 'a', limit: 5 });
  await Promise.all([engine.request(one!.seq), engine.ahead(one!.seq, 5), engine.counts([id])]);
  const document = { kind: 'k', name: 'n' };
  await engine.save({ ...document, text: '{}', savedAt: 1 });
  assert.equal((await engine.list('k')).length, 1);
  await engine.remove(document);
}

/** Those about ordering keys. */
async function laneStatements(node: TestNode): Promise<void> {
  const { engine, clock } = node;
  const { id } = await engine.queue('default', 'ordered');
  const of = { queue: id, orderingKey: 'k' };
  await submit(node, [of, { ...of, deadlineAt: clock.now() + 1 }, of, { ...of, key: 'o', sharing: share('o') }]);
  const [first] = await lease(node, { service: 'ordered' });
  await settle(node, [first!]);
  clock.advance(1);
  const { due } = await engine.sweep(clock.now(), { removeExpired: false });
  const transition = { to: 'failed' as const, error: { code: 'x', message: 'y' }, result: null };
  await engine.applyClock(
    due.map(({ seq, version }) => ({ seq, version, transition })),
    clock.now(),
  );
  const [third] = await lease(node, { service: 'ordered' });
  const [record] = await engine.recordsOf([third!.seq]);
  assert.equal((await engine.cancel({ ...record!, namespace: 'default' }, clock.now())).kind, 'cancelled');
}

/** Those about topics, subscriptions and transitions. */
async function eventStatements(node: TestNode): Promise<void> {
  const { engine, clock } = node;
  const named = { namespace: 'events', name: 'sub' };
  const document = { ...named, text: '{}', topics: ['a.*', 'operations.*.*'], savedAt: clock.now() };
  const { subscription } = await engine.saveSubscription(document, 'now');
  const known = { identity: 'i', knownUntil: clock.now() + 1000 };
  const event = newEvent({ namespace: 'events', topic: 'a.b', orderingKey: 'k' });
  await engine.append([{ ...event, ...known }, event, event], clock.now());
  await engine.append([{ ...event, ...known }], clock.now());
  const page = await engine.read({ namespace: 'events', topics: ['a.*'], after: 0, limit: 5, maxBytes: 100 });
  const { number } = subscription;
  const out = { kind: 'push' as const, worker: null, leaseMs: 60_000 };
  const take = page.events.map(({ position }) => ({ position, orderingKey: 'k' }));
  await engine.claim(
    { subscription: number, readFrom: subscription.readTo, readTo: page.readTo, take, ordered: true, ...out },
    clock.now(),
  );
  const [first] = take;
  const leased = { subscription: number, position: first!.position, leaseNo: 1 };
  await engine.extendEvent({ ...leased, leaseMs: 60_000 }, clock.now());
  const ill = { kind: 'ill' as const, tripAt: 9, blockUntil: 1 };
  const dead = { to: 'dead' as const, code: 'x', detail: null };
  await engine.settleEvents([{ ...leased, verdict: dead, outlet: ill }], clock.now());
  await engine.settleEvents([{ ...leased, verdict: { to: 'acked' } }], clock.now());
  const [due] = await engine.leaseDue({ subscription: number, max: 5, maxBytes: 100, ...out }, clock.now());
  await engine.settleEvents([{ ...due!.lease, verdict: { to: 'acked' }, outlet: { kind: 'well' } }], clock.now());
  await engine.openEvents({ subscription: number, states: ['dead'], limit: 5 });
  await engine.redriveEvents({ subscription: number, positions: [first!.position], limit: 5 }, clock.now());
  await engine.forgetDead({ subscription: number, limit: 5 });
  await Promise.all([engine.subscriptions(), engine.pauseSubscription(named, true)]);
  const [topic] = (await engine.topics('events')).filter(({ name }) => name === 'a.b');
  const cut = { topic: topic!.number, olderThan: null, keepBytes: 0, notBeyond: page.last, limit: 1 };
  await engine.trim(cut, clock.now());
  await engine.publishTransitions({ nothing: true });
  await engine.publishTransitions({ nothing: false });
  await engine.sweep(clock.now(), { removeExpired: true });
  await engine.removeSubscription(named);
}

/** Those about callbacks and their deliveries. */
async function deliveryStatements(t: TestContext, store: TestStore, node: TestNode): Promise<void> {
  const { engine, clock } = node;
  const { id } = await engine.queue('default', 'told');
  const callback = callbackTo('shop', { progress: true });
  await submit(node, [
    { queue: id, callback },
    ...[1, 2].map(() => ({ queue: id, key: 't', sharing: share('t'), callback })),
  ]);
  for (const one of await lease(node, { service: 'told' })) {
    await engine.extend({ ...one, leaseMs: null, progress: { percent: 1 } }, clock.now());
    await settle(node, [one]);
  }
  const session = await store.session();
  await session.query('BEGIN');
  await session.query('SELECT FROM outlet FOR UPDATE');
  // Its outlet is held by somebody: the second look waits for it.
  const waited = leaseDeliveries(node);
  await waits(store, 'waitless', 'transactionid');
  await session.query('COMMIT');
  const [sending] = await waited;
  assert.equal((await engine.deliveries({ namespace: 'default', limit: 5 })).length, 5);
  assert.equal((await engine.deliveries({ namespace: 'default', seq: sending!.operation.seq, limit: 5 })).length, 2);
  assert.equal((await engine.delivery(sending!.number, 'default'))?.delivery.state, 'sending');
  assert.deepEqual(kindsOf(await engine.settleDeliveries([settlementOf(node, sending!)], clock.now())), ['recorded']);
  assert.equal((await engine.redeliver(sending!.number, 'default', clock.now())).kind, 'waiting');
  await engine.sweep(clock.now(), { removeExpired: true });
  assert.equal(await engine.purge({ ...sending!.operation, namespace: 'default' }), true);
}

/** A session with the engine's own settings, that has prepared all statements. */
async function prepared(t: TestContext, { url }: TestStore, texts: ReadonlyMap<string, string>): Promise<Client> {
  const client = new Client(readAddress(url).config);
  await client.connect();
  cleanUp(t, () => client.end());
  for (const [name, text] of texts) await client.query(`PREPARE "${name}" AS ${text}`);
  return client;
}

async function faults(client: Client): Promise<Record<string, string[]>> {
  const { rows } = await client.query<{ name: string; count: number }>(
    'SELECT name, cardinality(parameter_types) AS count FROM pg_prepared_statements',
  );
  assert.ok(
    rows.length >= 74,
    rows
      .map(({ name }) => name)
      .sort()
      .join(' '),
  );
  const found: Record<string, string[]> = {};
  for (const { name, count } of rows) {
    const values = count === 0 ? '' : `(${Array.from({ length: count }, () => 'NULL').join(', ')})`;
    const explained = await client.query<{ 'QUERY PLAN': [{ Plan: Plan }] }>(
      `EXPLAIN (FORMAT JSON) EXECUTE "${name}"${values}`,
    );
    const wrong = faultsOf(name, explained.rows[0]!['QUERY PLAN'][0].Plan);
    if (wrong.length > 0) found[name] = wrong;
  }
  return found;
}

test('every statement looks up by the index made for it, planned early or late', { skip }, async (t) => {
  const store = await postgresStore(t);
  const texts = await statementsOf(t, store);
  await store.sql(`TRUNCATE ${[...large].join(', ')}`);
  const early = await prepared(t, store, texts);
  assert.deepEqual(await faults(early), {}, 'planned while the store is empty');
  const node = await store.node();
  const { id } = await node.engine.queue('default', 'work');
  const ends: Transition[] = [
    succeeded,
    kept(60_000),
    succeeded,
    kept(0),
    { to: 'failed', error: { code: 'x', message: 'y' }, result: null },
  ];
  for (let i = 0; i < 20; i++) {
    const parts = Array.from({ length: 250 }, (_, n) => ({
      labels: n % 5 === 0 ? { a: `${n % 7}` } : null,
      correlationId: n % 3 === 0 ? `c${n}` : null,
      retentionMs: 1,
      ...(n % 4 === 0 ? { key: `k${n}`, sharing: share(`${i} ${n % 50}`) } : {}),
    }));
    await node.engine.submit(
      parts.map((part) => submission(id, node.clock, part)),
      node.clock.now(),
    );
    const idempotency = { fingerprint: 'f', expiresAt: node.clock.now() + 60_000, retryFailed: false };
    const joins = Array.from({ length: 20 }, (_, n) => ({
      sharing: share(`${i} ${(2 * n) % 50}`),
      idempotency: { ...idempotency, key: `${i} ${n}` },
    }));
    await submit(node, joins);
    if (i < 15) await settle(node, await lease(node, { max: 250, kind: i % 2 === 0 ? 'push' : 'pull' }), ends[i % 5]);
  }
  const answersLater = await lease(node, { max: 300, kind: 'push' });
  const poll = { url: 'http://backend', at: node.clock.now() + 1000 };
  await settle(node, answersLater, { to: 'later', leaseUntil: node.clock.now() + 60_000, poll });
  await tell(node, 200, callbackTo('shop'));
  await leaseDeliveries(node);
  // Many that are over, as of a place that has been dead for weeks, and of many places that something waits for.
  const ofMany = (rows: string, count: number): Promise<unknown> =>
    store.sql(`${rows} FROM generate_series(1, ${count}) g`);
  await ofMany(
    `INSERT INTO delivery (seq, callback, version, namespace, outlet, at, created_at, state, ended_at) SELECT 1e9 + g, 1, 3, 'default', g % 20, 1, 1, 2 + g % 2, 1`,
    100_000,
  );
  await ofMany('INSERT INTO delivery_attempt (delivery, attempt, at, status) SELECT 1e9 + g, 1, 1, 500', 20_000);
  await ofMany(
    `INSERT INTO outlet (namespace, name, due_at) SELECT 'default', 'https://n' || g || '.example', ${node.clock.now()} + 1e6 * (g % 2)`,
    2000,
  );
  // A log of 100,000 events on a thousand topics, and a subscription that is far behind.
  await ofMany("INSERT INTO log (namespace, last) SELECT 'many', 100000", 1);
  await ofMany(
    "INSERT INTO topic (log, name, last) SELECT (SELECT id FROM log WHERE namespace = 'many'), 't.' || g, 99000 + g",
    1000,
  );
  const first = Number((await store.sql<{ id: string }>("SELECT min(id) AS id FROM topic WHERE name = 't.1'"))[0]!.id);
  await ofMany(
    `INSERT INTO event (log, position, topic, appended_at, head, body) SELECT (SELECT id FROM log WHERE namespace = 'many'), g, ${first} + (g - 1) % 1000, 1, '{}', ''`,
    100_000,
  );
  await ofMany("INSERT INTO known_event (log, position, until, identity) SELECT 1, g, g, 'i' || g", 20_000);
  await ofMany(
    "INSERT INTO taken (subscription, position, at, taken_at, attempt, lease_no, state, kind, lease_until, ordering) SELECT g % 20, g, 1, 1, 1, 1, g % 4, 2, 1e15, 'k' || g % 50",
    40_000,
  );
  await ofMany(
    "INSERT INTO dead_event (subscription, position, appended_at, topic, head, body) SELECT g % 20, g, 1, 't.1', '{}', ''",
    20_000,
  );
  await ofMany('INSERT INTO ordered (lane, seq, run_at) SELECT g % 500, 1e9 + g, 1', 20_000);
  for (const table of ['keyed', 'poll', 'idempotency', 'callback'])
    assert.notEqual((await store.sql(`SELECT FROM ${table} LIMIT 1`)).length, 0, table);
  await lease(node, { max: 300 });
  await lease(node, { max: 300, kind: 'push' });
  const later = await prepared(t, store, texts);
  assert.deepEqual(await faults(later), {}, 'planned when it is filled and nothing is known of it');
  await store.sql('ANALYZE');
  const last = await prepared(t, store, texts);
  assert.deepEqual(await faults(last), {}, 'planned with statistics');
});
