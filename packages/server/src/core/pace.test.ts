// What clients are told about when to ask again, learned from what ended before.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pace, retryAfterSeconds } from './pace.ts';

const start = 1_700_000_000_000;

function paceOf(durations: readonly number[], { everyMs = 0 } = {}): { pace: Pace; nowMs: number } {
  const pace = new Pace();
  let nowMs = start;
  for (const workMs of durations) pace.finished({ service: 'score', queue: 1, workMs, nowMs: (nowMs += everyMs) });
  return { pace, nowMs };
}

const same = (ms: number, times: number): number[] => Array.from({ length: times }, () => ms);

test('what is left of work is learned from the work that ended, exactly where it always takes the same', () => {
  assert.equal(new Pace().leftMs('score', 0), undefined);
  const { pace } = paceOf(same(9500, 20));
  assert.equal(Math.round(pace.leftMs('score', 0)!), 9500);
  assert.equal(Math.round(pace.leftMs('score', 6000)!), 3500);
  assert.equal(pace.leftMs('other', 0), undefined, 'each service has its own');
});

test('work that has gone on for long is measured by the work that took as long', () => {
  const { pace } = paceOf([...same(1000, 9), 10_000, ...same(1000, 9), 10_000]);
  assert.ok(pace.leftMs('score', 0)! < 1100);
  assert.equal(Math.round(pace.leftMs('score', 4000)!), 6000);
});

test('what takes longer than anything before moves on by a part of its time, and is asked for less and less often, within a minute', () => {
  const { pace } = paceOf([1000]);
  assert.equal(pace.leftMs('score', 20_000), 5000);
  assert.equal(retryAfterSeconds(pace.leftMs('score', 20_000), 20_000), 5);
  assert.equal(retryAfterSeconds(pace.leftMs('score', 10_000_000), 10_000_000), 60);
  assert.equal(pace.leftMs('score', 1100), 1000, 'never less than a second ahead');
});

test('Retry-After is whole seconds, at least one and at most sixty, and grows with the time waited where nothing is known', () => {
  const cases: [left: number | undefined, waited: number, seconds: number][] = [
    [0, 0, 1],
    [1, 0, 1],
    [1001, 0, 2],
    [9500, 0, 10],
    [3_600_000, 0, 60],
    [undefined, 0, 1],
    [undefined, 20_000, 5],
    [undefined, 10_000_000, 60],
    [undefined, -5, 1],
  ];
  for (const [left, waited, seconds] of cases)
    assert.equal(retryAfterSeconds(left, waited), seconds, `${left}, ${waited}`);
});

test('a queue drains as fast as it lately did, or as its work and its places allow', () => {
  const none = new Pace().waitMs({ service: 'score', ahead: 5, parallel: 16, nowMs: start });
  assert.equal(none, undefined);
  // Little came in: 20 s of work, 4 at once, so one ends every 5 s.
  const slow = paceOf(same(20_000, 1));
  assert.equal(slow.pace.waitMs({ service: 'score', ahead: 8, parallel: 4, nowMs: slow.nowMs }), 40_000);
  // 600 ended in the last minute, more than one place could do: somebody else works too.
  const fast = paceOf(same(1000, 600), { everyMs: 100 });
  const wait = fast.pace.waitMs({ service: 'score', ahead: 10, parallel: 1, nowMs: fast.nowMs })!;
  assert.ok(wait >= 1000 && wait < 1200, `${wait}`);
  // An hour later nothing of that is known but what the work takes.
  assert.equal(
    fast.pace.waitMs({ service: 'score', ahead: 10, parallel: 1, nowMs: fast.nowMs + 3_600_000 })! > 9900,
    true,
  );
});

test('an end that says nothing about the work counts for the drain alone', () => {
  const pace = new Pace();
  for (let i = 0; i < 60; i++) pace.finished({ service: 'score', queue: 1, workMs: null, nowMs: start });
  assert.equal(pace.leftMs('score', 0), undefined);
  assert.equal(pace.waitMs({ service: 'score', ahead: 1, parallel: 1, nowMs: start }), 1000);
  assert.deepEqual(pace.recent({ service: 'score', queue: 1, nowMs: start }), {
    p50Ms: null,
    p90Ms: null,
    perMinute: 60,
  });
});

test('recent percentiles are of the service, finishes per minute of the queue, and a quiet minute is none', () => {
  const pace = new Pace();
  const nowMs = start;
  for (let i = 0; i < 80; i++) pace.finished({ service: 'score', queue: 1, workMs: 100, nowMs });
  for (let i = 0; i < 30; i++) pace.finished({ service: 'score', queue: 2, workMs: 5000, nowMs });
  const seen = pace.recent({ service: 'score', queue: 1, nowMs });
  assert.deepEqual([seen.p90Ms, seen.perMinute], [5000, 80]);
  assert.equal(pace.recent({ service: 'score', queue: 2, nowMs: nowMs + 30_000 }).perMinute, 30);
  assert.equal(pace.recent({ service: 'score', queue: 2, nowMs: nowMs + 66_000 }).perMinute, 0);
  assert.equal(pace.recent({ service: 'score', queue: undefined, nowMs }).perMinute, 0);
});

test('what was slow long ago is forgotten, and the memory of a hundred thousand answers is that of one', () => {
  const { pace } = paceOf([...same(60_000, 1000), ...same(200, 1000)]);
  assert.equal(Math.round(pace.leftMs('score', 0)!), 200);
  assert.equal(pace.recent({ service: 'score', queue: 1, nowMs: start }).p90Ms, 200);
  const long = paceOf(same(300, 100_000));
  assert.equal(Math.round(long.pace.leftMs('score', 0)!), 300, 'no number runs over');
});
