// How a worker is set, and what is refused before it takes any work.
import { isName, WaitlessError } from '@waitless/protocol';
import type { Job } from './job.ts';
import type { Seams } from './seams.ts';

export interface WorkerOptions {
  /** Shown in the timeline of what it works on; `worker-` and chance by default. */
  name?: string | undefined;
  /** Handlers at the same time, 10 by default: more for work that waits, fewer for work that computes. */
  concurrency?: number | undefined;
  /** false takes work by long-polling from the beginning. By default that is found out where no WebSocket comes through. */
  webSocket?: boolean | undefined;
  /** Most leases taken by one request where it polls; as many as `concurrency` leaves room for by default, at most 1000. */
  max?: number | undefined;
  /** Length of a lease, 30 by default, kept up by a heartbeat every third of it. Shorter: a dead worker's work is taken up sooner, and a cancel is heard sooner. */
  leaseSeconds?: number | undefined;
  /** Stops the worker as `stop()` does. */
  signal?: AbortSignal | undefined;
  /** Called before each pause when the server cannot be reached or says "later". */
  onRetry?: ((error: WaitlessError, pauseMs: number) => void) | undefined;
  /** Called when a handler threw, and when an answer was refused, as `lease-lost` or `cancelled`. */
  onFailure?: ((error: unknown, job: Job) => void) | undefined;
}

export interface WorkerSettings {
  name: string;
  concurrency: number;
  /** Most leases in one request. */
  most: number;
  leaseSeconds: number;
}

/** The options with their defaults. Throws WaitlessError for what no worker can work with. */
export function readOptions(
  what: { service: string } | { subscription: string },
  options: Omit<WorkerOptions, 'onFailure' | 'webSocket'>,
  seams: Seams,
): WorkerSettings {
  const name = options.name ?? `worker-${seams.newName().slice(0, 8)}`;
  const concurrency = whole('concurrency', options.concurrency ?? 10, Number.MAX_SAFE_INTEGER);
  const most = whole('max', options.max ?? Math.min(concurrency, 1000), 1000);
  const { leaseSeconds = 30 } = options;
  if (!(leaseSeconds > 0 && leaseSeconds <= 86_400))
    throw new WaitlessError(
      'invalid-parameter',
      `leaseSeconds must be above 0 and at most 86400, not ${leaseSeconds}.`,
    );
  for (const [kind, text] of [...Object.entries(what), ['worker', name] as const]) {
    if (!isName(text))
      throw new WaitlessError('invalid-name', `"${text}" is not a ${kind} name: letters, digits, "_" and "-" only.`);
  }
  return { name, concurrency, most, leaseSeconds };
}

function whole(what: string, value: number, most: number): number {
  if (!Number.isInteger(value) || value < 1 || value > most)
    throw new WaitlessError('invalid-parameter', `${what} must be a whole number from 1, not ${value}.`);
  return value;
}
