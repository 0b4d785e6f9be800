// Which queues publish their transitions, on PostgreSQL: who follows none waits for nobody, and two who change one subscription at once agree.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Client } from 'pg';
import { postgresStore, skip, submit, type TestNode } from './postgres-store.ts';

const document = (topics: string[], name = 'one') => ({ namespace: 'default', name, text: '{}', topics, savedAt: 1 });
const ends = ['operations.*.succeeded'];
const orders = ['orders.*'];

async function transitions({ engine }: TestNode): Promise<number> {
  const wanted = { namespace: 'default', topics: ['operations.**'], after: 0, limit: 100, maxBytes: 1e6 };
  return (await engine.read(wanted)).events.length;
}

/** Until another session waits for a lock that this one holds. */
async function waitsFor(session: Client): Promise<void> {
  const { rows } = await session.query('SELECT pg_backend_pid() AS pid');
  const blocked = 'SELECT FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))';
  while ((await session.query(blocked, [rows[0].pid])).rows.length === 0);
}

test(
  'a subscription without topics of transitions is saved and removed while others are, and no queue is looked at',
  { skip },
  async (t) => {
    const store = await postgresStore(t);
    const node = await store.node();
    const { engine } = node;
    await engine.saveSubscription(document(ends, 'follower'), 'now');
    const other = await store.session();
    await other.query('BEGIN');
    await other.query('SELECT pg_advisory_xact_lock_shared(7065482310946)');
    await other.query('LOCK TABLE queue IN ACCESS EXCLUSIVE MODE');
    assert.equal((await engine.saveSubscription(document(orders), 'now')).kind, 'made');
    assert.equal((await engine.saveSubscription(document(['**']), 'now')).kind, 'changed');
    assert.equal(await engine.removeSubscription({ namespace: 'default', name: 'one' }), true);
    let isRemoved = false;
    const removed = engine
      .removeSubscription({ namespace: 'default', name: 'follower' })
      .finally(() => (isRemoved = true));
    await waitsFor(other);
    assert.equal(isRemoved, false);
    await other.query('COMMIT');
    assert.equal(await removed, true);
  },
);

test('who changes a subscription finds what another one has made of it a moment ago', { skip }, async (t) => {
  const store = await postgresStore(t);
  const [one, two] = [await store.node(), await store.node()];
  await submit(one, [{}]);
  // Held up in its decision, so that the other one comes in the midst of it.
  const other = await store.session();
  await other.query('BEGIN');
  await other.query('LOCK TABLE queue IN ACCESS EXCLUSIVE MODE');
  const first = one.engine.saveSubscription(document(ends), 'now');
  await waitsFor(other);
  const second = two.engine.saveSubscription(document(orders), 'now');
  while ((await store.sql(`SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`)).length === 0);
  await other.query('COMMIT');
  assert.deepEqual([(await first).kind, (await second).kind], ['made', 'changed']);
  await submit(one, [{}]);
  assert.equal(await transitions(one), 0);
  assert.deepEqual(await store.sql('SELECT FROM queue WHERE publishes'), []);
  assert.deepEqual(
    await store.sql(`SELECT FROM pg_trigger WHERE tgname = 'operation_moved' AND tgrelid = 'operation'::regclass`),
    [],
  );
});
