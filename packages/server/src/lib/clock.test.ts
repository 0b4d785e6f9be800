// The server's time line never goes back and does not begin before the store's.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isoTime, manualClock, systemClock } from './clock.ts';

test('a store from the future moves the clock there', () => {
  const future = Date.now() + 3_600_000;
  assert.ok(systemClock(future).now() >= future);
  assert.ok(Math.abs(systemClock().now() - Date.now()) < 5000);
});

test('a jump of the wall clock moves nothing', (t) => {
  const clock = systemClock();
  const before = clock.now();
  t.mock.method(Date, 'now', () => 0);
  assert.ok(clock.now() >= before);
});

test('a node that is behind follows the one that is ahead, and nobody is ever set back', () => {
  for (const clock of [systemClock(), manualClock()]) {
    const ahead = clock.now() + 60_000;
    clock.notBefore(ahead);
    const then = clock.now();
    assert.ok(then >= ahead && then < ahead + 30_000);
    clock.notBefore(ahead - 60_000);
    assert.ok(clock.now() >= then);
    assert.ok(Number.isInteger(clock.now()));
  }
});

test('times are RFC 3339 with milliseconds', () => {
  assert.equal(isoTime(0), '1970-01-01T00:00:00.000Z');
  assert.equal(isoTime(null), null);
});
