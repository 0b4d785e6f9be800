// What travels between the server's thread and the store's thread: one flat list of cells and one block of bytes per message.
//
// Why flat: structured clone writes every property name of every object; a submission as an object costs three times
// as much to pass as the same values in a row. Rare calls travel as plain objects in one cell.
import type {
  ClockTransition,
  Keep,
  Poll,
  ResultContent,
  Settlement,
  SettleOutcome,
  Sharing,
  Submission,
  Transition,
} from '../../engine/engine.ts';
import type { CallbackWanted } from '../../engine/deliveries.ts';
import { laneOf } from '../lane.ts';
import { type StoreError, toCallerError } from './store-error.ts';

export type Cell = string | number | null | object;

/** Calls in cell form start with one of these, then the call's number, then what follows for its kind. */
export const callKinds = { submit: 0, settle: 1, lease: 2, unpark: 3, other: 4, append: 5, read: 6 } as const;

/** A message to the store: calls one after another, and the bytes of their bodies in the same order. */
export interface CallMessage {
  nowMs: number;
  cells: Cell[];
  bytes: ArrayBuffer | null;
  /** Where each call begins: index of its first cell, offset of its first byte. Lets the store do the calls one by one when a group fails. */
  marks: number[];
}

/** A message from the store: answers one after another. */
export interface AnswerMessage {
  /** Shares of which what is stored or under way is another one since this commit. */
  changed?: string[];
  cells: Cell[];
  bytes: ArrayBuffer | null;
}

/** Collects cells and bytes; the bytes become one block that is handed over, not copied again. */
export class Writer {
  cells: Cell[] = [];
  #chunks: Uint8Array[] = [];
  #length = 0;
  #marks: number[] = [];

  /** Begins a call. */
  mark(): void {
    this.#marks.push(this.cells.length, this.#length);
  }

  get empty(): boolean {
    return this.cells.length === 0;
  }

  /** Adds bytes and their length as a cell. */
  bytes(chunk: Uint8Array): void {
    this.cells.push(chunk.length);
    if (chunk.length > 0) {
      this.#chunks.push(chunk);
      this.#length += chunk.length;
    }
  }

  take(): { cells: Cell[]; bytes: ArrayBuffer | null; marks: number[] } {
    const { cells } = this;
    const marks = this.#marks;
    const block = this.#length > 0 ? new Uint8Array(this.#length) : null;
    if (block) {
      let at = 0;
      for (const chunk of this.#chunks) {
        block.set(chunk, at);
        at += chunk.length;
      }
    }
    this.cells = [];
    this.#chunks = [];
    this.#length = 0;
    this.#marks = [];
    return { cells, bytes: block ? block.buffer : null, marks };
  }
}

const noBytes = Buffer.alloc(0);

/** Reads cells and bytes in the order they were written. */
export class Reader {
  readonly #cells: Cell[];
  readonly #block: ArrayBuffer | null;
  #at = 0;
  #byteAt = 0;

  constructor(message: { cells: Cell[]; bytes: ArrayBuffer | null }) {
    this.#cells = message.cells;
    this.#block = message.bytes;
  }

  get more(): boolean {
    return this.#at < this.#cells.length;
  }

  number(): number {
    return this.#cells[this.#at++] as number;
  }

  text(): string {
    return this.#cells[this.#at++] as string;
  }

  maybeText(): string | null {
    return this.#cells[this.#at++] as string | null;
  }

  maybeNumber(): number | null {
    return this.#cells[this.#at++] as number | null;
  }

  object<T>(): T {
    return this.#cells[this.#at++] as T;
  }

  /** A view on the message's block, not a copy. */
  bytes(): Buffer {
    const length = this.number();
    if (length === 0) return noBytes;
    const view = Buffer.from(this.#block!, this.#byteAt, length);
    this.#byteAt += length;
    return view;
  }
}

export function writeSubmission(to: Writer, s: Submission): void {
  to.cells.push(
    s.queue,
    s.nonce,
    s.durability === 'memory' ? 1 : 0,
    s.head,
    s.correlationId,
    s.labels && JSON.stringify(s.labels),
    s.createdAt,
    s.runAt,
    s.rank,
    s.deadlineAt,
    s.startByAt,
    s.retentionMs,
  );
  if (s.idempotency)
    to.cells.push(
      s.idempotency.key,
      s.idempotency.fingerprint,
      s.idempotency.expiresAt,
      s.idempotency.retryFailed ? 1 : 0,
    );
  else to.cells.push(null);
  to.cells.push(s.key);
  if (s.sharing) {
    const { identity, share, use, maxAgeMs, onlyStored } = s.sharing;
    to.cells.push(identity, share, use, maxAgeMs, onlyStored ? 1 : 0);
  } else to.cells.push(null);
  to.cells.push((s.mayMake === false ? 0 : 1) | (s.callback ? 2 : 0) | (s.orderingKey == null ? 0 : 4));
  if (s.callback) to.cells.push(s.callback);
  if (s.orderingKey != null) to.cells.push(laneOf(s.queue, s.orderingKey));
  to.bytes(s.body);
}

function readSharing(from: Reader): Sharing | null {
  const identity = from.maybeText();
  if (identity === null) return null;
  return {
    identity,
    share: from.text(),
    use: from.text() as Sharing['use'],
    maxAgeMs: from.maybeNumber(),
    onlyStored: from.number() === 1,
  };
}

/** A submission in the store's thread; labels still as JSON text. */
export interface SubmissionRow {
  queue: number;
  nonce: string;
  memory: number;
  head: string;
  correlationId: string | null;
  labels: string | null;
  createdAt: number;
  runAt: number;
  rank: number;
  deadlineAt: number;
  startByAt: number | null;
  retentionMs: number;
  idempotencyKey: string | null;
  fingerprint: string;
  keyExpiresAt: number;
  retryFailed: boolean;
  key: string | null;
  sharing: Sharing | null;
  mayMake: boolean;
  callback: CallbackWanted | null;
  /** Of its ordering key. */
  lane: number | null;
  body: Buffer;
}

export function readSubmission(from: Reader): SubmissionRow {
  const row: SubmissionRow = {
    queue: from.number(),
    nonce: from.text(),
    memory: from.number(),
    head: from.text(),
    correlationId: from.maybeText(),
    labels: from.maybeText(),
    createdAt: from.number(),
    runAt: from.number(),
    rank: from.number(),
    deadlineAt: from.number(),
    startByAt: from.maybeNumber(),
    retentionMs: from.number(),
    idempotencyKey: from.maybeText(),
    fingerprint: '',
    keyExpiresAt: 0,
    retryFailed: false,
    key: null,
    sharing: null,
    mayMake: true,
    callback: null,
    lane: null,
    body: noBytes,
  };
  if (row.idempotencyKey !== null) {
    row.fingerprint = from.text();
    row.keyExpiresAt = from.number();
    row.retryFailed = from.number() === 1;
  }
  row.key = from.maybeText();
  row.sharing = readSharing(from);
  const flags = from.number();
  row.mayMake = (flags & 1) === 1;
  if (flags & 2) row.callback = from.object<CallbackWanted>();
  if (flags & 4) row.lane = from.number();
  row.body = from.bytes();
  return row;
}

const transitionCodes = ['succeeded', 'failed', 'queued', 'later'] as const;

function writeResult(to: Writer, result: ResultContent | null | undefined): void {
  if (!result) return void to.cells.push(0);
  to.cells.push(result.status, JSON.stringify(result.headers), result.hash);
  to.bytes(result.body);
}

/** A result in the store's thread; headers still as JSON text. */
export interface ResultRow {
  status: number;
  headers: string;
  hash: string;
  body: Buffer;
}

function readResult(from: Reader): ResultRow | null {
  const status = from.number();
  return status === 0 ? null : { status, headers: from.text(), hash: from.text(), body: from.bytes() };
}

export function writeTransition(to: Writer, t: Transition): void {
  to.cells.push(transitionCodes.indexOf(t.to));
  if (t.to === 'later') to.cells.push(t.leaseUntil, t.poll?.url ?? null, t.poll?.at ?? 0);
  else {
    if (t.to !== 'succeeded') to.cells.push(t.error.code, t.error.message);
    if (t.to === 'queued') to.cells.push(t.runAt, t.rank, t.attemptUsed ? 1 : 0);
    if (t.to === 'succeeded') to.cells.push(t.keep?.freshMs ?? null, t.keep?.staleMs ?? 0);
    writeResult(to, t.result);
  }
}

/** A transition in the store's thread. */
export interface TransitionRow {
  to: (typeof transitionCodes)[number];
  errorCode: string | null;
  errorMessage: string | null;
  runAt: number;
  rank: number;
  attemptUsed: boolean;
  leaseUntil: number;
  poll: Poll | null;
  keep: Keep | null;
  result: ResultRow | null;
}

export function readTransition(from: Reader): TransitionRow {
  const row: TransitionRow = {
    to: transitionCodes[from.number()]!,
    errorCode: null,
    errorMessage: null,
    runAt: 0,
    rank: 0,
    attemptUsed: true,
    leaseUntil: 0,
    poll: null,
    keep: null,
    result: null,
  };
  if (row.to === 'later') {
    row.leaseUntil = from.number();
    const url = from.maybeText();
    const at = from.number();
    if (url !== null) row.poll = { url, at };
  } else {
    if (row.to !== 'succeeded') {
      row.errorCode = from.text();
      row.errorMessage = from.text();
    }
    if (row.to === 'queued') {
      row.runAt = from.number();
      row.rank = from.number();
      row.attemptUsed = from.number() === 1;
    }
    if (row.to === 'succeeded') {
      const freshMs = from.maybeNumber();
      const staleMs = from.number();
      if (freshMs !== null) row.keep = { freshMs, staleMs };
    }
    row.result = readResult(from);
  }
  return row;
}

export function writeSettlement(to: Writer, s: Settlement): void {
  to.cells.push(s.seq, s.leaseNo, s.backendStatus);
  writeTransition(to, s.transition);
}

export function writeClockTransitions(to: Writer, batch: readonly ClockTransition[]): void {
  to.cells.push(batch.length);
  for (const c of batch) {
    to.cells.push(c.seq, c.version);
    writeTransition(to, c.transition);
  }
}

/** A refusal's error travels as an object of its own. */
export type SettledRow = Exclude<SettleOutcome, { kind: 'refused' }> | { kind: 'refused'; error: StoreError };

export function writeSettleOutcome(to: Writer, o: SettledRow): void {
  if (o.kind === 'recorded') to.cells.push(0, o.version, o.createdAt, o.attemptAt, o.finishedAt, o.expiresAt);
  else to.cells.push(1, o);
}

export function readSettleOutcome(from: Reader): SettleOutcome {
  if (from.number() === 0)
    return {
      kind: 'recorded',
      version: from.number(),
      createdAt: from.number(),
      attemptAt: from.maybeNumber(),
      finishedAt: from.maybeNumber(),
      expiresAt: from.maybeNumber(),
    };
  const outcome = from.object<SettledRow>();
  return outcome.kind === 'refused' ? { kind: 'refused', error: toCallerError(outcome.error) } : outcome;
}
