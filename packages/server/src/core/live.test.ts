// Who waits is woken by news, by a signal of the store, by a poll when both got lost, or by its own time limit.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OperationRecord, ResultRecord, Signal } from '../engine/engine.ts';
import { Live, type News } from './live.ts';

const own = { namespace: 'own' };

/** A store that knows the given operations, remembers what it was asked for, and signals what the test says. */
type Known = Pick<OperationRecord, 'seq' | 'version' | 'finishedAt'> & Partial<OperationRecord>;

const kept = (seq: number): ResultRecord => ({
  status: 200,
  headers: [],
  body: Buffer.from(`result of ${seq}`),
  bodyBytes: 11,
  hash: `hash of ${seq}`,
});

function fakeStore(...known: Known[]) {
  const asked: number[][] = [];
  const listeners: ((signal: Signal) => void)[] = [];
  return {
    asked,
    listeners,
    recordsOf(seqs: readonly number[]) {
      asked.push([...seqs]);
      return Promise.resolve(known.filter(({ seq }) => seqs.includes(seq)) as OperationRecord[]);
    },
    result: (seq: number) => Promise.resolve(kept(seq)),
    onSignal: (listener: (signal: Signal) => void) => void listeners.push(listener),
    signal: (...seqs: number[]) => {
      for (const seq of seqs) for (const listener of listeners) listener({ kind: 'operation', seq, done: true });
    },
  };
}

async function until(fits: () => boolean): Promise<void> {
  while (!fits()) await new Promise((resolve) => setImmediate(resolve));
}

/** What is the same whoever brought the news. */
const plain = (news: News | undefined) => news && { version: news.version, done: news.done };

test('news wakes those whom it concerns and nobody else', async () => {
  const live = new Live({ engine: fakeStore(), maxWaiters: 10 });
  const changed = live.wait(1, { ...own, version: 3, onlyDone: false, timeoutMs: 60_000 });
  const done = live.wait(1, { ...own, version: 3, onlyDone: true, timeoutMs: 60_000 });
  const other = live.wait(2, { ...own, version: 0, onlyDone: false, timeoutMs: 60_000 });
  live.wake(1, { version: 3, done: false });
  assert.equal(live.waiting, 3);
  live.wake(1, { version: 4, done: false });
  assert.equal((await changed)?.version, 4);
  assert.equal(live.waiting, 2);
  live.wake(1, { version: 5, done: true });
  assert.equal((await done)?.done, true);
  await live.stop();
  assert.equal(await other, undefined);
  assert.equal(live.waiting, 0);
  assert.equal(live.has(1), false);
});

test('a signal of the store makes those re-read whom it concerns, all of one turn together', async () => {
  const store = fakeStore({ seq: 1, version: 4, finishedAt: null }, { seq: 2, version: 7, finishedAt: 1 });
  const live = new Live({ engine: store, maxWaiters: 10 });
  const changed = live.wait(1, { ...own, version: 3, onlyDone: false, timeoutMs: 60_000 });
  const undone = live.wait(1, { ...own, version: 3, onlyDone: true, timeoutMs: 60_000 });
  const done = live.wait(2, { ...own, version: 3, onlyDone: true, timeoutMs: 60_000 });
  store.signal(1, 2, 3, 1);
  assert.deepEqual(plain(await changed), { version: 4, done: false });
  assert.deepEqual(plain(await done), { version: 7, done: true });
  assert.deepEqual(store.asked, [[1, 2]]);
  assert.equal(live.waiting, 1);
  await live.stop();
  assert.equal(await undone, undefined);
});

test('a signal that came just before the wait began is not lost, however many came in between', async () => {
  const store = fakeStore({ seq: 1, version: 2, finishedAt: 1 });
  const live = new Live({ engine: store, maxWaiters: 10 });
  store.signal(1, ...Array.from({ length: 9999 }, (_, i) => 1000 + i));
  assert.equal((await live.wait(1, { ...own, version: 1, onlyDone: true, timeoutMs: 60_000 }))?.version, 2);
  store.signal(...Array.from({ length: 9999 }, (_, i) => 20_000 + i));
  assert.equal((await live.wait(1, { ...own, version: 1, onlyDone: true, timeoutMs: 60_000 }))?.version, 2);
  assert.deepEqual(store.asked, [[1], [1]]);
});

test('who begins to wait without a signal before asks the store nothing', async () => {
  const store = fakeStore({ seq: 1, version: 2, finishedAt: 1 });
  const live = new Live({ engine: store, maxWaiters: 10 });
  const waiting = live.wait(1, { ...own, version: 2, onlyDone: false, timeoutMs: 60_000 });
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  assert.deepEqual(store.asked, []);
  await live.stop();
  assert.equal(await waiting, undefined);
});

test('a store that cannot be read at a signal leaves the waiter to the next one', async () => {
  const store = fakeStore({ seq: 1, version: 2, finishedAt: 1 });
  let down = true;
  let refused = (): void => {};
  const tried = new Promise<void>((resolve) => (refused = resolve));
  const recordsOf = (seqs: readonly number[]): Promise<OperationRecord[]> => {
    if (!down) return store.recordsOf(seqs);
    refused();
    return Promise.reject(new Error('the database is away'));
  };
  const live = new Live({ engine: { ...store, recordsOf }, maxWaiters: 10 });
  const waiting = live.wait(1, { ...own, version: 1, onlyDone: true, timeoutMs: 60_000 });
  store.signal(1);
  await tried;
  down = false;
  store.signal(1);
  assert.equal((await waiting)?.version, 2);
});

test('a lost hint is made good by the slow poll', async () => {
  const store = fakeStore({ seq: 1, version: 9, finishedAt: 1 });
  const live = new Live({ engine: store, maxWaiters: 10, hints: false, everyMs: 1 });
  assert.deepEqual(store.listeners, []);
  await live.start();
  const waiting = live.wait(1, { ...own, version: 0, onlyDone: true, timeoutMs: 60_000 });
  live.wake(1, { version: 9, done: true });
  assert.deepEqual(plain(await waiting), { version: 9, done: true });
  await live.stop();
});

test('who leaves is forgotten, who comes too many is refused', async () => {
  const live = new Live({ engine: fakeStore(), maxWaiters: 1 });
  const gone = new AbortController();
  live.ensureRoom('own');
  const waiting = live.wait(1, { ...own, version: 0, onlyDone: true, timeoutMs: 60_000, signal: gone.signal });
  assert.throws(() => live.ensureRoom('own'), { code: 'too-many-connections' });
  gone.abort();
  assert.equal(await waiting, undefined);
  live.ensureRoom('own');
  assert.equal(await live.wait(1, { ...own, version: 0, onlyDone: true, timeoutMs: 1 }), undefined);
  assert.equal(live.waiting, 0);
});

test('one namespace cannot take the room of the others', () => {
  const live = new Live({ engine: fakeStore(), maxWaiters: 3, maxPerNamespace: 2 });
  const leave = live.hold('one');
  live.ensureRoom('one');
  live.hold('one');
  assert.throws(() => live.ensureRoom('one'), { code: 'too-many-connections', message: /^2 .* of this namespace/ });
  live.ensureRoom('two');
  live.hold('two');
  assert.throws(() => live.ensureRoom('two'), { code: 'too-many-connections', message: /^3 requests wait already/ });
  leave();
  leave();
  assert.equal(live.waiting, 2, 'who leaves twice has left once');
  live.ensureRoom('one');
});

test('who hears of an end on another node gets the result with it, unless something else stands in its place', async () => {
  const ended = { version: 2, finishedAt: 1, expiresAt: 9, error: null };
  const store = fakeStore(
    { seq: 1, ...ended, status: 'succeeded' },
    { seq: 2, ...ended, status: 'failed', error: { code: 'timed-out', message: '' } },
    { seq: 3, ...ended, status: 'cancelled' },
  );
  const live = new Live({ engine: store, maxWaiters: 10 });
  const waits = [1, 2, 3].map((seq) => live.wait(seq, { ...own, version: 0, onlyDone: true, timeoutMs: 60_000 }));
  store.signal(1, 2, 3);
  const news = await Promise.all(waits);
  assert.deepEqual(
    news.map((one) => one?.result?.hash),
    ['hash of 1', undefined, undefined],
  );
  assert.deepEqual(
    news.map((one) => one?.expiresAt),
    [9, 9, 9],
  );
  await live.stop();
});

test('who follows is told of every change until it lets go, counts for nobody, and hears of the end of it all', async () => {
  const store = fakeStore({ seq: 1, version: 4, finishedAt: null });
  const live = new Live({ engine: store, maxWaiters: 1, everyMs: 1 });
  const told: (number | string)[] = [];
  const listener = (name: string) => ({
    changed: (version: number) => told.push(version),
    gone: () => told.push(`${name} gone`),
    stopped: () => told.push(`${name} stopped`),
  });
  const leave = live.follow(1, listener('one'));
  assert.equal(live.waiting, 0);
  live.wake(1, { version: 2, done: false });
  live.wake(1, { version: 3, done: true });
  assert.deepEqual([...told], [2, 3]);
  store.signal(1);
  assert.equal(told.at(-1), Number.MAX_SAFE_INTEGER, 'a signal says that there is something, and no more');
  assert.deepEqual(store.asked, [], 'what it is, the one who follows reads by itself');
  leave();
  assert.equal(live.has(1), false);
  live.wake(1, { version: 5, done: true });
  assert.equal(told.length, 3);

  await live.start();
  live.follow(2, listener('two'));
  while (!told.includes('two gone')) await new Promise((resolve) => setTimeout(resolve, 1));
  live.follow(1, listener('one'));
  await live.stop();
  assert.ok(told.includes('two stopped') && told.includes('one stopped'));
  const after = told.length;
  live.follow(1, listener('late'));
  assert.deepEqual(told.slice(after), ['late stopped']);
});

test('who follows to the end alone hears of nothing else, and gets what a signal from another node is about without a look of its own', async () => {
  const store = fakeStore({ seq: 1, version: 9, finishedAt: 1, status: 'succeeded', error: null });
  const live = new Live({ engine: store, maxWaiters: 10 });
  const told: News[] = [];
  const leave = live.follow(1, {
    onlyDone: true,
    changed: (_, news) => void told.push(news),
    gone: () => assert.fail('it is there'),
    stopped: () => {},
  });
  live.wake(1, { version: 3, done: false });
  assert.equal(told.length, 0);
  store.signal(1);
  await until(() => told.length > 0);
  assert.equal(told[0]!.record?.version, 9);
  assert.equal(told[0]!.result?.hash, 'hash of 1');
  leave();
  live.wake(1, { version: 10, done: true });
  assert.equal(told.length, 1);
  await live.stop();
});

test('who follows to the end alone is told of an end that was signalled just before', async () => {
  const store = fakeStore({ seq: 1, version: 9, finishedAt: 1, status: 'succeeded', error: null });
  const live = new Live({ engine: store, maxWaiters: 10 });
  store.signal(1);
  const told: News[] = [];
  live.follow(1, { onlyDone: true, changed: (_, news) => void told.push(news), gone: () => {}, stopped: () => {} });
  await until(() => told.length > 0);
  assert.equal(told[0]!.done, true);
  await live.stop();
});
