// A clock for a server under test that moves only when the test says so, across restarts too.
import type { Extras } from '@waitless/server';

export interface ManualTime {
  clock: NonNullable<Extras['clock']>;
  advance: (ms: number) => void;
}

/** Starts when the server asks for it: the store was opened with the wall clock a moment before and never goes back behind that. */
export function manualTime(): ManualTime {
  let now = 0;
  return {
    clock: (startMs) => {
      now = Math.max(now, startMs, Date.now());
      // All nodes of a test share it, so none of them is ever behind another.
      return { now: () => now, notBefore: () => {} };
    },
    advance: (ms) => void (now += ms),
  };
}
