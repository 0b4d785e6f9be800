// Leases, what comes of them, and what the clock decides about operations that nobody answers.
import type { OperationStatus } from '@waitless/protocol';
import type { Labels, OperationFailure, OperationKey, ProgressReport } from './operations.ts';
import type { Keep } from './submissions.ts';

/** `push`: carried by this process and void at its end; `pull`: a worker's; `later`: a push backend answered 202. */
export type LeaseKind = 'push' | 'pull' | 'later';

export interface LeaseWanted {
  service: string;
  /** null: every namespace, in fair turns. */
  namespace: string | null;
  kind: Exclude<LeaseKind, 'later'>;
  worker: string | null;
  max: number;
  /** Most bytes of bodies in one answer; at least one lease is given all the same. */
  maxBytes: number;
  leaseMs: number;
  /** Park until there is work or the signal aborts; otherwise answer at once. */
  wait: boolean;
  /** The caller's clock, for a lease that is given long after the call: it must not begin in the past. */
  now?: () => number;
}

export interface LeasedOperation extends OperationKey {
  queue: number;
  leaseNo: number;
  /** From 1; a lease given back unused does not count. */
  attempt: number;
  correlationId: string | null;
  labels: Labels | null;
  createdAt: number;
  deadlineAt: number;
  leaseUntil: number;
  /** JSON text of a RequestHead. */
  head: string;
  /** Whole when at most `inlineBytes` of the engine; otherwise null, to be read with `readBody`. */
  body: Uint8Array | null;
  bodyBytes: number;
}

/** Names one lease. Whoever holds the number may speak for the lease. */
export interface LeaseKey {
  seq: number;
  leaseNo: number;
}

export interface ResultContent {
  status: number;
  /** `[name, value, …]`, end-to-end fields as the backend sent them. */
  headers: string[];
  body: Uint8Array;
  /** SHA-256 of the body, base64url: the strong ETag, and how a repeated answer is known. */
  hash: string;
}

/** What a settlement does to the operation; decided by the core, only recorded here. */
export type Transition =
  /** `keep` matters to keyed operations alone; null or absent: nobody else gets the result. */
  | { to: 'succeeded'; result: ResultContent; keep?: Keep | null }
  | { to: 'failed'; error: OperationFailure; result: ResultContent | null }
  /** Back to the queue. `attemptUsed` false gives the attempt back. */
  | {
      to: 'queued';
      runAt: number;
      rank: number;
      attemptUsed: boolean;
      error: OperationFailure;
      result?: ResultContent | null;
    }
  /** A push backend said 202: the lease lives on as `later` until `leaseUntil`. With `poll`, somebody is to look at that URL then. */
  | { to: 'later'; leaseUntil: number; poll?: Poll };

/** The next look at a backend that answers later and has to be asked. */
export interface Poll {
  /** Whom to ask, in the core's own words. */
  url: string;
  at: number;
}

/** A look that is due. It is given out again after a while, here or on another node, unless the next one is set or the lease ends. */
export interface DuePoll extends LeaseKey {
  queue: number;
  url: string;
  attempt: number;
  nonce: string;
  correlationId: string | null;
  /** When the attempt began that it answers later. */
  attemptAt: number;
  deadlineAt: number;
  /** JSON text of a RequestHead. */
  head: string;
}

export interface Settlement extends LeaseKey {
  transition: Transition;
  /** Status of the backend's answer, for the timeline. */
  backendStatus: number | null;
}

export type SettleOutcome =
  /** Written. `finishedAt` when the operation has ended by it; `attemptAt`: when the attempt that was answered began. */
  | {
      kind: 'recorded';
      version: number;
      createdAt: number;
      attemptAt: number | null;
      finishedAt: number | null;
      expiresAt: number | null;
    }
  /** The same answer was recorded before. */
  | { kind: 'repeated' }
  /** Another answer of this lease was recorded before. */
  | { kind: 'conflict' }
  /** The lease expired, was given back or was given to another. */
  | { kind: 'lost' }
  /** The operation ended in another way. */
  | { kind: 'ended'; status: OperationStatus }
  | { kind: 'unknown' }
  | { kind: 'refused'; error: Error };

export interface Extension extends LeaseKey {
  leaseMs: number | null;
  progress: ProgressReport | null;
  /** When to look at a polled backend again. */
  poll?: Poll;
}

export type ExtendOutcome =
  | { kind: 'extended'; leaseUntil: number; version: number; progressSequence: number }
  | { kind: 'lost' }
  | { kind: 'ended'; status: OperationStatus }
  | { kind: 'unknown' };

/** An operation whose clock ran out; the core decides what that means. */
export interface DueOperation {
  seq: number;
  queue: number;
  version: number;
  reason: 'lease-expired' | 'timed-out' | 'not-started-in-time';
  attempt: number;
  leaseKind: LeaseKind | null;
  leaseNo: number;
}

export interface ClockTransition {
  seq: number;
  /** Nothing happens unless the operation still has this version. */
  version: number;
  transition: Extract<Transition, { to: 'failed' | 'queued' }>;
}

export interface SweepOutcome {
  due: DueOperation[];
  polls: DuePoll[];
  promoted: number;
  removed: number;
  /** More is due right now than one sweep may take. */
  more: boolean;
}
