// Thousands of results, each asked for on the other node in the moment of the notice.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fetchRun } from './postgres-nodes-fetch-run.ts';
import { withPostgres } from './postgres-nodes.ts';

test(
  '5,000 results are ready on the other node in the moment of the notice, byte for byte',
  withPostgres,
  async (t) => {
    assert.deepEqual(await fetchRun(t, { results: 5000, callers: 40, hints: true }), { notReady: [], different: [] });
  },
);
