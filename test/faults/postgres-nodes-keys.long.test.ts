// The twins of 500 keys over two nodes, one of which is killed every two seconds or so.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keysRun } from './postgres-nodes-keys-run.ts';
import { withPostgres } from './postgres-nodes.ts';

const first = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);
const rounds = Number(process.env['FAULT_ROUNDS'] ?? 3);

for (let round = 0; round < rounds; round++) {
  const seed = first + round;
  test(
    `round ${round + 1} of ${rounds}: 500 keys × 40 twins over two nodes under kills: 500 operations`,
    withPostgres,
    async (t) => {
      const verdict = await keysRun(t, { keys: 500, twins: 40, callers: 80, altered: 100, kills: 20, seed });
      assert.equal(verdict.void, undefined, 'void');
      assert.deepEqual([verdict.wrong, verdict.duplicated], [[], []]);
      assert.equal(verdict.records, 500);
      assert.deepEqual(verdict.altered, { 422: 100 });
    },
  );
}
