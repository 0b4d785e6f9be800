// Who takes events is woken by what it reads, and not by what others publish; where no hint comes, by the slow poll.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Signal } from '../engine/engine.ts';
import type { EventPage, LoggedEvent, ReadWanted } from '../engine/topics.ts';
import { EventWakes } from './event-wakes.ts';

/** A log of nothing but topics, and those who listen. */
function fixture(t: TestContext, everyMs?: number) {
  const told: ((signal: Signal) => void)[] = [];
  const log: string[] = [];
  const store = { looks: 0, isAway: false };
  const wakes = new EventWakes({
    engine: {
      onSignal: (listener) => void told.push(listener),
      read: ({ after }: ReadWanted) => {
        store.looks++;
        if (store.isAway) return Promise.reject(new Error('away'));
        const events = log.slice(after).map((topic) => ({ topic }) as LoggedEvent);
        return Promise.resolve({ events, last: log.length, readTo: log.length } as EventPage);
      },
    },
    everyMs,
  });
  const woken: string[] = [];
  return {
    wakes,
    woken,
    store,
    /** Events of these topics, and who was woken by them. */
    grow: async (...topics: string[]): Promise<string[]> => {
      woken.length = 0;
      log.push(...topics);
      for (const listener of told) listener({ kind: 'events', namespace: 'n' });
      await new Promise<void>((resolve) => void setImmediate(resolve));
      return woken.toSorted();
    },
    signal: (one: Signal): void => told.forEach((listener) => listener(one)),
    listen: (who: string, topics: string[], namespace = 'n') =>
      wakes.listen({ namespace, topics }, () => woken.push(who)),
    start: () => (t.after(() => wakes.stop()), wakes.start()),
  };
}

test('of many only those are woken whose topics have grown, with one look for all of them', async (t) => {
  const { grow, listen, store } = fixture(t);
  listen('placed', ['orders.placed']);
  listen('orders', ['orders.*']);
  listen('both', ['orders.paid', 'stock']);
  const leave = listen('all', ['**']);
  listen('elsewhere', ['**'], 'other');
  assert.deepEqual(await grow('orders.placed'), ['all', 'both', 'orders', 'placed'], 'at first everybody looks');
  assert.deepEqual(await grow('orders.placed'), ['all', 'orders', 'placed']);
  assert.equal(store.looks, 2);
  assert.deepEqual(await grow('stock', 'unread'), ['all', 'both']);
  listen('fifth', ['unread']);
  leave();
  assert.deepEqual(await grow('unread'), ['fifth']);
  assert.deepEqual(await grow('nobodys'), []);
});

test('what waits for another try wakes everybody, however often it is said once', async (t) => {
  const { listen, signal, woken, wakes } = fixture(t);
  listen('a', ['x']);
  const done = new Promise<void>((resolve) => void wakes.listen({ namespace: 'other', topics: ['x'] }, resolve));
  signal({ kind: 'subscriptions' });
  signal({ kind: 'due' });
  await done;
  assert.deepEqual(woken, ['a']);
});

test('a few are woken without a look, and all where the store is away', async (t) => {
  const { grow, listen, store } = fixture(t);
  listen('a', ['x']);
  assert.deepEqual(await grow('y'), ['a']);
  assert.equal(store.looks, 0);
  for (const who of ['b', 'c', 'd']) listen(who, ['x']);
  await grow('y');
  assert.deepEqual(await grow('y'), []);
  store.isAway = true;
  assert.deepEqual(await grow('y'), ['a', 'b', 'c', 'd']);
  store.isAway = false;
  assert.deepEqual(await grow('x'), ['a', 'b', 'c', 'd'], 'nobody knows what came meanwhile');
  assert.deepEqual(await grow('y'), []);
});

test('without a hint the slow poll wakes everybody', async (t) => {
  const { start, wakes } = fixture(t, 1);
  await start();
  await new Promise<void>((resolve) => void wakes.listen({ namespace: 'n', topics: ['x'] }, resolve));
});
