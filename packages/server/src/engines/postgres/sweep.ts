// Clock-driven housekeeping: what is due is promoted or reported, what has expired is removed. Any node may do it; locked rows are left to who locked them.
import type { DueOperation, DuePoll } from '../../engine/engine.ts';
import { kindOf, stage } from '../rows.ts';
import { int8Array } from './arrays.ts';
import type { Connection, Statement } from './connections.ts';
import { leaveShares } from './keyed.ts';
import type { Marks } from './marks.ts';
import { duePolls, nextPoll } from './polls.ts';
import { leaseNow } from './time-line.ts';

/** Open operations looked at in one go. */
const dueRows = 500;
/** Ended operations removed in one go: one transaction of some 20 ms, which nobody waits for. More would hold its locks longer. */
const expiredRows = 500;
/** And their bodies, at least one operation all the same: large ones take seconds by the gigabyte, and the statement has a limit of its own. */
const expiredBytes = 128 * 1024 * 1024;

/** Running ones as their two indexes have them. */
const carried = 'stage = 2 AND lease_kind = 1';
const held = 'stage = 2 AND lease_kind > 1';

const selectDue: Statement = {
  name: 'due',
  text: `
SELECT seq, queue, stage, version, attempt, lease_no, lease_kind, deadline_at, start_by_at, started_at, lease_until > ${leaseNow('$1::int8')}, wake_at
FROM (
  (SELECT * FROM operation WHERE ${carried} AND wake_at BETWEEN $2::int8 AND $1::int8 ORDER BY wake_at LIMIT ${dueRows})
  UNION ALL
  (SELECT * FROM operation WHERE ${held} AND wake_at BETWEEN $2::int8 AND $1::int8 ORDER BY wake_at LIMIT ${dueRows})
  UNION ALL
  (SELECT * FROM operation WHERE stage < 2 AND wake_at BETWEEN $2::int8 AND $1::int8 ORDER BY wake_at LIMIT ${dueRows})
) o CROSS JOIN time_line`,
};

/** A lease that was kept, or that a pause has moved. */
const rearm: Statement = {
  name: 'rearm',
  text: `UPDATE operation o SET wake_at = least(lease_until - ${leaseNow('$1::int8')} + $1::int8, deadline_at)
    FROM time_line WHERE seq = ANY ($2::int8[]) AND stage + 0 = 2 AND lease_until > ${leaseNow('$1::int8')}`,
};

/** What waited may start. least() passes over a start-by that is not there or has been met. */
const promote: Statement = {
  name: 'promote',
  text: `UPDATE operation SET stage = 0, run_at = NULL, wake_at = least(deadline_at, CASE WHEN started_at IS NULL THEN start_by_at END)
    WHERE seq = ANY ($2::int8[]) AND stage + 0 = 1 AND run_at <= $1::int8 RETURNING queue`,
};

/** Later than this another sweep has looked anyway. */
const soonMs = 2000;
const soon = `wake_at > $1::int8 AND wake_at <= $1::int8 + ${soonMs} ORDER BY wake_at LIMIT 1`;

const nextTimer: Statement = {
  name: 'next-timer',
  text: `SELECT least((SELECT wake_at FROM operation WHERE ${carried} AND ${soon}), (SELECT wake_at FROM operation WHERE ${held} AND ${soon}),
    (SELECT wake_at FROM operation WHERE stage < 2 AND ${soon}), (${nextPoll(soonMs)}))`,
};

/** As an array, not a join: of a table that was empty when its statistics were made the planner would walk the whole index. */
const ofGone = 'seq = ANY (ARRAY(SELECT seq FROM gone))';

/** `chosen` names the operations and `which` selects their numbers; answers how many were removed, how many looked at, and the last one's time. */
const removeText = ({ chosen = '', which, looked }: { chosen?: string; which: string; looked: string }): string => `
WITH ${chosen}gone AS (
  DELETE FROM operation WHERE seq = ANY (ARRAY(${which})) AND stage + 0 > 2 RETURNING seq, queue, stage, wake_at, keyed
), keys AS (
  DELETE FROM idempotency WHERE ctid = ANY (ARRAY(
    SELECT k.ctid FROM gone g CROSS JOIN LATERAL (SELECT idempotency FROM request WHERE seq = g.seq LIMIT 1) r
    CROSS JOIN LATERAL (SELECT i.ctid FROM idempotency i WHERE i.queue = g.queue AND i.key = r.idempotency AND i.seq = g.seq LIMIT 1) k))
), told AS (
  DELETE FROM idempotency WHERE told > 0 AND ${ofGone}
), requests AS (
  DELETE FROM request WHERE ${ofGone}
), results AS (
  DELETE FROM result WHERE ${ofGone}
), happenings AS (
  DELETE FROM happening WHERE ${ofGone}
), labels AS (
  DELETE FROM label WHERE ${ofGone}
), counted AS (
  INSERT INTO counter AS c (queue, slot, succeeded, failed, cancelled)
  SELECT queue, $1::int4, -count(*) FILTER (WHERE stage = 3), -count(*) FILTER (WHERE stage = 4), -count(*) FILTER (WHERE stage = 5) FROM gone GROUP BY queue
  ON CONFLICT (queue, slot) DO UPDATE SET succeeded = c.succeeded + excluded.succeeded, failed = c.failed + excluded.failed, cancelled = c.cancelled + excluded.cancelled
), ${leaveShares('SELECT seq, keyed FROM gone WHERE keyed IS NOT NULL')}
SELECT count(*), ${looked}, max(wake_at) FROM gone`;

const removeExpired: Statement = {
  name: 'remove-expired',
  text: removeText({
    chosen: `expired AS MATERIALIZED (
  SELECT o.seq, o.wake_at, o.request_bytes + coalesce((SELECT octet_length(r.body) FROM result r WHERE r.seq = o.seq), 0)::int8 AS bytes
  FROM operation o WHERE o.stage > 2 AND o.wake_at BETWEEN $3::int8 AND $2::int8 ORDER BY o.wake_at LIMIT ${expiredRows} FOR UPDATE SKIP LOCKED
), `,
    which: `SELECT seq FROM (SELECT seq, sum(bytes) OVER (ORDER BY wake_at, seq) - bytes AS before FROM expired) e WHERE before < ${expiredBytes}`,
    looked: '(SELECT count(*) FROM expired)',
  }),
};
const removeOne: Statement = { name: 'remove-one', text: removeText({ which: 'SELECT $2::int8', looked: '1' }) };

export interface Swept {
  due: DueOperation[];
  polls: DuePoll[];
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
  wakeAt: number,
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
  { nowMs, removing, marks }: { nowMs: number; removing: boolean; marks: Marks },
): Promise<Swept> {
  const rows = (await connection.run(selectDue, [nowMs, marks.due])) as unknown as DueColumns[];
  marks.sawDue(nowMs, Math.min(...rows.map((row) => row[11])));
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
  const swept: Swept = { due, polls: [], readied, removed: 0, more: rows.length >= dueRows, nextAt: undefined };
  try {
    const { polls, more } = await duePolls(connection, { nowMs, marks });
    swept.polls = polls;
    swept.more ||= more;
    if (removing) {
      const [row] = await connection.run(removeExpired, [connection.slot, nowMs, marks.expired]);
      const [removed, looked, last] = row as [number, number, number | null];
      const more = looked === expiredRows || removed < looked;
      marks.removed(nowMs, more && last !== null ? last : undefined);
      swept.removed = removed;
      swept.more ||= more;
    }
    const [[nextAt] = [null]] = (await connection.run(nextTimer, [nowMs])) as [number | null][];
    swept.nextAt = nextAt ?? undefined;
  } catch (error) {
    // Leases, deadlines and looks at backends do not wait for what can be removed.
    if (due.length + swept.polls.length === 0 && readied.size === 0) throw error;
  }
  return swept;
}

/** Forgets an ended operation. */
export async function removeEnded(connection: Connection, seq: number): Promise<boolean> {
  const [[count] = [0]] = (await connection.run(removeOne, [connection.slot, seq])) as [number][];
  return count > 0;
}
