// The loss window of each durability, measured over many kills: the figures of docs/guarantees.md.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forgetting } from './forgetting-run.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);

for (const level of ['stored', 'memory', 'none'] as const)
  test(`50 kills during publishes of durability ${level}`, async (t) => {
    const run = { level, end: 'SIGKILL' as const, rounds: 50, each: 1000, publishers: 32, seed };
    const { lost, outOfTurn } = await forgetting(t, run);
    if (level !== 'none') assert.equal(lost, 0);
    assert.deepEqual(outOfTurn, []);
  });
