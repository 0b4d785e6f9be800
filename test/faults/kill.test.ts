// kill -9 in the midst of submits: what was acknowledged is there, unchanged, and nothing else is.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { killRun } from './kill-run.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);

test('positive control: the ledger finds the losses of a store that a kill empties', async (t) => {
  const run = await killRun(t, { submits: 600, kills: 2, callers: 8, weak: true, seed, sampling: 1 });
  assert.equal(run.void, undefined);
  assert.ok(run.verdict.lost.length > 0, 'the run would have found no loss anywhere');
});

test('kill -9 during 10,000 submits loses no acknowledged id, shows none unexpected, changes none', async (t) => {
  const { verdict, void: reason } = await killRun(t, { submits: 10_000, kills: 5, callers: 32, seed, sampling: 8 });
  assert.equal(reason, undefined, 'void');
  assert.ok(verdict.ok >= 9_000);
  for (const kind of ['lost', 'unexpected', 'duplicated', 'duplicatedResult', 'wrong'] as const)
    assert.deepEqual(verdict[kind], [], kind);
});
