// Whoever follows an operation is told all of it once; many cost the store what one does, and the past comes as fast as it is taken.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OperationRecord, TimelineRow } from '../engine/engine.ts';
import { Ids } from './ids.ts';
import { Live } from './live.ts';
import type { OperationEvent } from './operation-events.ts';
import { type FeedEnd, type Follower, OperationFeeds } from './operation-feed.ts';

/** A store with one operation that is running and reports what the test says. */
function setUp() {
  const asked = { operation: 0, timeline: 0 };
  let record: OperationRecord | undefined = {
    seq: 1,
    nonce: '0'.repeat(32),
    queue: 1,
    namespace: 'default',
    service: 'score',
    status: 'running',
    version: 2,
    attempt: 1,
    leaseNo: 1,
    correlationId: null,
    labels: null,
    createdAt: 1000,
    updatedAt: 1000,
    startedAt: 1000,
    finishedAt: null,
    runAt: null,
    deadlineAt: 9000,
    attemptAt: 1000,
    worker: null,
    expiresAt: null,
    error: null,
    progress: null,
    reference: null,
    key: null,
  };
  const rows: TimelineRow[] = [];
  const engine = {
    operation: () => {
      asked.operation++;
      return Promise.resolve(record && { ...record });
    },
    timeline: (
      _: number,
      {
        from = 0,
        limit = Infinity,
        attempts = false,
      }: { from?: number; limit?: number; attempts?: boolean } | undefined = {},
    ) => {
      asked.timeline++;
      const wanted = rows.filter(({ version, kind }) => version >= from && (!attempts || kind === 'attempt'));
      return Promise.resolve(wanted.slice(0, limit));
    },
    recordsOf: () => Promise.resolve(record ? [{ ...record }] : []),
    result: () => Promise.resolve(undefined),
    onSignal: () => {},
  };
  const live = new Live({ engine, maxWaiters: 1, everyMs: 5 });
  const ids = new Ids({ shard: 0, storeKey: '0'.repeat(64) });
  const feeds = new OperationFeeds({ engine, live, ids });
  return {
    asked,
    live,
    feeds,
    get record() {
      return record!;
    },
    report(count: number, data?: string) {
      for (let i = 0; i < count; i++) {
        const version = ++record!.version;
        rows.push({
          version,
          at: 1000,
          kind: 'progress',
          attempt: 1,
          startedAt: null,
          worker: null,
          outcome: null,
          backendStatus: null,
          detail: null,
          nextAt: null,
          progress: { sequence: version - 2, ...(data === undefined ? {} : { data }) },
        });
      }
    },
    tell: () => live.wake(1, { version: record!.version, done: record!.finishedAt !== null }),
    end() {
      record = { ...record!, version: record!.version + 1, status: 'succeeded', finishedAt: 2000, expiresAt: 3000 };
    },
    forget: () => (record = undefined),
    follow(
      after = 0,
      { ready, from = record! }: { ready?: () => Promise<void>; from?: OperationRecord } = {},
    ): Followed {
      return new Followed((follower) => feeds.attach({ ...from }, { after, follower }), ready ?? (() => undefined));
    },
  };
}

/** One who follows and writes down what it is told. */
class Followed implements Follower {
  readonly batches: (readonly OperationEvent[])[] = [];
  readonly leave: () => void;
  readonly #end = Promise.withResolvers<FeedEnd>();
  readonly ready: () => Promise<void> | undefined;

  constructor(attach: (follower: Follower) => () => void, ready: () => Promise<void> | undefined) {
    this.ready = ready;
    this.leave = attach(this);
  }

  take(events: readonly OperationEvent[]): void {
    this.batches.push(events);
  }

  ended(why: FeedEnd): void {
    this.#end.resolve(why);
  }

  get versions(): number[] {
    return this.batches.flatMap((batch) => batch.map(({ version }) => version));
  }

  async told(why: FeedEnd = 'done'): Promise<number[]> {
    assert.equal(await this.#end.promise, why);
    return this.versions;
  }
}

const upTo = (last: number, from = 1): number[] => Array.from({ length: last - from + 1 }, (_, i) => from + i);
/** Everything that is on its way in this process has arrived. */
const settled = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};

test('a thousand followers are told all, each change is read once for all of them and comes as one array', async () => {
  const store = setUp();
  const followers = Array.from({ length: 1000 }, () => store.follow(2));
  await settled();
  store.asked.operation = 0;
  store.asked.timeline = 0;
  for (let i = 0; i < 10; i++) {
    store.report(1);
    store.tell();
    await settled();
  }
  assert.equal(store.asked.operation, 10);
  assert.equal(store.asked.timeline, 10);
  store.end();
  store.tell();
  for (const follower of followers) assert.deepEqual(await follower.told(), upTo(13, 3));
  for (const { batches } of followers)
    for (const [i, batch] of batches.entries()) assert.equal(batch, followers[0]!.batches[i]);
  assert.equal(store.live.has(1), false);
});

test('changes that come together are read and told together', async () => {
  const store = setUp();
  const follower = store.follow(2);
  await settled();
  store.asked.operation = 0;
  for (let i = 0; i < 50; i++) {
    store.report(1);
    store.tell();
  }
  await settled();
  assert.ok(store.asked.operation <= 2, `${store.asked.operation} reads`);
  store.end();
  store.tell();
  assert.deepEqual(await follower.told(), upTo(53, 3));
  assert.ok(follower.batches.length <= 3, `${follower.batches.length} batches`);
});

test('a long story is read in parts, by those who come late too, and nothing is missing where they meet', async () => {
  const store = setUp();
  const early = store.follow();
  await settled();
  store.report(400);
  const late = [store.follow(), store.follow(300)];
  store.tell();
  late.push(store.follow(1));
  store.report(300);
  store.tell();
  late.push(store.follow(3));
  await settled();
  store.end();
  store.tell();
  const last = 2 + 400 + 300 + 1;
  assert.deepEqual(await early.told(), upTo(last));
  const [whole, fromThere, second, fourth] = await Promise.all(late.map((follower) => follower.told()));
  assert.deepEqual(whole, upTo(last));
  assert.deepEqual(fromThere, upTo(last, 301));
  assert.deepEqual(second, upTo(last, 2));
  assert.deepEqual(fourth, upTo(last, 4));
});

test('the past comes no faster than it is taken, and what happens meanwhile comes after it', async () => {
  const store = setUp();
  store.report(1200);
  let go = Promise.withResolvers<void>();
  const slow = store.follow(0, { ready: () => go.promise });
  const other = store.follow(2);
  for (const version of [502, 1001]) {
    await settled();
    assert.equal(slow.versions.at(-1), version);
    store.report(1);
    store.tell();
    await settled();
    assert.equal(slow.versions.at(-1), version, 'and nothing overtakes it');
    const next = go;
    go = Promise.withResolvers<void>();
    next.resolve();
  }
  go.resolve();
  store.end();
  store.tell();
  const last = 2 + 1200 + 2 + 1;
  assert.deepEqual(await slow.told(), upTo(last));
  assert.deepEqual(await other.told(), upTo(last, 3));
});

test('what was changed between the record and the beginning of the wait is told, also when nobody says so', async () => {
  const store = setUp();
  const from = { ...store.record };
  store.report(1);
  store.end();
  assert.deepEqual(await store.follow(2, { from }).told(), [3, 4]);
});

test('a hint that was lost is found by the slow poll, and so is an operation that was forgotten', async () => {
  const store = setUp();
  await store.live.start();
  const follower = store.follow(2);
  await settled();
  store.report(1);
  store.end();
  assert.deepEqual(await follower.told(), [3, 4]);
  const other = setUp();
  await other.live.start();
  const forgotten = other.follow(2);
  await settled();
  other.forget();
  assert.deepEqual(await forgotten.told('forgotten'), []);
  assert.equal(other.live.has(1), false);
  await Promise.all([store.live.stop(), other.live.stop()]);
});

test('who leaves is told nothing more, and the last one to leave is followed by nobody', async () => {
  const store = setUp();
  const [first, second, early] = [store.follow(2), store.follow(2), store.follow()];
  early.leave();
  await settled();
  first.leave();
  assert.equal(store.live.has(1), true);
  store.report(1);
  store.tell();
  await settled();
  assert.deepEqual([first.versions, second.versions, early.versions], [[], [3], []]);
  second.leave();
  assert.equal(store.live.has(1), false);
});

test('one that cannot be told ends alone', async () => {
  const store = setUp();
  const broken = store.follow(2);
  const good = store.follow(2);
  await settled();
  broken.take = () => {
    throw new Error('no room');
  };
  store.report(1);
  store.tell();
  await broken.told('failed');
  store.end();
  store.tell();
  assert.deepEqual(await good.told(), [3, 4]);
});

test('a stop ends it, in the past and live, and after it nobody is kept', async () => {
  const store = setUp();
  store.report(600);
  const past = store.follow(0, { ready: () => new Promise(() => {}) });
  const current = store.follow(602);
  await settled();
  await store.live.stop();
  assert.deepEqual(await past.told('stopped'), upTo(502));
  assert.deepEqual(await current.told('stopped'), []);
  assert.deepEqual(await store.follow(602).told('stopped'), []);
});

test('what is forgotten while it is read is not found, rather than told wrongly', async () => {
  const store = setUp();
  store.report(3);
  store.end();
  const follower = store.follow();
  store.forget();
  assert.deepEqual(await follower.told('forgotten'), []);
});
