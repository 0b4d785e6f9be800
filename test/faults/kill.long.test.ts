// kill -9 in the midst of submits, as often as it takes to say something about the rate: no failure in n kills bounds it at 3/n.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { killRun } from './kill-run.ts';

const first = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);
const rounds = Number(process.env['FAULT_ROUNDS'] ?? 10);

for (let round = 0; round < rounds; round++) {
  test(`kill -9, round ${round + 1} of ${rounds}: 50 kills during 20,000 submits lose, add and change nothing`, async (t) => {
    const { verdict, void: reason } = await killRun(t, {
      submits: 20_000,
      kills: 50,
      callers: 32,
      seed: first + round,
      sampling: 1,
    });
    assert.equal(reason, undefined, 'void');
    for (const kind of ['lost', 'unexpected', 'duplicated', 'duplicatedResult', 'wrong'] as const)
      assert.deepEqual(verdict[kind], [], kind);
  });
}
