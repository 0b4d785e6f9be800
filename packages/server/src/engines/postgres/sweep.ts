// Clock-driven housekeeping: what is due is promoted or reported, what has expired is removed. Any node may do it; locked rows are left to who locked them.
import type { DueOperation, DuePoll } from '../../engine/engine.ts';
import { keptAfterDeliveryMs, kindOf, stage } from '../rows.ts';
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
const ofToldGone = 'seq = ANY (ARRAY(SELECT seq FROM gone WHERE callbacks IS NOT NULL))';

/** Of a purged operation deliveries may be open: who changes those holds their outlets. What still waits there, the next lease finds out. */
const leaveOutlets = `, places AS MATERIALIZED (
  SELECT s.id FROM (
    SELECT o.id FROM (SELECT DISTINCT d.outlet FROM gone g CROSS JOIN LATERAL (SELECT outlet FROM delivery WHERE seq = g.seq AND state < 2 LIMIT 100000) d WHERE g.callbacks IS NOT NULL) f
    CROSS JOIN LATERAL (SELECT id, namespace, name FROM outlet o WHERE o.id = f.outlet LIMIT 1) o ORDER BY o.namespace, o.name
  ) s CROSS JOIN LATERAL (SELECT FROM outlet o WHERE o.id = s.id FOR NO KEY UPDATE) o
)`;
const leftOutlets = `, outlets AS (
  UPDATE outlet o SET rev = o.rev + 1, in_flight = o.in_flight - d.sending, full_at = NULL, due_at = greatest($2::int8, o.blocked_until)
  FROM (SELECT outlet, count(*) FILTER (WHERE state = 1)::int4 AS sending FROM untold WHERE state < 2 GROUP BY outlet) d WHERE o.id = d.outlet
)`;

interface Removal {
  /** Names the operations. */
  chosen?: string;
  /** Selects their numbers. */
  which: string;
  /** Deliveries of theirs may be open. */
  open?: boolean;
  /** What else it answers. */
  more?: string;
}

/** Answers how many were removed, and the last one's time. $1 is the connection's slot. */
const removeText = ({ chosen = '', which, open = false, more = '' }: Removal): string => `
WITH ${chosen}gone AS (
  DELETE FROM operation WHERE seq = ANY (ARRAY(${which})) AND stage + 0 > 2 RETURNING seq, queue, stage, wake_at, keyed, callbacks
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
), ${leaveShares('SELECT seq, keyed FROM gone WHERE keyed IS NOT NULL')}, callbacks AS (
  DELETE FROM callback WHERE ${ofToldGone}
)${open ? leaveOutlets : ''}, untold AS (
  DELETE FROM delivery WHERE ${ofToldGone}${open ? ' AND (SELECT count(*) FROM places) >= 0' : ''} RETURNING number, outlet, state
)${open ? leftOutlets : ''}, tries AS (
  DELETE FROM delivery_attempt WHERE delivery = ANY (ARRAY(SELECT number FROM untold))
)
SELECT count(*), max(wake_at)${more} FROM gone`;

/** Until when an ended operation is kept for those who are told of it: as long as a delivery is open, and for a while after the last one. */
const toldUntil = `(SELECT CASE WHEN bool_or(d.state < 2) THEN $2::int8 ELSE max(d.ended_at) END + ${keptAfterDeliveryMs} FROM delivery d WHERE d.seq = o.seq)`;

const removeExpired: Statement = {
  name: 'remove-expired',
  text: removeText({
    chosen: `expired AS MATERIALIZED (
  SELECT o.seq, o.wake_at, o.request_bytes + coalesce((SELECT octet_length(r.body) FROM result r WHERE r.seq = o.seq), 0)::int8 AS bytes,
    CASE WHEN o.callbacks IS NOT NULL THEN ${toldUntil} END AS told_until
  FROM operation o WHERE o.stage > 2 AND o.wake_at BETWEEN $3::int8 AND $2::int8 ORDER BY o.wake_at LIMIT ${expiredRows} FOR UPDATE SKIP LOCKED
), kept AS (
  UPDATE operation o SET wake_at = e.told_until FROM expired e WHERE o.seq = e.seq AND e.told_until > $2::int8
), over AS MATERIALIZED (
  SELECT seq, wake_at, bytes FROM expired WHERE told_until IS NULL OR told_until <= $2::int8
), `,
    which: `SELECT seq FROM (SELECT seq, sum(bytes) OVER (ORDER BY wake_at, seq) - bytes AS before FROM over) e WHERE before < ${expiredBytes}`,
    more: ', (SELECT count(*) FROM expired), (SELECT count(*) FROM over), (SELECT max(wake_at) FROM expired)',
  }),
};
const removeOne: Statement = {
  name: 'remove-one',
  text: removeText({ which: 'SELECT $3::int8', open: true, more: ', (SELECT array_agg(number) FROM untold)' }),
};
/** Tries that were written while the removal waited for an outlet: it did not see them. */
const removeTries: Statement = {
  name: 'remove-tries',
  text: 'DELETE FROM delivery_attempt WHERE delivery = ANY ($1::int8[])',
};

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
      const [removed, last, looked, over, seen] = row as [number, number | null, number, number, number | null];
      const more = looked === expiredRows || removed < over;
      marks.removed(nowMs, more ? (last ?? seen ?? undefined) : undefined);
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
export async function removeEnded(
  connection: Connection,
  { seq, nowMs }: { seq: number; nowMs: number },
): Promise<boolean> {
  const rows = await connection.run(removeOne, [connection.slot, nowMs, seq]);
  const [[count, , deliveries] = [0, null, null]] = rows as [number, number | null, string | null][];
  if (deliveries !== null) await connection.run(removeTries, [deliveries]);
  return count > 0;
}
