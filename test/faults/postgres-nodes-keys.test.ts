// One idempotency key, many twins, two nodes that die in turns: one operation, and the same id for everybody.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keysRun } from './postgres-nodes-keys-run.ts';
import { withPostgres } from './postgres-nodes.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);

test('positive control: nodes that do not share their keys store twins twice, and the judge finds it', async (t) => {
  const verdict = await keysRun(t, { keys: 10, twins: 10, callers: 20, altered: 0, kills: 0, seed, apart: true });
  assert.equal(verdict.duplicated.length, 10);
  assert.equal(verdict.wrong.length, 10);
});

test(
  '100 keys × 20 twins over two nodes under kills: 100 operations, one id for all twins, 422 for altered bodies',
  withPostgres,
  async (t) => {
    const verdict = await keysRun(t, { keys: 100, twins: 20, callers: 40, altered: 100, kills: 3, seed });
    assert.equal(verdict.void, undefined, 'void');
    assert.deepEqual([verdict.wrong, verdict.duplicated], [[], []]);
    assert.equal(verdict.records, 100);
    assert.deepEqual(verdict.altered, { 422: 100 });
  },
);
