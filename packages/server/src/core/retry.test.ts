// When to try again, as tables.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRetryAfter, retryDelayMs } from './retry.ts';

const policy = { maxAttempts: 5, initialDelayMs: 1000, maxDelayMs: 60_000 };

test('the bound of the delay doubles with each failure up to the longest delay', () => {
  const bounds = [1, 2, 3, 6, 7, 100].map((failures) => retryDelayMs(policy, failures, 1));
  assert.deepEqual(bounds, [1000, 2000, 4000, 32_000, 60_000, 60_000]);
});

test('jitter is full: the delay may be anything between nothing and the bound', () => {
  assert.equal(retryDelayMs(policy, 3, 0), 0);
  assert.equal(retryDelayMs(policy, 3, 0.5), 2000);
});

test('a backend that names a time is not asked sooner, and a day is the most it can ask for', () => {
  assert.equal(retryDelayMs(policy, 1, 0.5, 30_000), 30_000);
  assert.equal(retryDelayMs(policy, 7, 1, 30_000), 60_000);
  assert.equal(retryDelayMs(policy, 1, 0, 1e15), 86_400_000);
});

test('Retry-After is read as seconds or as a date to come, junk is no answer', () => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  const table: [string | undefined, number | undefined][] = [
    ['5', 5000],
    [' 0 ', 0],
    ['Thu, 01 Jan 2026 00:01:00 GMT', 60_000],
    ['Thu, 01 Jan 1970 00:00:00 GMT', undefined],
    ['-5', undefined],
    ['1.5', undefined],
    ['soon', undefined],
    ['', undefined],
    ['99999999999999', undefined],
    [undefined, undefined],
  ];
  for (const [value, expected] of table) assert.equal(parseRetryAfter(value, now), expected, String(value));
});
