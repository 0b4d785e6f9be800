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
import type { DeliveryEngine } from './deliveries.ts';
import type {
  ClockTransition,
  ExtendOutcome,
  Extension,
  LeaseWanted,
  LeasedOperation,
  SettleOutcome,
  Settlement,
  SweepOutcome,
} from './leases.ts';
import type {
  CancelOutcome,
  Counts,
  KeyFound,
  KeyName,
  OperationFilter,
  OperationKey,
  OperationPage,
  OperationRecord,
  ResultRecord,
  TimelineRow,
  TimelineWanted,
} from './operations.ts';
import type { AtHand, Sharing, Submission, SubmitOutcome } from './submissions.ts';
import type { SubscriptionEngine } from './subscriptions.ts';
import type { TopicEngine } from './topics.ts';
import type { TransitionEngine } from './transitions.ts';

// What operations are made of is told in files of its own, and had from here with the verbs that take and give it.
export type * from './leases.ts';
export type * from './operations.ts';
export type * from './submissions.ts';

/** One namespace's queue of one service, known by a small number. */
export interface Queue {
  id: number;
  namespace: string;
  service: string;
}

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
