// A thousand leases kept by heartbeats at two nodes in turns, and given up.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leasesRun } from './postgres-nodes-leases-run.ts';
import { withPostgres } from './postgres-nodes.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);

test(
  '1,000 leases of five seconds end no earlier than told, at most two sweeps later, and no heartbeat revives one',
  withPostgres,
  async (t) => {
    const { early, revived, latestMs, boundMs } = await leasesRun(t, {
      leases: 1000,
      leaseMs: 5000,
      heartbeats: 10,
      seed,
    });
    assert.deepEqual([early, revived], [[], []]);
    assert.ok(latestMs <= boundMs, `one ended ${latestMs} ms late, ${boundMs} are promised`);
  },
);
