// Keeps a lease by a heartbeat, until it has ended or is lost.
import { WaitlessError } from '@waitless/protocol';
import { pauseMs } from './backoff.ts';
import type { Seams } from './seams.ts';

/** Codes after which the lease is not ours any more. */
const lostCodes: ReadonlySet<string> = new Set(['cancelled', 'lease-lost', 'not-found', 'result-already-recorded']);

/** Whether an error says that nothing can be told about this lease any more. */
export const isLoss = (error: unknown): error is WaitlessError =>
  error instanceof WaitlessError && lostCodes.has(error.code);

export interface KeptLease {
  leaseSeconds: number;
  extend: (signal: AbortSignal) => Promise<void>;
  /** It is not ours any more, and why. */
  lost: (error: WaitlessError) => void;
  /** Aborts when it needs no keeping any more. */
  ended: AbortSignal;
}

/** Beats every third of the lease, so that two beats may fail before it is over; `check` beats at once. */
export function keepLease({ leaseSeconds, extend, lost, ended }: KeptLease, seams: Seams): { check: () => void } {
  let nudge = new AbortController();
  async function heartbeat(): Promise<void> {
    const beatMs = (leaseSeconds * 1_000) / 3;
    for (let failures = 0; ;) {
      const pause =
        failures === 0 ? beatMs : Math.min(beatMs, pauseMs({ failures: failures - 1, random: seams.random }));
      await seams.sleep(pause, AbortSignal.any([ended, nudge.signal])).catch(() => ended.throwIfAborted());
      nudge = new AbortController();
      try {
        await extend(ended);
        failures = 0;
      } catch (error) {
        if (isLoss(error)) return lost(error);
        failures++;
      }
    }
  }
  // Only the end of the lease ends the heartbeat, by an abort.
  heartbeat().catch(() => {});
  return { check: () => nudge.abort() };
}
