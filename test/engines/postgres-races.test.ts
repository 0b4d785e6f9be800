// Statements of several nodes that meet on the same rows: each sees a snapshot of its own and waits for the locks of others.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  again,
  assertCountersRight,
  kindsOf,
  lease,
  postgresStore,
  settle,
  skip,
  submit,
  waits,
} from './postgres-store.ts';

test(
  'what one node gave back of a dead one, and leased anew, is not given back by another that looked before',
  { skip },
  async (t) => {
    const store = await postgresStore(t);
    const { sql } = store;
    const first = await store.node();
    await submit(first, [{}, {}]);
    assert.equal((await lease(first, { kind: 'push' })).length, 2);
    // Both are carried by a node that is gone. The slow node stops in the middle of looking for it, until it gets a lock.
    await sql('UPDATE operation SET node = 999 WHERE stage = 2');
    await sql('ALTER TABLE node RENAME TO node_row');
    await sql('INSERT INTO node_row (id, seen_ms) OVERRIDING SYSTEM VALUE VALUES (999, 0)');
    await sql(`CREATE FUNCTION is_there(id integer) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$ BEGIN
    IF id = 999 AND current_setting('application_name') = 'slow' THEN PERFORM pg_advisory_xact_lock_shared(4711); END IF;
    RETURN id <> 999; END $$`);
    await sql('CREATE VIEW node AS SELECT * FROM node_row WHERE is_there(id)');
    await sql('SELECT pg_advisory_lock(4711)');
    const slow = store.node({ url: `${store.url}&application_name=slow`, hints: false });
    await waits(store, 'slow', 'advisory');
    const quick = await store.node();
    assert.equal(quick.opened.requeued, 2);
    const leases = await lease(quick, { kind: 'push' });
    assert.equal(leases.length, 2);
    await sql('SELECT pg_advisory_unlock(4711)');
    assert.equal((await slow).opened.requeued, 0);
    assert.deepEqual(kindsOf(await settle(quick, leases)), ['recorded', 'recorded']);
  },
);

test('what a dead node carried comes back, however much it was', { skip }, async (t) => {
  const store = await postgresStore(t);
  const node = await store.node();
  await submit(node);
  await store.sql(
    `INSERT INTO operation (seq, rank, wake_at, created_at, updated_at, deadline_at, retention_ms, attempt_at, lease_until, queue, version, attempt,
       lease_no, request_bytes, node, stage, lease_kind)
     SELECT 1000 + g, g, $1::int8 + 600000, $1, $1, $1::int8 + 600000, 1, $1, $1::int8 + 600000, 1, 2, 1, 1, 0, 999, 2, 1 FROM generate_series(1, 5000) g`,
    [node.clock.now()],
  );
  await store.sql(`INSERT INTO counter (queue, slot, running) VALUES (1, 999 * 32, 5000)`);
  assert.equal((await store.node()).opened.requeued, 5000);
  await assertCountersRight(store);
});

test(
  'a lease that was kept on a node whose clock is behind is not taken away by what the clock decided before',
  { skip },
  async (t) => {
    const store = await postgresStore(t);
    const [ahead, late] = [await store.node(), await store.node()];
    await submit(ahead);
    const [held] = await lease(ahead, { leaseMs: 1000 });
    late.clock.notBefore(ahead.clock.now() + 900);
    await ahead.engine.sweep(ahead.clock.now(), { removeExpired: false });
    ahead.clock.advance(1001);
    const { due } = await ahead.engine.sweep(ahead.clock.now(), { removeExpired: false });
    assert.deepEqual(
      due.map(({ reason }) => reason),
      ['lease-expired'],
    );
    // Its line cannot be behind the last sign of life, so the other's sign is taken back: as if it had looked a moment earlier.
    await store.sql('UPDATE time_line SET last_ms = last_ms - 101');
    const kept = await late.engine.extend({ ...held!, leaseMs: 5000, progress: null }, late.clock.now());
    assert.equal(kept.kind, 'extended');
    const transition = again(ahead) as never;
    const decisions = due.map(({ seq, version }) => ({ seq, version, transition }));
    assert.deepEqual(await ahead.engine.applyClock(decisions, ahead.clock.now()), [false]);
    assert.deepEqual(kindsOf(await settle(late, [held!])), ['recorded']);
  },
);

test(
  'sweeping, removing, settling, cancelling, voiding and coming back at once: counters stay right, nothing is given twice, no deadlock',
  { skip },
  async (t) => {
    const store = await postgresStore(t, { alone: true });
    const nodes = [
      await store.node({ pollMs: 50 }),
      await store.node({ pollMs: 50 }),
      await store.node({ pollMs: 50, hints: false }),
    ];
    const given = new Set<string>();
    const open: { seq: number; nonce: string; namespace: string }[] = [];
    let left = 60;
    async function work(node: (typeof nodes)[number], turn: number): Promise<void> {
      const { engine, clock } = node;
      const other = nodes[(turn + 1) % nodes.length]!;
      const namespace = `n${turn % 2}`;
      const keys = [0, 1].map((i) => ({
        key: `k${(turn + i) % 5}`,
        fingerprint: 'f',
        expiresAt: clock.now() + 300,
        retryFailed: true,
      }));
      const parts = [
        {},
        { runAt: clock.now() + 100 },
        { startByAt: clock.now() + 150, retentionMs: 0 },
        ...keys.map((idempotency) => ({ idempotency, retentionMs: 100 })),
      ];
      const { id } = await engine.queue(namespace, 'work');
      for (const outcome of await submit(node, parts, namespace)) {
        if (outcome.kind === 'new')
          open.push({ seq: outcome.seq, namespace, nonce: (await engine.recordsOf([outcome.seq]))[0]?.nonce ?? '' });
      }
      const leases = await lease(node, {
        max: 3,
        kind: turn % 3 === 0 ? 'pull' : 'push',
        leaseMs: turn % 4 === 0 ? 50 : 5000,
      });
      for (const { seq, leaseNo } of leases) {
        const name = `${seq}/${leaseNo}`;
        assert.ok(!given.has(name), `${name} was given twice`);
        given.add(name);
      }
      await Promise.all([
        ...leases
          .slice(0, 1)
          .map((one) => engine.extend({ ...one, leaseMs: 100, progress: { percent: turn } }, clock.now())),
        settle(node, leases.slice(0, 2), turn % 5 === 0 ? again(node, 50) : undefined),
        settle(other, leases.slice(1), { to: 'failed', error: { code: 'no', message: 'm' }, result: null }),
        ...open.splice(0, 1).map((key) => engine.cancel(key, clock.now())),
        ...open.slice(1, 3).map((key) => other.engine.purge(key)),
        sweep(node),
        sweep(other),
        engine.counts(),
        ...(turn % 10 === 0 ? [store.sql('DELETE FROM node WHERE id = (SELECT min(id) FROM node)')] : []),
      ]);
      assert.ok(id > 0);
    }
    async function sweep({ engine, clock }: (typeof nodes)[number]): Promise<void> {
      clock.advance(150);
      const { due } = await engine.sweep(clock.now(), { removeExpired: true });
      const failed = { to: 'failed' as const, error: { code: 'due', message: 'm' }, result: null };
      await engine.applyClock(
        due.map(({ seq, version }) => ({ seq, version, transition: failed })),
        clock.now(),
      );
    }
    const run = async (turn: number): Promise<void> => {
      for (; left > 0; turn++) {
        left--;
        await work(nodes[turn % nodes.length]!, turn);
      }
    };
    await Promise.all([0, 1, 2, 3, 4, 5].map(run));
    await assertCountersRight(store);
    const strangers = ['request', 'result', 'happening', 'label', 'idempotency'].map(
      (table) =>
        `SELECT '${table}' AS of FROM ${table} x WHERE NOT EXISTS (SELECT FROM operation o WHERE o.seq = x.seq)`,
    );
    assert.deepEqual(await store.sql(strangers.join(' UNION ALL ')), []);
    assert.deepEqual(
      await store.sql('SELECT seq FROM operation o WHERE NOT EXISTS (SELECT FROM request r WHERE r.seq = o.seq)'),
      [],
    );
    await Promise.all(nodes.map((node) => node.close()));
    await assertCountersRight(store);
    const [{ deadlocks } = {}] = await store.sql(
      'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()',
    );
    assert.equal(deadlocks, '0');
  },
);
