// From an error to its RFC 9457 problem: one place, so that no answer ever carries a stack trace or a surprise.
import { type ErrorEntry, errorTable, type Problem, WaitlessError } from '@waitless/protocol';

/** Pause asked of clients where nothing better is known: shorter and a struggling server is hit again at once. */
const usualPauseSeconds = 1;

export interface ProblemContext {
  base: string;
  requestId: string;
}

export interface Told {
  error: WaitlessError;
  problem: Problem;
  /** Seconds after which the same may be tried again, where that may help. */
  retryAfter: number | undefined;
}

/** What is no problem of ours is told as one that the log knows more of. */
export function problemOf(error: unknown, { base, requestId }: ProblemContext): Told {
  const known =
    error instanceof WaitlessError
      ? error
      : new WaitlessError('internal-error', "something broke inside Waitless; the server's log has this request id", {
          cause: error,
        });
  const entry = (errorTable as Record<string, ErrorEntry>)[known.code];
  return {
    error: known,
    problem: {
      type: `${base}/problems/${known.code}`,
      title: entry?.title ?? known.code,
      status: known.status,
      detail: known.message,
      instance: requestId,
      code: known.code,
      ...known.members,
    },
    retryAfter:
      known.retryAfterSeconds !== undefined || known.status === 429 || known.status === 503
        ? (known.retryAfterSeconds ?? usualPauseSeconds)
        : undefined,
  };
}
