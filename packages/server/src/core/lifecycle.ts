// The life of an operation and what an answer does to it. Pure: decisions only, no clock, no store.
//
//            submit                lease                     2xx, 303 + Location
//   (none) ─────────▶ queued ─────────────▶ running ───────────────────────────▶ succeeded
//                     ▲   │                  │  │ │
//                     │   │                  │  │ └─ other 3xx, 4xx ──────────▶ failed (the answer is the result)
//                     │   │                  │  └─ 202 ─▶ running, answer comes later
//                     │   │ start-by,        │
//                     │   │ timeout          ├─ 408, 425, 5xx, no answer, lease expired: attempt used ─┐
//                     │   └──▶ failed        └─ 429, 503, released: attempt not used ──────────────────┤
//                     └───────────────────────────── attempts and time left ◀──────────────────────────┘
//                                                    none left ─▶ failed (attempts-exhausted)
//   A cancel ends queued and running alike; succeeded, failed and cancelled never change again.
import type { OperationFailure, OperationRecord, ResultContent, Transition } from '../engine/engine.ts';
import { parseRetryAfter, retryDelayMs, type RetryPolicy } from './retry.ts';

/** What came of an attempt. */
export type Answer =
  | { kind: 'response'; response: ResultContent }
  /** Nothing that could be kept: refused connection, timeout, broken or oversized answer, a worker's `fail`, an expired lease. */
  | { kind: 'failure'; code: string; message: string; retry: boolean; retryAfterMs?: number }
  /** Given back unused. */
  | { kind: 'released' };

export interface Standing {
  /** Of this attempt, from 1. */
  attempt: number;
  /** Leases so far; those above `attempt` did not use one up. */
  leaseNo: number;
  policy: RetryPolicy;
  replyTimeoutMs: number;
  nowMs: number;
  /** End of the total time, where known. */
  deadlineAt?: number;
  /** Uniform in [0, 1). */
  fraction: number;
}

/** How often "not now" (429, 503) may be said without using an attempt; more, and a backend that only ever says so is never given up. */
const freePostponements = 20;

export interface Verdict {
  transition: Transition;
  backendStatus: number | null;
}

export function headerOf(headers: readonly string[], lowerName: string): string | undefined {
  for (let i = 0; i < headers.length; i += 2) if (headers[i]!.toLowerCase() === lowerName) return headers[i + 1];
  return undefined;
}

/** What an answer does to a running operation. */
export function judge(answer: Answer, standing: Standing): Verdict {
  if (answer.kind === 'released') {
    return {
      transition: {
        to: 'queued',
        runAt: standing.nowMs,
        rank: standing.nowMs,
        attemptUsed: false,
        error: { code: 'released', message: 'given back by the worker' },
      },
      backendStatus: null,
    };
  }
  if (answer.kind === 'failure') {
    const error = { code: answer.code, message: answer.message };
    if (!answer.retry) return { transition: { to: 'failed', error, result: null }, backendStatus: null };
    return {
      transition: again(standing, { error, retryAfterMs: answer.retryAfterMs, result: null, attemptUsed: true }),
      backendStatus: null,
    };
  }
  const { response } = answer;
  const { status } = response;
  const backendStatus = status;
  if (status === 202)
    return { transition: { to: 'later', leaseUntil: standing.nowMs + standing.replyTimeoutMs }, backendStatus };
  if (status >= 200 && status < 300) return { transition: { to: 'succeeded', result: response }, backendStatus };
  if (status === 303 && headerOf(response.headers, 'location') !== undefined)
    return { transition: { to: 'succeeded', result: response }, backendStatus };
  const error = { code: 'backend-error', message: `the backend answered ${status}` };
  const postponed = status === 429 || status === 503;
  if (postponed || status === 408 || status === 425 || status >= 500) {
    const retryAfterMs = parseRetryAfter(headerOf(response.headers, 'retry-after'), standing.nowMs);
    const attemptUsed = !postponed || standing.leaseNo - standing.attempt >= freePostponements;
    return { transition: again(standing, { error, retryAfterMs, result: response, attemptUsed }), backendStatus };
  }
  return { transition: { to: 'failed', error, result: response }, backendStatus };
}

const timedOut: Extract<Transition, { to: 'failed' }> = {
  to: 'failed',
  error: { code: 'timed-out', message: 'the total time allowed has passed' },
  result: null,
};

/** Back to the queue, or the end when no attempt or no time is left. */
function again(
  standing: Standing,
  {
    error,
    retryAfterMs,
    result,
    attemptUsed,
  }: { error: OperationFailure; retryAfterMs: number | undefined; result: ResultContent | null; attemptUsed: boolean },
): Transition {
  const { policy, attempt, nowMs } = standing;
  // The end of the total time cuts the attempt too; which of the two clocks was read first must not decide what the operation ends as.
  if (standing.deadlineAt !== undefined && nowMs >= standing.deadlineAt) return timedOut;
  const exhausted = (why: string): Transition => ({
    to: 'failed',
    error: { code: 'attempts-exhausted', message: `${why}; the last attempt: ${error.message}` },
    result,
  });
  if (attemptUsed && attempt >= policy.maxAttempts)
    return exhausted(attempt === 1 ? 'the only attempt failed' : `all ${attempt} attempts failed`);
  const failures = Math.max(1, standing.leaseNo);
  const runAt = nowMs + retryDelayMs(policy, failures, standing.fraction, retryAfterMs);
  if (standing.deadlineAt !== undefined && runAt >= standing.deadlineAt)
    return exhausted('no time is left for another attempt');
  return { to: 'queued', runAt, rank: runAt, attemptUsed, error, result };
}

/** What the clock does to an operation whose time came. A lease that expired is a failed attempt, taken up again at once by whoever is alive. */
export function judgeClock(
  reason: 'lease-expired' | 'timed-out' | 'not-started-in-time',
  standing: { attempt: number; policy: RetryPolicy; nowMs: number; push: boolean },
): Extract<Transition, { to: 'failed' | 'queued' }> {
  if (reason === 'timed-out') return timedOut;
  if (reason === 'not-started-in-time')
    return {
      to: 'failed',
      error: { code: 'not-started-in-time', message: 'the start-by time passed while it waited' },
      result: null,
    };
  const error = {
    code: 'lease-expired',
    message: standing.push ? 'no answer came in time' : 'the worker did not answer or extend its lease in time',
  };
  if (standing.attempt >= standing.policy.maxAttempts) {
    return {
      to: 'failed',
      error: {
        code: 'attempts-exhausted',
        message: `all ${standing.attempt} attempts failed; the last attempt: ${error.message}`,
      },
      result: null,
    };
  }
  return { to: 'queued', runAt: standing.nowMs, rank: standing.nowMs, attemptUsed: true, error };
}

/** Seconds of head start per step of priority: enough to pass a queue of seconds, too little to starve anyone. */
const headStartMs = 5000;

/** Order among the ready: when it may run, less the head start of its priority (0 to 9, 5 is neutral). */
export const rankOf = (runAt: number, priority: number): number => runAt - (priority - 5) * headStartMs;

/** Whether what a backend or worker answered is what the operation ended with: a time limit or a cancel puts its own problem in the place of an answer. */
export const hasOwnResult = ({ status, error }: Pick<OperationRecord, 'status' | 'error'>): boolean =>
  (status === 'succeeded' || status === 'failed') &&
  error?.code !== 'timed-out' &&
  error?.code !== 'not-started-in-time';
