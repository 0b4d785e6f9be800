// What a try to deliver means: delivered, again and when, or given up; and what it says of the place it went to. Pure.
import type { DeliverySettlement } from '../engine/deliveries.ts';
import { parseRetryAfter } from './retry.ts';

const [second, minute, hour] = [1000, 60_000, 3_600_000];

/**
 * Pauses after the first failure, the second, and so on; after the last of them one more try, then it is given up. Shorter in sum than these 65 hours
 * and a receiver that is down over a weekend is told nothing; longer, and operations are kept for receivers that nobody has any more.
 */
export const scheduleMs: readonly number[] = [
  5 * second,
  30 * second,
  2 * minute,
  10 * minute,
  hour,
  4 * hour,
  12 * hour,
  24 * hour,
  24 * hour,
];

/** Share of a pause that chance adds or takes. Without it all that failed together comes back together; with much more nobody could say when. */
export const jitter = 0.1;

/** A receiver that asks for more is taken to mean this: by a slip of its clock it could otherwise ask for years. Less would not obey those that close for a night. */
export const longestRetryAfterMs = 24 * hour;

/**
 * Failures of an outlet in a row after which it is left alone. Fewer would block it for a deploy that takes a moment; more would try a dead one with as
 * many, each holding a place for as long as a try may take.
 */
export const tripAt = 5;

/**
 * How long it is left alone then, twice as long with each probe that fails, up to the most. A shorter first pause is none; a longer last one would let a
 * receiver that has come back wait.
 */
export const firstBlockMs = 30 * second;
export const longestBlockMs = 10 * minute;

/**
 * What waits for an outlet that is left alone uses up no schedule, and would wait for a dead one for ever, and its operations with it. After so long it is
 * given up: longer than any schedule takes, however often Retry-After asks for a day, and short enough that what was dropped is noticed in time.
 */
export const longestWaitMs = 14 * 24 * hour;

/** Not one that was begun anew by hand: it has its schedule before it, however old it is. */
export const hasWaitedTooLong = (
  { createdAt, attempt, failures }: { createdAt: number; attempt: number; failures: number },
  nowMs: number,
): boolean => attempt === failures + 1 && nowMs - createdAt > longestWaitMs;

/** What is told of a try in one word. */
export const tryCodes = {
  blocked: 'the address may not be called: its host is not public, or its port is not one for HTTP; nothing was sent',
  'connection-failed':
    'no answer was had: the receiver could not be reached, has no certificate that is valid, closed the connection, or answered with what is no HTTP',
  'timed-out': 'the receiver did not answer in time',
  gone: 'the receiver answered 410: it wants no more of this',
  redirected: 'the receiver answered with a redirect, which is never followed',
  'unexpected-status': 'the receiver did not answer with a 2xx status',
  'schedule-used-up': 'the last try has failed as well',
  'waited-too-long': 'its receiver has been out of reach for 14 days',
  'operation-forgotten': 'the operation that it tells of is not kept any more',
  'secrets-locked': 'it cannot be signed now; nothing was sent',
  'not-sent': 'the server could not make it ready; nothing was sent',
} as const;

export type TryCode = keyof typeof tryCodes;

/** What came of a try. */
export type Tried =
  | {
      kind: 'answered';
      status: number;
      retryAfter: string | undefined;
      /** How its body begins. */
      answer: Uint8Array;
    }
  | { kind: 'failed'; code: 'blocked' | 'connection-failed' | 'timed-out' };

export interface JudgedTry {
  verdict: DeliverySettlement['verdict'];
  code: TryCode | null;
  detail: string | null;
  /**
   * Ill: it cannot be reached, is too slow, or says itself that it cannot cope (408, 429, 5xx), and the next message would fare no better. Any other
   * answer comes from a place that works: what it does not like is this message.
   */
  outlet: 'well' | 'ill' | 'none';
  /** How long the receiver asks to be left alone, whatever is sent. */
  askedMs: number;
}

export interface TriedWhen {
  /** Tries that failed before this one. */
  failures: number;
  /** It has waited so long that this was its last try, should the outlet be ill. */
  tooLong: boolean;
  nowMs: number;
  /** By the clock of the wall, which a date in an answer is compared with. */
  wallMs: number;
  /** Uniform in [0, 1). */
  fraction: number;
}

/** What a try says by itself, whatever follows from it. */
export type TryReading =
  | { kind: 'delivered' | 'gone' | 'blocked' }
  | { kind: 'failed'; code: TryCode; detail: string; outlet: 'well' | 'ill'; askedMs: number };

/** @param wallMs by the clock of the wall, which a date in an answer is compared with */
export function readTry(tried: Tried, wallMs: number): TryReading {
  if (tried.kind === 'failed')
    return tried.code === 'blocked'
      ? { kind: 'blocked' }
      : { kind: 'failed', code: tried.code, detail: tryCodes[tried.code], outlet: 'ill', askedMs: 0 };
  const { status } = tried;
  if (status >= 200 && status < 300) return { kind: 'delivered' };
  if (status === 410) return { kind: 'gone' };
  const code = status >= 300 && status < 400 ? 'redirected' : 'unexpected-status';
  return {
    kind: 'failed',
    code,
    detail: code === 'redirected' ? tryCodes.redirected : `the receiver answered ${status}`,
    outlet: status >= 500 || status === 408 || status === 429 ? 'ill' : 'well',
    askedMs: obeysRetryAfter(status) ? retryAfterMs(tried.retryAfter, wallMs) : 0,
  };
}

export function judgeTry(tried: Tried, when: TriedWhen): JudgedTry {
  const read = readTry(tried, when.wallMs);
  switch (read.kind) {
    case 'delivered':
      return { verdict: { to: 'delivered' }, code: null, detail: null, outlet: 'well', askedMs: 0 };
    case 'gone':
      return givenUp('gone', 'well');
    case 'blocked':
      return givenUp('blocked', 'none');
    case 'failed':
      return failed(read, when);
  }
}

const givenUp = (code: TryCode, outlet: JudgedTry['outlet']): JudgedTry => ({
  verdict: { to: 'dead' },
  code,
  detail: tryCodes[code],
  outlet,
  askedMs: 0,
});

function failed(
  { code, detail, outlet, askedMs }: { code: TryCode; detail: string; outlet: JudgedTry['outlet']; askedMs: number },
  { failures, tooLong, nowMs, fraction }: TriedWhen,
): JudgedTry {
  // It says nothing new of the outlet, so that the next one is looked at without another pause.
  if (tooLong && outlet === 'ill') return givenUp('waited-too-long', 'none');
  const pauseMs = scheduleMs[failures];
  if (pauseMs === undefined)
    return {
      verdict: { to: 'dead' },
      code: 'schedule-used-up',
      detail: `${detail}; this was the last of ${scheduleMs.length + 1} tries`,
      outlet,
      askedMs,
    };
  const at = nowMs + Math.max(Math.round(pauseMs * (1 - jitter + 2 * jitter * fraction)), askedMs);
  return { verdict: { to: 'waiting', at, failed: true }, code, detail, outlet, askedMs };
}

/** The statuses by which a receiver says that it is too busy just now; of any other the field says something else. */
const obeysRetryAfter = (status: number): boolean =>
  status === 429 || status === 502 || status === 503 || status === 504;

/** 0 where it says nothing that can be obeyed. */
const retryAfterMs = (value: string | undefined, wallMs: number): number =>
  Math.min(parseRetryAfter(value, wallMs) ?? 0, longestRetryAfterMs);

/** Pause before the next time that one is made ready which could not be sent. No schedule: nobody outside has failed, and it is never given up for it. */
export const unsentPauseMs = (times: number): number => Math.min(30 * second * 2 ** Math.min(times, 10), 10 * minute);
