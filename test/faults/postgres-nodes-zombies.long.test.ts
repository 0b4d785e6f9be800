// Twenty thousand jobs, each answered by zombies at two nodes before somebody may answer it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { zombiesRun } from './postgres-nodes-zombies-run.ts';
import { withPostgres } from './postgres-nodes.ts';

const first = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);
const rounds = Number(process.env['FAULT_ROUNDS'] ?? 20);

for (let round = 0; round < rounds; round++) {
  const seed = first + round;
  test(
    `round ${round + 1} of ${rounds}: 1,000 jobs and their zombies: no result changes, every loser is told`,
    withPostgres,
    async (t) => {
      const { violations, won } = await zombiesRun(t, { jobs: 1000, zombies: 3, callers: 8, seed });
      assert.deepEqual(violations, []);
      assert.equal(won, 1000);
    },
  );
}
