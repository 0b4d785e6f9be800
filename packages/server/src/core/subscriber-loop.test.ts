// When an event is carried to a push subscriber, how often, and what is kept of it: on the engine in memory, with a clock and receivers of the test's own.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { WaitlessError } from '@waitless/protocol';
import { event as newEvent } from '../engine/conformance/log-race.ts';
import type { EventSettlement, SubscriptionRecord } from '../engine/subscriptions.ts';
import type { LoggedEvent, NewEvent } from '../engine/topics.ts';
import { sqliteEngine } from '../engines/sqlite/engine.ts';
import { manualClock } from '../lib/clock.ts';
import { silentLog } from '../lib/log.ts';
import { newMetrics } from '../lib/metrics.ts';
import { BodyBudget } from './body-budget.ts';
import { jitter, type Tried } from './delivery-rules.ts';
import type { Push } from './event-carriers.ts';
import { readFilter } from './event-filter.ts';
import { EventTaking } from './event-taking.ts';
import type { Carried } from './event-verdicts.ts';
import { PushPlaces } from './push-places.ts';
import { SubscriberLoop, type SubscriberLoopDependencies } from './subscriber-loop.ts';
import type { SubscriptionSettings } from './subscriptions.ts';

const key = { namespace: 'default', name: 'sub' };

const tried = (status: number, retryAfter?: string): Carried => ({
  kind: 'tried',
  tried: { kind: 'answered', status, retryAfter, answer: Buffer.alloc(0) } satisfies Tried,
});
const ok = tried(204);
const dead: Carried = { kind: 'tried', tried: { kind: 'failed', code: 'timed-out' } };

type Answer = (push: Push, number: number) => Carried | Promise<Carried>;

async function fixture(t: TestContext, more: Partial<SubscriptionSettings> = {}) {
  const clock = manualClock();
  const engine = sqliteEngine({ folder: ':memory:' });
  await engine.open(clock.now());
  t.after(() => engine.close());
  const topics = ['orders.*'];
  const saved = await engine.saveSubscription({ ...key, text: '{}', topics, savedAt: clock.now() }, 'now');
  const settings: SubscriptionSettings = {
    ...key,
    number: saved.subscription.number,
    version: 1,
    topics,
    filter: readFilter(undefined),
    target: { kind: 'webhook', url: 'https://example.com/', headers: {} },
    ordered: false,
    maxInFlight: 16,
    retry: { maxAttempts: 4, initialDelayMs: 1000, maxDelayMs: 60_000 },
    leaseMs: 30_000,
    deadLetter: true,
    paused: false,
    ...more,
  };
  const publish = async (...events: Partial<NewEvent>[]): Promise<number[]> => {
    const outcomes = await engine.append(
      events.map((one) => newEvent({ topic: 'orders.placed', ...one })),
      clock.now(),
    );
    return outcomes.map((outcome) => (outcome.kind === 'appended' ? outcome.position : 0));
  };
  const metrics = newMetrics();
  const places = new PushPlaces();
  const budget = new BodyBudget(1e9);
  const start = (
    answer: Answer,
    rest: Partial<SubscriberLoopDependencies> = {},
    other: Partial<SubscriptionSettings> = {},
  ) => {
    const seen: { position: number; at: number }[] = [];
    const carry = async (push: Push): Promise<Carried> => {
      seen.push({ position: push.event.position, at: clock.now() });
      return answer(push, seen.length);
    };
    const loop = new SubscriberLoop(
      { ...settings, ...other },
      {
        engine,
        isShared: false,
        taking: new EventTaking({ engine, clock }),
        carry: { webhook: carry, service: carry },
        pauseSubscription: (of) => engine.pauseSubscription(of, true),
        everyMs: () => 1000,
        places,
        budget,
        clock,
        wallNow: () => clock.now(),
        random: { fraction: () => 0.5 },
        log: silentLog,
        metrics,
        ...rest,
      },
    );
    /** One look at the store, and all that comes of it. */
    const round = async (): Promise<number> => {
      const taken = await loop.once();
      while (loop.inFlight > 0) await new Promise((resolve) => setImmediate(resolve));
      return taken;
    };
    return { loop, round, seen };
  };
  const record = async (): Promise<SubscriptionRecord> => (await engine.subscription(key))!;
  const open = async () =>
    engine.openEvents({ subscription: settings.number, states: ['waiting', 'sending', 'held', 'dead'], limit: 1000 });
  return { clock, engine, settings, publish, start, record, open, metrics, places, budget };
}

test('each event is carried once and nothing is left of it; what is taken holds a place and its bytes while it is carried', async (t) => {
  const f = await fixture(t);
  const positions = await f.publish({}, { topic: 'stock.low' }, {}, {});
  let most = 0;
  const { round, seen } = f.start(() => {
    most = Math.max(most, f.places.taken, f.budget.used / 4);
    return ok;
  });
  assert.equal(await round(), 3);
  assert.deepEqual(
    seen.map(({ position }) => position),
    [positions[0], positions[2], positions[3]],
  );
  assert.equal(most, 3);
  assert.deepEqual([f.places.taken, f.budget.used, await f.open()], [0, 0, []]);
  assert.equal(f.metrics.pushes.webhook.delivered, 3);
  assert.equal(await round(), 0);
});

test('a try that fails is made again by the schedule of the document, then the event is a dead letter with its reason, and a redrive begins anew', async (t) => {
  const f = await fixture(t);
  const [position] = await f.publish({});
  let status = 404;
  const { round, seen } = f.start(() => tried(status));
  for (let second = 0; second < 60; second++) {
    await round();
    f.clock.advance(500);
  }
  const gaps = seen.slice(1).map(({ at }, i) => at - seen[i]!.at);
  assert.equal(seen.length, 4);
  for (const [i, ms] of [1000, 2000, 4000].entries())
    assert.ok(gaps[i]! >= ms * (1 - jitter) && gaps[i]! <= ms * (1 + jitter) + 500, `${gaps[i]}`);
  const [letter] = await f.open();
  assert.deepEqual(
    [letter!.state, letter!.position, letter!.attempt, letter!.code, letter!.detail],
    ['dead', position, 4, 'attempts-exhausted', 'the receiver answered 404; this was the last of 4 tries'],
  );
  status = 200;
  assert.equal(await f.engine.redriveEvents({ subscription: f.settings.number, limit: 10 }, f.clock.now()), 1);
  await round();
  assert.deepEqual([seen.length, await f.open()], [5, []]);
  assert.deepEqual(f.metrics.pushes.webhook, { delivered: 1, failed: 3, dead: 1, dropped: 0, returned: 0, lost: 0 });
});

test('where no dead letters are kept the event is dropped, and counted', async (t) => {
  const f = await fixture(t, { deadLetter: false, retry: { maxAttempts: 1, initialDelayMs: 1, maxDelayMs: 1 } });
  await f.publish({}, {});
  const { round } = f.start((_, number) => (number === 1 ? tried(500) : ok));
  await round();
  assert.deepEqual(await f.open(), []);
  assert.deepEqual([f.metrics.pushes.webhook.dropped, f.metrics.pushes.webhook.delivered], [1, 1]);
});

test('a dead receiver is left alone after a few failures: 2,000 events cost few tries in an hour, none is given up for it, and all go out once it is back', async (t) => {
  const f = await fixture(t, { retry: { maxAttempts: 16, initialDelayMs: 5000, maxDelayMs: 3_600_000 } });
  for (let i = 0; i < 4; i++) await f.publish(...Array.from({ length: 500 }, () => ({})));
  let isDead = true;
  const { round, seen } = f.start(() => (isDead ? dead : ok));
  for (let second = 0; second < 3600; second += 10) {
    await round();
    f.clock.advance(10_000);
  }
  assert.ok(seen.length > 16 && seen.length <= 16 + 12, `${seen.length} tries in an hour`);
  assert.equal((await f.record()).dead, 0);
  isDead = false;
  const before = seen.length;
  for (let waited = 0; (await round()) === 0; waited++) {
    assert.ok(waited < 700, 'probed within ten minutes and a little');
    f.clock.advance(1000);
  }
  assert.equal(seen.length, before + 1, 'one to see whether it is back');
  while ((await round()) > 0);
  f.clock.advance(7_200_000);
  while ((await round()) > 0);
  assert.deepEqual(await f.open(), []);
  assert.equal((await f.record()).failures, 0);
});

test('the pauses between probes of a dead receiver double, and never go beyond its longest delay', async (t) => {
  const f = await fixture(t, {
    retry: { maxAttempts: 100, initialDelayMs: 1000, maxDelayMs: 100_000 },
    maxInFlight: 5,
  });
  await f.publish(...Array.from({ length: 200 }, () => ({})));
  const { round, seen } = f.start(() => dead);
  const probes: number[] = [];
  await round();
  assert.equal(seen.length, 5);
  for (let last = f.clock.now(); probes.length < 4;) {
    f.clock.advance(500);
    if ((await round()) === 0) continue;
    probes.push(Math.round((f.clock.now() - last) / 1000));
    last = f.clock.now();
  }
  for (const [i, seconds] of [30, 60, 100, 100].entries())
    assert.ok(Math.abs(probes[i]! - seconds) <= 1, `pauses of ${probes.join(', ')} s`);
  assert.equal(seen.length, 9, 'one at a time');
});

test('410 pauses the subscription and keeps the event, which goes out when somebody resumes it', async (t) => {
  const f = await fixture(t);
  const [position] = await f.publish({}, {});
  const warned: string[] = [];
  const log = { ...silentLog, warn: (name: string) => void warned.push(name) };
  let status = 410;
  const { loop, round, seen } = f.start(() => tried(status), { log });
  await round();
  assert.equal((await f.record()).paused, true);
  assert.deepEqual(warned, ['subscription.paused']);
  assert.deepEqual(
    (await f.open()).map((one) => [one.state, one.attempt, one.code]),
    [
      ['waiting', 0, 'gone'],
      ['waiting', 0, 'gone'],
    ],
  );
  assert.equal(await round(), 0, 'also before the news of the pause is here');
  loop.change({ ...f.settings, version: 2, paused: true });
  assert.equal(await round(), 0);
  status = 200;
  await f.engine.pauseSubscription(key, false);
  loop.change({ ...f.settings, version: 3 });
  await round();
  assert.deepEqual([seen.length, seen[2]!.position, await f.open()], [4, position, []]);
});

test('what is postponed rests with all that would come after it, and costs no try', async (t) => {
  const f = await fixture(t, { target: { kind: 'service', service: 'jobs' }, maxInFlight: 1 });
  const positions = await f.publish({}, {}, {});
  let isFull = true;
  const { round, seen } = f.start(() =>
    isFull ? { kind: 'postponed', code: 'queue-full', detail: 'full', afterMs: 7000 } : { kind: 'started' },
  );
  assert.equal(await round(), 1);
  f.clock.advance(6999);
  assert.equal(await round(), 0);
  assert.equal((await f.record()).readTo, positions[0], 'nothing more is taken meanwhile');
  isFull = false;
  f.clock.advance(1);
  while ((await round()) > 0);
  assert.deepEqual(
    seen.map(({ position }) => position),
    [positions[0], ...positions],
  );
  assert.deepEqual(await f.open(), []);
  assert.equal(f.metrics.pushes.service.delivered, 3);
});

test('of one key one is on its way at a time, in order, also while tries fail; others are not held up', async (t) => {
  const f = await fixture(t, { ordered: true });
  const keys = ['a', 'a', 'b', 'a', 'b'];
  const positions = await f.publish(...keys.map((orderingKey) => ({ orderingKey })));
  const done: LoggedEvent[] = [];
  const under = new Set<string>();
  let failed = false;
  const { round } = f.start(async ({ event }) => {
    assert.ok(!under.has(event.orderingKey!), 'one of its key at a time');
    under.add(event.orderingKey!);
    await new Promise((resolve) => setImmediate(resolve));
    under.delete(event.orderingKey!);
    if (event.position === positions[0] && !failed) {
      failed = true;
      return tried(500);
    }
    done.push(event);
    return ok;
  });
  while ((await round()) > 0);
  const of = (name: string) => done.filter(({ orderingKey }) => orderingKey === name).map(({ position }) => position);
  assert.deepEqual([of('a'), of('b')], [[], [positions[2], positions[4]]]);
  f.clock.advance(2000);
  while ((await round()) > 0);
  assert.deepEqual(of('a'), [positions[0], positions[1], positions[3]]);
});

test('a stop gives back what is on its way, without a try, and the next process carries it first', async (t) => {
  const f = await fixture(t);
  const positions = await f.publish({}, {});
  const { loop } = f.start(
    ({ signal }) =>
      new Promise((resolve) =>
        signal.addEventListener('abort', () => resolve({ kind: 'interrupted' }), { once: true }),
      ),
  );
  const ended = loop.run();
  while (loop.inFlight < 2) await new Promise((resolve) => setImmediate(resolve));
  loop.end();
  await ended;
  assert.deepEqual(
    (await f.open()).map((one) => [one.position, one.state, one.attempt, one.code]),
    positions.map((position) => [position, 'waiting', 0, 'interrupted']),
  );
  await f.publish({});
  const { round, seen } = f.start(() => ok);
  await round();
  assert.deepEqual(
    seen.slice(0, 2).map(({ position }) => position),
    positions,
  );
  assert.equal(seen.length, 3);
});

test('what ends while the store refuses is kept and recorded when it is back; what cannot be told in time is carried again', async (t) => {
  const f = await fixture(t);
  await f.publish({});
  let refusals = 1;
  const settleEvents = (batch: readonly EventSettlement[], nowMs: number) =>
    refusals-- > 0
      ? Promise.reject(new WaitlessError('engine-unavailable', 'away'))
      : f.engine.settleEvents(batch, nowMs);
  const first = f.start(() => ok, { engine: { ...f.engine, settleEvents } });
  await first.round();
  assert.deepEqual([first.seen.length, await f.open()], [1, []]);
  await f.publish({});
  refusals = 1;
  const second = f.start(
    () => {
      f.clock.advance(61_000);
      return ok;
    },
    {
      engine: {
        ...f.engine,
        settleEvents: () => Promise.reject(new WaitlessError('storage-full', 'no room')),
      },
    },
  );
  await second.round();
  await f.engine.sweep(f.clock.now(), { removeExpired: true, pausedMs: 0 });
  const third = f.start(() => ok);
  await third.round();
  assert.deepEqual([third.seen.length, await f.open()], [1, []]);
});

test('a receiver that holds all its places delays nobody: another subscription is served meanwhile', async (t) => {
  const f = await fixture(t, { maxInFlight: 10_000 });
  await f.publish(...Array.from({ length: 400 }, () => ({})));
  const held: (() => void)[] = [];
  const slow = f.start(() => new Promise((resolve) => held.push(() => resolve(ok))));
  await slow.loop.once();
  assert.equal(f.places.taken, 256);
  const other = await f.engine.saveSubscription(
    { namespace: 'default', name: 'other', text: '{}', topics: ['orders.*'], savedAt: f.clock.now() },
    'start',
  );
  const { loop } = f.start(() => ok, {}, { name: 'other', number: other.subscription.number });
  const running = loop.run();
  while (f.metrics.pushes.webhook.delivered < 400) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(held.length, 256, 'the slow one has not moved');
  loop.end();
  await running;
  for (const open of held) open();
  while (slow.loop.inFlight > 0) await new Promise((resolve) => setImmediate(resolve));
});

test('the place of what has arrived is free at once, and no more are on their way than may be; while the store refuses it is held', async (t) => {
  const f = await fixture(t, { maxInFlight: 4 });
  await f.publish(...Array.from({ length: 40 }, () => ({})));
  let isAway = false;
  let leased = 0;
  let mostLeased = 0;
  const settleEvents = (batch: readonly EventSettlement[], nowMs: number) => {
    if (isAway) return Promise.reject(new WaitlessError('engine-unavailable', 'away'));
    leased -= batch.length;
    return f.engine.settleEvents(batch, nowMs);
  };
  const claim: typeof f.engine.claim = (of, nowMs) => {
    leased += of.take.length;
    mostLeased = Math.max(mostLeased, leased);
    return f.engine.claim(of, nowMs);
  };
  const engine = { ...f.engine, settleEvents, claim };
  const taking = new EventTaking({ engine, clock: f.clock });
  let under = 0;
  let most = 0;
  const carry = async (): Promise<Carried> => {
    most = Math.max(most, ++under);
    await new Promise((resolve) => setImmediate(resolve));
    under--;
    return ok;
  };
  const { loop, seen } = f.start(carry, { engine, taking });
  const running = loop.run();
  while (f.metrics.pushes.webhook.delivered < 20) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(mostLeased, 4, 'the store is told what makes room before it is asked for the next');
  isAway = true;
  while (f.places.taken < 4 || under > 0) await new Promise((resolve) => setImmediate(resolve));
  for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(mostLeased <= 8, `${mostLeased}: those that cannot be told of, and no more than as many again`);
  isAway = false;
  while (f.metrics.pushes.webhook.delivered < 40) await new Promise((resolve) => setImmediate(resolve));
  loop.end();
  await running;
  assert.deepEqual([most, seen.length, f.places.taken, f.budget.used], [4, 40, 0, 0]);
  assert.deepEqual(await f.open(), []);
});
