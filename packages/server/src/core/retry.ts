// When to try again: exponential backoff with full jitter, never sooner than the backend asks. Pure.

export interface RetryPolicy {
  maxAttempts: number;
  initialDelayMs: number;
  maxDelayMs: number;
}

/** For operations whose service is no longer configured: they end soon and keep what came. */
export const orphanPolicy: RetryPolicy = { maxAttempts: 1, initialDelayMs: 1000, maxDelayMs: 1000 };

/** A backend that asks for more than a day is taken to mean a day (also keeps timers in range). */
const longestRetryAfterMs = 86_400_000;

/**
 * Milliseconds until the next attempt: uniform between 0 and the exponential bound (full jitter spreads a herd best),
 * but not before `retryAfterMs`.
 * @param failures attempts that failed so far, 1 or more
 * @param fraction uniform in [0, 1)
 */
export function retryDelayMs(policy: RetryPolicy, failures: number, fraction: number, retryAfterMs?: number): number {
  const bound = Math.min(policy.maxDelayMs, policy.initialDelayMs * 2 ** Math.min(failures - 1, 40));
  const jittered = Math.round(bound * fraction);
  return retryAfterMs === undefined ? jittered : Math.max(jittered, Math.min(retryAfterMs, longestRetryAfterMs));
}

/** Milliseconds of a Retry-After field (RFC 9110 10.2.3: seconds or an HTTP date), or undefined for junk and dates gone by. */
export function parseRetryAfter(value: string | undefined, nowMs: number): number | undefined {
  if (value === undefined) return undefined;
  const text = value.trim();
  if (/^\d{1,10}$/.test(text)) return Number(text) * 1000;
  if (!/^[A-Za-z]{3,9},? /.test(text)) return undefined;
  const at = Date.parse(text);
  return Number.isNaN(at) || at <= nowMs ? undefined : at - nowMs;
}
