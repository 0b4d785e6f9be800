// Backends and workers that say things twice, late, differently or in the wrong place, at two nodes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Engine } from '../../packages/server/src/engine/engine.ts';
import { repliesRun } from './postgres-nodes-replies-run.ts';
import { withPostgres } from './postgres-nodes.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);

/** Tells those who come second that they were first. */
const politeToLosers = (engine: Engine): Engine => ({
  ...engine,
  settle: async (batch, nowMs) =>
    (await engine.settle(batch, nowMs)).map((outcome) =>
      outcome.kind === 'conflict' ? { kind: 'repeated' } : outcome,
    ),
});

test('positive control: a node that takes a second answer for the first is found out', withPostgres, async (t) => {
  const { violations } = await repliesRun(t, { operations: 200, seed, wrapEngine: politeToLosers });
  assert.ok(
    violations.some((one) => one.includes('2 answers taken')),
    violations.join('\n'),
  );
});

test(
  '400 operations with duplicated, reordered and stray replies at two nodes: 200 for the same again, 409, 404, and no result changes',
  withPostgres,
  async (t) => {
    const { violations, statuses } = await repliesRun(t, { operations: 400, seed });
    assert.deepEqual(violations, []);
    assert.ok(statuses[200]! > 400 && statuses[409]! > 0 && statuses[404]! > 0, `void: ${JSON.stringify(statuses)}`);
  },
);
