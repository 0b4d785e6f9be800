// The embedded engine: one SQLite file behind the engine interface, written by a thread of its own.
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { WaitlessError } from '@waitless/protocol';
import type {
  DeliveryRecord,
  DeliverySettlement,
  DeliverySettleOutcome,
  LeasedDelivery,
} from '../../engine/deliveries.ts';
import type {
  CancelOutcome,
  ClockTransition,
  Counts,
  Engine,
  EngineFeatures,
  ExtendOutcome,
  Extension,
  KeyFound,
  LeasedOperation,
  NamedDocument,
  OpenedEngine,
  OperationFilter,
  OperationKey,
  OperationPage,
  OperationRecord,
  Queue,
  ResultRecord,
  Settlement,
  SettleOutcome,
  Signal,
  Submission,
  SubmitOutcome,
  SweepOutcome,
  TimelineRow,
} from '../../engine/engine.ts';
import type { ClaimOutcome, EventSettleOutcome, OpenEvent, SubscriptionRecord } from '../../engine/subscriptions.ts';
import type { AppendOutcome, EventPage, TopicRecord } from '../../engine/topics.ts';
import { backUp } from './backup.ts';
import type { Side } from './body-parts.ts';
import type { OtherCall } from './calls.ts';
import { KnownAnswers, shareName } from './known-answers.ts';
import { readLeased, writeLeaseWanted } from './lease-wire.ts';
import { readAppended, readPage, writeNewEvent, writeReadWanted } from './log-wire.ts';
import { type StoreError, toCallerError } from './store-error.ts';
import { inlineBytes, partBytes } from './store.ts';
import type { Notice, Opened } from './thread.ts';
import {
  type AnswerMessage,
  callKinds,
  type CallMessage,
  Reader,
  readSettleOutcome,
  writeClockTransitions,
  Writer,
  writeSettlement,
  writeSubmission,
} from './wire.ts';

export interface SqliteOptions {
  /** Folder of the store, or `:memory:`. */
  folder: string;
  /** OFF only for the test that proves that the power-cut test can fail. */
  synchronous?: 'FULL' | 'OFF';
}

interface Pending {
  /** Submissions of the call whose answers others may share. */
  learn?: { at: number; submission: Submission; queue: Queue }[];
  resolve(value: never): void;
  reject(error: Error): void;
}

/** With an answer of its own: a view would take the whole block that it looks into along to the store's thread. */
const ownAnswer = ({ tried, ...rest }: DeliverySettlement): DeliverySettlement => ({
  ...rest,
  tried: { ...tried, answer: tried.answer && new Uint8Array(tried.answer) },
});

export function sqliteEngine(options: SqliteOptions): Engine {
  const durable = options.folder !== ':memory:';
  const features: EngineFeatures = { durable, shared: false, shard: 0, inlineBytes, backup: durable };
  const pending = new Map<number, Pending>();
  const listeners: ((signal: Signal) => void)[] = [];
  const writer = new Writer();
  const answers = new KnownAnswers();
  /** Those that were asked for. */
  const queues = new Map<number, Queue>();
  let thread: Worker | undefined;
  let copies: MessagePort | undefined;
  let lastCall = 0;
  let nowMs = 0;
  let posting = false;
  let dead: Error | undefined;

  const signal = (s: Signal): void => listeners.forEach((listener) => listener(s));

  /**
   * Everything asked in one turn of the event loop is one message. Holding messages back while others are under way was tried: no processor
   * was saved, and with 10 ms added to every sync the 202 came after three syncs instead of two.
   */
  function post(): void {
    posting = false;
    if (writer.empty) return;
    const message: CallMessage = { nowMs, ...writer.take() };
    thread!.postMessage(message, message.bytes ? [message.bytes] : []);
  }

  function schedule(): void {
    if (posting) return;
    posting = true;
    setImmediate(post);
  }

  function call<T>(kind: number, write: () => void): { id: number; answer: Promise<T> } {
    const id = ++lastCall;
    const answer = new Promise<T>((resolve, reject) => {
      if (dead || !thread) return reject(dead ?? new WaitlessError('storage-unavailable', 'the store is closed'));
      pending.set(id, { resolve, reject });
      writer.mark();
      writer.cells.push(kind, id);
      write();
      schedule();
    });
    return { id, answer };
  }

  const ask = <T>(other: OtherCall): Promise<T> => call<T>(callKinds.other, () => writer.cells.push(other)).answer;
  const at = (ms: number): void => void (nowMs = Math.max(nowMs, ms));

  function onAnswers(message: AnswerMessage): void {
    const changed = new Set(message.changed);
    for (const share of changed) answers.forget(share);
    const reader = new Reader(message);
    while (reader.more) {
      const kind = reader.number();
      const id = reader.number();
      const count = reader.number();
      const waiting = pending.get(id);
      pending.delete(id);
      if (count < 0) {
        waiting?.reject(toCallerError(reader.object<StoreError>()));
        continue;
      }
      let value: unknown;
      if (kind === callKinds.submit) value = Array.from({ length: count }, () => readSubmitOutcome(reader));
      else if (kind === callKinds.settle) value = Array.from({ length: count }, () => readSettleOutcome(reader));
      else if (kind === callKinds.lease) value = Array.from({ length: count }, () => readLeased(reader));
      else if (kind === callKinds.append) value = Array.from({ length: count }, () => readAppended(reader));
      else if (kind === callKinds.read) value = readPage(reader, count);
      else value = reader.object<unknown>();
      // An answer from before a change in the same commit must not be taken for what holds after it.
      for (const { at: place, submission, queue } of waiting?.learn ?? []) {
        if (!changed.has(shareName(submission.queue, submission.sharing!.share)))
          answers.learn(submission, (value as SubmitOutcome[])[place]!, queue);
      }
      waiting?.resolve(value as never);
    }
  }

  const readSubmitOutcome = (reader: Reader): SubmitOutcome => {
    const seq = reader.number();
    if (seq > 0) return { kind: 'new', seq };
    const outcome = reader.object<SubmitOutcome | { kind: 'refused'; error: StoreError }>();
    return outcome.kind === 'refused'
      ? { kind: 'refused', error: toCallerError(outcome.error as StoreError) }
      : outcome;
  };

  function onDeath(error: StoreError): void {
    if (dead) return;
    dead = toCallerError(error);
    for (const waiting of pending.values()) waiting.reject(dead);
    pending.clear();
    signal({ kind: 'failed', error: dead });
  }

  async function* readBody(seq: number, of: Side): AsyncIterable<Uint8Array> {
    for (let part = 0; ; part++) {
      const bytes = await ask<Uint8Array | null>({ op: 'part', seq, side: of, part });
      if (!bytes) return;
      yield bytes;
      if (bytes.length < partBytes) return;
    }
  }

  return {
    name: 'sqlite',
    features,
    open: (now) =>
      new Promise<OpenedEngine>((resolve, reject) => {
        at(now);
        const channel = new MessageChannel();
        const worker = new Worker(
          new URL(import.meta.url.endsWith('.ts') ? './thread.ts' : './thread.js', import.meta.url),
          {
            workerData: {
              folder: options.folder,
              synchronous: options.synchronous ?? 'FULL',
              nowMs: now,
              copies: channel.port2,
            },
            transferList: [channel.port2],
            // The store keeps no objects; a small young generation keeps its collections short and the process small.
            resourceLimits: { maxYoungGenerationSizeMb: 8 },
          },
        );
        worker.once('message', (opened: Opened) => {
          if (!opened.opened) return reject(toCallerError(opened.error));
          thread = worker;
          copies = channel.port1;
          at(opened.lastTimeMs);
          worker.on('message', (message: AnswerMessage | Notice) => {
            if (!('notice' in message)) return onAnswers(message);
            if (message.notice === 'due') signal({ kind: 'due' });
            else if (message.notice === 'broken') onDeath(message.error);
            else {
              for (const namespace of message.news.namespaces) signal({ kind: 'events', namespace });
              if (message.news.subscriptions) signal({ kind: 'subscriptions' });
              if (message.news.deliveries) signal({ kind: 'deliveries' });
            }
          });
          resolve({
            storeKey: opened.storeKey,
            nowMs: Math.max(now, opened.lastTimeMs),
            lastTimeMs: opened.lastTimeMs,
            requeued: opened.requeued,
          });
        });
        worker.on('error', (error) => {
          const seen: StoreError = { code: '', problem: false, message: (error as Error).message };
          reject(toCallerError(seen));
          onDeath(seen);
        });
      }),
    async close() {
      const worker = thread;
      if (!worker) return;
      if (dead) return void (await worker.terminate());
      const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
      const closed = ask({ op: 'close' });
      // With what was asked before it. Who asks from now on is told that the store is closed.
      post();
      thread = undefined;
      await closed;
      await exited;
    },
    health: () => ask({ op: 'health' }),
    async queue(namespace, service) {
      const queue = await ask<Queue>({ op: 'queue', namespace, service });
      queues.set(queue.id, queue);
      return queue;
    },
    queueById: async (id) => (await ask<Queue | null>({ op: 'queueById', id })) ?? undefined,
    submit(batch, now) {
      at(now);
      const { id, answer } = call<SubmitOutcome[]>(callKinds.submit, () => {
        writer.cells.push(batch.length);
        for (const submission of batch) writeSubmission(writer, submission);
      });
      for (const [i, s] of batch.entries()) {
        // An answer that leaves before its commit may tell of what a failed commit takes back.
        if (s.sharing === null || s.durability !== 'stored') continue;
        const queue = queues.get(s.queue);
        if (!queue) continue;
        if (s.idempotency === null)
          answers.expect(
            s,
            answer.then((outcomes) => outcomes[i]!),
            queue,
          );
        const call = pending.get(id);
        if (call) (call.learn ??= []).push({ at: i, submission: s, queue });
      }
      return answer;
    },
    atHand(wanted, now) {
      at(now);
      return answers.find(wanted, nowMs) ?? answers.coming(wanted);
    },
    lease(wanted, now, abort) {
      at(now);
      if (abort?.aborted) return Promise.resolve([]);
      const { id, answer } = call<LeasedOperation[]>(callKinds.lease, () => writeLeaseWanted(writer, wanted));
      if (!abort || !wanted.wait) return answer;
      const unpark = (): void => {
        if (!pending.has(id) || dead || !thread) return;
        writer.mark();
        writer.cells.push(callKinds.unpark, id);
        schedule();
      };
      abort.addEventListener('abort', unpark, { once: true });
      return answer.finally(() => abort.removeEventListener('abort', unpark));
    },
    extend(extension: Extension, now) {
      at(now);
      return ask<ExtendOutcome>({ op: 'extend', extension });
    },
    settle(batch: readonly Settlement[], now) {
      at(now);
      return call<SettleOutcome[]>(callKinds.settle, () => {
        writer.cells.push(batch.length);
        for (const settlement of batch) writeSettlement(writer, settlement);
      }).answer;
    },
    cancel(key, now) {
      at(now);
      return ask<CancelOutcome>({ op: 'cancel', key });
    },
    purge: (key) => ask<boolean>({ op: 'purge', key }),
    operation: async (key: OperationKey & { namespace: string }) =>
      (await ask<OperationRecord | null>({ op: 'operation', key })) ?? undefined,
    recordsOf: (seqs) => ask<OperationRecord[]>({ op: 'recordsOf', seqs }),
    result: async (seq) => (await ask<ResultRecord | null>({ op: 'result', seq })) ?? undefined,
    request: async (seq) =>
      (await ask<{ head: string; bodyBytes: number } | null>({ op: 'request', seq })) ?? undefined,
    async lookUp(key, now) {
      at(now);
      return (await ask<KeyFound | null>({ op: 'lookUp', key })) ?? undefined;
    },
    forget: (key) => ask<boolean>({ op: 'forget', key }),
    readBody,
    operations: (filter: OperationFilter) => ask<OperationPage>({ op: 'operations', filter }),
    timeline: (seq, wanted) => ask<TimelineRow[]>({ op: 'timeline', seq, wanted }),
    counts: (of) => ask<{ queue: Queue; counts: Counts }[]>({ op: 'counts', of }),
    ahead: async (seq, limit) => (await ask<number | null>({ op: 'ahead', seq, limit })) ?? undefined,
    sweep(now, { removeExpired, pausedMs = 0 }) {
      at(now);
      return ask<SweepOutcome>({ op: 'sweep', removeExpired, pausedMs });
    },
    applyClock(batch: readonly ClockTransition[], now) {
      at(now);
      return call<boolean[]>(callKinds.other, () => {
        writer.cells.push({ op: 'applyClock' } satisfies OtherCall);
        writeClockTransitions(writer, batch);
      }).answer;
    },
    leaseDeliveries(wanted, now) {
      at(now);
      return ask<LeasedDelivery[]>({ op: 'leaseDeliveries', wanted });
    },
    settleDeliveries(batch, now) {
      at(now);
      return ask<DeliverySettleOutcome[]>({ op: 'settleDeliveries', batch: batch.map(ownAnswer) });
    },
    deliveries: (filter) => ask<DeliveryRecord[]>({ op: 'deliveries', filter }),
    delivery: async (number, namespace) =>
      (await ask<Awaited<ReturnType<Engine['delivery']>> | null>({ op: 'delivery', number, namespace })) ?? undefined,
    redeliver(number, namespace, now) {
      at(now);
      return ask<Awaited<ReturnType<Engine['redeliver']>>>({ op: 'redeliver', number, namespace });
    },
    append(batch, now) {
      at(now);
      return call<AppendOutcome[]>(callKinds.append, () => {
        writer.cells.push(batch.length);
        for (const event of batch) writeNewEvent(writer, event);
      }).answer;
    },
    read: (wanted) => call<EventPage>(callKinds.read, () => writeReadWanted(writer, wanted)).answer,
    topics: (namespace) => ask<TopicRecord[]>({ op: 'topics', namespace }),
    trim(trim, now) {
      at(now);
      return ask({ op: 'trim', trim });
    },
    async saveSubscription(document, from) {
      at(document.savedAt);
      return ask({ op: 'saveSubscription', document, from });
    },
    removeSubscription: (key) => ask<boolean>({ op: 'removeSubscription', key }),
    publishTransitions: async (wanted) => void (await ask({ op: 'publishTransitions', wanted })),
    pauseSubscription: async (key, paused) =>
      (await ask<SubscriptionRecord | null>({ op: 'pauseSubscription', key, paused })) ?? undefined,
    subscriptions: (namespace) => ask<SubscriptionRecord[]>({ op: 'subscriptions', namespace }),
    subscription: async (key) => (await ask<SubscriptionRecord | null>({ op: 'subscription', key })) ?? undefined,
    claim(claim, now) {
      at(now);
      return ask<ClaimOutcome>({ op: 'claim', claim });
    },
    leaseDue(wanted, now) {
      at(now);
      return ask({ op: 'leaseDue', wanted });
    },
    extendEvent(lease, now) {
      at(now);
      return ask({ op: 'extendEvent', lease });
    },
    settleEvents(batch, now) {
      at(now);
      return ask<EventSettleOutcome[]>({ op: 'settleEvents', batch });
    },
    openEvents: (filter) => ask<OpenEvent[]>({ op: 'openEvents', filter }),
    redriveEvents(of, now) {
      at(now);
      return ask<number>({ op: 'redriveEvents', of });
    },
    forgetDead: (of) => ask<number>({ op: 'forgetDead', of }),
    async save(document) {
      await ask({ op: 'save', document });
      signal({ kind: 'documents' });
    },
    async remove(document) {
      const removed = await ask<boolean>({ op: 'remove', document });
      if (removed) signal({ kind: 'documents' });
      return removed;
    },
    list: (kind) => ask<NamedDocument[]>({ op: 'list', kind }),
    async backup(to, backupOptions) {
      if (dead || !thread || !copies) throw dead ?? new WaitlessError('storage-unavailable', 'the store is closed');
      const storeBytes = statSync(join(options.folder, 'waitless.db')).size;
      return backUp(copies, { to, storeBytes, ...backupOptions });
    },
    onSignal: (listener) => void listeners.push(listener),
  };
}
