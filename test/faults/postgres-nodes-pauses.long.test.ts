// A hundred pauses of both nodes, each three times as long as a lease.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pausesRun } from './postgres-nodes-pauses-run.ts';
import { withPostgres } from './postgres-nodes.ts';

const pairs = 4;
const rounds = Number(process.env['FAULT_ROUNDS'] ?? 25);

// Pairs side by side, since most of it is waiting.
test('pauses', { ...withPostgres, concurrency: true }, async (t) => {
  const run = (pair: number): Promise<void> =>
    t.test(`pair ${pair + 1} of ${pairs}: ${rounds} pauses cost no worker its lease`, async (t) => {
      assert.equal(await pausesRun(t, { pauses: rounds, leases: 25, kind: pair === 0 ? 'killed' : 'stopped' }), 0);
    });
  await Promise.all(Array.from({ length: pairs }, (_, pair) => run(pair)));
});
