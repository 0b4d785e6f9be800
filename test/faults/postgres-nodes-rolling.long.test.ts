// Fifty rolling restarts of two nodes under five hundred submits a second.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rollingRun } from './postgres-nodes-rolling-run.ts';
import { withPostgres } from './postgres-nodes.ts';

const restarts = 2 * Number(process.env['FAULT_ROUNDS'] ?? 50);

test(
  `${restarts} restarts by SIGTERM under 500 submits a second lose nothing and cut off at most one in a thousand`,
  withPostgres,
  async (t) => {
    const run = { restarts, perSecond: 500, between: 500, signal: 'SIGTERM' } as const;
    const { verdict, cutOff, requests, ended } = await rollingRun(t, run);
    for (const kind of ['lost', 'unexpected', 'duplicated', 'duplicatedResult', 'wrong'] as const)
      assert.deepEqual(verdict[kind], [], kind);
    assert.ok(cutOff <= requests / 1000, `${cutOff} of ${requests} were cut off`);
    assert.equal(ended['interrupted'], undefined);
  },
);
