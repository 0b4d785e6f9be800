// Every version of an operation tells what it was, from its record and rows alone, whole or in parts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OperationRecord, TimelineRow } from '../engine/engine.ts';
import { eventIdOf, eventJson, eventsOf, type OperationEvent, versionOf } from './operation-events.ts';

const start = Date.UTC(2026, 0, 1);
const id = `${'0'.repeat(32)}001`;
const base = 'http://127.0.0.1:7878';

const recordOf = (parts: Partial<OperationRecord>): OperationRecord => ({
  seq: 1,
  nonce: '0'.repeat(32),
  queue: 1,
  namespace: 'default',
  service: 'score',
  status: 'queued',
  version: 1,
  attempt: 0,
  leaseNo: 0,
  correlationId: null,
  labels: null,
  createdAt: start,
  updatedAt: start,
  startedAt: null,
  finishedAt: null,
  runAt: null,
  deadlineAt: start + 600_000,
  attemptAt: null,
  worker: null,
  expiresAt: null,
  error: null,
  progress: null,
  reference: null,
  key: null,
  ...parts,
});
const row = (parts: Partial<TimelineRow> & Pick<TimelineRow, 'version' | 'kind'>): TimelineRow => ({
  at: start + parts.version * 1000,
  attempt: 1,
  startedAt: null,
  worker: null,
  outcome: null,
  backendStatus: null,
  detail: null,
  nextAt: null,
  progress: null,
  ...parts,
});
const told = (events: readonly OperationEvent[]): Record<string, unknown>[] =>
  events.map((event) => JSON.parse(eventJson(event, { id, base })) as Record<string, unknown>);
const briefly = (events: readonly OperationEvent[]): unknown[] =>
  told(events).map(({ version, type, attempt }) => [version, String(type).replace('waitless.operation.', ''), attempt]);

/** Two attempts that fail, one of them given back, and a third with progress that succeeds. */
const rich: [OperationRecord, TimelineRow[]] = [
  recordOf({
    status: 'succeeded',
    version: 12,
    attempt: 2,
    leaseNo: 3,
    startedAt: start + 2000,
    attemptAt: start + 8000,
    updatedAt: start + 12_000,
    finishedAt: start + 12_000,
    expiresAt: start + 86_400_000,
  }),
  [
    row({ version: 3, kind: 'progress', progress: { sequence: 1, stage: 'prep' } }),
    row({ version: 4, kind: 'attempt', startedAt: start + 2000, outcome: 'backend-error', backendStatus: 500 }),
    row({ version: 6, kind: 'attempt', attempt: 2, startedAt: start + 5000, outcome: 'released' }),
    row({ version: 9, kind: 'progress', attempt: 2, progress: { sequence: 2, percent: 50, data: '{"x":1e999}' } }),
    row({ version: 10, kind: 'progress', attempt: 2, progress: { sequence: 3, message: 'nearly' } }),
    row({ version: 11, kind: 'progress', attempt: 2, progress: { sequence: 4 } }),
  ],
];
const richStory = [
  [1, 'queued', 0],
  [2, 'running', 1],
  [3, 'progress', 1],
  [4, 'queued', 1],
  [5, 'running', 2],
  [6, 'queued', 1],
  [7, 'running', 2],
  [8, 'running', 2],
  [9, 'progress', 2],
  [10, 'progress', 2],
  [11, 'progress', 2],
  [12, 'succeeded', 2],
];

const stories: readonly (readonly [what: string, record: OperationRecord, rows: TimelineRow[], story: unknown[]])[] = [
  ['just accepted', recordOf({}), [], [[1, 'queued', 0]]],
  [
    'an attempt under way',
    recordOf({ status: 'running', version: 2, attempt: 1, leaseNo: 1, attemptAt: start + 1 }),
    [],
    [
      [1, 'queued', 0],
      [2, 'running', 1],
    ],
  ],
  [
    'ended before it began',
    recordOf({ status: 'cancelled', version: 2, finishedAt: start + 5 }),
    [],
    [
      [1, 'queued', 0],
      [2, 'cancelled', 0],
    ],
  ],
  [
    'failed while it waited for another attempt',
    recordOf({ status: 'failed', version: 4, attempt: 1, leaseNo: 1, attemptAt: start + 1, finishedAt: start + 5 }),
    [row({ version: 3, kind: 'attempt', startedAt: start + 1, outcome: 'backend-error' })],
    [
      [1, 'queued', 0],
      [2, 'running', 1],
      [3, 'queued', 1],
      [4, 'failed', 1],
    ],
  ],
  ['everything', ...rich, richStory],
];

for (const [what, record, rows, story] of stories) {
  test(`the events of an operation: ${what}`, () => {
    assert.deepEqual(briefly(eventsOf(record, rows, { id, after: 0 })), story);
  });
}

test('after every version, in parts of every size, the events are the same', () => {
  const [record, rows] = rich;
  const all = told(eventsOf(record, rows, { id, after: 0 }));
  for (let after = 0; after <= record.version; after++) {
    for (let upTo = after; upTo <= record.version; upTo++) {
      const nextEnd = rows.find(({ version, kind }) => kind === 'attempt' && version > upTo);
      const seen = [
        ...rows.filter(({ version }) => version >= after && version <= upTo),
        ...(nextEnd ? [nextEnd] : []),
      ];
      assert.deepEqual(
        told(eventsOf(record, seen, { id, after, upTo })),
        all.slice(after, upTo),
        `${after} to ${upTo}`,
      );
    }
  }
});

test('rows that are newer than the record are told by the next look, and no event is told twice', () => {
  const [, rows] = rich;
  const before = recordOf({ status: 'running', version: 2, attempt: 1, leaseNo: 1, attemptAt: start + 2000 });
  assert.deepEqual(briefly(eventsOf(before, rows, { id, after: 1 })), [[2, 'running', 1]]);
});

test('what an event tells beside its state', () => {
  const [first, second, third, fourth] = told(eventsOf(...rich, { id, after: 0 }));
  assert.equal(first!['correlationId'], id);
  assert.equal(second!['updatedAt'], '2026-01-01T00:00:02.000Z');
  assert.deepEqual(third!['progress'], { sequence: 1, stage: 'prep' });
  assert.deepEqual(fourth!['lastAttempt'], {
    attempt: 1,
    outcome: 'backend-error',
    backendStatus: 500,
    detail: null,
  });
  const last = told(eventsOf(...rich, { id, after: 11 }))[0]!;
  assert.equal(last['eventId'], `${id}_12`);
  assert.equal(last['resourceLocation'], `${base}/v1/operations/${id}/result`);
  assert.equal(last['error'], null);
  assert.equal(last['expiresAt'], '2026-01-02T00:00:00.000Z');
});

test('progress data is the source text it came as, and an error of ours has its page', () => {
  const event = eventsOf(...rich, { id, after: 8, upTo: 9 })[0]!;
  assert.match(eventJson(event, { id, base }), /"data":\{"x":1e999\}/);
  const failed = recordOf({
    status: 'failed',
    version: 2,
    finishedAt: start,
    error: { code: 'timed-out', message: 'late' },
  });
  assert.deepEqual(told(eventsOf(failed, [], { id, after: 1 }))[0]!['error'], {
    code: 'timed-out',
    message: 'late',
    type: `${base}/problems/timed-out`,
  });
});

test('the id of an event names its version; anything else names none', () => {
  assert.equal(versionOf(eventIdOf(id, 7), id), 7);
  for (const forged of [
    '',
    id,
    `${id}_`,
    `${id}_0`,
    `${id}_-1`,
    `${id}_+1`,
    `${id}_1e3`,
    `${id}_01`,
    `${id}_1 `,
    `${id}_1;drop`,
    `${id}_${'9'.repeat(16)}`,
    `${'1'.repeat(32)}001_1`,
    `${id.toUpperCase()}x_1`,
    '*',
  ])
    assert.equal(versionOf(forged, id), undefined, forged);
});
