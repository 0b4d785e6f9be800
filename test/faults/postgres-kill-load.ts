// Submits while nodes are killed, on PostgreSQL with as many nodes as the variant of this process says; each answer waits for the database's
// sync, so there are fewer of them than on a file.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { killRun } from './kill-run.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);

test('positive control: the ledger finds the losses of nodes that keep what they take in their own memory', async (t) => {
  const run = await killRun(t, { submits: 600, kills: 2, callers: 8, weak: true, seed, sampling: 1 });
  assert.equal(run.void, undefined);
  assert.ok(run.verdict.lost.length > 0, 'the run would have found no loss anywhere');
});

test('kill -9 of a node during 4,000 submits loses no acknowledged id, shows none unexpected, changes none', async (t) => {
  const { verdict, void: reason } = await killRun(t, { submits: 4000, kills: 4, callers: 32, seed, sampling: 4 });
  assert.equal(reason, undefined, 'void');
  assert.ok(verdict.ok >= 3600);
  for (const kind of ['lost', 'unexpected', 'duplicated', 'duplicatedResult', 'wrong'] as const)
    assert.deepEqual(verdict[kind], [], kind);
});
