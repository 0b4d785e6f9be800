// What is asked of a stored result or a running twin, and in which order. Pure, and one for all engines, which differ only in how they hold the row meanwhile.
import type { Sharing } from './submissions.ts';

/** What stands under the share of a submit at the moment of the decision. */
export interface ShareState {
  /** The operation under way, if there is one. `untouched`: it still waits for a time its client chose, so nobody else is to wait for that. */
  running: { untouched: boolean } | null;
  /** The newest result that is kept; `freshUntil` is null where it answers no new submit. */
  stored: { storedAt: number; freshUntil: number | null; staleUntil: number | null } | null;
}

/**
 * - `serve`: the stored result answers
 * - `refresh`: it answers although it is stale, and this submit begins the computation of a new one
 * - `join`: the operation under way answers
 * - `not-stored`: only a stored result was wanted
 * - `make`: new work; `expired` where a result was there that is too old now
 * - `full`: it would be new work, and none may be made
 */
export type ShareVerdict =
  | { kind: 'serve' | 'refresh' | 'join' | 'not-stored' | 'full' }
  | { kind: 'make'; expired: boolean };

/** A stored result comes first, then a running twin, then new work. */
export function judgeShare(
  sharing: Sharing,
  { running, stored }: ShareState,
  nowMs: number,
  { mayMake = true }: { mayMake?: boolean | undefined } = {},
): ShareVerdict {
  const joinable = running !== null && !running.untouched;
  if (sharing.use === 'stored' && stored?.freshUntil != null) {
    const youngEnough = sharing.maxAgeMs === null || nowMs - stored.storedAt <= sharing.maxAgeMs;
    if (youngEnough && nowMs < stored.freshUntil) return { kind: 'serve' };
    if (youngEnough && nowMs < (stored.staleUntil ?? 0))
      return { kind: joinable || sharing.onlyStored || !mayMake ? 'serve' : 'refresh' };
  }
  if (sharing.onlyStored) return { kind: 'not-stored' };
  if (joinable && sharing.use !== 'nothing') return { kind: 'join' };
  if (!mayMake) return { kind: 'full' };
  return { kind: 'make', expired: sharing.use === 'stored' && stored?.freshUntil != null };
}
