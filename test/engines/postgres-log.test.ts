// The log of events in PostgreSQL: what is published together is committed together.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { event } from '../../packages/server/src/engine/conformance/log-race.ts';
import { postgresStore, skip } from './postgres-store.ts';

test('events that are published together are one commit, as many as they are', { skip }, async (t) => {
  const store = await postgresStore(t);
  const { engine, clock } = await store.node();
  const publish = (count: number, body: Buffer) =>
    engine.append(
      Array.from({ length: count }, () => event({ namespace: 'n', body })),
      clock.now(),
    );
  await Promise.all([
    publish(300, Buffer.from('small')),
    publish(1000, Buffer.from('small')),
    publish(5, Buffer.alloc(1024 * 1024)),
  ]);
  const commits = await store.sql<{ count: string }>(
    'SELECT xmin, count(*) FROM event GROUP BY xmin ORDER BY min(position)',
  );
  assert.deepEqual(
    commits.map(({ count }) => Number(count)),
    [300, 1000, 5],
  );
});
