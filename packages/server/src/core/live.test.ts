// Who waits is woken by news, by a poll when the news got lost, or by its own time limit.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OperationRecord } from '../engine/engine.ts';
import { Live } from './live.ts';

const nothing = { recordsOf: () => Promise.resolve([]) };

test('news wakes those whom it concerns and nobody else', async () => {
  const live = new Live({ engine: nothing, maxWaiters: 10 });
  const changed = live.wait(1, { version: 3, onlyDone: false, timeoutMs: 60_000 });
  const done = live.wait(1, { version: 3, onlyDone: true, timeoutMs: 60_000 });
  const other = live.wait(2, { version: 0, onlyDone: false, timeoutMs: 60_000 });
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

test('a lost hint is made good by the slow poll', async () => {
  const record = { seq: 1, version: 9, finishedAt: 1 } as OperationRecord;
  const live = new Live({
    engine: { recordsOf: () => Promise.resolve([record]) },
    maxWaiters: 10,
    hints: false,
    everyMs: 1,
  });
  await live.start();
  const waiting = live.wait(1, { version: 0, onlyDone: true, timeoutMs: 60_000 });
  live.wake(1, { version: 9, done: true });
  assert.deepEqual(await waiting, { version: 9, done: true });
  await live.stop();
});

test('who leaves is forgotten, who comes too many is refused', async () => {
  const live = new Live({ engine: nothing, maxWaiters: 1 });
  const gone = new AbortController();
  live.ensureRoom();
  const waiting = live.wait(1, { version: 0, onlyDone: true, timeoutMs: 60_000, signal: gone.signal });
  assert.throws(() => live.ensureRoom(), { code: 'too-many-connections' });
  gone.abort();
  assert.equal(await waiting, undefined);
  live.ensureRoom();
  assert.equal(await live.wait(1, { version: 0, onlyDone: true, timeoutMs: 1 }), undefined);
  assert.equal(live.waiting, 0);
});
