// Place, expected end and Retry-After, from what is learned and what is counted: each case a line.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServiceConfig } from '../config/config-shape.ts';
import type { Engine, OperationRecord } from '../engine/engine.ts';
import { manualClock } from '../lib/clock.ts';
import { mostCounted, Outlooks } from './outlook.ts';
import { Pace } from './pace.ts';
import { QueueCounts } from './queue-counts.ts';

const usualMs = 10_000;
const hour = 3_600_000;

interface Given {
  /** Operations of ten seconds that ended before. */
  learned?: number;
  concurrency?: number;
  ahead?: number;
  /** Waiting in this queue and in that of another namespace, and running in both. */
  queued?: number;
  elsewhere?: number;
  running?: number;
}

async function outlooksOf({
  learned = 1,
  concurrency = Number.POSITIVE_INFINITY,
  ahead,
  queued = 0,
  elsewhere = 0,
  running = 0,
}: Given) {
  const clock = manualClock();
  const pace = new Pace();
  // Long enough ago to say nothing about the drain.
  for (let i = 0; i < learned; i++)
    pace.finished({ service: 'score', queue: 1, workMs: usualMs, nowMs: clock.now() - hour });
  const none = { queued: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0 };
  const rows = [
    { queue: { id: 1, namespace: 'a', service: 'score' }, counts: { ...none, queued, running } },
    { queue: { id: 2, namespace: 'b', service: 'score' }, counts: { ...none, queued: elsewhere } },
  ];
  const asked: number[] = [];
  const engine: Pick<Engine, 'ahead' | 'counts'> = {
    counts: () => Promise.resolve(rows),
    ahead: (seq, limit) => {
      asked.push(seq);
      return ahead === Number.POSITIVE_INFINITY
        ? Promise.reject(new Error('away'))
        : Promise.resolve(ahead === undefined ? undefined : Math.min(ahead, limit));
    },
  };
  const counts = new QueueCounts(engine, () => clock.now());
  counts.look();
  await new Promise((resolve) => setImmediate(resolve));
  const service = { name: 'score', concurrency } as ServiceConfig;
  const outlooks = new Outlooks({ engine, pace, counts, service: () => service, clock });
  const now = clock.now();
  const record = (more: Partial<OperationRecord> = {}): OperationRecord =>
    ({
      seq: 7,
      queue: 1,
      service: 'score',
      status: 'queued',
      createdAt: now,
      runAt: null,
      attemptAt: null,
      finishedAt: null,
      deadlineAt: now + 24 * hour,
      ...more,
    }) as OperationRecord;
  return { outlooks, record, now, clock, counts, service, asked };
}

const rows: [
  name: string,
  given: Given,
  expected: { place: number | null; leftMs: number | null; retryAfter: number },
][] = [
  [
    'next of a service with a free place',
    { ahead: 0, concurrency: 4 },
    { place: 1, leftMs: 2500 + usualMs, retryAfter: 13 },
  ],
  [
    'behind seven, four at once',
    { ahead: 7, concurrency: 4, queued: 8, running: 4 },
    { place: 8, leftMs: 20_000 + usualMs, retryAfter: 30 },
  ],
  [
    'pull: as many at once as workers hold',
    { ahead: 3, queued: 4, running: 2 },
    { place: 4, leftMs: 20_000 + usualMs, retryAfter: 30 },
  ],
  [
    'namespaces take turns',
    { ahead: 1, queued: 2, elsewhere: 50 },
    { place: 2, leftMs: 40_000 + usualMs, retryAfter: 50 },
  ],
  [
    'another namespace with little holds up little',
    { ahead: 9, queued: 10, elsewhere: 1 },
    { place: 10, leftMs: 110_000 + usualMs, retryAfter: 60 },
  ],
  [
    'beyond what is counted',
    { ahead: mostCounted, queued: 5000, running: 1000 },
    { place: null, leftMs: 50_010 + usualMs, retryAfter: 60 },
  ],
  [
    'the last place that is told',
    { ahead: mostCounted - 1, queued: 1000, running: 1000 },
    { place: mostCounted, leftMs: 2 * usualMs, retryAfter: 20 },
  ],
  ['nothing is known', { learned: 0, ahead: 3 }, { place: 4, leftMs: null, retryAfter: 1 }],
  [
    'its place cannot be read',
    { ahead: Number.POSITIVE_INFINITY },
    { place: null, leftMs: 2 * usualMs, retryAfter: 20 },
  ],
];
for (const [name, given, { place, leftMs, retryAfter }] of rows) {
  test(`queued: ${name}`, async () => {
    const { outlooks, record, now } = await outlooksOf(given);
    assert.deepEqual(await outlooks.of(record()), {
      queuePosition: place,
      estimatedCompletionAt: leftMs === null ? null : now + leftMs,
      retryAfterSeconds: retryAfter,
    });
  });
}

test('what waits for its time, runs or has ended is not looked up in the queue', async () => {
  const { outlooks, record, now, asked } = await outlooksOf({ ahead: 3 });
  const of = async (more: Partial<OperationRecord>) => {
    const { queuePosition, estimatedCompletionAt } = await outlooks.of(record(more));
    return [queuePosition, estimatedCompletionAt === null ? null : estimatedCompletionAt - now];
  };
  assert.deepEqual(await of({ runAt: now + hour }), [null, hour + usualMs]);
  assert.deepEqual(await of({ status: 'running', attemptAt: now - 4000 }), [null, 6000]);
  assert.deepEqual(await of({ status: 'running', attemptAt: now - 40_000 }), [null, 10_000]);
  assert.deepEqual(await of({ status: 'running', attemptAt: now - 4000, deadlineAt: now + 2000 }), [null, 2000]);
  assert.deepEqual(await of({ status: 'running', attemptAt: now - 4000, deadlineAt: now - 2000 }), [null, 0]);
  assert.deepEqual(await of({ status: 'succeeded', finishedAt: now }), [null, null]);
  assert.deepEqual(asked, []);
});

test('a 202 knows what was counted and what came since, without asking', async () => {
  const { outlooks, counts, service, clock, record, now } = await outlooksOf({ concurrency: 2, running: 2, queued: 3 });
  const queue = { queue: 1, service: 'score' };
  const retryAfter = (waitedMs = 0): number => outlooks.ofSubmitted({ service, queue: 1, record: undefined, waitedMs });
  assert.equal(retryAfter(), 25, 'three at two every ten seconds, and its own ten');
  counts.moved(queue, { queued: 3 });
  assert.equal(retryAfter(), 40);
  counts.moved(queue, { queued: -6, running: -2 });
  assert.equal(retryAfter(), 10, 'places are free');
  assert.equal(retryAfter(4000), 6);
  assert.equal(retryAfter(20_000), 5, 'longer than usual');
  counts.moved(queue, { queued: 60 });
  clock.advance(2001);
  assert.equal(retryAfter(), 10, 'a count that is too old says nothing');
  const joined = record({ status: 'running', attemptAt: now - 5000 });
  assert.equal(
    outlooks.ofSubmitted({ service, queue: 1, record: joined, waitedMs: 0 }),
    3,
    'what it joined has begun already',
  );
});
