// When what is sent, to whom, how often, and what is written of it: on the embedded engine in memory, with a clock, chance and receivers of the test's own.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { WaitlessError } from '@waitless/protocol';
import type { DeliverySettlement } from '../engine/deliveries.ts';
import type { Fixture } from '../engine/conformance/fixture.ts';
import { fixture, within } from '../engine/conformance/fixture.ts';
import { callback, deliveriesOf, tell } from '../engine/conformance/tellings.ts';
import { sqliteEngine } from '../engines/sqlite/engine.ts';
import { type Log, silentLog } from '../lib/log.ts';
import { newMetrics } from '../lib/metrics.ts';
import { Deliver, type DeliverDependencies, type OutboundNotice } from './deliver.ts';
import { jitter, scheduleMs, type Tried } from './delivery-rules.ts';
import { Ids } from './ids.ts';

async function storeFor(t: TestContext): Promise<Fixture> {
  const f = await fixture({
    name: 'sqlite in memory',
    create: async () => ({ engine: () => sqliteEngine({ folder: ':memory:' }), destroy: async () => {} }),
  });
  t.after(() => f.end());
  return f;
}

const answered = (status: number, retryAfter?: string): Tried => ({
  kind: 'answered',
  status,
  retryAfter,
  answer: Buffer.from(`answer ${status}`),
});

/** Numbers that look like chance and are the same each time. */
function sameChance(): { fraction: () => number } {
  let state = 1;
  return { fraction: () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647 };
}

type Post = (notice: OutboundNotice) => Tried | Promise<Tried>;

function deliverOn(f: Fixture, post: Post, more: Partial<DeliverDependencies> = {}) {
  const metrics = newMetrics();
  const deliver = new Deliver({
    engine: f.engine,
    envelopes: { of: () => Promise.resolve({ headers: [], body: Buffer.from('told'), release: () => {} }) },
    ids: new Ids({ shard: 0, storeKey: 'key' }),
    target: { post: async (notice) => post(notice) },
    clock: f.clock,
    wallNow: () => f.clock.now(),
    random: sameChance(),
    log: silentLog,
    metrics,
    ...more,
  });
  /** One look at the store, and all that comes of it. */
  const round = async (): Promise<number> => {
    const taken = await deliver.once();
    while (deliver.inFlight > 0) await new Promise((resolve) => setImmediate(resolve));
    return taken;
  };
  return { deliver, round, metrics };
}

/** Ends so many operations of which one place each is to be told. */
async function tellMany(f: Fixture, places: readonly string[]): Promise<void> {
  const submissions = await Promise.all(places.map((at) => f.submission({ callback: callback(at) })));
  await f.engine.submit(submissions, f.clock.now());
  const leases = await f.lease({ max: places.length });
  assert.equal(leases.length, places.length);
  const result = { status: 204, headers: [], body: Buffer.alloc(0), hash: 'none' };
  await f.engine.settle(
    leases.map((lease) => ({ ...lease, transition: { to: 'succeeded', result }, backendStatus: 204 })),
    f.clock.now(),
  );
}

const attemptsOf = async (f: Fixture, number: number) => (await f.engine.delivery(number, 'default'))!.attempts;

test('G12: 500 receivers that never say yes get each try of the schedule, no other one, through restarts', async (t) => {
  const f = await storeFor(t);
  const places = Array.from({ length: 500 }, (_, i) => `place-${i}`);
  await tellMany(f, places);
  const seen = new Map<string, number[]>();
  const dues: number[] = [];
  const engine: Fixture['engine'] = {
    ...f.engine,
    settleDeliveries(batch, nowMs) {
      for (const { verdict } of batch) if (verdict.to === 'waiting') dues.push(verdict.at);
      return f.engine.settleDeliveries(batch, nowMs);
    },
  };
  const random = sameChance();
  const start = () =>
    deliverOn(
      f,
      ({ url }) => {
        seen.set(url, [...(seen.get(url) ?? []), f.clock.now()]);
        return answered(500);
      },
      { engine, random },
    );
  let now = start();
  // As often as the slow poll would, where something is due, and each time until nothing is.
  const pollMs = 1000;
  for (let rounds = 1; ; rounds++) {
    while ((await now.round()) > 0);
    if (dues.length === 0) break;
    const next = dues.reduce((a, b) => Math.min(a, b));
    f.clock.notBefore(next + pollMs);
    for (let i = dues.length - 1; i >= 0; i--) if (dues[i]! <= f.clock.now()) dues.splice(i, 1);
    if (rounds % 50 === 0) {
      await now.deliver.stop();
      now = start();
    }
  }
  assert.equal(seen.size, 500);
  for (const [url, times] of seen) {
    assert.equal(times.length, scheduleMs.length + 1, url);
    for (const [i, ms] of scheduleMs.entries()) {
      const gap = times[i + 1]! - times[i]!;
      assert.ok(gap >= ms * (1 - jitter) - 1 && gap <= ms * (1 + jitter) + pollMs + 1, `${url}: ${i} after ${gap}`);
    }
  }
  for (const delivery of await f.engine.deliveries({ namespace: 'default', limit: 1000 })) {
    assert.deepEqual([delivery.state, delivery.code, delivery.attempt], ['dead', 'schedule-used-up', 10]);
    const attempts = await attemptsOf(f, delivery.number);
    assert.deepEqual(
      attempts.map(({ at }) => at),
      seen.get(delivery.callback.url),
      'each try is on record',
    );
  }
});

test('T62: 10,000 notices for a dead place cost few tries, others are served at once, and all go out once it is back', async (t) => {
  const f = await storeFor(t);
  for (let i = 0; i < 10; i++) await tellMany(f, Array<string>(1000).fill('dead'));
  await tellMany(f, ['shop']);
  const posts = { dead: 0, shop: 0 };
  let isDead = true;
  let [under, most] = [0, 0];
  const { round } = deliverOn(f, async ({ url }) => {
    if (url.includes('shop')) {
      posts.shop++;
      return answered(200);
    }
    posts.dead++;
    most = Math.max(most, ++under);
    await new Promise((resolve) => setImmediate(resolve));
    under--;
    return isDead ? { kind: 'failed', code: 'timed-out' } : answered(200);
  });
  await round();
  assert.equal(posts.shop, 1, 'in the first round');
  for (let second = 0; second < 3600; second += 5) {
    f.clock.advance(5000);
    await round();
    if (second === 1800) {
      await tell(f, callback('shop'));
      await round();
      assert.equal(posts.shop, 2, 'at once, too');
    }
  }
  assert.ok(posts.dead >= 8 && posts.dead <= 8 + 16, `${posts.dead} tries in an hour`);
  isDead = false;
  for (let waited = 0; (await round()) === 0; waited++) {
    assert.ok(waited < 600, 'probed within ten minutes');
    f.clock.advance(1000);
  }
  f.clock.advance(300_000);
  while ((await round()) > 0);
  const open = await f.engine.deliveries({ namespace: 'default', state: 'waiting', limit: 1 });
  assert.deepEqual(open, []);
  assert.equal(most, 8, 'at most so many at once');
});

test('what waits for a dead place is given up after two weeks, by few tries; what is younger or has a place that lives is not', async (t) => {
  const f = await storeFor(t);
  await tellMany(f, Array<string>(300).fill('dead'));
  let posts = 0;
  const { round } = deliverOn(f, ({ url }) => {
    if (url.includes('shop')) return answered(500);
    posts++;
    return { kind: 'failed', code: 'connection-failed' };
  });
  const statesOf = async (): Promise<Record<string, number>> => {
    const all = await f.engine.deliveries({ namespace: 'default', limit: 1000 });
    return Object.fromEntries(
      [...Map.groupBy(all, ({ state, code }) => `${state} ${code}`)].map(([state, some]) => [state, some.length]),
    );
  };
  await round();
  f.clock.advance(13 * 86_400_000);
  await tellMany(f, ['dead', 'shop']);
  await round();
  f.clock.advance(86_400_000 + 1);
  const before = posts;
  // That one try fails then is not enough: it was we who stood still.
  await round();
  assert.equal((await statesOf())['dead waited-too-long'], undefined);
  for (let i = 0; i < 12; i++) {
    f.clock.advance(600_000);
    while ((await round()) > 0);
  }
  assert.deepEqual(await statesOf(), {
    'dead waited-too-long': 300,
    'waiting connection-failed': 1,
    'waiting unexpected-status': 1,
  });
  assert.ok(posts - before <= 16, `${posts - before} tries`);
});

test('what a try led to is on record: a yes, a wish to wait, no more of this, a refusal', async (t) => {
  const f = await storeFor(t);
  const table: [
    at: string,
    Tried,
    state: string,
    afterMs: number | null,
    code: string | null,
    status: number | null,
  ][] = [
    ['yes', answered(200), 'delivered', null, null, 200],
    ['later', answered(429, '100'), 'waiting', 100_000, 'unexpected-status', 429],
    ['years', answered(503, '1000000000'), 'waiting', 86_400_000, 'unexpected-status', 503],
    ['nonsense', answered(503, '-1'), 'waiting', 5000, 'unexpected-status', 503],
    ['gone', answered(410), 'dead', null, 'gone', 410],
    ['inside', { kind: 'failed', code: 'blocked' }, 'dead', null, 'blocked', null],
    ['away', { kind: 'failed', code: 'connection-failed' }, 'waiting', 5000, 'connection-failed', null],
  ];
  for (const [at] of table) await tell(f, callback(at));
  const batches: number[] = [];
  const engine: Fixture['engine'] = {
    ...f.engine,
    settleDeliveries(batch, nowMs) {
      batches.push(batch.length);
      return f.engine.settleDeliveries(batch, nowMs);
    },
  };
  const { round, metrics } = deliverOn(f, ({ url }) => table.find(([at]) => url.includes(at))![1], {
    engine,
    random: { fraction: () => 0.5 },
  });
  const beganAt = f.clock.now();
  assert.equal(await round(), table.length);
  assert.deepEqual(batches, [table.length], 'what ends together is one commit');
  const deliveries = (await f.engine.deliveries({ namespace: 'default', limit: 100 })).reverse();
  for (const [i, [at, tried, state, afterMs, code, status]] of table.entries()) {
    const { number, nextAt, ...delivery } = deliveries[i]!;
    assert.deepEqual([delivery.state, delivery.code, delivery.attempt], [state, code, 1], at);
    const next = afterMs === null ? null : beganAt + afterMs;
    if (afterMs !== null) assert.equal(nextAt, next, at);
    const [attempt, ...others] = await attemptsOf(f, number);
    assert.deepEqual(others, []);
    const { detail, answer, ...rest } = attempt!;
    assert.deepEqual(rest, { attempt: 1, at: beganAt, durationMs: 0, status, code, nextAt: next }, at);
    assert.equal(detail === null, code === null, at);
    assert.deepEqual(answer && Buffer.from(answer), tried.kind === 'answered' ? tried.answer : null, at);
  }
  assert.deepEqual(metrics.deliveries, { delivered: 1, failed: 4, dead: 2, returned: 0, lost: 0 });
  assert.equal(metrics.deliveryAttempts, table.length);
});

test('what is on its way at a stop is given back, costs the schedule nothing and is sent again', async (t) => {
  const f = await storeFor(t);
  const seq = await tell(f);
  let under = (): void => {};
  const sending = new Promise<void>((resolve) => (under = resolve));
  const first = deliverOn(f, ({ signal }) => {
    under();
    return new Promise((resolve) =>
      signal.addEventListener('abort', () => resolve({ kind: 'failed', code: 'timed-out' })),
    );
  });
  await first.deliver.start();
  await within(sending, 'it is sent');
  f.clock.advance(1000);
  await within(first.deliver.stop(), 'the stop');
  const [delivery] = await deliveriesOf(f, seq);
  assert.deepEqual(
    [delivery!.state, delivery!.failures, delivery!.nextAt, delivery!.code],
    ['waiting', 0, f.clock.now(), 'interrupted'],
  );
  const [attempt] = await attemptsOf(f, delivery!.number);
  assert.deepEqual([attempt!.code, attempt!.durationMs, attempt!.status], ['interrupted', null, null]);
  const second = deliverOn(f, () => answered(200));
  await second.round();
  const [after] = await deliveriesOf(f, seq);
  assert.deepEqual([after!.state, after!.attempt, after!.failures], ['delivered', 2, 0]);
});

test('what cannot be signed is not sent and does not fail: it is made ready again until it can be', async (t) => {
  const f = await storeFor(t);
  const [seq] = [await tell(f), await tell(f, callback('other'))];
  let locked = true;
  let posts = 0;
  const warnings: string[] = [];
  const log: Log = { ...silentLog, warn: (event) => void warnings.push(event) };
  const { round, metrics } = deliverOn(f, () => (posts++, answered(200)), {
    log,
    envelopes: {
      of: async () => {
        if (locked) throw new WaitlessError('secrets-locked', 'no key');
        return { headers: [], body: Buffer.from('told'), release: () => {} };
      },
    },
  });
  await round();
  const pauses: number[] = [];
  for (let i = 0; i < 12; i++) {
    const [delivery] = await deliveriesOf(f, seq);
    const { state, failures, nextAt, code } = delivery!;
    assert.deepEqual([state, failures, code], ['waiting', 0, 'secrets-locked']);
    pauses.push(nextAt! - f.clock.now());
    f.clock.advance(pauses.at(-1)!);
    locked = i < 11;
    await round();
  }
  assert.deepEqual(pauses.slice(0, 6), [30_000, 60_000, 120_000, 240_000, 480_000, 600_000]);
  assert.equal(pauses.at(-1), 600_000);
  assert.deepEqual(warnings, ['delivery.unsent'], 'the operator is told once');
  assert.equal((await deliveriesOf(f, seq))[0]!.state, 'delivered');
  assert.deepEqual([posts, metrics.deliveryAttempts, metrics.deliveries.returned], [2, 2, 24]);
});

test('an operation that is not kept any more is told nobody', async (t) => {
  const f = await storeFor(t);
  const seq = await tell(f);
  const { round } = deliverOn(f, () => assert.fail('sent'), { envelopes: { of: () => Promise.resolve(undefined) } });
  await round();
  const [delivery] = await deliveriesOf(f, seq);
  assert.deepEqual([delivery!.state, delivery!.code], ['dead', 'operation-forgotten']);
});

test('what a store that is away refuses is kept and recorded later, without sending it again', async (t) => {
  const f = await storeFor(t);
  const seq = await tell(f);
  let posts = 0;
  const asked: DeliverySettlement[][] = [];
  const { round } = deliverOn(f, () => (posts++, answered(200)), {
    engine: {
      ...f.engine,
      settleDeliveries(batch, nowMs) {
        asked.push([...batch]);
        if (asked.length < 3) return Promise.reject(new WaitlessError('engine-unavailable'));
        return f.engine.settleDeliveries(batch, nowMs);
      },
    },
  });
  await round();
  assert.deepEqual([posts, asked.length], [1, 3]);
  assert.deepEqual(asked[2], asked[0]);
  assert.equal((await deliveriesOf(f, seq))[0]!.state, 'delivered');
});

test('never more are on their way than may be, however many places there are', async (t) => {
  const f = await storeFor(t);
  await tellMany(
    f,
    Array.from({ length: 300 }, (_, i) => `place-${i}`),
  );
  let letGo = (): void => {};
  const held = new Promise<void>((resolve) => (letGo = resolve));
  const { deliver, round } = deliverOn(f, async () => {
    await held;
    return answered(200);
  });
  assert.equal(await deliver.once(), 128);
  assert.equal(await deliver.once(), 0);
  assert.equal(deliver.inFlight, 128);
  letGo();
  assert.equal(await round(), 0);
  while ((await round()) > 0);
  assert.deepEqual(await f.engine.deliveries({ namespace: 'default', state: 'waiting', limit: 1 }), []);
});

test('what a try led to that was taken for interrupted meanwhile is not recorded, and the try is made again', async (t) => {
  const f = await storeFor(t);
  const seq = await tell(f);
  let posts = 0;
  const { round, metrics } = deliverOn(f, async () => {
    if (posts++ > 0) return answered(200);
    f.clock.advance(60_001);
    await f.engine.sweep(f.clock.now(), { removeExpired: false });
    return answered(410);
  });
  await round();
  assert.deepEqual([metrics.deliveries.lost, metrics.deliveries.dead], [1, 0]);
  const [delivery] = await deliveriesOf(f, seq);
  assert.deepEqual([delivery!.state, delivery!.code, delivery!.failures], ['waiting', 'interrupted', 0]);
  await round();
  assert.equal((await deliveriesOf(f, seq))[0]!.state, 'delivered');
});

test('without a hint the slow poll finds what is due, and a store that refuses for a while is asked again', async (t) => {
  const f = await storeFor(t);
  let refusals = 2;
  let sent = (): void => {};
  const arrived = new Promise<void>((resolve) => (sent = resolve));
  const { deliver } = deliverOn(f, () => (sent(), answered(200)), {
    everyMs: 5,
    engine: {
      ...f.engine,
      onSignal: () => {},
      leaseDeliveries: (wanted, nowMs) =>
        refusals-- > 0
          ? Promise.reject(new WaitlessError('engine-unavailable'))
          : f.engine.leaseDeliveries(wanted, nowMs),
    },
  });
  await deliver.start();
  try {
    await tell(f);
    await within(arrived, 'it is sent');
  } finally {
    // Before the store is closed, as a server does it.
    await deliver.stop();
  }
});

test('with a hint nothing waits for the slow poll', async (t) => {
  const f = await storeFor(t);
  let sent = (): void => {};
  const arrived = new Promise<void>((resolve) => (sent = resolve));
  const { deliver } = deliverOn(f, () => (sent(), answered(200)), { everyMs: 3_600_000 });
  await deliver.start();
  try {
    await tell(f);
    await within(arrived, 'it is sent');
  } finally {
    // Before the store is closed, as a server does it.
    await deliver.stop();
  }
});
