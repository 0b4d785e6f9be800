// The allowance of a connection: so many at once, then as many as come back with time.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Allowance } from './allowance.ts';

test('what is used up comes back with time, and never more than there was', () => {
  let now = 0;
  const allowance = new Allowance({ most: 3, perSecond: 2 }, () => now);
  const taken = (): number => {
    let count = 0;
    while (allowance.take()) count++;
    return count;
  };
  assert.equal(taken(), 3);
  now += 499;
  assert.equal(taken(), 0);
  now += 1;
  assert.equal(taken(), 1);
  now += 3_600_000;
  assert.equal(taken(), 3);
});
