// What clients read of an operation, made from records that nodes with clocks a little apart have written.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TimelineEntry } from '@waitless/protocol';
import type { OperationRecord, TimelineRow } from '../engine/engine.ts';
import { timelineJson } from './document.ts';

const start = Date.UTC(2026, 0, 1);
const record: OperationRecord = {
  seq: 1,
  nonce: '0'.repeat(32),
  queue: 1,
  namespace: 'default',
  service: 'score',
  status: 'succeeded',
  version: 6,
  attempt: 2,
  leaseNo: 2,
  correlationId: null,
  labels: null,
  createdAt: start + 100,
  updatedAt: start + 200,
  startedAt: start + 100,
  finishedAt: start + 200,
  runAt: null,
  deadlineAt: start + 600_000,
  attemptAt: start + 50,
  worker: null,
  expiresAt: null,
  error: null,
  progress: null,
  reference: null,
  key: null,
};
const failed: TimelineRow = {
  version: 3,
  at: start + 150,
  kind: 'attempt',
  attempt: 1,
  startedAt: start + 20,
  worker: null,
  outcome: 'backend-error',
  backendStatus: 500,
  detail: null,
  nextAt: null,
  progress: null,
};

test('a timeline tells its times in order, also when an attempt began on a node that is behind', () => {
  const { items } = JSON.parse(timelineJson(record, [failed], { backendStatus: 200 })) as { items: TimelineEntry[] };
  const since = items.map(({ type, at, endedAt }) => [
    type,
    Date.parse(at) - start,
    endedAt ? Date.parse(endedAt) - start : null,
  ]);
  assert.deepEqual(since, [
    ['accepted', 100, null],
    ['attempt', 100, 150],
    ['attempt', 150, 200],
    ['finished', 200, null],
  ]);
});
