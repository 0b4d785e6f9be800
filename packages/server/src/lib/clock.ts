// Time for the whole server: monotonic, anchored once to the wall clock, so that a wall-clock jump moves no lease, deadline or retention.

export interface Clock {
  /** Milliseconds since 1970 on this process's own time line; never goes back. Whole numbers. */
  now(): number;
}

/** A clock that starts at the wall clock, or at `notBefore` where that is later (the store's last known time). */
export function systemClock(notBefore = 0): Clock {
  const anchor = Math.max(Date.now(), notBefore) - performance.now();
  return { now: () => Math.floor(anchor + performance.now()) };
}

/** A clock for tests that moves only when told. */
export function manualClock(startMs = 1_700_000_000_000): Clock & { advance(ms: number): void } {
  let now = startMs;
  return { now: () => now, advance: (ms) => void (now += ms) };
}

/** RFC 3339 with milliseconds, or null. */
export const isoTime = (ms: number | null | undefined): string | null =>
  ms === null || ms === undefined ? null : new Date(ms).toISOString();
