// One lease from the moment it is taken until its answer is recorded: the handler runs, and a heartbeat keeps the lease.
import type { Lease, OperationProgress } from '@waitless/protocol';
import { WaitlessError } from '@waitless/protocol';
import { pauseMs } from './backoff.ts';
import { failureOf, type Handler, type Job, jobOf, type Verdict, verdictOf } from './job.ts';
import type { Seams } from './seams.ts';
import { isNobodys } from './work-line.ts';

/** Codes after which the lease is not ours any more. */
const lost: ReadonlySet<string> = new Set(['cancelled', 'lease-lost', 'not-found', 'result-already-recorded']);

/** Whether an error says that nothing can be told about this lease any more. */
export const isLoss = (error: unknown): error is WaitlessError =>
  error instanceof WaitlessError && lost.has(error.code);

/** The token of a request that nobody keeps: its answer goes nowhere, so nothing is told about it. */
const nobodys = 'none';

export interface HeldLease {
  readonly token: string;
  readonly job: Job;
  /** Runs the handler. Undefined where there is nothing to tell: the lease was lost, or nobody keeps the answer. */
  run(): Promise<Verdict | undefined>;
  /** Finds out at once whether it is still ours. */
  check(): void;
  /** Aborts the handler's signal; its answer is not wanted any more. */
  abandon(reason: unknown): void;
  /** The answer is recorded or refused: the heartbeat ends. */
  end(): void;
}

/** How the server is told of a lease that is held. */
export interface LeaseCalls {
  extend(signal: AbortSignal): Promise<void>;
  progress(report: Omit<OperationProgress, 'sequence'>, signal: AbortSignal): Promise<void>;
}

export function holdLease(
  calls: LeaseCalls,
  { lease, leaseSeconds, handler, onFailure }: HeldLeaseOptions,
  seams: Seams,
): HeldLease {
  const { token } = lease;
  const kept = token !== nobodys && !isNobodys(token);
  let nudge = new AbortController();
  const wanted = new AbortController();
  const ended = new AbortController();
  const abandon = (reason: unknown): void => {
    wanted.abort(reason);
    ended.abort();
  };
  const job = jobOf(lease, {
    signal: wanted.signal,
    async progress(report) {
      wanted.signal.throwIfAborted();
      if (!kept) return;
      try {
        await calls.progress(report, ended.signal);
      } catch (error) {
        if (isLoss(error)) abandon(error);
        wanted.signal.throwIfAborted();
        if (ended.signal.aborted || (error instanceof WaitlessError && error.retry)) return;
        throw error;
      }
    },
  });

  /** Every third of the lease, so that two beats may fail before it is over. */
  async function heartbeat(): Promise<void> {
    const beatMs = (leaseSeconds * 1_000) / 3;
    for (let failures = 0; ;) {
      const pause =
        failures === 0 ? beatMs : Math.min(beatMs, pauseMs({ failures: failures - 1, random: seams.random }));
      await seams
        .sleep(pause, AbortSignal.any([ended.signal, nudge.signal]))
        .catch(() => ended.signal.throwIfAborted());
      nudge = new AbortController();
      try {
        await calls.extend(ended.signal);
        failures = 0;
      } catch (error) {
        if (isLoss(error)) return abandon(error);
        failures++;
      }
    }
  }
  // Only the end of the lease ends the heartbeat, by an abort.
  if (kept) heartbeat().catch(() => {});

  return {
    token,
    job,
    async run() {
      let verdict: Verdict;
      try {
        verdict = verdictOf(await handler(job));
      } catch (error) {
        if (!wanted.signal.aborted) onFailure(error, job);
        verdict = failureOf(error);
      }
      return wanted.signal.aborted || token === nobodys ? undefined : verdict;
    },
    check: () => nudge.abort(),
    abandon,
    end: () => ended.abort(),
  };
}

export interface HeldLeaseOptions {
  lease: Lease;
  leaseSeconds: number;
  handler: Handler;
  onFailure: (error: unknown, job: Job) => void;
}
