// Places of push subscribers: an equal share each, and one for everybody whatever the others do.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PushPlaces } from './push-places.ts';

const fill = (places: PushPlaces, subscription: number, maxInFlight: number): number => {
  let n = 0;
  for (; places.room(subscription, maxInFlight) > 0; n++) places.take(subscription);
  return n;
};

test('one alone has all there are, and no more than it asks for', () => {
  assert.equal(fill(new PushPlaces(8), 1, 100), 8);
  assert.equal(fill(new PushPlaces(8), 1, 3), 3);
});

test('a newcomer has a place at once where all are taken, and its share as the others come down to theirs', () => {
  const places = new PushPlaces(8);
  fill(places, 1, 100);
  assert.equal(fill(places, 2, 100), 1);
  for (let i = 0; i < 4; i++) {
    places.free(1);
    assert.equal(places.room(1, 100), 0, 'who has more than its share takes no more');
  }
  assert.equal(fill(places, 2, 100), 3);
  assert.deepEqual([places.room(1, 100), places.room(2, 100), places.taken], [0, 0, 8]);
});

test('however many hold places for long, each further one still has one', () => {
  const places = new PushPlaces(8);
  for (let subscription = 1; subscription <= 100; subscription++) assert.ok(fill(places, subscription, 16) >= 1);
  assert.ok(places.taken <= 8 + 100);
  assert.equal(places.room(101, 16), 1);
});
