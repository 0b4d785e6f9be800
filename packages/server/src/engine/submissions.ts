// What a submit asks of a store, and what it may be answered with: new work, a repeat, a twin, a stored result.
import type { Durability } from '@waitless/protocol';
import type { CallbackWanted } from './deliveries.ts';
import type { Labels, OperationRecord, StoredResult } from './operations.ts';

export interface Submission {
  queue: number;
  nonce: string;
  durability: Exclude<Durability, 'none'>;
  /** JSON text of a RequestHead. */
  head: string;
  body: Uint8Array;
  /** The client's own; null means the operation id. */
  correlationId: string | null;
  labels: Labels | null;
  createdAt: number;
  /** When it may start; equal to createdAt without a delay. */
  runAt: number;
  /** Order among the ready: smaller first. */
  rank: number;
  deadlineAt: number;
  startByAt: number | null;
  /** How long the ended operation is kept. */
  retentionMs: number;
  idempotency: Idempotency | null;
  /** The business key: shown, and findable in lists. */
  key: string | null;
  /** What of its result others may have, and it of theirs; null: neither. */
  sharing: Sharing | null;
  /**
   * Those of one key in a queue run one at a time, in the order of their commits: the next may be leased once the one before has ended. One that waits,
   * for its turn, a delay or another attempt, holds those behind it. Absent: it waits for nobody.
   */
  orderingKey?: string | null;
  /** Who wants to be told of its end. Also of the operation that it joins; not of one that is replayed, nor of a stored result. Absent: nobody. */
  callback?: CallbackWanted | null;
  /** false: new work is not taken now, as by a full queue; what was submitted before, is under way or is stored still answers. Absent: it is. */
  mayMake?: boolean;
}

/** Under which business key a result is kept, and which requests may have it. Digests are SHA-256, base64url. */
export interface Sharing {
  /** Of the key and of the credentials that are passed on: what a look-up by key compares. */
  identity: string;
  /** Of everything that must be equal for two requests to have one result, the identity included. */
  share: string;
  /**
   * What may answer instead of new work. `stored`: a valid stored result, else a running twin; `running`: a running twin alone; `nothing`: its work is
   * its own, as with a method that is not safe to share, and its result is found by key alone.
   */
  use: 'stored' | 'running' | 'nothing';
  /** Oldest stored result that will do, in milliseconds; null: any that is valid. */
  maxAgeMs: number | null;
  /** Answer `not-stored` rather than do work. */
  onlyStored: boolean;
}

/** How long a result that ends a keyed operation is kept for others. */
export interface Keep {
  /** New submits are answered with it for so long; 0: it is found by key alone, until its operation's retention ends. */
  freshMs: number;
  /** And for so long after that, while a new one is computed. */
  staleMs: number;
}

/** A stored result, or the operation under way as it was when another one joined it: what of it never changes is as it stands. */
export type AtHand = { kind: 'stored'; stored: StoredResult } | { kind: 'joined'; operation: OperationRecord };

export interface Idempotency {
  key: string;
  /** Of the request: the same key with another fingerprint is refused. */
  fingerprint: string;
  expiresAt: number;
  /** A key that points at a failed operation starts a new one. */
  retryFailed: boolean;
}

export type SubmitOutcome =
  /** `expired`: there was a stored result, too old by now. */
  | { kind: 'new'; seq: number; expired?: boolean }
  /** The key was used for the same request before: that operation, and what the first submit was told of it. */
  | { kind: 'replayed'; operation: OperationRecord; as: 'new' | 'joined' | 'stored' }
  /** The same is under way already: its operation. */
  | { kind: 'joined'; operation: OperationRecord }
  /** A stored result. `refreshing`: it was stale, and this submit has begun the computation of a new one. */
  | { kind: 'stored'; stored: StoredResult; refreshing: boolean }
  /** Only a stored result was wanted and there is none. */
  | { kind: 'not-stored' }
  /** It would have been new work, and that was not to be made. Nothing was stored. */
  | { kind: 'full' }
  /** It would have joined, and as many as may be are told of that one's end already. Nothing was stored. */
  | { kind: 'callbacks-full' }
  /** The key was used for another request. */
  | { kind: 'mismatch' }
  /** This item could not be written; the others of its batch were. */
  | { kind: 'refused'; error: Error };
