// Handing out ready operations: oldest rank first, each with a new lease number, namespaces in turn.
import { stage } from '../rows.ts';
import type { Store } from './store.ts';
import type { Taker } from './takers.ts';
import type { TransitionStatements } from './transitions.ts';

type ReadyColumns = [
  seq: number,
  nonce: string,
  attempt: number,
  leaseNo: number,
  createdAt: number,
  deadlineAt: number,
  correlation: string | null,
  labels: string | null,
  head: string,
  bodyBytes: number,
  body: Buffer | null,
];

/** Rows per read while handing out: at the largest inline body this is 8 MB in memory at once. */
const rowsPerRead = 64;
const noBody = Buffer.alloc(0);

export interface LeaseStatements {
  /** Fills the taker from the ready operations; true when it got any. */
  fill(taker: Taker): boolean;
  /** Fills parked takers of a service, oldest first, one operation each in turn. */
  offer(service: string): void;
  /** At start: operations whose push lease died with the last process are ready again; returns how many. */
  voidPushLeases(): number;
}

export function leaseStatements(store: Store, transitions: TransitionStatements): LeaseStatements {
  const { db, takers } = store;
  const selectReady = db
    .prepare<[number, number, number], ReadyColumns>(
      `SELECT o.seq, o.nonce, o.attempt, o.lease_no, o.created_at, o.deadline_at, r.correlation, r.labels, r.head, r.body_bytes, r.body
       FROM operation o INDEXED BY operation_ready JOIN request r ON r.seq = o.seq
       WHERE o.queue = +? AND o.stage = 0 AND o.wake_at > +? ORDER BY o.rank LIMIT +?`,
    )
    .raw();
  const begin = db.prepare(
    `UPDATE operation SET stage = 2, version = version + 1, attempt = attempt + 1, lease_no = lease_no + 1, lease_kind = ?, lease_until = ?, wake_at = min(?, deadline_at),
       started_at = coalesce(started_at, ?), attempt_at = ?, updated_at = ?, run_at = NULL, worker = ? WHERE seq = ?`,
  );
  const selectPush = db.prepare<[], { seq: number; queue: number }>(
    'SELECT seq, queue FROM operation INDEXED BY operation_push WHERE lease_kind = 1',
  );
  const noteVoid = db.prepare(
    `INSERT INTO happening (seq, n, kind, at, attempt, started_at, worker, outcome, detail)
     SELECT seq, version + 1, 0, ?, attempt, attempt_at, worker, 'interrupted', 'the server stopped during this attempt' FROM operation WHERE seq = ?`,
  );
  const makeReady = db.prepare(
    'UPDATE operation SET stage = 0, version = version + 1, attempt = attempt - 1, lease_kind = NULL, lease_until = NULL, worker = NULL, wake_at = deadline_at, updated_at = ? WHERE seq = ?',
  );
  /** Where the next call begins among the namespaces of a service, so that none is always first. */
  const turn = new Map<string, number>();

  function take(taker: Taker, queue: number, limit: number): number {
    const now = store.nowMs;
    const leaseUntil = now + taker.leaseMs;
    let taken = 0;
    for (let full = false; !full && taken < limit;) {
      const want = Math.min(limit - taken, rowsPerRead);
      const rows = selectReady.all(queue, now, want);
      for (const row of rows) {
        full = taker.leases.length > 0 && taker.bytes + row[9] > taker.maxBytes;
        if (full) break;
        begin.run(taker.kind, leaseUntil - store.pausedMs, leaseUntil, now, now, now, taker.worker, row[0]);
        store.count(queue, stage.ready, stage.running);
        transitions.tell(row[0], queue);
        takers.give(taker, {
          seq: row[0],
          nonce: row[1],
          queue,
          attempt: row[2] + 1,
          leaseNo: row[3] + 1,
          createdAt: row[4],
          deadlineAt: row[5],
          correlationId: row[6],
          labels: row[7],
          leaseUntil,
          head: row[8],
          bodyBytes: row[9],
          body: row[9] === 0 ? noBody : row[10],
        });
        taken++;
      }
      if (rows.length < want) break;
    }
    if (taken > 0) store.wake(leaseUntil);
    return taken;
  }

  function fill(taker: Taker): boolean {
    const queues = store.queuesOf(taker.service, taker.namespace);
    if (queues.length === 0) return false;
    if (queues.length === 1) {
      take(taker, queues[0]!, taker.max - taker.leases.length);
      return taker.leases.length > 0;
    }
    // Several namespaces: rounds of a fair share each, so that a flood in one does not hold up the others.
    const first = turn.get(taker.service) ?? 0;
    turn.set(taker.service, (first + 1) % queues.length);
    for (let progressed = true; progressed && taker.leases.length < taker.max && taker.bytes < taker.maxBytes;) {
      progressed = false;
      const share = Math.max(1, Math.floor((taker.max - taker.leases.length) / queues.length));
      for (let i = 0; i < queues.length && taker.leases.length < taker.max; i++) {
        const queue = queues[(first + i) % queues.length]!;
        if (take(taker, queue, Math.min(share, taker.max - taker.leases.length)) > 0) progressed = true;
      }
    }
    return taker.leases.length > 0;
  }

  return {
    fill,
    offer(service) {
      for (const queue of store.queuesOf(service, null)) {
        const { namespace } = store.queues.get(queue)!;
        for (let taker = takers.next(service, namespace); taker; taker = takers.next(service, namespace)) {
          if (take(taker, queue, 1) === 0) break;
        }
      }
    },
    voidPushLeases() {
      const rows = selectPush.all();
      for (const { seq, queue } of rows) {
        noteVoid.run(store.nowMs, seq);
        makeReady.run(store.nowMs, seq);
        store.count(queue, stage.running, stage.ready);
        transitions.tell(seq, queue);
      }
      return rows.length;
    },
  };
}
