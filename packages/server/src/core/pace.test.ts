// What clients are told about when to ask again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pace } from './pace.ts';

test('Retry-After is learned from what operations of the service took, and is never under a second', () => {
  const pace = new Pace();
  assert.equal(pace.retryAfterSeconds('score', 0), 1);
  for (let i = 0; i < 20; i++) pace.finished('score', 9500);
  assert.equal(pace.retryAfterSeconds('score', 0), 10);
  assert.equal(pace.retryAfterSeconds('score', 6000), 4);
  assert.equal(pace.retryAfterSeconds('other', 0), 1);
});

test('an operation that takes longer than usual is asked for less and less often, within a minute', () => {
  const pace = new Pace();
  pace.finished('score', 1000);
  assert.equal(pace.retryAfterSeconds('score', 20_000), 5);
  assert.equal(pace.retryAfterSeconds('score', 10_000_000), 60);
});
