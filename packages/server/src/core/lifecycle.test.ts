// The state machine as tables: what an answer, a failure and the clock do to a running operation.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, judge, judgeClock, rankOf, type Standing } from './lifecycle.ts';

const standing = (more: Partial<Standing> = {}): Standing => ({
  attempt: 1,
  leaseNo: 1,
  policy: { maxAttempts: 3, initialDelayMs: 1000, maxDelayMs: 60_000 },
  replyTimeoutMs: 3_600_000,
  nowMs: 1_000_000,
  fraction: 0.5,
  ...more,
});

const answered = (status: number, headers: string[] = []): Answer => ({
  kind: 'response',
  response: { status, headers, body: Buffer.from('body'), hash: 'h' },
});

test('each status of a backend leads where http-api.md says', () => {
  const table: [number, string, boolean?][] = [
    [200, 'succeeded'],
    [201, 'succeeded'],
    [204, 'succeeded'],
    [299, 'succeeded'],
    [202, 'later'],
    [301, 'failed'],
    [302, 'failed'],
    [303, 'failed'],
    [307, 'failed'],
    [400, 'failed'],
    [401, 'failed'],
    [404, 'failed'],
    [409, 'failed'],
    [422, 'failed'],
    [408, 'queued', true],
    [425, 'queued', true],
    [500, 'queued', true],
    [502, 'queued', true],
    [504, 'queued', true],
    [599, 'queued', true],
    [429, 'queued', false],
    [503, 'queued', false],
  ];
  for (const [status, to, attemptUsed] of table) {
    const { transition, backendStatus } = judge(answered(status), standing());
    assert.equal(transition.to, to, `status ${status}`);
    assert.equal(backendStatus, status);
    if (transition.to === 'queued') assert.equal(transition.attemptUsed, attemptUsed, `status ${status}`);
  }
});

test('303 with a Location is a success by reference', () => {
  assert.equal(judge(answered(303, ['location', 'https://example.com/r']), standing()).transition.to, 'succeeded');
});

test('a final answer is the result, byte for byte', () => {
  const answer = answered(404, ['X-Why', 'gone']);
  const { transition } = judge(answer, standing());
  assert.ok(transition.to === 'failed' && answer.kind === 'response');
  assert.equal(transition.result, answer.response);
});

test('the last attempt that fails ends the operation, and its answer is the result', () => {
  const { transition } = judge(answered(500), standing({ attempt: 3, leaseNo: 3 }));
  assert.ok(transition.to === 'failed');
  assert.equal(transition.error.code, 'attempts-exhausted');
  assert.equal(transition.result?.status, 500);
});

test('"not now" costs no attempt, until it has been said too often', () => {
  const free = judge(answered(429), standing({ attempt: 3, leaseNo: 3 })).transition;
  assert.ok(free.to === 'queued' && !free.attemptUsed);
  const often = judge(answered(429), standing({ attempt: 1, leaseNo: 21 })).transition;
  assert.ok(often.to === 'queued' && often.attemptUsed);
  assert.equal(judge(answered(503), standing({ attempt: 3, leaseNo: 23 })).transition.to, 'failed');
});

test('Retry-After of the backend moves the next attempt', () => {
  const { transition } = judge(answered(503, ['Retry-After', '30']), standing());
  assert.ok(transition.to === 'queued');
  assert.equal(transition.runAt, 1_030_000);
});

test('no attempt is planned for a time after the deadline', () => {
  const { transition } = judge(answered(500, ['Retry-After', '30']), standing({ deadlineAt: 1_010_000 }));
  assert.ok(transition.to === 'failed');
  assert.equal(transition.error.code, 'attempts-exhausted');
});

test('a worker decides whether its failure may be tried again', () => {
  const final = judge({ kind: 'failure', code: 'bad-input', message: 'm', retry: false }, standing()).transition;
  assert.ok(final.to === 'failed' && final.error.code === 'bad-input');
  const again = judge(
    { kind: 'failure', code: 'busy', message: 'm', retry: true, retryAfterMs: 5000 },
    standing(),
  ).transition;
  assert.ok(again.to === 'queued' && again.runAt === 1_005_000 && again.attemptUsed);
});

test('work given back is ready at once and costs no attempt, also on the last one', () => {
  const { transition } = judge({ kind: 'released' }, standing({ attempt: 3, leaseNo: 3 }));
  assert.ok(transition.to === 'queued' && !transition.attemptUsed && transition.runAt === 1_000_000);
});

test('the clock ends what ran out of time and hands an expired lease to the next', () => {
  const at = { attempt: 1, policy: standing().policy, nowMs: 1_000_000, push: false };
  const table = [
    ['timed-out', 'failed', 'timed-out'],
    ['not-started-in-time', 'failed', 'not-started-in-time'],
    ['lease-expired', 'queued', 'lease-expired'],
  ] as const;
  for (const [reason, to, code] of table) {
    const transition = judgeClock(reason, at);
    assert.equal(transition.to, to);
    assert.equal(transition.error.code, code);
  }
  assert.equal(judgeClock('lease-expired', { ...at, attempt: 3 }).error.code, 'attempts-exhausted');
});

test('priority is a head start of seconds, never a class of its own', () => {
  assert.equal(rankOf(100_000, 5), 100_000);
  assert.ok(rankOf(100_000, 9) < rankOf(90_000, 5));
  assert.ok(rankOf(100_000, 9) > rankOf(70_000, 5), 'whoever waits long enough goes first');
});
