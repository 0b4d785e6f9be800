// What each call does to the store, inside the transaction of its group, and what the group owes before and after its commit.
import type { DeliveriesWanted, DeliveryFilter, DeliverySettlement } from '../../engine/deliveries.ts';
import type { Extension, KeyName, NamedDocument, OperationFilter, TimelineWanted } from '../../engine/engine.ts';
import type {
  Claim,
  DueWanted,
  EventSettlement,
  LeasedEvent,
  OpenFilter,
  StartFrom,
  SubscriptionDocument,
} from '../../engine/subscriptions.ts';
import type { Trim } from '../../engine/topics.ts';
import type { Ballast } from './ballast.ts';
import { bodyParts, type Side } from './body-parts.ts';
import { callbackStatements } from './callbacks.ts';
import { deliveryStatements } from './deliveries.ts';
import { deliveryReads } from './delivery-reads.ts';
import { documentStatements } from './documents.ts';
import { keyedStatements } from './keyed.ts';
import { laneStatements } from './lanes.ts';
import { leaseStatements } from './lease.ts';
import { writeLeased } from './lease-wire.ts';
import { readNewEvent, readReadWanted, writeAppended, writePage } from './log-wire.ts';
import { logStatements } from './log.ts';
import { outletStatements } from './outlets.ts';
import { pollStatements } from './polls.ts';
import { cancelStatements, readStatements } from './read.ts';
import { settleStatements } from './settle.ts';
import { codeOf, diskFull, isFatal, type StoreError, toStoreError } from './store-error.ts';
import type { Store } from './store.ts';
import { submitStatements } from './submit.ts';
import { subscriptionStatements } from './subscriptions.ts';
import { sweepStatements } from './sweep.ts';
import type { Taker } from './takers.ts';
import { transitionStatements } from './transitions.ts';
import { callKinds, type Reader, readSubmission, readTransition, type Writer, writeSettleOutcome } from './wire.ts';

/** The calls that are rare enough to travel as objects. */
export type OtherCall =
  | { op: 'queue'; namespace: string; service: string }
  | { op: 'queueById'; id: number }
  | { op: 'extend'; extension: Extension }
  | { op: 'cancel' | 'purge' | 'operation'; key: { seq: number; nonce: string; namespace: string } }
  | { op: 'recordsOf'; seqs: readonly number[] }
  | { op: 'result' | 'request'; seq: number }
  | { op: 'timeline'; seq: number; wanted: TimelineWanted | undefined }
  | { op: 'lookUp' | 'forget'; key: KeyName }
  | { op: 'save'; document: NamedDocument }
  | { op: 'remove'; document: { kind: string; name: string } }
  | { op: 'list'; kind: string }
  | { op: 'part'; seq: number; side: Side; part: number }
  | { op: 'operations'; filter: OperationFilter }
  | { op: 'counts'; of: readonly number[] | undefined }
  | { op: 'ahead'; seq: number; limit: number }
  | { op: 'health' | 'close' }
  | { op: 'leaseDeliveries'; wanted: DeliveriesWanted }
  | { op: 'settleDeliveries'; batch: readonly DeliverySettlement[] }
  | { op: 'deliveries'; filter: DeliveryFilter }
  | { op: 'delivery' | 'redeliver'; number: number; namespace: string }
  | { op: 'topics' | 'subscriptions'; namespace: string | undefined }
  | { op: 'trim'; trim: Trim }
  | { op: 'saveSubscription'; document: SubscriptionDocument; from: StartFrom }
  | { op: 'publishTransitions'; wanted: Readonly<Record<string, boolean>> }
  | { op: 'removeSubscription' | 'subscription'; key: { namespace: string; name: string } }
  | { op: 'pauseSubscription'; key: { namespace: string; name: string }; paused: boolean }
  | { op: 'claim'; claim: Claim }
  | { op: 'leaseDue'; wanted: DueWanted }
  | { op: 'extendEvent'; lease: Pick<LeasedEvent, 'subscription' | 'position' | 'leaseNo'> & { leaseMs: number } }
  | { op: 'settleEvents'; batch: readonly EventSettlement[] }
  | { op: 'openEvents'; filter: OpenFilter }
  | {
      op: 'redriveEvents' | 'forgetDead';
      of: { subscription: number; positions?: readonly number[]; limit: number };
    }
  | { op: 'sweep'; removeExpired: boolean; pausedMs: number }
  | { op: 'applyClock' };

const otherWrites = new Set<OtherCall['op']>([
  'queue',
  'extend',
  'cancel',
  'purge',
  'forget',
  'save',
  'remove',
  'leaseDeliveries',
  'settleDeliveries',
  'redeliver',
  'sweep',
  'applyClock',
  'trim',
  'saveSubscription',
  'removeSubscription',
  'publishTransitions',
  'pauseSubscription',
  'claim',
  'leaseDue',
  'extendEvent',
  'settleEvents',
  'redriveEvents',
  'forgetDead',
]);
const writeKinds = new Set<number>([callKinds.submit, callKinds.settle, callKinds.lease, callKinds.append]);

/** @param at index of the first cell after the call's number */
export const isWrite = (kind: number, cells: readonly unknown[], at: number): boolean =>
  writeKinds.has(kind) || (kind === callKinds.other && otherWrites.has((cells[at] as OtherCall).op));

/** What a commit has brought for those who listen. */
export interface News {
  /** Namespaces whose log has grown. */
  namespaces: string[];
  subscriptions: boolean;
  /** Something is to be told to somebody outside. */
  deliveries: boolean;
}

export interface Calls {
  /** At start: what the last process had under way is ready again; returns how many operations that were. */
  voidLeases(): number;
  /** Does one call and writes its answer: to `early` what may leave before the commit, to `out` everything else. */
  perform(call: { kind: number; id: number; reader: Reader }, to: { out: Writer; early: Writer }): void;
  /** Before the commit: who waits is offered what became ready, and the group's sums are written. */
  beforeCommit(): void;
  /** After the commit: answers those who waited and got something; returns what others are told of it. */
  committed(out: Writer): News;
  /** After a rollback: nothing of the group has happened. */
  rolledBack(): void;
  /** After a call failed: whether one item of several was to blame that was not known before. Done again, the call refuses that one alone. */
  blamed(id: number): boolean;
  /** Between two groups: gives room back to the disk where the last sweep left time for it. */
  betweenGroups(): void;
}

export function callsOn(store: Store, { ballast, folder }: { ballast: Ballast; folder: string }): Calls {
  const parts = bodyParts(store);
  /** Services in which something became ready in this group while somebody may wait for it. */
  const readied = new Set<string>();
  const madeReady = (service: string): void => void readied.add(service);
  const reads = readStatements(store);
  const log = logStatements(store);
  const transitions = transitionStatements(store, { log, reads });
  const leases = leaseStatements(store, transitions);
  const keyed = keyedStatements(store, reads);
  const polls = pollStatements(store);
  const outlets = outletStatements(store);
  const callbacks = callbackStatements(store, outlets);
  const deliveryRows = deliveryReads(store);
  const deliveries = deliveryStatements(store, { outlets, keyed, reads: deliveryRows });
  const lanes = laneStatements(store, madeReady);
  const submit = submitStatements(store, { parts, keyed, lanes, callbacks, transitions });
  const settles = settleStatements(store, { parts, keyed, lanes, polls, callbacks, transitions, madeReady });
  const cancel = cancelStatements(store, { reads, keyed, lanes, callbacks, transitions });
  const sweeps = sweepStatements(store, { keyed, polls, deliveries, madeReady });
  const documents = documentStatements(store);
  const subscriptions = subscriptionStatements(store, log);
  /** Items of submits and settles that the store could not take, by call and place in it: refused when the call is done again. */
  const blamed = new Map<number, { refusals: Map<number, { kind: 'refused'; error: StoreError }>; fresh: boolean }>();
  let vacuumDue = false;

  /** Remembers which item of several spoiled its call. The hot path pays for no savepoint this way: nothing is undone but by the group's rollback. */
  function blame(id: number, index: number, error: unknown): void {
    if (isFatal(error) || codeOf(error) === diskFull.error.code) return;
    const of = blamed.get(id) ?? { refusals: new Map(), fresh: true };
    of.refusals.set(index, { kind: 'refused', error: toStoreError(error) });
    of.fresh = true;
    blamed.set(id, of);
  }

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
        return record !== undefined && sweeps.purge(record.seq);
      }
      case 'operation':
        return reads.operation(call.key);
      case 'recordsOf':
        return reads.recordsOf(call.seqs);
      case 'result':
        return reads.result(call.seq);
      case 'request':
        return reads.request(call.seq);
      case 'lookUp':
        return keyed.lookUp(call.key);
      case 'forget':
        return keyed.forget(call.key);
      case 'save':
        return documents.save(call.document);
      case 'remove':
        return documents.remove(call.document);
      case 'list':
        return documents.list(call.kind);
      case 'timeline':
        return reads.timeline(call.seq, call.wanted);
      case 'part':
        return parts.read(call.seq, call.side, call.part);
      case 'operations':
        return reads.operations(call.filter);
      case 'counts':
        return reads.counts(call.of);
      case 'ahead':
        return reads.ahead(call.seq, call.limit);
      case 'leaseDeliveries':
        return deliveries.lease(call.wanted);
      case 'settleDeliveries':
        return call.batch.map((settlement) => deliveries.settle(settlement));
      case 'deliveries':
        return deliveryRows.list(call.filter);
      case 'delivery':
        return deliveryRows.withAttempts(call.number, call.namespace);
      case 'redeliver':
        return deliveries.redeliver(call.number, call.namespace);
      case 'health':
        return {
          detail: `sqlite, ${folder === ':memory:' ? 'in memory' : 'file'}, schema ${String(store.db.pragma('user_version', { simple: true }))}`,
        };
      case 'topics':
        return log.topics(call.namespace);
      case 'trim':
        return log.trim(call.trim);
      case 'subscriptions':
        return subscriptions.list(call.namespace);
      case 'subscription':
        return subscriptions.get(call.key);
      case 'saveSubscription': {
        const { kind } = subscriptions.save(call.document, call.from);
        transitions.changed(call.document.topics);
        return { kind, subscription: subscriptions.begin(call.document, kind === 'made' && call.from === 'now') };
      }
      case 'removeSubscription': {
        const removed = subscriptions.remove(call.key);
        transitions.changed([]);
        return removed;
      }
      case 'publishTransitions':
        return transitions.publish(call.wanted);
      case 'pauseSubscription':
        return subscriptions.pause(call.key, call.paused);
      case 'claim':
        return subscriptions.claim(call.claim);
      case 'leaseDue':
        return subscriptions.leaseDue(call.wanted);
      case 'extendEvent':
        return subscriptions.extend(call.lease);
      case 'settleEvents':
        return call.batch.map((one) => subscriptions.settle(one));
      case 'openEvents':
        return subscriptions.open(call.filter);
      case 'redriveEvents':
        return subscriptions.redrive(call.of);
      case 'forgetDead':
        return subscriptions.forgetDead(call.of);
      case 'sweep': {
        const moreTaken = subscriptions.sweep();
        const moreKnown = log.forgetKnown();
        const outcome = sweeps.sweep(call);
        outcome.more ||= moreTaken || moreKnown;
        const nextTaken = subscriptions.next();
        if (nextTaken !== undefined) store.wake(nextTaken);
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

  return {
    voidLeases() {
      deliveries.voidAll();
      subscriptions.voidPushed();
      const count = leases.voidPushLeases();
      log.flush();
      log.committed();
      return count;
    },
    perform({ kind, id, reader }, { out, early }) {
      if (kind === callKinds.submit) {
        const count = reader.number();
        const rows = Array.from({ length: count }, () => readSubmission(reader));
        // Submissions of durability `memory` are answered when they are written and before they are synced.
        const to = rows.every((row) => row.memory === 1) ? early : out;
        to.cells.push(kind, id, count);
        const refusals = blamed.get(id)?.refusals;
        for (const [index, row] of rows.entries()) {
          let outcome;
          try {
            outcome = ballast.full ? diskFull : (refusals?.get(index) ?? submit(row));
          } catch (error) {
            if (count > 1) blame(id, index, error);
            throw error;
          }
          if (outcome.kind === 'new' && !outcome.expired) to.cells.push(outcome.seq);
          else to.cells.push(0, outcome);
        }
      } else if (kind === callKinds.settle) {
        const count = reader.number();
        out.cells.push(kind, id, count);
        const refusals = blamed.get(id)?.refusals;
        for (let i = 0; i < count; i++) {
          const row = {
            seq: reader.number(),
            leaseNo: reader.number(),
            backendStatus: reader.maybeNumber(),
            transition: readTransition(reader),
          };
          let outcome;
          try {
            outcome = refusals?.get(i) ?? settles.settle(row);
          } catch (error) {
            if (count > 1) blame(id, i, error);
            throw error;
          }
          writeSettleOutcome(out, outcome);
        }
      } else if (kind === callKinds.lease) {
        const { taker, wait } = readTaker(id, reader);
        if (leases.fill(taker) || wait) store.takers.park(taker);
        else out.cells.push(kind, id, 0);
      } else if (kind === callKinds.unpark) {
        if (store.takers.unpark(id)) out.cells.push(callKinds.lease, id, 0);
      } else if (kind === callKinds.append) {
        const rows = Array.from({ length: reader.number() }, () => readNewEvent(reader));
        const to = rows.every((row) => row.memory) ? early : out;
        to.cells.push(kind, id, rows.length);
        for (const row of rows) writeAppended(to, ballast.full ? diskFull : log.append(row));
      } else if (kind === callKinds.read) {
        const page = log.read(readReadWanted(reader));
        out.cells.push(kind, id, page.events.length);
        writePage(out, page);
      } else {
        out.cells.push(kind, id, 1, other(reader.object<OtherCall>(), reader) ?? null);
      }
    },
    beforeCommit() {
      for (const service of readied) leases.offer(service);
      readied.clear();
      store.flushCounters();
      outlets.flush();
      log.flush();
    },
    blamed(id) {
      const of = blamed.get(id);
      const again = of?.fresh === true;
      if (again) of!.fresh = false;
      else blamed.delete(id);
      return again;
    },
    committed(out) {
      blamed.clear();
      for (const taker of store.takers.committed()) writeLeases(out, taker);
      return { namespaces: log.committed(), subscriptions: subscriptions.committed(), deliveries: outlets.committed() };
    },
    rolledBack() {
      readied.clear();
      store.takers.rolledBack();
      store.forget();
      outlets.rolledBack();
      log.rolledBack();
      transitions.rolledBack();
      subscriptions.committed();
    },
    betweenGroups() {
      if (!vacuumDue) return;
      vacuumDue = false;
      sweeps.vacuum();
    },
  };
}
