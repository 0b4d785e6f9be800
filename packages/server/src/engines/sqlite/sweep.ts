// Clock-driven housekeeping, bounded so that it never holds up those who wait for a commit.
import type { DueOperation, SweepOutcome } from '../../engine/engine.ts';
import { kindOf, stage } from '../rows.ts';
import type { DeliveryStatements } from './deliveries.ts';
import type { KeyedStatements } from './keyed.ts';
import type { PollStatements } from './polls.ts';
import type { Store } from './store.ts';

/** Open operations looked at in one go. */
const dueRows = 500;
/** Ended operations removed in one go: more and callers feel it in their p99 (each costs about 10 µs), fewer and a million takes hours. */
const expiredRows = 200;
const expiredMs = 3;
/** An operation of which somebody is still to be told is looked at again after this. */
const toldLaterMs = 3_600_000;
/** Free pages before the file is made smaller: below, they are used again soon anyway. */
const freePages = 8192;
const vacuumPages = 128;

interface DueRow {
  seq: number;
  queue: number;
  stage: number;
  version: number;
  attempt: number;
  lease_no: number;
  lease_kind: number | null;
  deadline_at: number;
  start_by_at: number | null;
  started_at: number | null;
  run_at: number | null;
  lease_until: number | null;
}

interface EndedRow {
  seq: number;
  queue: number;
  stage: number;
  callbacks: number | null;
}

export interface SweepStatements {
  sweep(options: { removeExpired: boolean; pausedMs?: number }): SweepOutcome;
  /** Removes an operation with all that belongs to it; false when there is none that has ended. */
  purge(seq: number): boolean;
  /** Gives free pages back to the disk when there are very many; outside a transaction. */
  vacuum(): void;
}

export function sweepStatements(
  store: Store,
  {
    keyed,
    polls,
    deliveries,
    madeReady,
  }: {
    keyed: KeyedStatements;
    polls: PollStatements;
    deliveries: DeliveryStatements;
    madeReady: (service: string) => void;
  },
): SweepStatements {
  const { db } = store;
  const selectDue = db.prepare<[number, number], DueRow>(
    `SELECT seq, queue, stage, version, attempt, lease_no, lease_kind, deadline_at, start_by_at, started_at, run_at, lease_until
     FROM operation INDEXED BY operation_timer WHERE stage < 3 AND wake_at <= +? ORDER BY wake_at LIMIT +?`,
  );
  const promote = db.prepare('UPDATE operation SET stage = 0, run_at = NULL, wake_at = ? WHERE seq = ?');
  const setWake = db.prepare('UPDATE operation SET wake_at = ? WHERE seq = ?');
  let promoted = 0;
  const selectExpired = db.prepare<[number, number], EndedRow>(
    'SELECT seq, queue, stage, callbacks FROM operation INDEXED BY operation_retention WHERE stage >= 3 AND wake_at <= +? ORDER BY wake_at LIMIT +?',
  );
  const selectEnded = db.prepare<[number], EndedRow>(
    'SELECT seq, queue, stage, callbacks FROM operation WHERE seq = ? AND stage >= 3',
  );
  const nextTimer = db
    .prepare<[], number | null>('SELECT min(wake_at) FROM operation INDEXED BY operation_timer WHERE stage < 3')
    .pluck();
  const removals = ['operation', 'request', 'result', 'body_part', 'happening', 'idempotency', 'label'].map((table) =>
    db.prepare(`DELETE FROM ${table} WHERE seq = ?`),
  );

  function remove({ seq, queue, stage: at, callbacks }: EndedRow): void {
    keyed.removing(seq);
    if (callbacks !== null) deliveries.removing(seq);
    for (const statement of removals) statement.run(seq);
    store.count(queue, at, null);
  }

  function rearm(seq: number, wakeAt: number): void {
    setWake.run(wakeAt, seq);
    store.wake(wakeAt);
  }

  function due(row: DueRow, now: number): DueOperation | undefined {
    const found = {
      seq: row.seq,
      queue: row.queue,
      version: row.version,
      attempt: row.attempt,
      leaseKind: kindOf(row.lease_kind),
      leaseNo: row.lease_no,
    };
    if (row.deadline_at <= now) return { ...found, reason: 'timed-out' };
    if (row.stage === stage.running) {
      if (row.lease_until! <= store.leaseNow) return { ...found, reason: 'lease-expired' };
      // A pause has moved its end.
      rearm(row.seq, Math.min(row.lease_until! + store.pausedMs, row.deadline_at));
      return undefined;
    }
    const startBy = row.started_at === null ? row.start_by_at : null;
    if (startBy !== null && startBy <= now) return { ...found, reason: 'not-started-in-time' };
    const wakeAt = Math.min(row.deadline_at, startBy ?? Number.POSITIVE_INFINITY);
    promote.run(wakeAt, row.seq);
    store.wake(wakeAt);
    promoted++;
    madeReady(store.queues.get(row.queue)!.service);
    return undefined;
  }

  return {
    purge(seq) {
      const row = selectEnded.get(seq);
      if (row) remove(row);
      return row !== undefined;
    },
    sweep({ removeExpired, pausedMs = 0 }) {
      const now = store.nowMs;
      store.pausedMs += pausedMs;
      promoted = 0;
      const rows = selectDue.all(now, dueRows);
      const found = rows.map((row) => due(row, now)).filter((d) => d !== undefined);
      const looks = polls.due();
      deliveries.sweep();
      let removed = 0;
      let looked = 0;
      let more = rows.length === dueRows;
      if (removeExpired) {
        const started = performance.now();
        const expired = selectExpired.all(now, expiredRows);
        for (const row of expired) {
          looked++;
          if (row.callbacks !== null && deliveries.isOpen(row.seq)) setWake.run(now + toldLaterMs, row.seq);
          else {
            remove(row);
            removed++;
          }
          if (performance.now() - started > expiredMs) break;
        }
        more ||= looked > 0 && (looked < expired.length || expired.length === expiredRows);
      }
      // What is still due is being decided by the caller, who sweeps again; the timer is for what comes next.
      const next = nextTimer.get() ?? null;
      store.timerAt = next === null || next <= now ? Number.POSITIVE_INFINITY : next;
      const nextPoll = polls.next();
      if (nextPoll !== undefined) store.wake(nextPoll);
      const nextDelivery = deliveries.next();
      if (nextDelivery !== undefined) store.wake(nextDelivery);
      return { due: found, polls: looks, promoted, removed, more };
    },
    vacuum() {
      const free = db.pragma('freelist_count', { simple: true }) as number;
      if (free > freePages) db.pragma(`incremental_vacuum(${vacuumPages})`);
    },
  };
}
