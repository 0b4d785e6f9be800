// One lease from the moment it is taken until its answer is recorded: the handler runs, and a heartbeat keeps the lease.
import type { Lease, OperationProgress } from '@waitless/protocol';
import { WaitlessError } from '@waitless/protocol';
import { failureOf, type Handler, type Job, jobOf, type Verdict, verdictOf } from './job.ts';
import { isLoss, keepLease } from './keep-lease.ts';
import type { Seams } from './seams.ts';
import { isNobodys } from './work-line.ts';

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
  const isKept = token !== nobodys && !isNobodys(token);
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
      if (!isKept) return;
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

  const kept = isKept
    ? keepLease({ leaseSeconds, extend: (signal) => calls.extend(signal), lost: abandon, ended: ended.signal }, seams)
    : undefined;

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
    check: () => kept?.check(),
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
