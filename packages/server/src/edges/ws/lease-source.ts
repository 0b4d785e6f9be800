// Where the leases of a worker come from: the work of a service or the events of a subscription. Credits are counted the same way for both.
import { WaitlessError } from '@waitless/protocol';

export interface LeasesWanted {
  worker: string | null;
  max: number;
  /** Undefined: as the service or subscription says. */
  leaseMs: number | undefined;
  waitMs: number;
  signal: AbortSignal;
}

export interface HandedLease {
  /** Of the store; undefined for a request that nobody keeps. */
  token: string | undefined;
  /** Members of its frame, beside type and ref. */
  members: (token: string) => string | Promise<string>;
}

export interface Handed {
  leases: readonly HandedLease[];
  /** Members of a `reset` that goes before them. */
  reset: string | undefined;
}

export interface LeaseSource {
  /** The same for the same service, and for the same subscription. */
  readonly key: string;
  /** In words, for the log. */
  readonly about: Readonly<Record<string, string>>;
  /** As soon as there is something; nothing when the time is over or the signal aborts. What is handed out at that moment has to be given back. */
  take(wanted: LeasesWanted): Promise<Handed>;
  /** Nobody will do it: it is ready for the next at once, not after its lease. */
  giveBack(tokens: readonly string[]): Promise<unknown>;
}

/** It was removed, or goes to somebody else now: to ask again does not help. Anything else passes, as a store that is away. */
export const isOver = (error: unknown): error is WaitlessError =>
  error instanceof WaitlessError && (error.status === 404 || error.status === 400);
