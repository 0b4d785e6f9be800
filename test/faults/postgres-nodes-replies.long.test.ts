// Thousands of operations whose replies come twice, out of order and from strangers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { repliesRun } from './postgres-nodes-replies-run.ts';
import { withPostgres } from './postgres-nodes.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);

test(
  '10,000 operations with duplicated, reordered and stray replies at two nodes: no result changes',
  withPostgres,
  async (t) => {
    const { violations } = await repliesRun(t, { operations: 10_000, seed });
    assert.deepEqual(violations, []);
  },
);
