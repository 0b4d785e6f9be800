// Whoever follows topics is told every event of them once and in order, however publishing, joining and trimming fall together; many cost one read.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { event as newEvent } from '../engine/conformance/log-race.ts';
import type { Engine } from '../engine/engine.ts';
import type { EventPage, LoggedEvent, NewEvent, ReadWanted } from '../engine/topics.ts';
import { sqliteEngine } from '../engines/sqlite/engine.ts';
import { manualClock } from '../lib/clock.ts';
import { readFilter } from './event-filter.ts';
import type { PlaceReset } from './event-place.ts';
import { type AttachOptions, type TopicFeedEnd, type TopicFollower, TopicFeeds, type TopicWish } from './topic-feed.ts';

/** @param page what the store is made to say instead of what it has read */
async function fixture(
  t: TestContext,
  {
    everyMs = 60_000,
    hints = true,
    page,
  }: { everyMs?: number; hints?: boolean; page?: (page: EventPage) => EventPage } = {},
) {
  const clock = manualClock();
  const engine: Engine = sqliteEngine({ folder: ':memory:' });
  await engine.open(clock.now());
  const reads: ReadWanted[] = [];
  const stops = new Set<() => void>();
  let hint = (): void => {};
  const feeds = new TopicFeeds({
    engine: {
      read: async (wanted) => {
        reads.push(wanted);
        const read = await engine.read(wanted);
        return page ? page(read) : read;
      },
      onSignal: (listener) => {
        hint = () => listener({ kind: 'events', namespace: 'default' });
        if (hints) engine.onSignal(listener);
      },
    },
    live: {
      onStop: (letGo) => {
        stops.add(letGo);
        return () => void stops.delete(letGo);
      },
    },
    everyMs,
  });
  t.after(async () => {
    for (const letGo of stops) letGo();
    await engine.close();
  });
  return {
    engine,
    feeds,
    reads,
    hint: () => hint(),
    stop: () => {
      for (const letGo of stops) letGo();
    },
    publish: async (...events: Partial<NewEvent>[]): Promise<number[]> => {
      const outcomes = await engine.append(
        events.map((one) => newEvent({ topic: 'orders.placed', ...one })),
        clock.now(),
      );
      return outcomes.map((outcome) => (outcome.kind === 'appended' ? outcome.position : 0));
    },
    follow: (
      wish: Partial<TopicWish> = {},
      options: Partial<AttachOptions> & { ready?: TopicFollower['ready'] } = {},
    ) => new Followed(feeds, { namespace: 'default', topics: ['orders.*'], ...wish }, { place: 'start', ...options }),
    following: async (wish: Partial<TopicWish> = {}) => {
      const whole = { namespace: 'default', topics: ['orders.*'], ...wish };
      return new Followed(feeds, whole, { place: await feeds.newest(whole), isNewest: true });
    },
    trim: async (topic: string, upTo: number) => {
      const found = (await engine.topics('default')).find(({ name }) => name === topic)!;
      await engine.trim(
        { topic: found.number, olderThan: null, keepBytes: 0, notBeyond: upTo, limit: 1000 },
        clock.now(),
      );
    },
  };
}

class Followed implements TopicFollower {
  readonly batches: (readonly LoggedEvent[])[] = [];
  readonly resets: PlaceReset[] = [];
  readonly leave: () => void;
  readonly end = Promise.withResolvers<TopicFeedEnd>();
  readonly live = Promise.withResolvers<void>();
  readonly ready: TopicFollower['ready'];
  #news = Promise.withResolvers<void>();

  constructor(
    feeds: TopicFeeds,
    wish: TopicWish,
    { ready = () => undefined, ...options }: Omit<AttachOptions, 'follower'> & { ready?: TopicFollower['ready'] },
  ) {
    this.ready = ready;
    this.leave = feeds.attach(wish, { ...options, follower: this });
  }

  take(events: readonly LoggedEvent[]): void {
    this.batches.push(events);
    this.#changed();
  }

  reset(reset: PlaceReset): void {
    this.resets.push(reset);
    this.#changed();
  }

  caughtUp(): void {
    this.live.resolve();
  }

  ended(why: TopicFeedEnd): void {
    this.end.resolve(why);
  }

  #changed(): void {
    const { resolve } = this.#news;
    this.#news = Promise.withResolvers();
    resolve();
  }

  get positions(): number[] {
    return this.batches.flat().map(({ position }) => position);
  }

  /** Resolves once it was told so many events. */
  async count(events: number): Promise<number[]> {
    while (this.positions.length < events) await this.#news.promise;
    return this.positions;
  }

  async resetsReach(count: number): Promise<PlaceReset[]> {
    while (this.resets.length < count) await this.#news.promise;
    return this.resets;
  }
}

test('a thousand followers are told the same object by one read', async (t) => {
  const { feeds, reads, publish, follow, following } = await fixture(t);
  await publish({});
  const place = await feeds.newest({ namespace: 'default', topics: ['orders.*'] });
  const many = Array.from({ length: 1000 }, () => follow({}, { place, isNewest: true }));
  const other = await following({ topics: ['**'] });
  await Promise.all([...many, other].map(({ live }) => live.promise));
  const before = reads.length;
  await publish({ body: Buffer.from('1') }, { topic: 'other', body: Buffer.from('2') });
  await Promise.all(many.map((one) => one.count(1)));
  await other.count(2);
  assert.equal(reads.length - before, 1);
  const [first] = many;
  assert.deepEqual(first!.positions, [2]);
  for (const one of many) {
    assert.equal(one.batches.length, 1);
    assert.equal(one.batches[0], first!.batches[0], 'the same array, so that it is framed once');
  }
  assert.equal(other.batches.flat()[0], first!.batches[0]![0], 'and the same event for who wants more');
});

test('publishing and joining in any order leaves no gap and repeats nothing', async (t) => {
  const { feeds, publish, follow, following } = await fixture(t);
  const joined: { one: Followed; from: number; topic: string }[] = [];
  const last = { a: 0, b: 0 };
  const topics = ['a', 'b'] as const;
  const all: { position: number; topic: string }[] = [];
  const publishing = (async () => {
    for (let round = 0; round < 120; round++) {
      const events = Array.from({ length: 1 + (round % 7) }, (_, i) => ({ topic: topics[(round + i) % 2]! }));
      for (const [i, position] of (await publish(...events)).entries()) {
        all.push({ position, topic: events[i]!.topic });
        last[events[i]!.topic] = position;
      }
    }
  })();
  for (let i = 0; i < 40; i++) {
    const topic = topics[i % 2]!;
    // Everything before this was published for certain.
    const from = all.at(-1)?.position ?? 0;
    const { epoch } = await feeds.newest({ namespace: 'default', topics: [topic] });
    joined.push({ one: follow({ topics: [topic] }, { place: { position: from, epoch } }), from, topic });
    if (i % 3 === 0) joined.push({ one: follow({ topics: [topic] }), from: 0, topic });
    if (i % 5 === 0) (await following({ topics: [topic] })).leave();
    await new Promise((resolve) => void setImmediate(resolve));
  }
  await publishing;
  for (const { one, from, topic } of joined) {
    const wanted = all
      .filter((event) => event.topic === topic && event.position > from)
      .map(({ position }) => position);
    assert.deepEqual(await one.count(wanted.length), wanted);
    assert.deepEqual(one.resets, []);
  }
});

test('the past comes in parts, as fast as it is taken, and what is published meanwhile follows it', async (t) => {
  const { publish, follow } = await fixture(t);
  for (let i = 0; i < 3; i++) await publish(...Array.from({ length: 400 }, () => ({})));
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let asked = 0;
  const slow = follow({}, { ready: () => gates[asked++]?.promise });
  await slow.count(500);
  await publish({});
  assert.equal(slow.positions.length, 500, 'it has not said that it is ready');
  gates[0]!.resolve();
  await slow.count(1000);
  await publish(...Array.from({ length: 700 }, () => ({})));
  gates[1]!.resolve();
  assert.deepEqual(
    await slow.count(1901),
    Array.from({ length: 1901 }, (_, i) => i + 1),
  );
});

test('patterns and filters choose, and a topic that is new belongs to a pattern from its first event', async (t) => {
  const { publish, follow } = await fixture(t);
  const head = (type: string): string => JSON.stringify({ specversion: '1.0', id: '1', source: '/s', type });
  const filter = { text: '1', test: readFilter({ prefix: { type: 'big' } }) };
  const chosen = follow({ topics: ['orders.*.paid', 'bills.**'], filter });
  const whole = follow({ topics: ['orders.*.paid', 'bills.**'] });
  await Promise.all([chosen.live.promise, whole.live.promise]);
  await publish(
    { topic: 'orders.1.paid', head: head('big.one') },
    { topic: 'orders.1.lost', head: head('big.one') },
    { topic: 'bills', head: head('small') },
    { topic: 'bills.a.b', head: head('big.two') },
  );
  assert.deepEqual(await whole.count(3), [1, 3, 4]);
  assert.deepEqual(await chosen.count(2), [1, 4]);
  const late = follow({ topics: ['**'], filter });
  assert.deepEqual(await late.count(3), [1, 2, 4], 'the past is chosen from in the same way');
});

test('without a hint the slow poll tells', async (t) => {
  const { publish, following } = await fixture(t, { everyMs: 5, hints: false });
  const one = await following();
  await publish({}, {});
  assert.deepEqual(await one.count(2), [1, 2]);
});

test('what retention has removed before it was told is said, once, and what is kept is told', async (t) => {
  const { feeds, publish, follow, trim } = await fixture(t);
  await publish({ topic: 'orders.a' }, { topic: 'orders.b' }, { topic: 'orders.a' }, { topic: 'orders.b' });
  await trim('orders.a', 3);
  const { epoch } = await feeds.newest({ namespace: 'default', topics: ['orders.*'] });
  const missing = follow({}, { place: { position: 1, epoch } });
  assert.deepEqual(await missing.count(2), [2, 4]);
  const [{ reason, from, to }] = (await missing.resetsReach(1)) as [PlaceReset];
  assert.deepEqual({ reason, from, to }, { reason: 'removed', from: 1, to: 3 });
  const whole = follow({}, { place: { position: 3, epoch } });
  const fresh = follow();
  assert.deepEqual(await whole.count(1), [4]);
  assert.deepEqual(await fresh.count(2), [2, 4]);
  await publish({ topic: 'orders.a' });
  assert.equal((await missing.count(3)).at(-1), 5);
  assert.deepEqual([missing.resets.length, whole.resets.length, fresh.resets.length], [1, 0, 0]);
});

test('those who are told what is new hear of it too when it is removed before it was read', async (t) => {
  const { publish, follow, trim, hint } = await fixture(t, { hints: false });
  await publish({ topic: 'orders.a' });
  const one = follow();
  const other = follow({ topics: ['orders.b'] });
  await one.count(1);
  await Promise.all([one.live.promise, other.live.promise]);
  await publish({ topic: 'orders.a' }, { topic: 'orders.b' }, { topic: 'orders.a' });
  await trim('orders.a', 2);
  hint();
  const [reset] = await one.resetsReach(1);
  assert.equal(reset!.reason, 'removed');
  assert.deepEqual(await one.count(3), [1, 3, 4]);
  assert.deepEqual(await other.count(1), [3]);
  assert.equal(other.resets.length, 0, 'its topic has lost nothing');
});

test('another history, or a place beyond the newest, is told from the beginning', async (t) => {
  let epoch: string | undefined;
  const { feeds, publish, follow } = await fixture(t, { page: (page) => (epoch ? { ...page, epoch } : page) });
  await publish({}, {}, {});
  const { epoch: own } = await feeds.newest({ namespace: 'default', topics: ['orders.*'] });
  const foreign = follow({}, { place: { position: 2, epoch: 'f'.repeat(32) } });
  const beyond = follow({}, { place: { position: 9, epoch: own } });
  for (const one of [foreign, beyond]) {
    assert.deepEqual(await one.count(3), [1, 2, 3]);
    assert.equal(one.resets[0]!.reason, 'history');
  }
  await Promise.all([foreign.live.promise, beyond.live.promise]);
  epoch = 'e'.repeat(32);
  await publish({});
  for (const one of [foreign, beyond]) {
    assert.deepEqual(await one.count(7), [1, 2, 3, 1, 2, 3, 4], 'a store that was put back while it runs');
    assert.equal(one.resets.length, 2);
  }
});

test('who leaves hears nothing more, and at a stop all others are told so', async (t) => {
  const { feeds, publish, following, follow, stop, reads } = await fixture(t);
  const [gone, stays] = [await following(), await following()];
  await Promise.all([gone.live.promise, stays.live.promise]);
  gone.leave();
  await publish({});
  await stays.count(1);
  assert.deepEqual(gone.positions, []);
  stop();
  assert.equal(await stays.end.promise, 'stopped');
  const before = reads.length;
  await publish({});
  await feeds.newest({ namespace: 'default', topics: ['orders.*'] });
  assert.equal(reads.length - before, 1, 'nobody follows, so nothing is read');
  const again = follow();
  assert.deepEqual(await again.count(2), [1, 2]);
});

test('a store that cannot be read ends those who read of the past, and is read again for those who wait', async (t) => {
  let broken = false;
  const { publish, follow, following } = await fixture(t, {
    everyMs: 5,
    page: (page) => {
      if (broken) throw new Error('away');
      return page;
    },
  });
  const waits = await following();
  await waits.live.promise;
  broken = true;
  await publish({});
  const late = follow();
  assert.equal(await late.end.promise, 'failed');
  broken = false;
  assert.deepEqual(await waits.count(1), [1]);
});
