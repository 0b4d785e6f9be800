// When a lease ends that workers keep at several nodes: never before its time, soon after it, and then for good.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leasesRun } from './postgres-nodes-leases-run.ts';
import { withPostgres } from './postgres-nodes.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);

test(
  'positive control: a store that takes something off the leases ends them early, and the judge finds it',
  withPostgres,
  async (t) => {
    const { early } = await leasesRun(t, { leases: 20, leaseMs: 6000, heartbeats: 0, seed, shortenedMs: 5500 });
    assert.ok(early.length >= 20, `${early.length} of 20 were found`);
  },
);

test(
  '100 leases kept by heartbeats at both nodes in turns end no earlier than told, at most two sweeps later, and no heartbeat revives one',
  withPostgres,
  async (t) => {
    const { early, revived, latestMs, boundMs } = await leasesRun(t, {
      leases: 100,
      leaseMs: 1500,
      heartbeats: 5,
      seed,
    });
    assert.deepEqual([early, revived], [[], []]);
    assert.ok(latestMs <= boundMs, `one ended ${latestMs} ms late, ${boundMs} are promised`);
  },
);
