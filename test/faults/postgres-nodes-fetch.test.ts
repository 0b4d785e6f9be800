// Once one node has said that a result is ready, it is ready on every node.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Engine, OperationRecord } from '../../packages/server/src/engine/engine.ts';
import { fetchRun } from './postgres-nodes-fetch-run.ts';
import { withPostgres } from './postgres-nodes.ts';

/** Answers for a while what it has read before, as a copy of the database that lags behind. */
function lagging(engine: Engine): Engine {
  const seen = new Map<number, { record: OperationRecord | undefined; at: number }>();
  return {
    ...engine,
    async operation(key) {
      const known = seen.get(key.seq);
      if (known && performance.now() - known.at < 500) return known.record;
      const record = await engine.operation(key);
      seen.set(key.seq, { record, at: performance.now() });
      return record;
    },
  };
}

test('positive control: a node that reads from a copy that lags behind is found out', withPostgres, async (t) => {
  const { notReady } = await fetchRun(t, { results: 50, callers: 10, hints: true, wrapEngine: lagging });
  assert.ok(notReady.some((one) => one.includes('from the other node')));
});

test('500 results are ready on the other node in the moment of the notice, byte for byte', withPostgres, async (t) => {
  assert.deepEqual(await fetchRun(t, { results: 500, callers: 20, hints: true }), { notReady: [], different: [] });
});

test(
  '100 results the same when nodes tell each other nothing: those who wait find them by looking',
  withPostgres,
  async (t) => {
    const run = { results: 100, callers: 40, hints: false, pollMs: 250 };
    assert.deepEqual(await fetchRun(t, run), { notReady: [], different: [] });
  },
);
