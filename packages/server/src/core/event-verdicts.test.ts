// What follows from what came of carrying an event: the table of receivers' answers and of our own failures.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Tried } from './delivery-rules.ts';
import { type Carried, type CarriedWhen, judgeCarried, pushDelayMs } from './event-verdicts.ts';

const when = (more: Partial<CarriedWhen> = {}): CarriedWhen => ({
  retry: { maxAttempts: 3, initialDelayMs: 1000, maxDelayMs: 60_000 },
  deadLetter: true,
  attempt: 1,
  nowMs: 1_000_000,
  wallMs: 1_000_000,
  fraction: 0.5,
  ...more,
});
const answered = (status: number, retryAfter?: string): Carried => ({
  kind: 'tried',
  tried: { kind: 'answered', status, retryAfter, answer: Buffer.alloc(0) },
});
const unanswered = (code: Extract<Tried, { kind: 'failed' }>['code']): Carried => ({
  kind: 'tried',
  tried: { kind: 'failed', code },
});
const short = (carried: Carried, more: Partial<CarriedWhen> = {}) => {
  const { verdict, outcome, outlet } = judgeCarried(carried, when(more));
  return [verdict.to, outcome, outlet];
};

test('2xx acknowledges; everything else that a receiver answers is tried again', () => {
  for (const status of [200, 202, 204, 299]) assert.deepEqual(short(answered(status)), ['acked', 'delivered', 'well']);
  for (const status of [301, 304, 400, 404, 422])
    assert.deepEqual(short(answered(status)), ['waiting', 'failed', 'well']);
  for (const status of [408, 429, 500, 503, 599])
    assert.deepEqual(short(answered(status)), ['waiting', 'failed', 'ill']);
  for (const code of ['connection-failed', 'timed-out', 'blocked'] as const)
    assert.deepEqual(short(unanswered(code)), ['waiting', 'failed', 'ill']);
});

test('410 keeps the event, gives its try back and ends the sending', () => {
  const judged = judgeCarried(answered(410), when());
  assert.equal(judged.wantsNoMore, true);
  assert.deepEqual(judged.verdict, {
    to: 'waiting',
    at: 1_000_000,
    attemptUsed: false,
    code: 'gone',
    detail: judged.detail,
  });
});

test('the last try makes a dead letter, or a count where none are kept', () => {
  assert.deepEqual(short(answered(500), { attempt: 2 }), ['waiting', 'failed', 'ill']);
  assert.deepEqual(short(answered(500), { attempt: 3 }), ['dead', 'dead', 'ill']);
  assert.deepEqual(short(answered(500), { attempt: 7 }), ['dead', 'dead', 'ill'], 'also after kills have cost some');
  assert.deepEqual(short(answered(404), { attempt: 3, deadLetter: false }), ['acked', 'dropped', 'well']);
  const { verdict } = judgeCarried(answered(418), when({ attempt: 3 }));
  assert.deepEqual(verdict, {
    to: 'dead',
    code: 'attempts-exhausted',
    detail: 'the receiver answered 418; this was the last of 3 tries',
  });
});

test('pauses double up to the longest, a tenth more or less; Retry-After makes them longer and never shorter', () => {
  const retry = { maxAttempts: 9, initialDelayMs: 1000, maxDelayMs: 5000 };
  const delays = [1, 2, 3, 4, 60].map((attempt) => pushDelayMs(retry, { attempt, fraction: 0.5 }));
  assert.deepEqual(delays, [1000, 2000, 4000, 5000, 5000]);
  assert.deepEqual(
    [0, 0.999_999].map((fraction) => pushDelayMs(retry, { attempt: 1, fraction })),
    [900, 1100],
  );
  const at = (carried: Carried) => {
    const { verdict } = judgeCarried(carried, when({ retry }));
    return verdict.to === 'waiting' ? verdict.at - 1_000_000 : undefined;
  };
  assert.equal(at(answered(503, '30')), 30_000);
  assert.equal(at(answered(429, '0')), 1000);
  assert.equal(at(answered(404, '30')), 1000, 'of that status it says something else');
});

test('what is no fault of the event gives its try back; what can never be taken is given up at once', () => {
  const postponed: Carried = { kind: 'postponed', code: 'queue-full', detail: 'full', afterMs: 7000 };
  const judged = judgeCarried(postponed, when({ attempt: 99 }));
  assert.deepEqual([judged.verdict.to, judged.outcome, judged.restMs], ['waiting', 'returned', 7000]);
  assert.equal(judged.verdict.to === 'waiting' && judged.verdict.attemptUsed, false);
  assert.deepEqual(short({ kind: 'interrupted' }, { attempt: 99 }), ['waiting', 'returned', 'none']);
  const refused: Carried = { kind: 'refused', code: 'unknown-target', detail: 'gone' };
  assert.deepEqual(judgeCarried(refused, when()).verdict, { to: 'dead', code: 'unknown-target', detail: 'gone' });
  assert.deepEqual(short(refused, { deadLetter: false }), ['acked', 'dropped', 'none']);
  assert.deepEqual(short({ kind: 'started' }), ['acked', 'delivered', 'none']);
});
