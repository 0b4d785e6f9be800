// The wrapper counts and changes nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EngineCallTimes } from '../lib/metrics.ts';
import type { Engine } from './engine.ts';
import { observed } from './observed.ts';

test('calls are counted, failures too, and their answers are passed on as they are', async () => {
  const times: EngineCallTimes = new Map();
  const page = { items: [], nextSeq: null };
  const bare = {
    name: 'fake',
    operations: () => Promise.resolve(page),
    result: () => Promise.reject(new Error('disk')),
  } as unknown as Engine;
  const engine = observed(bare, times);
  assert.equal(engine.name, 'fake');
  assert.equal(await engine.operations({ namespace: 'default', limit: 1 }), page);
  await assert.rejects(engine.result(1), /disk/);
  assert.equal(times.get('operations')?.calls, 1);
  assert.equal(times.get('operations')?.failures, 0);
  assert.equal(times.get('result')?.failures, 1);
});
