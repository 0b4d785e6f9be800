// What is cut and what is kept: the decision as a table, and a round on the engine of the tests, with a durable subscription that has still to read.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { TopicRetention } from '../config/api-topic.ts';
import { event } from '../engine/conformance/log-race.ts';
import { sqliteEngine } from '../engines/sqlite/engine.ts';
import { manualClock } from '../lib/clock.ts';
import { newMetrics } from '../lib/metrics.ts';
import { readFilter } from './event-filter.ts';
import { type Cut, cutsOf, EventRetention, floorsOf } from './event-retention.ts';
import { EventTaking } from './event-taking.ts';

const all = Number.MAX_SAFE_INTEGER;
const retention: TopicRetention = { maxAgeMs: 100, maxBytes: 1000, hardAgeMs: 400, hardBytes: 4000 };

const cuts: [
  name: string,
  topic: { oldestAt: number | null; bytes: number },
  more: { floor?: number; retention?: Partial<TopicRetention> },
  soft: Cut | undefined,
  hard: Cut | undefined,
][] = [
  ['nothing is there', { oldestAt: null, bytes: 0 }, {}, undefined, undefined],
  ['young and small', { oldestAt: 950, bytes: 1000 }, {}, undefined, undefined],
  ['exactly as old as may be', { oldestAt: 900, bytes: 10 }, {}, undefined, undefined],
  ['too old', { oldestAt: 899, bytes: 10 }, {}, { olderThan: 900, keepBytes: null, notBeyond: all }, undefined],
  ['too large', { oldestAt: 950, bytes: 1001 }, {}, { olderThan: null, keepBytes: 1000, notBeyond: all }, undefined],
  [
    'both',
    { oldestAt: 1, bytes: 1001 },
    { retention: { hardAgeMs: 9999 } },
    { olderThan: 900, keepBytes: 1000, notBeyond: all },
    undefined,
  ],
  [
    'up to what was read',
    { oldestAt: 899, bytes: 10 },
    { floor: 7 },
    { olderThan: 900, keepBytes: null, notBeyond: 7 },
    undefined,
  ],
  ['nobody has read anything', { oldestAt: 899, bytes: 10 }, { floor: 0 }, undefined, undefined],
  [
    'the hard age goes over everybody',
    { oldestAt: 599, bytes: 10 },
    { floor: 0 },
    undefined,
    { olderThan: 600, keepBytes: null, notBeyond: all },
  ],
  [
    'so does the hard size',
    { oldestAt: 950, bytes: 4001 },
    { floor: 7 },
    { olderThan: null, keepBytes: 1000, notBeyond: 7 },
    { olderThan: null, keepBytes: 4000, notBeyond: all },
  ],
  [
    'without a limit of size there is none',
    { oldestAt: 950, bytes: 1e12 },
    { retention: { maxBytes: undefined, hardBytes: undefined } },
    undefined,
    undefined,
  ],
  [
    'a hard limit is never before the soft one',
    { oldestAt: 950, bytes: 900 },
    { floor: 0, retention: { hardAgeMs: 1, hardBytes: 1 } },
    undefined,
    undefined,
  ],
];

for (const [name, topic, { floor = all, retention: more = {} }, soft, hard] of cuts)
  test(`cut: ${name}`, () => {
    const made = cutsOf(topic, { retention: { ...retention, ...more }, floor, nowMs: 1000 });
    assert.deepEqual(made, { soft, hard });
  });

test('the floor of a topic is where the slowest of its subscriptions is done, each namespace for itself', () => {
  const topics = [
    { number: 1, namespace: 'red', name: 'orders.placed' },
    { number: 2, namespace: 'red', name: 'orders.paid' },
    { number: 3, namespace: 'blue', name: 'orders.placed' },
    { number: 4, namespace: 'red', name: 'stock' },
  ];
  const subscription = (namespace: string, patterns: string[], readTo: number, oldestOpen: number | null = null) => ({
    namespace,
    topics: patterns,
    readTo,
    oldestOpen,
  });
  const floors = floorsOf(topics, [
    subscription('red', ['orders.*'], 50),
    // What is taken and not acknowledged was not read.
    subscription('red', ['**'], 90, 31),
    subscription('red', ['orders.paid', 'nothing.of.that'], 7),
    subscription('blue', ['orders.#'], 3),
  ]);
  assert.deepEqual(
    [...floors].toSorted(([a], [b]) => a - b),
    [
      [1, 30],
      [2, 7],
      [3, 3],
      [4, 30],
    ],
  );
});

async function fixture(t: TestContext, kept: TopicRetention = retention) {
  const clock = manualClock();
  const engine = sqliteEngine({ folder: ':memory:' });
  await engine.open(clock.now());
  t.after(() => engine.close());
  const metrics = newMetrics();
  const warnings: unknown[] = [];
  const taking = new EventTaking({ engine, clock });
  const rounds = new EventRetention({
    engine,
    settings: { read: () => Promise.resolve(), retentionOf: () => kept },
    clock,
    log: {
      debug: undefined,
      info: undefined,
      warn: (name, more) => void warnings.push([name, more?.['events']]),
      error() {},
    },
    metrics,
    onRemoved: () => taking.forgetPages(),
  });
  const publish = async (count: number): Promise<void> =>
    void (await engine.append(
      Array.from({ length: count }, () => event({ topic: 'orders.placed' })),
      clock.now(),
    ));
  const kept_ = async (): Promise<number> => (await engine.topics())[0]!.events;
  return { clock, engine, metrics, warnings, taking, rounds, publish, kept: kept_ };
}

test('events that nobody has to read go at the soft limit, however many there are', async (t) => {
  const { clock, metrics, warnings, rounds, publish, kept } = await fixture(t);
  await publish(1201);
  clock.advance(101);
  await publish(3);
  await rounds.once();
  assert.equal(await kept(), 3);
  assert.deepEqual([metrics.eventsRemoved, metrics.eventsMissed, warnings], [1201, 0, []]);
});

test('a durable subscription holds events beyond the soft limit and not beyond the hard one, and learns what it missed', async (t) => {
  const { clock, engine, metrics, warnings, taking, rounds, publish, kept } = await fixture(t, {
    ...retention,
    maxBytes: undefined,
    hardBytes: undefined,
  });
  const { subscription } = await engine.saveSubscription(
    { namespace: 'default', name: 'slow', text: '{}', topics: ['orders.*'], savedAt: clock.now() },
    'now',
  );
  const take = (max: number) =>
    taking.take(
      { ...subscription, filter: readFilter(undefined), ordered: false },
      { max, maxBytes: 1e6, kind: 'pull', worker: null, leaseMs: 10_000 },
    );
  await publish(10);
  // It takes four and acknowledges two of them.
  const { events } = await take(4);
  const done = events.slice(0, 2).map(({ lease: { subscription: number, position, leaseNo } }) => ({
    subscription: number,
    position,
    leaseNo,
    verdict: { to: 'acked' as const },
  }));
  await engine.settleEvents(done, clock.now());

  clock.advance(101);
  await rounds.once();
  assert.equal(await kept(), 8, 'what is acknowledged goes, what is taken or not looked at stays');
  assert.deepEqual([metrics.eventsRemoved, metrics.eventsMissed, warnings], [2, 0, []]);

  clock.advance(300);
  await publish(1);
  await rounds.once();
  assert.equal(await kept(), 1, 'the hard limit goes over everybody');
  assert.deepEqual([metrics.eventsRemoved, metrics.eventsMissed, warnings], [10, 8, [['events.missed', 8]]]);
  const { missed, events: rest } = await take(10);
  assert.deepEqual([missed, rest.map(({ event: { position } }) => position)], [{ from: 4, to: 10 }, [11]]);
});

test('a round begins at once where what is to be kept has changed, and none is under way after the stop', async (t) => {
  const { clock, rounds, publish, kept } = await fixture(t);
  await publish(2);
  await rounds.start();
  clock.advance(101);
  while ((await kept()) > 0) {
    rounds.soon();
    await new Promise((resolve) => void setImmediate(resolve));
  }
  await rounds.stop();
  await publish(2);
  clock.advance(101);
  rounds.soon();
  assert.equal(await kept(), 2);
});
