// Where looks begin: never past what is still to be decided, from the beginning now and then, and past what takes too long only when that repeats.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Marks } from './marks.ts';

const beginning = Number.MIN_SAFE_INTEGER;
const nothing = Number.POSITIVE_INFINITY;

/** Sweeps at `nowMs`; where it began to look for what is due. */
async function look(marks: Marks, nowMs: number, earliestMs = nothing): Promise<number> {
  let from = NaN;
  await marks.sweep(nowMs, () => {
    from = marks.due;
    marks.sawDue(nowMs, earliestMs);
    return Promise.resolve();
  });
  return from;
}

const tooLong = (marks: Marks, nowMs: number): Promise<void> =>
  assert.rejects(
    marks.sweep(nowMs, () => Promise.reject(new Error('too long'))),
    /too long/,
  );

test('a look goes on where the last one ended, with a margin, and from the beginning every fifteen seconds', async () => {
  const marks = new Marks();
  assert.equal(await look(marks, 100_000), beginning);
  assert.equal(await look(marks, 101_000), 90_000);
  assert.equal(await look(marks, 114_999), 91_000);
  assert.equal(await look(marks, 115_000), beginning);
  assert.equal(await look(marks, 116_000), 105_000);
});

test('what was due and has not been decided is looked at again', async () => {
  const marks = new Marks();
  await look(marks, 100_000, 20_000);
  assert.equal(await look(marks, 101_000, 20_000), 20_000);
  assert.equal(await look(marks, 102_000), 20_000);
  assert.equal(await look(marks, 103_000), 92_000);
});

test('removal goes on after the last one that was removed while there are more', async () => {
  const marks = new Marks();
  await marks.sweep(100_000, () => Promise.resolve(marks.removed(100_000, 50_000)));
  assert.equal(marks.expired, 50_000);
  await marks.sweep(100_000, () => Promise.resolve(marks.removed(100_000, undefined)));
  assert.equal(marks.expired, 90_000);
});

test('a look from the beginning that fails once is repeated, one that fails again is put off', async () => {
  const marks = new Marks();
  await tooLong(marks, 100_000);
  assert.equal(await look(marks, 101_000), beginning);
  await tooLong(marks, 200_000);
  await tooLong(marks, 204_000);
  assert.equal(await look(marks, 205_000), 194_000);
  assert.equal(await look(marks, 263_999), 195_000);
  assert.equal(await look(marks, 264_000), beginning);
});
