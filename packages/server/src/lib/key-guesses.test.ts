// Guessing keys gets slower with every guess; mistakes and honest callers do not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { manualClock } from './clock.ts';
import { idAllowance, KeyGuesses } from './key-guesses.ts';

function guesses() {
  const clock = manualClock(0);
  return { clock, guesses: new KeyGuesses(() => clock.now()) };
}

test('twenty wrong keys are free, each further one doubles the pause up to a minute', () => {
  const { clock, guesses: g } = guesses();
  assert.equal(g.quiet, true);
  for (let i = 0; i < 20; i++) g.wrong('a', `key ${i}`);
  assert.equal(g.quiet, false);
  assert.equal(g.pauseMs('a'), 0);
  const pauses = [];
  for (let i = 20; i < 40; i++) {
    g.wrong('a', `key ${i}`);
    pauses.push(g.pauseMs('a'));
    clock.advance(g.pauseMs('a'));
    assert.equal(g.pauseMs('a'), 0);
  }
  assert.deepEqual(pauses.slice(0, 7), [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000]);
  assert.ok(pauses.slice(7).every((pause) => pause === 60_000));
});

test('one wrong key sent for ever is one mistake', () => {
  const { guesses: g } = guesses();
  for (let i = 0; i < 1000; i++) g.wrong('a', 'the old key');
  assert.equal(g.pauseMs('a'), 0);
});

test('one address does not make another wait, and a flood of addresses holds bounded memory', () => {
  const { guesses: g } = guesses();
  for (let i = 0; i < 30; i++) g.wrong('a', `key ${i}`);
  assert.ok(g.pauseMs('a') > 0);
  assert.equal(g.pauseMs('b'), 0);
  for (let i = 0; i < 1000; i++) g.wrong(`other ${i}`, 'x');
  assert.equal(g.pauseMs('a'), 0, 'the one that was quiet longest is forgotten');
});

test('unknown ids are allowed in numbers, one is forgiven each second, and pauses begin anew after a quiet time', () => {
  const clock = manualClock(0);
  const g = new KeyGuesses(() => clock.now(), idAllowance);
  for (let i = 0; i < idAllowance.free; i++) g.wrong('a', `id ${i}`);
  assert.equal(g.pauseMs('a'), 0, 'a client that asks for a thousand expired ones');
  g.wrong('a', 'id 7');
  assert.equal(g.pauseMs('a'), 0, 'asking again is no guess');
  g.wrong('a', 'one more');
  assert.equal(g.pauseMs('a'), 1000);
  clock.advance(1000);
  g.wrong('a', 'a second later');
  assert.equal(g.pauseMs('a'), 0, 'one was forgiven meanwhile');
  g.wrong('a', 'and another');
  assert.equal(g.pauseMs('a'), 2000);
  clock.advance(600_000);
  for (let i = 0; i < 600; i++) g.wrong('a', `later ${i}`);
  assert.equal(g.pauseMs('a'), 0);
  g.wrong('a', 'too many again');
  assert.equal(g.pauseMs('a'), 1000);
});

test('who polls unknown ids no faster than one new each second never waits', () => {
  const clock = manualClock(0);
  const g = new KeyGuesses(() => clock.now(), idAllowance);
  for (let i = 0; i < 10_000; i++) {
    g.wrong('a', `id ${i}`);
    assert.equal(g.pauseMs('a'), 0);
    clock.advance(1000);
  }
});
