// What came of carrying an event to a push subscriber, and what follows: acknowledged, again and when, or given up. Pure.
import type { EventSettlement } from '../engine/subscriptions.ts';
import { jitter, readTry, type Tried, tryCodes } from './delivery-rules.ts';
import type { RetryPolicy } from './retry.ts';

export type Carried =
  /** It was sent to a receiver, which answered this or nothing. */
  | { kind: 'tried'; tried: Tried }
  /** Its operation is stored. */
  | { kind: 'started' }
  /** It is not meant for this target. */
  | { kind: 'left-out' }
  /** It can never be taken as it is. */
  | { kind: 'refused'; code: string; detail: string }
  /** Not now, and no fault of its own: it waits, and so does all that would come after it. */
  | { kind: 'postponed'; code: string; detail: string; afterMs: number }
  /** By our own end: whether it arrived is not known. */
  | { kind: 'interrupted' };

/** What is counted. `dropped`: given up where no dead letters are kept, or left out; `returned`: not sent, or interrupted. */
export type PushOutcome = 'delivered' | 'failed' | 'dead' | 'dropped' | 'returned';

export interface CarriedVerdict {
  verdict: EventSettlement['verdict'];
  outcome: PushOutcome;
  /** What it says of the receiver: `ill` where the next event would fare no better. */
  outlet: 'well' | 'ill' | 'none';
  /** How long the receiver asks to be left alone. */
  askedMs: number;
  /** Nothing more is to be taken before this has passed. */
  restMs: number;
  /** The receiver wants nothing more at all. */
  wantsNoMore: boolean;
  /** In one word, for the log; null: all is well. */
  code: string | null;
  detail: string | null;
}

export interface CarriedWhen {
  retry: RetryPolicy;
  deadLetter: boolean;
  /** This try's number, from 1. */
  attempt: number;
  nowMs: number;
  /** By the clock of the wall, which a date in an answer is compared with. */
  wallMs: number;
  /** Uniform in [0, 1). */
  fraction: number;
}

const quiet = { outlet: 'none', askedMs: 0, restMs: 0, wantsNoMore: false, code: null, detail: null } as const;

export function judgeCarried(carried: Carried, when: CarriedWhen): CarriedVerdict {
  const { nowMs } = when;
  switch (carried.kind) {
    case 'started':
      return { ...quiet, verdict: { to: 'acked' }, outcome: 'delivered' };
    case 'left-out':
      return { ...quiet, verdict: { to: 'acked' }, outcome: 'dropped' };
    case 'refused':
      return givenUp(carried, when);
    case 'postponed': {
      const { code, detail, afterMs } = carried;
      return { ...returned({ at: nowMs + afterMs, code, detail }), restMs: afterMs };
    }
    case 'interrupted':
      return returned({ at: nowMs, code: 'interrupted', detail: null });
    case 'tried':
      return judgeTried(carried.tried, when);
  }
}

function judgeTried(tried: Tried, when: CarriedWhen): CarriedVerdict {
  const read = readTry(tried, when.wallMs);
  switch (read.kind) {
    case 'delivered':
      return { ...quiet, verdict: { to: 'acked' }, outcome: 'delivered', outlet: 'well' };
    case 'gone':
      return {
        ...returned({ at: when.nowMs, code: 'gone', detail: tryCodes.gone }),
        outlet: 'well',
        wantsNoMore: true,
      };
    // An address is mended in the document or the configuration, and its events should be there then: it is left alone like one that is down.
    case 'blocked':
      return failed({ code: 'blocked', detail: tryCodes.blocked, outlet: 'ill', askedMs: 0 }, when);
    case 'failed':
      return failed(read, when);
  }
}

/** The try is given back, since nobody outside has failed. */
const returned = ({ at, code, detail }: { at: number; code: string; detail: string | null }): CarriedVerdict => ({
  ...quiet,
  verdict: { to: 'waiting', at, attemptUsed: false, code, detail },
  outcome: 'returned',
  code,
  detail,
});

function givenUp({ code, detail }: { code: string; detail: string }, { deadLetter }: CarriedWhen): CarriedVerdict {
  return deadLetter
    ? { ...quiet, verdict: { to: 'dead', code, detail }, outcome: 'dead', code, detail }
    : { ...quiet, verdict: { to: 'acked' }, outcome: 'dropped', code, detail };
}

function failed(
  { code, detail, outlet, askedMs }: { code: string; detail: string; outlet: 'well' | 'ill'; askedMs: number },
  when: CarriedWhen,
): CarriedVerdict {
  const { retry, attempt, nowMs, fraction } = when;
  if (attempt >= retry.maxAttempts) {
    const last = `${detail}; this was the last of ${retry.maxAttempts} tries`;
    return { ...givenUp({ code: 'attempts-exhausted', detail: last }, when), outlet, askedMs };
  }
  const at = nowMs + Math.max(pushDelayMs(retry, { attempt, fraction }), askedMs);
  return {
    ...quiet,
    verdict: { to: 'waiting', at, attemptUsed: true, code, detail },
    outcome: 'failed',
    outlet,
    askedMs,
    code,
    detail,
  };
}

/** Twice as long each time up to the longest, a little more or less, so that what failed together does not come back together. */
export function pushDelayMs(
  { initialDelayMs, maxDelayMs }: RetryPolicy,
  { attempt, fraction }: { attempt: number; fraction: number },
): number {
  const bound = Math.min(maxDelayMs, initialDelayMs * 2 ** Math.min(attempt - 1, 40));
  return Math.round(bound * (1 - jitter + 2 * jitter * fraction));
}
