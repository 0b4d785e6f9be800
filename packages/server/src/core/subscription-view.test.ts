// How far behind a subscription is, by the counters of its topics alone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TopicRecord } from '../engine/topics.ts';
import { TopicNames } from '../lib/topic-trie.ts';
import { lagOf, subscriptionTotals } from './subscription-view.ts';

function names(...topics: (Partial<TopicRecord> & { name: string })[]): TopicNames<TopicRecord> {
  const found = new TopicNames<TopicRecord>();
  for (const topic of topics)
    found.add(topic.name, {
      number: 1,
      namespace: 'n',
      events: 0,
      bytes: 0,
      last: 0,
      removedTo: 0,
      oldestAt: 1,
      ...topic,
    });
  return found;
}

test('the counters tell a range, and the very number where all that is kept came later', () => {
  const topics = names(
    { name: 'a.x', events: 10, last: 40 },
    { name: 'a.y', events: 5, last: 90, removedTo: 50 },
    { name: 'b', events: 7, last: 30, removedTo: 20 },
    { name: 'gone', last: 95, removedTo: 95 },
  );
  for (const [patterns, readTo, atLeast, atMost] of [
    [['a.x'], 0, 10, 10],
    [['a.x'], 39, 1, 1],
    [['a.x'], 20, 1, 10],
    [['a.x'], 35, 1, 5],
    [['a.x'], 40, 0, 0],
    [['a.y'], 50, 5, 5],
    [['a.y'], 51, 1, 5],
    [['a.*'], 45, 5, 5],
    [['a.*', 'a.x'], 20, 6, 15],
    [['**'], 20, 13, 22],
    [['gone'], 3, 0, 0],
    [['nobody'], 0, 0, 0],
  ] as const)
    assert.deepEqual(lagOf({ topics: patterns, readTo }, topics), { atLeast, atMost }, `${patterns.join()} ${readTo}`);
});

test('totals have every state, and no name', () => {
  const record = { paused: false, blockedUntil: null, waiting: 1, sending: 2, held: 3, dead: 4 };
  const all = [record, { ...record, paused: true }, { ...record, blockedUntil: 11 }, { ...record, blockedUntil: 10 }];
  assert.deepEqual(subscriptionTotals(all as never, 10), {
    subscriptions: [
      { state: 'active', count: 2 },
      { state: 'paused', count: 1 },
      { state: 'blocked', count: 1 },
    ],
    subscriptionEvents: [
      { state: 'waiting', count: 4 },
      { state: 'sending', count: 8 },
      { state: 'held', count: 12 },
      { state: 'dead', count: 16 },
    ],
  });
});
