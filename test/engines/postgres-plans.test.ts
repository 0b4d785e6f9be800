// Every statement of the engine looks rows up by the index made for it: by plans made while the store is new and empty, which are kept while it
// grows, and by those made when the database knows its tables. One that reads a whole table or a wrong index is not slow here, and is with a million rows.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { Client } from 'pg';
import { readAddress } from '../../packages/server/src/engines/postgres/address.ts';
import { cleanUp } from '../support/cleanup.ts';
import { again, lease, postgresStore, settle, skip, submission, submit, type TestStore } from './postgres-store.ts';

/** Tables that grow with the operations, and with the log. */
const large = new Set(['operation', 'request', 'result', 'happening', 'idempotency', 'label', 'event']);

/** Indexes that a statement may use besides the keys of the tables. */
const others: Record<string, readonly string[]> = {
  lease: ['operation_ready'],
  'ready-queues': ['operation_ready'],
  due: ['operation_carried', 'operation_held', 'operation_waiting'],
  'next-timer': ['operation_carried', 'operation_held', 'operation_waiting'],
  'void-push-leases': ['operation_carried'],
  'remove-expired': ['operation_ended', 'label_seq'],
  'remove-one': ['label_seq'],
  'list-correlation': ['request_correlation'],
  'list-trouble': ['operation_trouble'],
};
/** They read an index from its beginning: up to a limit, or all that the nodes carry. */
const fromTheStart = new Set(['next-timer', 'void-push-leases']);

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
    if (name !== undefined && text !== undefined) texts.set(name, text);
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
  await engine.append([{ namespace: 'n', topic: 't', head: '{}', body: Buffer.alloc(1) }], clock.now());
  await engine.read({ namespace: 'n', after: 0, limit: 5, maxBytes: 100 });
  clock.advance(5000);
  const { due } = await engine.sweep(clock.now(), { removeExpired: true });
  const transition = { to: 'failed' as const, error: { code: 'x', message: 'y' }, result: null };
  await engine.applyClock(
    due.map(({ seq, version }) => ({ seq, version, transition })),
    clock.now(),
  );
  const waiting = new AbortController();
  const taker = lease(node, { wait: true, namespace: 'nowhere' }, waiting.signal);
  while (!texts.has('ready-queues')) await pause(5);
  waiting.abort();
  await taker;
  await node.close();
  return texts;
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
  assert.ok(rows.length >= 40, `${rows.length} statements`);
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
  await store.sql('TRUNCATE operation, request, result, happening, idempotency, label, event');
  const early = await prepared(t, store, texts);
  assert.deepEqual(await faults(early), {}, 'planned while the store is empty');
  const node = await store.node();
  const { id } = await node.engine.queue('default', 'work');
  for (let i = 0; i < 20; i++) {
    const parts = Array.from({ length: 250 }, (_, n) => ({
      labels: n % 5 === 0 ? { a: `${n % 7}` } : null,
      correlationId: n % 3 === 0 ? `c${n}` : null,
      retentionMs: 1,
    }));
    await node.engine.submit(
      parts.map((part) => submission(id, node.clock, part)),
      node.clock.now(),
    );
    if (i < 15)
      await settle(
        node,
        await lease(node, { max: 250, kind: i % 2 === 0 ? 'push' : 'pull' }),
        i % 5 === 4 ? { to: 'failed', error: { code: 'x', message: 'y' }, result: null } : undefined,
      );
  }
  await lease(node, { max: 300 });
  await lease(node, { max: 300, kind: 'push' });
  const later = await prepared(t, store, texts);
  assert.deepEqual(await faults(later), {}, 'planned when it is filled and nothing is known of it');
  await store.sql('ANALYZE');
  const last = await prepared(t, store, texts);
  assert.deepEqual(await faults(last), {}, 'planned with statistics');
});
