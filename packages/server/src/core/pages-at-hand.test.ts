// Pages that are kept for a moment: the part after a cursor, nothing that is old, and never more than their share of memory.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventPage, LoggedEvent } from '../engine/topics.ts';
import { PagesAtHand } from './pages-at-hand.ts';

const event = (position: number, size = 1): LoggedEvent => ({
  position,
  topic: 't',
  head: '{}',
  body: Buffer.alloc(size),
  orderingKey: null,
  appendedAt: 0,
});

const page = (events: LoggedEvent[], readTo = events.at(-1)!.position): EventPage => ({
  epoch: 'e',
  events,
  last: readTo,
  readTo,
  removedTo: 0,
});

const positions = (part: EventPage | undefined): number[] | undefined => part?.events.map(({ position }) => position);

test('of a page each finds what comes after its own cursor, and nothing where the page ends or did not begin', () => {
  const pages = new PagesAtHand();
  pages.keep('a', { after: 10, page: page([event(11), event(15), event(20)], 25), nowMs: 0 });
  const find = (after: number, key = 'a') => positions(pages.find(key, { after, nowMs: 0 }));
  assert.deepEqual(find(10), [11, 15, 20]);
  assert.deepEqual(find(12), [15, 20]);
  assert.deepEqual(find(15), [20]);
  for (const after of [9, 20, 25, 30]) assert.equal(find(after), undefined, `after ${after}`);
  assert.equal(find(10, 'b'), undefined, 'of other topics');
  assert.equal(pages.find('a', { after: 10, nowMs: 0 })!.isOld, true);
});

test('what was read two seconds ago is read again', () => {
  const pages = new PagesAtHand();
  pages.keep('a', { after: 0, page: page([event(1)]), nowMs: 1000 });
  assert.deepEqual(positions(pages.find('a', { after: 0, nowMs: 2999 })), [1]);
  assert.equal(pages.find('a', { after: 0, nowMs: 3000 }), undefined);
});

test('pages together take no more than eight megabytes: the oldest goes, and one that is larger is not kept', () => {
  const pages = new PagesAtHand();
  const megabyte = 1024 * 1024;
  for (let i = 0; i < 4; i++) pages.keep(`${i}`, { after: 0, page: page([event(1, 2.5 * megabyte)]), nowMs: i });
  const kept = [0, 1, 2, 3].filter((i) => pages.find(`${i}`, { after: 0, nowMs: 4 }));
  assert.deepEqual(kept, [1, 2, 3]);
  pages.keep('large', { after: 0, page: page([event(1, 9 * megabyte)]), nowMs: 4 });
  assert.equal(pages.find('large', { after: 0, nowMs: 4 }), undefined);
  assert.ok(pages.find('3', { after: 0, nowMs: 4 }), 'nothing had to go for it');
});
