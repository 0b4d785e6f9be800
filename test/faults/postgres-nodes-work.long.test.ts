// Work through hundreds of kills of nodes, of both at once, and of workers: no failure in n faults bounds the rate at 3/n.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { workRun } from './postgres-nodes-work-run.ts';
import { withPostgres } from './postgres-nodes.ts';

const first = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);
const rounds = Number(process.env['FAULT_ROUNDS'] ?? 10);

for (let round = 0; round < rounds; round++) {
  const seed = first + round;
  test(
    `round ${round + 1} of ${rounds}: 25 kills of a node, 10 of both and 15 of a worker leave nothing undone, wrong or untold`,
    withPostgres,
    async (t) => {
      const verdict = await workRun(t, { kills: 25, doubleKills: 10, deadWorkers: 15, perFault: 200, seed });
      assert.ok(verdict.accepted >= 2500, 'void: too little was accepted');
      assert.deepEqual([verdict.lost, verdict.wrong, verdict.untold], [[], [], []]);
    },
  );
}
