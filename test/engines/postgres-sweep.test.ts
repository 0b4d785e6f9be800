// The sweep stays within bounds: of rows, of bytes, and of what a failing part may hold up.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cleanUp } from '../support/cleanup.ts';
import {
  assertCountersRight,
  lease,
  postgresStore,
  settle,
  skip,
  submit,
  succeeded,
  type TestNode,
} from './postgres-store.ts';

const sweep = ({ engine, clock }: TestNode) => engine.sweep(clock.now(), { removeExpired: true });

test('removal is bounded in bytes, takes at least one, and says that there is more', { skip }, async (t) => {
  const store = await postgresStore(t);
  const node = await store.node();
  await submit(
    node,
    Array.from({ length: 6 }, () => ({ retentionMs: 1000 })),
  );
  await settle(node, await lease(node));
  await submit(
    node,
    Array.from({ length: 3 }, () => ({ retentionMs: 1000 })),
  );
  await settle(node, await lease(node), {
    ...succeeded,
    result: { status: 200, headers: [], body: Buffer.alloc(1 << 20), hash: 'h' },
  } as typeof succeeded);
  // As large as two or more of them fill one removal; the last one is more than that alone.
  await store.sql(
    'UPDATE operation SET request_bytes = CASE WHEN seq = 6 THEN 500 ELSE 60 END * 1024 * 1024 WHERE seq <= 6',
  );
  node.clock.advance(2000);
  const rounds: [number, boolean][] = [];
  for (let more = true; more;) {
    const swept = await sweep(node);
    more = swept.more;
    rounds.push([swept.removed, more]);
  }
  assert.deepEqual(rounds, [
    [3, true],
    [3, true],
    [3, false],
  ]);
  await assertCountersRight(store);
  assert.deepEqual(await store.sql('SELECT seq FROM request UNION ALL SELECT seq FROM result'), []);
});

test('leases and deadlines do not wait for a removal that fails', { skip }, async (t) => {
  const store = await postgresStore(t);
  const node = await store.node();
  await submit(node, [{ retentionMs: 0 }, {}, { runAt: node.clock.now() + 500 }]);
  const [first] = await lease(node, { max: 1, leaseMs: 500 });
  await settle(node, [first!]);
  await lease(node, { max: 1, leaseMs: 500 });
  await store.sql(
    `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not now'; END $$`,
  );
  await store.sql('CREATE TRIGGER refuse BEFORE DELETE ON operation FOR EACH ROW EXECUTE FUNCTION refuse()');
  node.clock.advance(1000);
  const swept = await sweep(node);
  assert.deepEqual([swept.due.map(({ reason }) => reason), swept.promoted, swept.removed], [['lease-expired'], 1, 0]);
  await node.engine.applyClock(
    swept.due.map(({ seq, version }) => ({
      seq,
      version,
      transition: { to: 'failed', error: { code: 'x', message: 'y' }, result: null },
    })),
    node.clock.now(),
  );
  // With nothing else to tell, the failure itself is told.
  await assert.rejects(sweep(node), /not now/);
});

test('what becomes due behind the last look is found all the same, a little later', { skip }, async (t) => {
  const store = await postgresStore(t);
  const node = await store.node();
  await sweep(node);
  node.clock.advance(60_000);
  await sweep(node);
  node.clock.advance(1000);
  await sweep(node);
  // As a node would write it whose clock is half a minute behind.
  await submit(node, [{ deadlineAt: node.clock.now() - 30_000 }]);
  let found = 0;
  for (let seconds = 0; seconds < 16; seconds++) {
    node.clock.advance(1000);
    found += (await sweep(node)).due.length;
    if (found > 0) break;
  }
  assert.equal(found, 1);
  assert.equal((await sweep(node)).due.length, 1, 'as long as it is not decided');
});

test('a body that is large but allowed is stored and answered, however slow the disk makes it', { skip }, async (t) => {
  const store = await postgresStore(t);
  const node = await store.node();
  const body = Buffer.alloc(32 * 1024 * 1024, 7);
  // As long as no small statement is given.
  await store.sql(
    `CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(5.5); RETURN NEW; END $$`,
  );
  await store.sql('CREATE TRIGGER slow BEFORE INSERT ON request FOR EACH ROW EXECUTE FUNCTION slow()');
  cleanUp(t, () => store.sql('DROP FUNCTION IF EXISTS slow CASCADE'));
  const [outcome] = await submit(node, [{ body }]);
  assert.equal(outcome?.kind, 'new');
  await assert.rejects(submit(node), { code: 'engine-unavailable' });
  await store.sql('DROP TRIGGER slow ON request');
  assert.equal((await submit(node))[0]?.kind, 'new');
});
