// The store's own thread: takes everything that has arrived, does it in one transaction, syncs once, answers.
//
// Group commit without a timer: while one group is being synced the next one gathers in the port. A lone call is a group of one
// and waits for nobody. A slow disk stalls this thread and never the event loop that talks HTTP.
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { WaitlessError } from '@waitless/protocol';
import type { Extension, OperationFilter } from '../../engine/engine.ts';
import { Ballast } from './ballast.ts';
import { bodyParts, type Side } from './body-parts.ts';
import { openDatabase } from './database.ts';
import { leaseStatements } from './lease.ts';
import { cancelStatements, readStatements } from './read.ts';
import { settleStatements } from './settle.ts';
import { Store } from './store.ts';
import { submitStatements } from './submit.ts';
import { sweepStatements } from './sweep.ts';
import type { Taker } from './takers.ts';
import {
  type AnswerMessage,
  type CallMessage,
  callKinds,
  Reader,
  readSubmission,
  readTransition,
  writeLeased,
  Writer,
  writeSettleOutcome,
} from './wire.ts';

/** The calls that are rare enough to travel as objects. */
export type OtherCall =
  | { op: 'queue'; namespace: string; service: string }
  | { op: 'queueById'; id: number }
  | { op: 'extend'; extension: Extension }
  | { op: 'cancel' | 'purge' | 'operation'; key: { seq: number; nonce: string; namespace: string } }
  | { op: 'recordsOf'; seqs: readonly number[] }
  | { op: 'result' | 'timeline'; seq: number }
  | { op: 'part'; seq: number; side: Side; part: number }
  | { op: 'operations'; filter: OperationFilter }
  | { op: 'counts' | 'health' | 'close' }
  | { op: 'sweep'; removeExpired: boolean; pausedMs: number }
  | { op: 'applyClock' };

const writes = new Set<OtherCall['op']>(['queue', 'extend', 'cancel', 'purge', 'sweep', 'applyClock']);

/** An error as it travels: structured clone keeps neither the code nor the class of an Error. */
export interface StoreError {
  /** Of SQLite, or of the problem table where `problem` is true. */
  code: string;
  problem: boolean;
  message: string;
}

const toStoreError = (error: unknown): StoreError => {
  const { code, message } = error as { code?: unknown; message: string };
  return { code: typeof code === 'string' ? code : '', problem: error instanceof WaitlessError, message };
};

/** First message to the server's thread. */
export type Opened =
  | { opened: true; storeKey: string; lastTimeMs: number; requeued: number }
  | { opened: false; error: StoreError };
/** Anything else it says unasked. */
export type Notice = { notice: 'due' } | { notice: 'broken'; error: StoreError };

/** Ends up as 507: refused before anything is written, while answers of running work still find room. */
const diskFull = {
  kind: 'refused',
  error: { code: 'SQLITE_FULL', problem: false, message: 'the disk is full' },
} as const;
/** Stores of tests and of one-off commands live shorter than this and never pay for a ballast. */
const ballastDelayMs = 2000;

/** How often the store's last known time is written, at most: what was not written counts as a pause after a restart, so leases may last longer by it. */
const saveTimeMs = 2000;

function run(): void {
  const port = parentPort!;
  const { folder, synchronous, nowMs } = workerData as { folder: string; synchronous: 'FULL' | 'OFF'; nowMs: number };
  const { db, storeKey, lastTimeMs } = openDatabase({ folder, synchronous });
  const store = new Store(db, Math.max(nowMs, lastTimeMs));
  if (lastTimeMs > 0) store.pausedMs += store.nowMs - lastTimeMs;
  const parts = bodyParts(store);
  /** Services in which something became ready in this group while somebody may wait for it. */
  const readied = new Set<string>();
  const madeReady = (service: string): void => void readied.add(service);
  const leases = leaseStatements(store);
  const submit = submitStatements(store, parts);
  const settles = settleStatements(store, parts, madeReady);
  const reads = readStatements(store);
  const cancel = cancelStatements(store, reads);
  const sweeps = sweepStatements(store, madeReady);
  const ballast = new Ballast(folder);
  const begin = db.prepare('BEGIN IMMEDIATE');
  const commit = db.prepare('COMMIT');
  const rollback = db.prepare('ROLLBACK');
  let timer: NodeJS.Timeout | undefined;
  let timerFor = Number.POSITIVE_INFINITY;
  let savedAt = 0;
  const ballastTimer = setTimeout(() => ballast.fill(), ballastDelayMs);
  let vacuumDue = false;

  begin.run();
  const requeued = leases.voidPushLeases();
  store.flushCounters();
  store.saveTime();
  commit.run();
  store.timerAt = store.nowMs;
  port.postMessage({ opened: true, storeKey, lastTimeMs, requeued } satisfies Opened);

  function other(call: OtherCall, reader: Reader): unknown {
    switch (call.op) {
      case 'queue':
        return store.queue(call.namespace, call.service);
      case 'queueById':
        return store.queues.get(call.id);
      case 'extend':
        return settles.extend(call.extension);
      case 'cancel': {
        const { before, after } = cancel(call.key);
        if (!before) return { kind: 'unknown' };
        return after
          ? { kind: 'cancelled', operation: after, leaseNo: before.status === 'running' ? before.leaseNo : null }
          : { kind: 'ended', operation: before };
      }
      case 'purge': {
        const record = reads.operation(call.key);
        if (!record || record.finishedAt === null) return false;
        sweeps.remove(record.seq, record.queue, record.status === 'succeeded' ? 3 : record.status === 'failed' ? 4 : 5);
        return true;
      }
      case 'operation':
        return reads.operation(call.key);
      case 'recordsOf':
        return reads.recordsOf(call.seqs);
      case 'result':
        return reads.result(call.seq);
      case 'timeline':
        return reads.timeline(call.seq);
      case 'part':
        return parts.read(call.seq, call.side, call.part);
      case 'operations':
        return reads.operations(call.filter);
      case 'counts':
        return reads.counts();
      case 'health':
        return {
          detail: `sqlite, ${folder === ':memory:' ? 'in memory' : 'file'}, schema ${String(db.pragma('user_version', { simple: true }))}`,
        };
      case 'sweep': {
        const outcome = sweeps.sweep(call);
        vacuumDue = outcome.removed === 0;
        if (ballast.full) ballast.fill();
        return outcome;
      }
      case 'applyClock':
        return Array.from({ length: reader.number() }, () =>
          settles.applyClock({ seq: reader.number(), version: reader.number(), transition: readTransition(reader) }),
        );
      case 'close':
        return null;
    }
  }

  const readTaker = (call: number, reader: Reader): { taker: Taker; wait: boolean } => {
    const taker: Taker = {
      call,
      service: reader.text(),
      namespace: reader.maybeText(),
      kind: reader.number(),
      worker: reader.maybeText(),
      max: reader.number(),
      maxBytes: reader.number(),
      leaseMs: reader.number(),
      leases: [],
      bytes: 0,
    };
    return { taker, wait: reader.number() === 1 };
  };

  const writeLeases = (out: Writer, taker: Taker): void => {
    out.cells.push(callKinds.lease, taker.call, taker.leases.length);
    for (const leased of taker.leases) writeLeased(out, leased);
  };

  /** Submissions of durability `memory` are answered when they are written and before they are synced. */
  const early = new Writer();

  /** Does one call and writes its answer; the answer leaves only after the commit. */
  function perform(kind: number, call: number, reader: Reader, out: Writer): void {
    if (kind === callKinds.submit) {
      const count = reader.number();
      const rows = Array.from({ length: count }, () => readSubmission(reader));
      const to = rows.every((row) => row.memory === 1) ? early : out;
      to.cells.push(kind, call, count);
      for (const row of rows) {
        const outcome = ballast.full ? diskFull : submit(row);
        if (outcome.kind === 'new') to.cells.push(outcome.seq);
        else to.cells.push(0, outcome);
      }
    } else if (kind === callKinds.settle) {
      const count = reader.number();
      out.cells.push(kind, call, count);
      for (let i = 0; i < count; i++) {
        const row = {
          seq: reader.number(),
          leaseNo: reader.number(),
          backendStatus: reader.maybeNumber(),
          transition: readTransition(reader),
        };
        writeSettleOutcome(out, settles.settle(row));
      }
    } else if (kind === callKinds.lease) {
      const { taker, wait } = readTaker(call, reader);
      if (leases.fill(taker) || wait) store.takers.park(taker);
      else out.cells.push(kind, call, 0);
    } else if (kind === callKinds.unpark) {
      if (store.takers.unpark(call)) out.cells.push(callKinds.lease, call, 0);
    } else {
      out.cells.push(kind, call, 1, other(reader.object<OtherCall>(), reader) ?? null);
    }
  }

  const isWrite = (kind: number, cells: readonly unknown[], at: number): boolean =>
    kind === callKinds.submit ||
    kind === callKinds.settle ||
    kind === callKinds.lease ||
    (kind === callKinds.other && writes.has((cells[at] as OtherCall).op));

  function post(out: Writer): void {
    if (out.empty) return;
    const { cells, bytes } = out.take();
    const message: AnswerMessage = { cells, bytes };
    port.postMessage(message, message.bytes ? [message.bytes] : []);
  }

  /** Everything the messages ask for, in one transaction. */
  function performAll(messages: readonly CallMessage[], out: Writer): void {
    for (const message of messages) {
      const reader = new Reader(message);
      while (reader.more) perform(reader.number(), reader.number(), reader, out);
    }
    for (const service of readied) leases.offer(service);
    readied.clear();
    store.flushCounters();
  }

  function group(messages: readonly CallMessage[], writing: boolean): void {
    const out = new Writer();
    for (const message of messages) store.nowMs = Math.max(store.nowMs, message.nowMs);
    if (!writing) {
      performAll(messages, out);
      store.takers.committed();
      return post(out);
    }
    begin.run();
    try {
      if (store.nowMs - savedAt > saveTimeMs) {
        store.saveTime();
        savedAt = store.nowMs;
      }
      performAll(messages, out);
      post(early);
      commit.run();
    } catch (error) {
      early.take();
      readied.clear();
      if (db.inTransaction) rollback.run();
      store.takers.rolledBack();
      store.forget();
      throw error;
    }
    for (const taker of store.takers.committed()) writeLeases(out, taker);
    post(out);
  }

  /** After a failed sync nothing may be acknowledged any more (the kernel may have dropped the pages); a full disk or a bad row is survived. */
  const isFatal = (error: unknown): boolean =>
    /^SQLITE_(IOERR|CORRUPT|NOTADB|READONLY)/.test((error as { code?: string }).code ?? '');

  function fail(message: CallMessage, error: Error): void {
    const out = new Writer();
    for (const { kind, call } of callsOf(message))
      if (kind !== callKinds.unpark) out.cells.push(kind, call, -1, toStoreError(error));
    post(out);
  }

  /** A message as single calls, each with its own cells and bytes. */
  function* callsOf(message: CallMessage): Generator<{ kind: number; call: number; message: CallMessage }> {
    const marks = message.marks;
    for (let i = 0; i < marks.length; i += 2) {
      const [from, byteFrom] = [marks[i]!, marks[i + 1]!];
      const cells = message.cells.slice(from, marks[i + 2] ?? message.cells.length);
      const bytes = message.bytes ? message.bytes.slice(byteFrom, marks[i + 3] ?? message.bytes.byteLength) : null;
      yield {
        kind: cells[0] as number,
        call: cells[1] as number,
        message: { nowMs: message.nowMs, cells, bytes, marks: [0, 0] },
      };
    }
  }

  function onMessages(messages: CallMessage[]): void {
    const closing = messages.some((m) =>
      m.marks.some(
        (at, i) => i % 2 === 0 && m.cells[at] === callKinds.other && (m.cells[at + 2] as OtherCall).op === 'close',
      ),
    );
    const writing = messages.some((m) =>
      m.marks.some((at, i) => i % 2 === 0 && isWrite(m.cells[at] as number, m.cells, at + 2)),
    );
    try {
      group(messages, writing);
    } catch (error) {
      if (isFatal(error)) return broken(messages, error as Error);
      if ((error as { code?: string }).code === 'SQLITE_FULL') ballast.drop();
      // One call spoiled the group (or the disk is full): each on its own, so that only the guilty one fails.
      for (const single of messages.flatMap((m) => [...callsOf(m)])) {
        try {
          group([single.message], true);
        } catch (own) {
          if (isFatal(own)) return broken([single.message], own as Error);
          fail(single.message, own as Error);
        }
      }
    }
    if (closing) {
      clearTimeout(timer);
      clearTimeout(ballastTimer);
      db.close();
      port.close();
      return;
    }
    if (vacuumDue) {
      vacuumDue = false;
      sweeps.vacuum();
    }
    setTimer();
  }

  function broken(messages: readonly CallMessage[], error: Error): void {
    for (const message of messages) fail(message, error);
    port.postMessage({ notice: 'broken', error: toStoreError(error) } satisfies Notice);
    port.removeAllListeners('message');
    port.on('message', (message: CallMessage) => fail(message, error));
  }

  function setTimer(): void {
    if (store.timerAt >= timerFor && timer) return;
    clearTimeout(timer);
    timer = undefined;
    timerFor = store.timerAt;
    if (timerFor === Number.POSITIVE_INFINITY) return;
    timer = setTimeout(
      () => {
        timer = undefined;
        timerFor = Number.POSITIVE_INFINITY;
        store.timerAt = Number.POSITIVE_INFINITY;
        port.postMessage({ notice: 'due' } satisfies Notice);
      },
      Math.min(Math.max(timerFor - store.nowMs, 1), 0x7fffffff),
    );
  }

  port.on('message', (first: CallMessage) => {
    const messages = [first];
    // Takes what has gathered meanwhile into the same commit; bounded so that the first caller is not held up by the last.
    for (let next = receiveMessageOnPort(port); next && messages.length < 1024; next = receiveMessageOnPort(port))
      messages.push(next.message as CallMessage);
    onMessages(messages);
  });
}

try {
  run();
} catch (error) {
  parentPort!.postMessage({ opened: false, error: toStoreError(error) } satisfies Opened);
}
