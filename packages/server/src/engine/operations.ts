// Operations as a store keeps and shows them: the record, its result, its history, and what lists and look-ups ask for.
import type { OperationStatus } from '@waitless/protocol';

export type Labels = Readonly<Record<string, string>>;

/** Where an operation lives: growing integer behind the public id, and the random part that makes the id unguessable. */
export interface OperationKey {
  seq: number;
  /** 32 hexadecimal digits. */
  nonce: string;
}

/** The immutable head of a request; kept as its JSON text, so that it can be handed to workers without being taken apart again. */
export interface RequestHead {
  method: string;
  path: string;
  query: string;
  /** As they came, less those that are not forwarded. */
  headers: [string, string][];
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

/** A business key in a queue. */
export interface KeyName {
  queue: number;
  identity: string;
}

export interface OperationFailure {
  code: string;
  message: string;
}

export interface ProgressReport {
  stage?: string;
  percent?: number;
  message?: string;
  /** JSON source text, verbatim. */
  data?: string;
}

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

export type Counts = Record<OperationStatus, number>;
