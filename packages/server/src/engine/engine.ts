// The engine interface: what a store must decide atomically and keep. One method per change of state, so that reading it is reading the state machine.
//
// Promises, each a case of the conformance suite:
// - `submit` decides replayed / mismatch / stored / joined / not-stored / new, in this order and one after another, so twins in one batch see each
//   other, and of requests that share a result only one is under way; durable when it resolves. The order of the questions is in `sharing.ts`.
// - An operation is held by at most one unexpired lease. Every lease has its own number (`leaseNo`), the fencing token:
//   a lost lease can neither settle nor extend, and the first settlement of a lease wins.
// - Of the operations of one ordering key in a queue only the first open one can be leased; its end makes the next one so, in the same commit.
// - A transition and its consequences (result, timeline row, counters, what is stored under a key, the next look at a backend that is polled, who has
//   to be told of it: `deliveries.ts`) are written together or not at all.
// - Time comes from the caller. The engine never reads a clock to decide anything. Nodes of a shared store follow one time line (`Signal` `time`).
// - One log and one counter of positions per namespace. Positions only grow, gaps are allowed, and what a reader has not seen yet never gets a
//   smaller position than what it has: a writer that took its position first and commits last is never skipped.
// - `onSignal` is a hint that may be lost or repeated: every listener re-reads, every loop also polls slowly.
// - A call made after another one has resolved sees its effects, on whichever node it is made. Calls under way at once may take effect in any order.
// - Hot calls take batches; calls that arrive together share one commit. One refused item fails alone.
import type { Durability, OperationStatus } from '@waitless/protocol';
import type { CallbackWanted, DeliveryEngine } from './deliveries.ts';
import type { SubscriptionEngine } from './subscriptions.ts';
import type { TopicEngine } from './topics.ts';
import type { TransitionEngine } from './transitions.ts';

export type Labels = Readonly<Record<string, string>>;

/** Where an operation lives: growing integer behind the public id, and the random part that makes the id unguessable. */
export interface OperationKey {
  seq: number;
  /** 32 hexadecimal digits. */
  nonce: string;
}

/** One namespace's queue of one service, known by a small number. */
export interface Queue {
  id: number;
  namespace: string;
  service: string;
}

/** The immutable head of a request; kept as its JSON text, so that it can be handed to workers without being taken apart again. */
export interface RequestHead {
  method: string;
  path: string;
  query: string;
  /** As they came, less those that are not forwarded. */
  headers: [string, string][];
}

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

/** A result that is stored under a key. */
export interface StoredResult {
  operation: OperationRecord;
  /** A large body is null and read with `readBody`. */
  result: ResultRecord;
  storedAt: number;
  /** End of its validity; null where it has none and is found by key alone. */
  freshUntil: number | null;
}

/** A stored result, or the operation under way as it was when another one joined it: what of it never changes is as it stands. */
export type AtHand = { kind: 'stored'; stored: StoredResult } | { kind: 'joined'; operation: OperationRecord };

/** A business key in a queue. */
export interface KeyName {
  queue: number;
  identity: string;
}

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

export interface OperationFailure {
  code: string;
  message: string;
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

export interface ProgressReport {
  stage?: string;
  percent?: number;
  message?: string;
  /** JSON source text, verbatim. */
  data?: string;
}

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

/** An operation as it stands. Times are milliseconds on the engine's time line. */
export interface OperationRecord extends OperationKey {
  queue: number;
  namespace: string;
  service: string;
  status: OperationStatus;
  version: number;
  attempt: number;
  leaseNo: number;
  correlationId: string | null;
  labels: Labels | null;
  createdAt: number;
  updatedAt: number;
  startedAt: number | null;
  finishedAt: number | null;
  /** When a waiting operation may start; null once it has. */
  runAt: number | null;
  deadlineAt: number;
  /** When the last attempt began, and who made it. */
  attemptAt: number | null;
  worker: string | null;
  expiresAt: number | null;
  error: OperationFailure | null;
  progress: (ProgressReport & { sequence: number }) | null;
  /** Location of a 303: where the result of an operation that succeeded by reference is. */
  reference: string | null;
  /** Its business key. */
  key: string | null;
}

export interface ResultRecord {
  status: number;
  headers: string[];
  /** Whole when at most `inlineBytes`; otherwise null, to be read with `readBody`. */
  body: Uint8Array | null;
  bodyBytes: number;
  /** SHA-256 over the body, base64url: the strong ETag. */
  hash: string;
}

export type KeyFound = { kind: 'stored'; stored: StoredResult } | { kind: 'running'; operation: OperationRecord };

export type CancelOutcome =
  | { kind: 'cancelled'; operation: OperationRecord; leaseNo: number | null }
  | { kind: 'ended'; operation: OperationRecord }
  | { kind: 'unknown' };

export interface OperationFilter {
  namespace: string;
  service?: string;
  statuses?: readonly OperationStatus[];
  correlationId?: string;
  key?: string;
  labels?: Readonly<Record<string, string>>;
  createdAfter?: number;
  createdBefore?: number;
  limit: number;
  /** Only operations with a smaller number: the cursor. */
  beforeSeq?: number;
}

export interface OperationPage {
  items: OperationRecord[];
  /** Smallest number looked at, or null when there is nothing older. A page may be short and still have a next one. */
  nextSeq: number | null;
}

/** One thing that happened after acceptance; the first attempt is told by the record's columns. */
export interface TimelineRow {
  /** Of the operation, once this had happened. */
  version: number;
  at: number;
  kind: 'attempt' | 'progress';
  attempt: number;
  /** attempt: when it began. */
  startedAt: number | null;
  worker: string | null;
  outcome: string | null;
  backendStatus: number | null;
  detail: string | null;
  nextAt: number | null;
  progress: (ProgressReport & { sequence: number }) | null;
}

/** Which part of a timeline is wanted: all of it, unless something is said. */
export interface TimelineWanted {
  /** Only rows of this version and later. */
  from?: number;
  limit?: number;
  /** Only the ends of attempts. */
  attempts?: boolean;
}

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

export type Counts = Record<OperationStatus, number>;

/** A small named document, such as a service that was made over the API. Outlives restarts. */
export interface NamedDocument {
  kind: string;
  name: string;
  /** JSON text, kept as it is. */
  text: string;
  savedAt: number;
}

/** What may have changed; a hint only. */
export type Signal =
  /** An operation moved on, on another node; `done` when it ended there. */
  | { kind: 'operation'; seq: number; done: boolean }
  /** The clock has something to say about an open operation. */
  | { kind: 'due' }
  /** Something is to be told to somebody outside. */
  | { kind: 'deliveries' }
  /** Named documents were saved or removed, here or on another node. */
  | { kind: 'documents' }
  /** The log of a namespace has grown. */
  | { kind: 'events'; namespace: string }
  /** A subscription was made, changed, removed, paused or resumed, or something of it is to be taken again; here or on another node. */
  | { kind: 'subscriptions' }
  /** The nodes' common time line is at `nowMs` now: the clock of this process must not be behind it. */
  | { kind: 'time'; nowMs: number }
  /** The store can keep no promise any more; what is running must stop. A store that may come back says nothing and refuses. */
  | { kind: 'failed'; error: Error };

export interface OpenedEngine {
  /** Secret of this store, for signing lease tokens: hexadecimal, 256 bits. */
  storeKey: string;
  /** Where the clock of this process starts: the caller's own time, or that of the store where it is later or shared with other nodes. */
  nowMs: number;
  /** Latest time the store had seen before; 0 for a new one. */
  lastTimeMs: number;
  /** Operations whose push lease died with the previous process and that are queued again. */
  requeued: number;
  /** What an operator should know of this store, in sentences. */
  warnings?: readonly string[];
}

/** What differs between engines, as data: the conformance suite picks its cases by it. */
export interface EngineFeatures {
  /** Survives the process and a power cut. */
  durable: boolean;
  /** Several processes may open the same store. */
  shared: boolean;
  /** Shard number that its ids carry. */
  shard: number;
  /** Bodies up to this size come with the record. */
  inlineBytes: number;
  /** Can copy itself while it works: has `backup`. */
  backup: boolean;
}

export interface BackupOptions {
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: { copiedBytes: number; totalBytes: number }) => void) | undefined;
}

export interface BackupDone {
  bytes: number;
}

export interface Engine extends DeliveryEngine, TopicEngine, SubscriptionEngine, TransitionEngine {
  readonly name: string;
  readonly features: EngineFeatures;
  open(nowMs: number): Promise<OpenedEngine>;
  close(): Promise<void>;
  /** Rejects with `storage-unavailable` when the store cannot be read. */
  health(): Promise<{ detail: string }>;

  /** The number of a namespace's queue of a service, made when it is new. */
  queue(namespace: string, service: string): Promise<Queue>;
  /** The queue with this number, if there is one. */
  queueById(id: number): Promise<Queue | undefined>;

  submit(batch: readonly Submission[], nowMs: number): Promise<SubmitOutcome[]>;
  /**
   * What a submit without an idempotency key would be answered with, where the engine has it at hand and knows that nothing has changed since, or where
   * that is on its way for another one; undefined says nothing. Spares those who share everything that only new work needs. Absent: it has nothing at hand.
   */
  atHand?(wanted: { queue: number; sharing: Sharing }, nowMs: number): AtHand | Promise<AtHand | undefined> | undefined;
  /** Up to `max` ready operations. With `wait`, resolves when there is at least one, or with none when the signal aborts. */
  lease(wanted: LeaseWanted, nowMs: number, signal?: AbortSignal): Promise<LeasedOperation[]>;
  extend(extension: Extension, nowMs: number): Promise<ExtendOutcome>;
  settle(batch: readonly Settlement[], nowMs: number): Promise<SettleOutcome[]>;
  cancel(key: OperationKey & { namespace: string }, nowMs: number): Promise<CancelOutcome>;
  /** Forgets an ended operation; false when there is none or it has not ended. */
  purge(key: OperationKey & { namespace: string }): Promise<boolean>;

  /** The operation, if the namespace has it. */
  operation(key: OperationKey & { namespace: string }): Promise<OperationRecord | undefined>;
  /** Those of the numbers that exist, in any order: for waiters that re-read. */
  recordsOf(seqs: readonly number[]): Promise<OperationRecord[]>;
  result(seq: number): Promise<ResultRecord | undefined>;
  /** What came in, for doing it anew; its body is read with `readBody`. */
  request(seq: number): Promise<{ head: string; bodyBytes: number } | undefined>;
  /** What is under a business key: the newest stored result that is still to be found, else what computes one. */
  lookUp(key: KeyName, nowMs: number): Promise<KeyFound | undefined>;
  /** Forgets what is stored under a business key; what is being computed is kept for nobody else either. True when there was something. */
  forget(key: KeyName): Promise<boolean>;
  /** A body in pieces, whatever its size. */
  readBody(seq: number, of: 'request' | 'result'): AsyncIterable<Uint8Array>;
  operations(filter: OperationFilter): Promise<OperationPage>;
  /** What happened to an operation, by version. */
  timeline(seq: number, wanted?: TimelineWanted): Promise<TimelineRow[]>;
  /** Operations by status in each queue; in these queues alone, at a cost that does not grow with the others. */
  counts(of?: readonly number[]): Promise<{ queue: Queue; counts: Counts }[]>;
  /** How many operations of its queue would be leased before this one, counted to `limit` at most; undefined when it is not ready. */
  ahead(seq: number, limit: number): Promise<number | undefined>;

  /**
   * Promotes what is due, removes what has expired, reports what needs a decision. Bounded in rows and time.
   * `pausedMs`: the process stood still for so long, and nobody could reach it: every lease lasts longer by it. A restart counts as well.
   */
  sweep(nowMs: number, options: { removeExpired: boolean; pausedMs?: number }): Promise<SweepOutcome>;
  /** Records decisions about due operations; true for each that was still as it had been. */
  applyClock(batch: readonly ClockTransition[], nowMs: number): Promise<boolean[]>;

  /** Saves a document in the place of the one of its kind and name, if there is one. */
  save(document: NamedDocument): Promise<void>;
  /** False when there is none. */
  remove(document: { kind: string; name: string }): Promise<boolean>;
  /** Those of a kind, by name. */
  list(kind: string): Promise<NamedDocument[]>;

  /**
   * Writes the whole store, as it stands at one moment between call and answer, to a file that is not there yet, while everything else goes on.
   * The file has its name only once it is whole, looked at and synced; after a rejection or an abort there is none.
   */
  backup?(to: string, options?: BackupOptions): Promise<BackupDone>;

  onSignal(listener: (signal: Signal) => void): void;
}
