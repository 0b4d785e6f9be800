// A rolling restart: nobody whose connection was taken goes without an answer, nothing is lost, and what a node carried is given back at once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rollingRun } from './postgres-nodes-rolling-run.ts';
import { withPostgres } from './postgres-nodes.ts';

const kinds = ['lost', 'unexpected', 'duplicated', 'duplicatedResult', 'wrong'] as const;

test(
  'positive control: nodes that are killed instead cut callers off, and their work comes back late',
  withPostgres,
  async (t) => {
    const { cutOff, ended, verdict } = await rollingRun(t, {
      restarts: 2,
      perSecond: 60,
      between: 60,
      signal: 'SIGKILL',
    });
    assert.ok(cutOff > 0 && ended['interrupted']! > 0, 'the test would have found nothing in any run');
    for (const kind of kinds) assert.deepEqual(verdict[kind], [], kind);
  },
);

test(
  '6 restarts by SIGTERM in turns under load: every accepted connection is answered, nothing is lost, leases come back at once',
  withPostgres,
  async (t) => {
    const { verdict, cutOff, ended, used } = await rollingRun(t, {
      restarts: 6,
      perSecond: 60,
      between: 80,
      signal: 'SIGTERM',
    });
    for (const kind of kinds) assert.deepEqual(verdict[kind], [], kind);
    assert.equal(cutOff, 0);
    assert.deepEqual(used, [], 'a stop uses up no attempt');
    assert.ok(ended['released']! > 0, 'void: no restart met an attempt in flight');
    assert.deepEqual(Object.keys(ended), ['released'], 'nothing waited until its node was taken for dead');
  },
);
