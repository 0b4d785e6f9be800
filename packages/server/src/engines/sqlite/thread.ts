// The store's own thread: takes everything that has arrived, does it in one transaction, syncs once, answers.
//
// Group commit without a timer: while one group is being synced the next one gathers in the port. A lone call is a group of one
// and waits for nobody. A slow disk stalls this thread and never the event loop that talks HTTP.
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { Ballast } from './ballast.ts';
import { callsOn, isWrite, type News, type OtherCall } from './calls.ts';
import { serveCopies } from './copying.ts';
import { openDatabase } from './database.ts';
import { codeOf, isFatal, type StoreError, toStoreError } from './store-error.ts';
import { Store } from './store.ts';
import { type AnswerMessage, type CallMessage, callKinds, Reader, Writer } from './wire.ts';

/** First message to the server's thread. */
export type Opened =
  | { opened: true; storeKey: string; lastTimeMs: number; requeued: number }
  | { opened: false; error: StoreError };
/** Anything else it says unasked. */
export type Notice = { notice: 'due' } | { notice: 'news'; news: News } | { notice: 'broken'; error: StoreError };

/** Stores of tests and of one-off commands live shorter than this and never pay for a ballast. */
const ballastDelayMs = 2000;

/** How often the store's last known time is written, at most: what was not written counts as a pause after a restart, so leases may last longer by it. */
const saveTimeMs = 2000;

function run(): void {
  const port = parentPort!;
  const { folder, synchronous, nowMs, copies } = workerData as {
    folder: string;
    synchronous: 'FULL' | 'OFF';
    nowMs: number;
    copies: MessagePort;
  };
  const { db, storeKey, lastTimeMs } = openDatabase({ folder, synchronous });
  const store = new Store(db, Math.max(nowMs, lastTimeMs));
  if (lastTimeMs > 0) store.pausedMs += store.nowMs - lastTimeMs;
  const ballast = new Ballast(folder);
  const calls = callsOn(store, { ballast, folder });
  const begin = db.prepare('BEGIN IMMEDIATE');
  const commit = db.prepare('COMMIT');
  const rollback = db.prepare('ROLLBACK');
  const changes = db.prepare<[], number>('SELECT total_changes()').pluck();
  let timer: NodeJS.Timeout | undefined;
  let timerFor = Number.POSITIVE_INFINITY;
  let savedAt = 0;
  const ballastTimer = setTimeout(() => ballast.fill(), ballastDelayMs);

  begin.run();
  const requeued = calls.voidLeases();
  store.flushCounters();
  store.saveTime();
  commit.run();
  store.timerAt = store.nowMs;
  port.postMessage({ opened: true, storeKey, lastTimeMs, requeued } satisfies Opened);

  const noChanges = new Set<string>();

  function post(out: Writer, changed = noChanges): void {
    if (out.empty) return;
    const { cells, bytes } = out.take();
    const message: AnswerMessage = { cells, bytes };
    if (changed.size > 0) {
      message.changed = [...changed];
      changed.clear();
    }
    port.postMessage(message, message.bytes ? [message.bytes] : []);
  }

  /** Answers that leave before the commit. */
  const early = new Writer();

  /** Everything the messages ask for, in one transaction. */
  function performAll(messages: readonly CallMessage[], out: Writer): void {
    for (const message of messages) {
      const reader = new Reader(message);
      while (reader.more) calls.perform({ kind: reader.number(), id: reader.number(), reader }, { out, early });
    }
    calls.beforeCommit();
  }

  /** The answers leave only after the commit, and news of the log after the answers. */
  function group(messages: readonly CallMessage[], writing: boolean): void {
    const out = new Writer();
    for (const message of messages) store.nowMs = Math.max(store.nowMs, message.nowMs);
    if (!writing) {
      performAll(messages, out);
      calls.committed(out);
      return post(out);
    }
    begin.run();
    try {
      const timeIsDue = store.nowMs - savedAt > saveTimeMs;
      const before = timeIsDue ? changes.get() : undefined;
      performAll(messages, out);
      // With what is written anyway: a group that only looks, as one of stored results does, must not cost a sync.
      if (timeIsDue && changes.get() !== before) {
        store.saveTime();
        savedAt = store.nowMs;
      }
      post(early);
      commit.run();
    } catch (error) {
      early.take();
      if (db.inTransaction) rollback.run();
      calls.rolledBack();
      throw error;
    }
    const news = calls.committed(out);
    post(out, store.changedShares);
    if (news.namespaces.length > 0 || news.subscriptions || news.deliveries)
      port.postMessage({ notice: 'news', news } satisfies Notice);
  }

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

  /** One call in a group of its own; again without the item that spoiled it, where it has several. The error that is left, if there is one. */
  function alone({ call, message }: { call: number; message: CallMessage }): Error | undefined {
    for (;;) {
      try {
        group([message], true);
        return undefined;
      } catch (error) {
        if (isFatal(error) || !calls.blamed(call)) return error as Error;
      }
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
      if (codeOf(error) === 'SQLITE_FULL') ballast.drop();
      // One call spoiled the group (or the disk is full): each on its own, so that only the guilty one fails.
      for (const single of messages.flatMap((m) => [...callsOf(m)])) {
        const own = alone(single);
        if (own && isFatal(own)) return broken([single.message], own);
        if (own) fail(single.message, own);
      }
    }
    if (closing) {
      clearTimeout(timer);
      clearTimeout(ballastTimer);
      db.close();
      port.close();
      return;
    }
    calls.betweenGroups();
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

  serveCopies(db, copies);
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
