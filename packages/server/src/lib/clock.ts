// Time for the whole server: monotonic, anchored once, so that a wall-clock jump moves no lease, deadline or retention.

export interface Clock {
  /** Milliseconds since 1970 on the store's time line; never goes back. Whole numbers. */
  now(): number;
  /** Moves forward to `ms` where it is behind: nodes of one store follow the one that is ahead, so that their clocks' drift adds up to nothing. */
  notBefore(ms: number): void;
}

/** A clock that starts at `startMs`, where the store says its time line is. */
export function systemClock(startMs: number = Date.now()): Clock {
  let anchor = startMs - performance.now();
  return {
    now: () => Math.floor(anchor + performance.now()),
    notBefore: (ms) => void (anchor = Math.max(anchor, ms - performance.now())),
  };
}

/** A clock for tests that moves only when told. */
export function manualClock(startMs = 1_700_000_000_000): Clock & { advance(ms: number): void } {
  let now = startMs;
  return { now: () => now, advance: (ms) => void (now += ms), notBefore: (ms) => void (now = Math.max(now, ms)) };
}

/** RFC 3339 with milliseconds, or null. */
export const isoTime = (ms: number | null | undefined): string | null =>
  ms === null || ms === undefined ? null : new Date(ms).toISOString();
