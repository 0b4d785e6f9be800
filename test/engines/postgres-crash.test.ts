// What a crash of the database may take: nothing that was promised to be on the disk, whoever wrote it there.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { postgresEngine } from '../../packages/server/src/engines/postgres/engine.ts';
import { manualClock } from '../../packages/server/src/lib/clock.ts';
import { cleanUp } from '../support/cleanup.ts';
import { clusterFor } from '../support/postgres.ts';
import { kindsOf, skip, submission } from './postgres-store.ts';

test('a repeat that asks for the disk is not told of an operation that waits in memory only', { skip }, async (t) => {
  // The server writes by itself so late that what was promised too early is lost for sure.
  const cluster = await clusterFor(t, { settings: { wal_writer_delay: '10000ms' } });
  const engine = postgresEngine({ url: cluster.url() });
  const clock = manualClock((await engine.open(0)).nowMs);
  const { id } = await engine.queue('default', 'work');
  const idempotency = { key: 'k', fingerprint: 'f', expiresAt: clock.now() + 1e6, retryFailed: false };
  const make = (durability: 'stored' | 'memory', key: string) =>
    engine.submit([submission(id, clock, { durability, idempotency: { ...idempotency, key } })], clock.now());
  // Numbers are written in advance for some thirty operations, which would take what follows to the disk by chance.
  for (let i = 0; i < 40; i++) await make('stored', `before-${i}`);
  assert.deepEqual(kindsOf(await make('memory', 'k')), ['new']);
  assert.deepEqual(kindsOf(await make('stored', 'k')), ['replayed']);
  await cluster.stop('kill');
  await engine.close();
  await cluster.start();
  const after = postgresEngine({ url: cluster.url() });
  cleanUp(t, () => after.close());
  await after.open(0);
  const outcomes = await after.submit([submission(id, clock, { idempotency })], clock.now());
  assert.deepEqual(kindsOf(outcomes), ['replayed']);
});
