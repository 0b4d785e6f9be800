// What each way a try can end leads to, as tables; and how long a place is left alone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  firstBlockMs,
  hasWaitedTooLong,
  jitter,
  judgeTry,
  longestBlockMs,
  longestRetryAfterMs,
  longestWaitMs,
  scheduleMs,
  type Tried,
  unsentPauseMs,
} from './delivery-rules.ts';
import { OutletBlocks } from './outlet-blocks.ts';

const nowMs = Date.UTC(2026, 0, 1);
const wallMs = nowMs + 5000;
/** In the middle of the jitter. */
const when = { failures: 0, tooLong: false, nowMs, wallMs, fraction: 0.5 };
const answered = (status: number, retryAfter?: string): Tried => ({
  kind: 'answered',
  status,
  retryAfter,
  answer: new Uint8Array(0),
});

test('each way a try can end: what follows, its code, and what it says of the outlet', () => {
  const again = ['waiting', 5000];
  const table: [what: string, Tried, then: unknown[], code: string | null, outlet: string][] = [
    ['200', answered(200), ['delivered'], null, 'well'],
    ['204', answered(204), ['delivered'], null, 'well'],
    ['299', answered(299), ['delivered'], null, 'well'],
    ['202 with a wish', answered(202, '60'), ['delivered'], null, 'well'],
    ['300', answered(300), again, 'redirected', 'well'],
    ['301', answered(301), again, 'redirected', 'well'],
    ['307', answered(307), again, 'redirected', 'well'],
    ['308', answered(308), again, 'redirected', 'well'],
    ['400', answered(400), again, 'unexpected-status', 'well'],
    ['401', answered(401), again, 'unexpected-status', 'well'],
    ['404', answered(404), again, 'unexpected-status', 'well'],
    ['408', answered(408), again, 'unexpected-status', 'ill'],
    ['410', answered(410), ['dead'], 'gone', 'well'],
    ['429', answered(429), again, 'unexpected-status', 'ill'],
    ['500', answered(500), again, 'unexpected-status', 'ill'],
    ['503', answered(503), again, 'unexpected-status', 'ill'],
    ['599', answered(599), again, 'unexpected-status', 'ill'],
    ['600', answered(600), again, 'unexpected-status', 'ill'],
    ['no answer', { kind: 'failed', code: 'connection-failed' }, again, 'connection-failed', 'ill'],
    ['too slow', { kind: 'failed', code: 'timed-out' }, again, 'timed-out', 'ill'],
    ['refused by the guard', { kind: 'failed', code: 'blocked' }, ['dead'], 'blocked', 'none'],
  ];
  for (const [what, tried, then, code, outlet] of table) {
    const judged = judgeTry(tried, when);
    const told = judged.verdict.to === 'waiting' ? ['waiting', judged.verdict.at - nowMs] : [judged.verdict.to];
    assert.deepEqual([told, judged.code, judged.outlet], [then, code, outlet], what);
    assert.equal(judged.detail === null, code === null, what);
    if (judged.verdict.to === 'waiting') assert.equal(judged.verdict.failed, true, what);
  }
});

test('G12: the pause after each failure, within a tenth, and the end of the schedule', () => {
  const told = [5, 30, 120, 600, 3600, 14_400, 43_200, 86_400, 86_400].map((seconds) => seconds * 1000);
  assert.deepEqual(scheduleMs, told);
  for (const [failures, ms] of told.entries()) {
    for (const [fraction, share] of [
      [0, 1 - jitter],
      [0.5, 1],
      [0.999_999, 1 + jitter],
    ] as const) {
      const { verdict } = judgeTry(answered(500), { ...when, failures, fraction });
      assert.ok(verdict.to === 'waiting');
      assert.ok(
        Math.abs(verdict.at - nowMs - ms * share) <= 1 + ms * 1e-6,
        `${failures} ${fraction} ${verdict.at - nowMs}`,
      );
    }
  }
  for (const tried of [answered(500), answered(404), { kind: 'failed', code: 'timed-out' } as const]) {
    const { verdict, code, detail } = judgeTry(tried, { ...when, failures: told.length });
    assert.deepEqual([verdict, code], [{ to: 'dead' }, 'schedule-used-up']);
    assert.match(detail!, /last of 10 tries$/);
  }
  assert.equal(judgeTry(answered(200), { ...when, failures: told.length }).verdict.to, 'delivered');
});

test('T61: Retry-After is obeyed where a receiver is too busy, and nonsense in it is ignored', () => {
  const date = (ms: number): string => new Date(wallMs + ms).toUTCString();
  const table: [what: string, status: number, retryAfter: string, pauseMs: number][] = [
    ['seconds', 429, '60', 60_000],
    ['seconds of 503', 503, ' 61 ', 61_000],
    ['of 502 and 504', 502, '62', 62_000],
    ['of 504', 504, '63', 63_000],
    ['sooner than the schedule', 503, '1', 5000],
    ['at once', 503, '0', 5000],
    ['a date, by the clock of the wall', 503, date(90_000), 90_000],
    ['thirty years', 429, '1000000000', longestRetryAfterMs],
    ['a date in a year', 503, date(365 * 86_400_000), longestRetryAfterMs],
    ['negative', 429, '-5', 5000],
    ['a date gone by', 503, 'Thu, 01 Jan 1970 00:00:00 GMT', 5000],
    ['a fraction', 503, '60.5', 5000],
    ['a word', 503, 'soon', 5000],
    ['nothing', 503, '', 5000],
    ['another status', 500, '60', 5000],
    ['a redirect', 301, '60', 5000],
    ['a refusal', 404, '60', 5000],
  ];
  for (const [what, status, retryAfter, pauseMs] of table) {
    const { verdict } = judgeTry(answered(status, retryAfter), when);
    assert.deepEqual(verdict, { to: 'waiting', at: nowMs + pauseMs, failed: true }, what);
  }
  assert.deepEqual(judgeTry(answered(429, '60'), { ...when, failures: scheduleMs.length }).verdict, { to: 'dead' });
});

test('what has waited too long for a dead place is given up, and nothing else is', () => {
  const late = { ...when, tooLong: true };
  const { verdict, code, outlet } = judgeTry({ kind: 'failed', code: 'timed-out' }, late);
  assert.deepEqual([verdict, code, outlet], [{ to: 'dead' }, 'waited-too-long', 'none']);
  assert.equal(judgeTry(answered(200), late).verdict.to, 'delivered');
  assert.equal(judgeTry(answered(404), late).verdict.to, 'waiting', 'a place that answers is not dead');
  const table: [what: string, ageMs: number, attempt: number, failures: number, expected: boolean][] = [
    ['never tried', longestWaitMs + 1, 1, 0, true],
    ['not yet', longestWaitMs, 1, 0, false],
    ['tried before', longestWaitMs + 1, 4, 3, true],
    ['begun anew by hand', longestWaitMs + 1, 11, 0, false],
  ];
  for (const [what, ageMs, attempt, failures, expected] of table)
    assert.equal(hasWaitedTooLong({ createdAt: nowMs - ageMs, attempt, failures }, nowMs), expected, what);
  const longest = scheduleMs.reduce((sum, ms) => sum + Math.max(ms * (1 + jitter), longestRetryAfterMs), 0);
  assert.ok(longest < longestWaitMs, 'whoever follows the schedule ends before');
});

test('an outlet is left alone twice as long each time a probe fails, to a limit, and shortly again after it was well', () => {
  const blocks = new OutletBlocks();
  let now = nowMs;
  const fail = (askedMs = 0): number => {
    const blockedUntil = blocks.blockUntil('a', { nowMs: now, askedMs });
    blocks.told('a', { blockedUntil }, now);
    return blockedUntil - now;
  };
  assert.equal(fail(), firstBlockMs);
  now += 1000;
  assert.equal(fail(), firstBlockMs - 1000, 'another that was under way says nothing new');
  assert.equal(blocks.blockUntil('b', { nowMs: now, askedMs: 0 }), now + firstBlockMs, 'others are not blocked by it');
  now += firstBlockMs - 1000;
  const pauses = [];
  for (let i = 0; i < 6; i++) {
    pauses.push(fail());
    now += pauses.at(-1)!;
  }
  assert.deepEqual(pauses, [60_000, 120_000, 240_000, 480_000, longestBlockMs, longestBlockMs]);
  blocks.told('a', { blockedUntil: null }, now);
  assert.equal(fail(), firstBlockMs);
  now += firstBlockMs;
  assert.equal(fail(90_000), 90_000, 'what it asks for');
  now += 90_000;
  assert.equal(fail(3_600_000), longestBlockMs, 'and no more than the most');
});

test('what cannot be sent is made ready again after longer and longer pauses, and ever again', () => {
  assert.deepEqual([0, 1, 4, 5, 1e6].map(unsentPauseMs), [30_000, 60_000, 480_000, 600_000, 600_000]);
});
