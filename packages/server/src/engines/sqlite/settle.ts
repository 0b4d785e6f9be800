// Recording what became of a lease: the first settlement of the current lease wins, everything else learns why it lost.
import type { ExtendOutcome, Poll, ProgressReport, SettleOutcome } from '../../engine/engine.ts';
import type { BodyParts } from './body-parts.ts';
import type { CallbackStatements } from './callbacks.ts';
import { leaseKinds, stage, statusOfStage } from '../rows.ts';
import type { KeyedStatements } from './keyed.ts';
import type { LaneStatements } from './lanes.ts';
import type { PollStatements } from './polls.ts';
import { inlineBytes, type Store } from './store.ts';
import type { TransitionStatements } from './transitions.ts';
import type { ResultRow, TransitionRow } from './wire.ts';

export interface SettlementRow {
  seq: number;
  leaseNo: number;
  backendStatus: number | null;
  transition: TransitionRow;
}

export interface ExtensionRow {
  seq: number;
  leaseNo: number;
  leaseMs: number | null;
  progress: ProgressReport | null;
  poll?: Poll;
}

export interface SettleStatements {
  settle(s: SettlementRow): Exclude<SettleOutcome, { kind: 'refused' }>;
  extend(e: ExtensionRow): ExtendOutcome;
  /** A decision of the clock, which holds no lease: guarded by the version instead. */
  applyClock(c: { seq: number; version: number; transition: TransitionRow }): boolean;
}

interface Standing {
  queue: number;
  stage: number;
  version: number;
  lease_no: number;
  lease_until: number | null;
  error_code: string | null;
  error_message: string | null;
}

const holds = 'seq = ? AND lease_no = ? AND stage = 2 AND lease_until > ?';
/** The end of the lease that its holder was told, where he was told one. */
const keptUntil = 'iif(extended_no = lease_no, lease_until, 0)';

export function settleStatements(
  store: Store,
  {
    parts,
    keyed,
    lanes,
    polls,
    callbacks,
    transitions,
    madeReady,
  }: {
    parts: BodyParts;
    keyed: KeyedStatements;
    lanes: LaneStatements;
    polls: PollStatements;
    callbacks: CallbackStatements;
    transitions: TransitionStatements;
    madeReady: (service: string) => void;
  },
): SettleStatements {
  const { db } = store;
  const finish = db
    .prepare<
      unknown[],
      [
        queue: number,
        version: number,
        wakeAt: number,
        createdAt: number,
        keyed: number | null,
        attemptAt: number | null,
        callbacks: number | null,
        lane: number | null,
      ]
    >(
      `UPDATE operation SET stage = ?, version = version + 1, updated_at = ?, finished_at = ?, wake_at = max(? + retention_ms, coalesce(keep_until, 0)), lease_until = NULL, lease_kind = NULL,
         run_at = NULL, error_code = ?, error_message = ? WHERE ${holds} RETURNING queue, version, wake_at, created_at, keyed, attempt_at, callbacks, lane`,
    )
    .raw();
  const requeue = db
    .prepare<unknown[], [queue: number, version: number, wakeAt: number, createdAt: number]>(
      `UPDATE operation SET stage = ?, version = version + 1, attempt = attempt - ?, updated_at = ?, wake_at = min(?, deadline_at), run_at = ?, rank = ?, lease_until = NULL, lease_kind = NULL
       WHERE ${holds} RETURNING queue, version, wake_at, created_at`,
    )
    .raw();
  const answerLater = db
    .prepare<unknown[], [queue: number, version: number, wakeAt: number, createdAt: number]>(
      `UPDATE operation SET lease_kind = ${leaseKinds.later}, version = version + 1, updated_at = ?, lease_until = max(?, ${keptUntil}), wake_at = min(max(?, ${keptUntil} + ?), deadline_at)
       WHERE ${holds} RETURNING queue, version, wake_at, created_at`,
    )
    .raw();
  const noteAttempt = db.prepare(
    `INSERT INTO happening (seq, n, kind, at, attempt, started_at, worker, outcome, backend_status, detail, next_at)
     SELECT seq, version, 0, ?, attempt + ?, attempt_at, worker, ?, ?, ?, ? FROM operation WHERE seq = ?`,
  );
  const putResult = db.prepare(
    'INSERT OR REPLACE INTO result (seq, status, headers, lease_no, body_bytes, hash, body) VALUES (?, ?, ?, ?, ?, ?, ?)',
  );
  const standing = db.prepare<[number], Standing>(
    'SELECT queue, stage, version, lease_no, lease_until, error_code, error_message FROM operation WHERE seq = ?',
  );
  const recorded = db.prepare<[number], { lease_no: number; status: number; headers: string; hash: string }>(
    'SELECT lease_no, status, headers, hash FROM result WHERE seq = ?',
  );
  const extendLease = db
    .prepare<unknown[], number>(
      `UPDATE operation SET lease_until = max(lease_until, ?), wake_at = min(max(lease_until + ?, ?), deadline_at), extended_no = iif(?, lease_no, extended_no) WHERE ${holds} RETURNING lease_until`,
    )
    .pluck();
  const report = db
    .prepare<unknown[], [version: number, progressSeq: number, attempt: number, callbacks: number | null]>(
      'UPDATE operation SET version = version + 1, updated_at = ?, progress_seq = coalesce(progress_seq, 0) + 1, progress = ? WHERE seq = ? RETURNING version, progress_seq, attempt, callbacks',
    )
    .raw();
  const finishWaiting = db
    .prepare<unknown[], [version: number, callbacks: number | null, lane: number | null]>(
      `UPDATE operation SET stage = ${stage.failed}, version = version + 1, updated_at = ?, finished_at = ?, wake_at = max(? + retention_ms, coalesce(keep_until, 0)), run_at = NULL,
         error_code = ?, error_message = ? WHERE seq = ? AND stage < 2 RETURNING version, callbacks, lane`,
    )
    .raw();
  const noteProgress = db.prepare(
    'INSERT INTO happening (seq, n, kind, at, attempt, progress) VALUES (?, ?, 1, ?, ?, ?)',
  );

  function writeResult(seq: number, leaseNo: number, result: ResultRow): void {
    const inline = result.body.length <= inlineBytes;
    putResult.run(
      seq,
      result.status,
      result.headers,
      leaseNo,
      result.body.length,
      result.hash,
      inline ? result.body : null,
    );
    if (!inline) parts.write(seq, 'result', result.body);
  }

  /** Moves a held operation; undefined when the lease does not hold. */
  function move(s: SettlementRow, from: number, clock: boolean): (SettleOutcome & { kind: 'recorded' }) | undefined {
    const t = s.transition;
    const now = store.nowMs;
    // The clock's own decisions are guarded by the version before this call; the lease may have run out, that is the point.
    const heldAt = clock ? Number.MIN_SAFE_INTEGER : store.leaseNow;
    if (t.to === 'later') {
      const { pausedMs } = store;
      const row = answerLater.get(now, t.leaseUntil - pausedMs, t.leaseUntil, pausedMs, s.seq, s.leaseNo, heldAt);
      if (!row) return undefined;
      store.wake(row[2]);
      if (t.poll) polls.set(s.seq, s.leaseNo, t.poll);
      return {
        kind: 'recorded',
        version: row[1],
        createdAt: row[3],
        attemptAt: null,
        finishedAt: null,
        expiresAt: null,
      };
    }
    if (t.to === 'queued') {
      const to = t.runAt <= now ? stage.ready : stage.waiting;
      const due = to === stage.ready ? Number.MAX_SAFE_INTEGER : t.runAt;
      const row = requeue.get(
        to,
        t.attemptUsed ? 0 : 1,
        now,
        due,
        to === stage.ready ? null : t.runAt,
        t.rank,
        s.seq,
        s.leaseNo,
        heldAt,
      );
      if (!row) return undefined;
      noteAttempt.run(
        now,
        t.attemptUsed ? 0 : 1,
        t.errorCode,
        s.backendStatus,
        t.errorMessage,
        to === stage.ready ? null : t.runAt,
        s.seq,
      );
      if (t.result) writeResult(s.seq, s.leaseNo, t.result);
      store.count(row[0], from, to);
      store.wake(row[2]);
      if (to === stage.ready) madeReady(store.queues.get(row[0])!.service);
      transitions.tell(s.seq, row[0]);
      return {
        kind: 'recorded',
        version: row[1],
        createdAt: row[3],
        attemptAt: null,
        finishedAt: null,
        expiresAt: null,
      };
    }
    const to = t.to === 'succeeded' ? stage.succeeded : stage.failed;
    const row = finish.get(to, now, now, now, t.errorCode, t.errorMessage, s.seq, s.leaseNo, heldAt);
    if (!row) return undefined;
    if (t.result) writeResult(s.seq, s.leaseNo, t.result);
    store.count(row[0], from, to);
    let expiresAt = row[2];
    if (row[4] !== null) {
      const until = keyed.ended(s.seq, t.keep);
      if (until > expiresAt) keyed.keepUntil(s.seq, (expiresAt = until));
    }
    callbacks.ended({ seq: s.seq, queue: row[0], version: row[1], callbacks: row[6] });
    lanes.ended(s.seq, row[7]);
    transitions.tell(s.seq, row[0]);
    return { kind: 'recorded', version: row[1], createdAt: row[3], attemptAt: row[5], finishedAt: now, expiresAt };
  }

  function whyNot(s: SettlementRow): Exclude<SettleOutcome, { kind: 'refused' }> {
    const at = standing.get(s.seq);
    if (!at) return { kind: 'unknown' };
    if (at.stage === stage.cancelled) return { kind: 'ended', status: 'cancelled' };
    if (at.stage < stage.succeeded || at.lease_no !== s.leaseNo) return { kind: 'lost' };
    const { result, errorCode, errorMessage } = s.transition;
    const first = recorded.get(s.seq);
    if (first && first.lease_no === s.leaseNo) {
      const same =
        result && result.status === first.status && result.hash === first.hash && result.headers === first.headers;
      return { kind: same ? 'repeated' : 'conflict' };
    }
    if (at.error_code === 'timed-out') return { kind: 'ended', status: statusOfStage[at.stage]! };
    const same =
      !result && s.transition.to === 'failed' && errorCode === at.error_code && errorMessage === at.error_message;
    return { kind: same ? 'repeated' : 'conflict' };
  }

  return {
    settle: (s) => move(s, stage.running, false) ?? whyNot(s),
    applyClock(c) {
      const at = standing.get(c.seq);
      if (!at || at.version !== c.version || at.stage >= stage.succeeded) return false;
      const row: SettlementRow = { seq: c.seq, leaseNo: at.lease_no, backendStatus: null, transition: c.transition };
      if (at.stage === stage.running) return move(row, stage.running, true) !== undefined;
      // Only an end can come to an operation that waits.
      const ended = finishWaiting.get(
        store.nowMs,
        store.nowMs,
        store.nowMs,
        c.transition.errorCode,
        c.transition.errorMessage,
        c.seq,
      );
      if (ended === undefined) return false;
      store.count(at.queue, at.stage, stage.failed);
      keyed.ended(c.seq);
      callbacks.ended({ seq: c.seq, queue: at.queue, version: ended[0], callbacks: ended[1] });
      lanes.ended(c.seq, ended[2]);
      transitions.tell(c.seq, at.queue);
      return true;
    },
    extend(e) {
      const now = store.nowMs;
      const until = now + (e.leaseMs ?? 0);
      const { pausedMs, leaseNow } = store;
      const end = extendLease.get(until - pausedMs, pausedMs, until, e.leaseMs ? 1 : 0, e.seq, e.leaseNo, leaseNow);
      const at = standing.get(e.seq);
      if (end === undefined || !at) {
        if (!at) return { kind: 'unknown' };
        return at.stage >= stage.succeeded ? { kind: 'ended', status: statusOfStage[at.stage]! } : { kind: 'lost' };
      }
      const leaseUntil = end + pausedMs;
      if (e.poll) polls.set(e.seq, e.leaseNo, e.poll);
      if (e.progress === null) return { kind: 'extended', leaseUntil, version: at.version, progressSequence: 0 };
      const text = JSON.stringify(e.progress);
      const [version, sequence, attempt, wanted] = report.get(now, text, e.seq)!;
      noteProgress.run(e.seq, version, now, attempt, JSON.stringify({ sequence, ...e.progress }));
      callbacks.progressed({ seq: e.seq, queue: at.queue, version, callbacks: wanted });
      return { kind: 'extended', leaseUntil, version, progressSequence: sequence };
    },
  };
}
