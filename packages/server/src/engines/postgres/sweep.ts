// Clock-driven housekeeping: what is due is promoted or reported, what has expired is removed. Any node may do it; locked rows are left to who locked them.
import type { DueOperation } from '../../engine/engine.ts';
import { kindOf, stage } from '../rows.ts';
import { int8Array } from './arrays.ts';
import type { Connection, Statement } from './connections.ts';
import { leaseNow } from './time-line.ts';

/** Open operations looked at in one go. */
const dueRows = 500;
/** Ended operations removed in one go: one transaction of some 20 ms, which nobody waits for. More would hold its locks longer. */
const expiredRows = 500;

const selectDue: Statement = {
  name: 'due',
  text: `
SELECT seq, queue, stage, version, attempt, lease_no, lease_kind, deadline_at, start_by_at, started_at, lease_until > ${leaseNow('$1::int8')}
FROM (
  (SELECT * FROM operation WHERE stage = 2 AND wake_at <= $1::int8 ORDER BY wake_at LIMIT ${dueRows})
  UNION ALL
  (SELECT * FROM operation WHERE stage < 2 AND wake_at <= $1::int8 ORDER BY wake_at LIMIT ${dueRows})
) o CROSS JOIN time_line`,
};

/** A lease that was kept, or that a pause has moved. */
const rearm: Statement = {
  name: 'rearm',
  text: `UPDATE operation o SET wake_at = least(lease_until - ${leaseNow('$1::int8')} + $1::int8, deadline_at)
    FROM time_line WHERE seq = ANY ($2::int8[]) AND stage = 2 AND lease_until > ${leaseNow('$1::int8')}`,
};

/** What waited may start. least() passes over a start-by that is not there or has been met. */
const promote: Statement = {
  name: 'promote',
  text: `UPDATE operation SET stage = 0, run_at = NULL, wake_at = least(deadline_at, CASE WHEN started_at IS NULL THEN start_by_at END)
    WHERE seq = ANY ($2::int8[]) AND stage = 1 AND run_at <= $1::int8 RETURNING queue`,
};

const nextTimer: Statement = {
  name: 'next-timer',
  text: `SELECT least((SELECT wake_at FROM operation WHERE stage = 2 ORDER BY wake_at LIMIT 1), (SELECT wake_at FROM operation WHERE stage < 2 ORDER BY wake_at LIMIT 1))`,
};

const removeText = (which: string): string => `
WITH gone AS (
  DELETE FROM operation WHERE seq IN (${which}) AND stage > 2 RETURNING seq, queue, stage
), keys AS (
  DELETE FROM idempotency i USING gone g, request r WHERE r.seq = g.seq AND i.queue = g.queue AND i.key = r.idempotency AND i.seq = g.seq
), requests AS (
  DELETE FROM request r USING gone g WHERE r.seq = g.seq
), results AS (
  DELETE FROM result r USING gone g WHERE r.seq = g.seq
), happenings AS (
  DELETE FROM happening h USING gone g WHERE h.seq = g.seq
), labels AS (
  DELETE FROM label l USING gone g WHERE l.seq = g.seq
), counted AS (
  INSERT INTO counter AS c (queue, slot, succeeded, failed, cancelled)
  SELECT queue, $1::int4, -count(*) FILTER (WHERE stage = 3), -count(*) FILTER (WHERE stage = 4), -count(*) FILTER (WHERE stage = 5) FROM gone GROUP BY queue
  ON CONFLICT (queue, slot) DO UPDATE SET succeeded = c.succeeded + excluded.succeeded, failed = c.failed + excluded.failed, cancelled = c.cancelled + excluded.cancelled
)
SELECT count(*) FROM gone`;

const removeExpired: Statement = {
  name: 'remove-expired',
  text: removeText(
    `SELECT seq FROM operation WHERE stage > 2 AND wake_at <= $2::int8 ORDER BY wake_at LIMIT ${expiredRows} FOR UPDATE SKIP LOCKED`,
  ),
};
const removeOne: Statement = { name: 'remove-one', text: removeText('SELECT $2::int8') };

export interface Swept {
  due: DueOperation[];
  /** Queues in which something became ready. */
  readied: Map<number, number>;
  removed: number;
  more: boolean;
  /** The next moment the clock has something to say. */
  nextAt: number | undefined;
}

type DueColumns = [
  seq: number,
  queue: number,
  stage: number,
  version: number,
  attempt: number,
  leaseNo: number,
  leaseKind: number | null,
  deadlineAt: number,
  startByAt: number | null,
  startedAt: number | null,
  leaseHolds: boolean | null,
];

/** What the clock has to say about a row: a decision for the core, or a change that needs none. Pure. */
export function verdictOn(row: DueColumns, nowMs: number): DueOperation | 'rearm' | 'promote' {
  const [seq, queue, at, version, attempt, leaseNo, leaseKind, deadlineAt, startByAt, startedAt, leaseHolds] = row;
  const due = { seq, queue, version, attempt, leaseNo, leaseKind: kindOf(leaseKind) };
  if (deadlineAt <= nowMs) return { ...due, reason: 'timed-out' };
  if (at === stage.running) return leaseHolds ? 'rearm' : { ...due, reason: 'lease-expired' };
  if (startedAt === null && startByAt !== null && startByAt <= nowMs) return { ...due, reason: 'not-started-in-time' };
  return 'promote';
}

export async function sweepOnce(
  connection: Connection,
  { nowMs, removing }: { nowMs: number; removing: boolean },
): Promise<Swept> {
  const rows = (await connection.run(selectDue, [nowMs])) as unknown as DueColumns[];
  const due: DueOperation[] = [];
  const kept: number[] = [];
  const waiting: number[] = [];
  for (const row of rows) {
    const verdict = verdictOn(row, nowMs);
    if (verdict === 'rearm') kept.push(row[0]);
    else if (verdict === 'promote') waiting.push(row[0]);
    else due.push(verdict);
  }
  if (kept.length > 0) await connection.run(rearm, [nowMs, int8Array(kept)]);
  const readied = new Map<number, number>();
  if (waiting.length > 0) {
    for (const [queue] of (await connection.run(promote, [nowMs, int8Array(waiting)])) as [number][])
      readied.set(queue, (readied.get(queue) ?? 0) + 1);
  }
  let removed = 0;
  if (removing) removed = ((await connection.run(removeExpired, [connection.slot, nowMs]))[0]?.[0] ?? 0) as number;
  const [[nextAt] = [null]] = (await connection.run(nextTimer, [])) as [number | null][];
  return {
    due,
    readied,
    removed,
    more: rows.length >= dueRows || removed === expiredRows,
    // What is due now is being decided by the caller, who sweeps again.
    nextAt: nextAt !== null && nextAt > nowMs ? nextAt : undefined,
  };
}

/** Forgets an ended operation. */
export async function removeEnded(connection: Connection, seq: number): Promise<boolean> {
  const [[count] = [0]] = (await connection.run(removeOne, [connection.slot, seq])) as [number][];
  return count > 0;
}
