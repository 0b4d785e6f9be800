// Where a reader stands, and what it is told where it cannot go on from there.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cursorOf, placeOf, resetOf } from './event-place.ts';

test('a cursor leads back to its place on both engines, and nothing else does', () => {
  for (const epoch of [
    '0123456789abcdef0123456789abcdef',
    'Zm9vLWJhcl9iYXotcXV4',
    '6f1c9d1e-0b5a-4a44-9a51-1c8a1f2d3e4f',
  ])
    for (const position of [0, 1, 2 ** 40 - 1])
      assert.deepEqual(placeOf(cursorOf({ position, epoch })), { position, epoch });
  assert.deepEqual(placeOf('4711'), { position: 4711, epoch: undefined });
  for (const text of ['', '-1', '1.5', ' 1', '9'.repeat(16), '1e3', '-abc', 'A-b', '1-', '1-ä', `1-${'a'.repeat(65)}`])
    assert.equal(placeOf(text), undefined, text);
});

test('a reader is told where events are gone, or its history is', () => {
  const page = { epoch: 'e', last: 100, removedTo: 40 };
  const why = (position: number, epoch?: string): unknown => {
    const reset = resetOf({ position, epoch }, page);
    return reset && [reset.reason, reset.from, reset.to];
  };
  assert.equal(why(40), undefined);
  assert.equal(why(100, 'e'), undefined);
  assert.deepEqual(why(39), ['removed', 39, 40]);
  assert.deepEqual(why(0, 'e'), ['removed', 0, 40]);
  assert.deepEqual(why(101), ['history', 101, 0]);
  assert.deepEqual(why(50, 'other'), ['history', 50, 0]);
});
