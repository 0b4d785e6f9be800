// Whoever follows an operation is told all of it once; many cost the store what one does, and one who does not read is let go.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OperationRecord, TimelineRow } from '../engine/engine.ts';
import { Ids } from './ids.ts';
import { Live } from './live.ts';
import type { OperationEvent } from './operation-events.ts';
import { OperationFeeds } from './operation-feed.ts';

/** A store with one operation that is running and reports what the test says. */
function setUp({ maxWaiters = 10_000 } = {}) {
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
  const live = new Live({ engine, maxWaiters, everyMs: 5 });
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
    follow(after = 0, more: { signal?: AbortSignal; tooSlow?: () => void; quietMs?: number } = {}) {
      const signal = new AbortController().signal;
      return feeds.follow({ ...record! }, { after, quietMs: 60_000, signal, tooSlow: () => {}, ...more });
    },
  };
}

async function versionsOf(batches: AsyncIterable<readonly OperationEvent[]>): Promise<number[]> {
  const versions: number[] = [];
  for await (const batch of batches) versions.push(...batch.map(({ version }) => version));
  return versions;
}
const upTo = (last: number, from = 1): number[] => Array.from({ length: last - from + 1 }, (_, i) => from + i);
/** Everything that is on its way in this process has arrived. */
const settled = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};

test('a thousand followers are told all, and each change is read once for all of them', async () => {
  const store = setUp();
  const told = Array.from({ length: 1000 }, () => versionsOf(store.follow(2)));
  await settled();
  assert.equal(store.live.waiting, 1000);
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
  for (const versions of await Promise.all(told)) assert.deepEqual(versions, upTo(13, 3));
  assert.equal(store.live.waiting, 0);
  assert.equal(store.live.has(1), false);
});

test('changes that come together are read together', async () => {
  const store = setUp();
  const told = versionsOf(store.follow(2));
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
  assert.deepEqual(await told, upTo(53, 3));
});

test('a long story is read in parts, by those who come late too, and nothing is missing where they meet', async () => {
  const store = setUp();
  const early = versionsOf(store.follow());
  await settled();
  store.report(400);
  const late = [versionsOf(store.follow()), versionsOf(store.follow(300))];
  store.tell();
  late.push(versionsOf(store.follow(1)));
  store.report(300);
  store.tell();
  late.push(versionsOf(store.follow(3)));
  await settled();
  store.end();
  store.tell();
  const last = 2 + 400 + 300 + 1;
  assert.deepEqual(await early, upTo(last));
  const [whole, fromThere, second, fourth] = await Promise.all(late);
  assert.deepEqual(whole, upTo(last));
  assert.deepEqual(fromThere, upTo(last, 301));
  assert.deepEqual(second, upTo(last, 2));
  assert.deepEqual(fourth, upTo(last, 4));
});

test('what was changed between the record and the beginning of the wait is told, also when nobody says so', async () => {
  const store = setUp();
  const batches = store.follow(2);
  store.report(1);
  store.end();
  assert.deepEqual(await versionsOf(batches), [3, 4]);
});

test('a hint that was lost is found by the slow poll, and so is an operation that was forgotten', async () => {
  const store = setUp();
  await store.live.start();
  const told = versionsOf(store.follow(2));
  await settled();
  store.report(1);
  store.end();
  assert.deepEqual(await told, [3, 4]);
  const other = setUp();
  await other.live.start();
  const forgotten = versionsOf(other.follow(2));
  await settled();
  other.forget();
  assert.deepEqual(await forgotten, []);
  assert.equal(other.live.waiting, 0);
  await Promise.all([store.live.stop(), other.live.stop()]);
});

for (const [what, count, data] of [
  ['a thousand events', 1002, undefined],
  ['a megabyte', 70, JSON.stringify('x'.repeat(16_000))],
] as const) {
  test(`a follower that leaves ${what} unread is let go; others are not`, async () => {
    const store = setUp();
    let cut = 0;
    const slow = store.follow(2, { tooSlow: () => cut++ })[Symbol.asyncIterator]();
    const good = versionsOf(store.follow(2));
    const first = slow.next();
    await settled();
    for (let i = 0; i < count; i++) {
      store.report(1, data);
      store.tell();
      await settled();
    }
    assert.equal(cut, 1);
    assert.deepEqual(
      (await first).value?.map(({ version }) => version),
      [3],
    );
    assert.equal((await slow.next()).done, true);
    assert.equal(store.live.waiting, 1, 'it counts no longer');
    store.end();
    store.tell();
    assert.deepEqual(await good, upTo(2 + count + 1, 3));
  });
}

test('a signal ends it, a stop ends it, and a quiet while is told by an empty batch', async () => {
  const store = setUp();
  const controller = new AbortController();
  const gone = versionsOf(store.follow(2, { signal: controller.signal }));
  const stopped = versionsOf(store.follow(2));
  const quiet = store.follow(2, { quietMs: 1 })[Symbol.asyncIterator]();
  assert.deepEqual((await quiet.next()).value, []);
  assert.equal(store.live.waiting, 3);
  controller.abort();
  assert.deepEqual(await gone, []);
  assert.equal(store.live.waiting, 2);
  await store.live.stop();
  assert.deepEqual(await stopped, []);
  await quiet.return(undefined);
  assert.equal(store.live.waiting, 0);
  assert.deepEqual(await versionsOf(store.follow(2)), [], 'after a stop nobody is kept');
});

test('what is forgotten while it is read is not found, rather than told wrongly', async () => {
  const store = setUp();
  store.report(3);
  store.end();
  const batches = store.follow();
  store.forget();
  await assert.rejects(versionsOf(batches), { code: 'not-found' });
});

test('one that was made and never read counts for nobody', async () => {
  const store = setUp();
  store.follow();
  await settled();
  assert.equal(store.live.waiting, 0);
  assert.equal(store.live.has(1), false);
});
