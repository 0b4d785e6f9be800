// How often something may be done: a bucket of `requests` that refills evenly within its window (GCRA). Pure: the caller keeps the one number and brings the time.
import type { RateLimit } from '../config/config-shape.ts';
import { limitFields } from '../lib/rate-limit-fields.ts';

export interface RateVerdict {
  allowed: boolean;
  /** When the bucket is full again, on the caller's time line: the whole state; undefined before the first. */
  fullAt: number;
  /** How many more may come at once. */
  remaining: number;
  /** Until one more may come; 0 where one may now. */
  nextMs: number;
  /** Until the bucket is full. */
  fullMs: number;
}

/** What the bucket says now, when `take` of it are wanted: 1 for a request, 0 for a look. */
export function judgeRate(
  { requests, windowMs }: RateLimit,
  { fullAt, nowMs, take }: { fullAt: number | undefined; nowMs: number; take: 0 | 1 },
): RateVerdict {
  const each = windowMs / requests;
  const from = Math.max(nowMs, fullAt ?? nowMs);
  // A limit that was made smaller must not shut everybody out for longer than its own window.
  const capped = Math.min(from, nowMs + windowMs);
  // What fits exactly is allowed: times are sums of fractions.
  const slack = each / 1000;
  const allowed = take === 0 || capped + each <= nowMs + windowMs + slack;
  const after = allowed ? capped + take * each : capped;
  const remaining = Math.floor((nowMs + windowMs + slack - after) / each);
  return {
    allowed,
    fullAt: after,
    remaining,
    nextMs: remaining > 0 ? 0 : Math.max(0, after + each - nowMs - windowMs),
    fullMs: Math.max(0, after - nowMs),
  };
}

/** State after one that was taken turned out not to be needed. */
export const giveBack = ({ requests, windowMs }: RateLimit, fullAt: number): number => fullAt - windowMs / requests;

/** How a rate and what is left of it are told: until the next one may come, or, where one may now, until all may. */
export const rateFields = (
  { requests, windowMs }: RateLimit,
  { remaining, nextMs, fullMs }: RateVerdict,
): Record<string, string> =>
  limitFields({ name: 'rate', quota: requests, windowMs, remaining, untilMs: remaining > 0 ? fullMs : nextMs });
