// Nodes that stand still for three times as long as a lease: together it costs no worker anything, and alone nobody who turns to the other.
import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { leaseCall, reply } from '../support/pull-worker.ts';
import { heartbeats, holdLeases, leaseSeconds, pausesRun } from './postgres-nodes-pauses-run.ts';
import { assertCountsAreRight, onlyTheLivingAreListed, twoProcesses, withPostgres } from './postgres-nodes.ts';

// Each test mostly waits for its pause to end.
test('pauses', { ...withPostgres, concurrency: true }, async (t) => {
  const tests = [
    t.test('positive control: where the pause counts as time every lease is lost, and the test finds it', async (t) => {
      assert.equal(await pausesRun(t, { pauses: 1, leases: 10, kind: 'stopped', counted: true }), 10);
    }),
    t.test(
      'both nodes stopped for three times the lease and continued: workers that are heard within a second keep theirs',
      async (t) => {
        assert.equal(await pausesRun(t, { pauses: 1, leases: 30, kind: 'stopped' }), 0);
      },
    ),
    t.test(
      'both nodes killed and started again after three times the lease: a restart grants what was left, never less',
      async (t) => {
        assert.equal(await pausesRun(t, { pauses: 1, leases: 30, kind: 'killed' }), 0);
      },
    ),
    t.test(
      'one node stopped for three times the lease: its workers are heard by the other one, and it ends no lease when it goes on',
      async (t) => {
        const pair = await twoProcesses(t, { services: { jobs: { target: { pull: true } } } });
        const agent = new Agent({ keepAlive: true, maxSockets: 64 });
        const held = await holdLeases(pair, 30, agent);
        pair.freeze(0);
        for (let third = 0; third < 9; third++) {
          await pause((leaseSeconds * 1000) / 3);
          assert.deepEqual(await heartbeats([pair.urls[1]], held, agent), []);
        }
        pair.thaw(0);
        for (let third = 0; third < 4; third++) {
          assert.deepEqual(await heartbeats(pair.urls, held, agent), []);
          await pause((leaseSeconds * 1000) / 3);
        }
        assert.deepEqual(
          (await leaseCall(pair.urls[1], 'jobs', { max: 30, agent })).leases,
          [],
          'nothing was handed to anybody else',
        );
        for (const [at, { token }] of held.entries())
          assert.equal((await reply(pair.urls[at % 2]!, token, 'done')).status, 200);
        agent.destroy();
        await onlyTheLivingAreListed(pair.store, 2);
        await assertCountsAreRight(pair.urls);
      },
    ),
  ];
  await Promise.all(tests);
});
