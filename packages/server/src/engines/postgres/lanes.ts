// Operations of one ordering key, one after another: only the first of a lane is ready, and its end makes the next one so in the same commit.
//
// Whatever adds to a lane or ends something of it is a transaction that first takes the lane's lock, on whichever node: a statement of its own, since the
// next one must see what others had committed before the lock was free. Lanes before everything else, and in the order of their numbers.
import { stage } from '../rows.ts';
import { int8Array } from './arrays.ts';
import type { Connection, Statement } from './connections.ts';

const lock: Statement = {
  name: 'lanes-lock',
  text: 'SELECT pg_advisory_xact_lock(l.lane) FROM unnest($1::int8[]) AS l (lane)',
};

/** Held is who waits without a time. least() passes over what is null. Those that have ended leave; the first of those that are left may start. */
const advance: Statement = {
  name: 'lanes-advance',
  text: `
WITH left_lanes AS (
  DELETE FROM ordered WHERE (lane, seq) IN (SELECT * FROM unnest($2::int8[], $3::int8[]) AS e (lane, seq) WHERE e.seq IS NOT NULL)
), heads AS MATERIALIZED (
  SELECT h.seq, CASE WHEN h.run_at > $1::int8 THEN h.run_at END AS run_at FROM (SELECT DISTINCT lane FROM unnest($2::int8[]) AS u (lane)) l CROSS JOIN LATERAL (
    SELECT seq, run_at FROM ordered r WHERE r.lane = l.lane AND r.seq <> ALL (array_remove($3::int8[], NULL)) ORDER BY r.seq LIMIT 1
  ) h
)
UPDATE operation o SET stage = CASE WHEN h.run_at IS NULL THEN ${stage.ready} ELSE ${stage.waiting} END, run_at = h.run_at,
  wake_at = least(o.deadline_at, o.start_by_at, h.run_at)
FROM heads h WHERE o.seq = h.seq AND o.stage + 0 = ${stage.waiting} AND o.run_at IS NULL
RETURNING o.queue, o.stage, o.wake_at`,
};

/** Waits until nobody else adds to these lanes or ends anything of them. Within a transaction, before its first other statement. */
export async function lockLanes(connection: Connection, lanes: Iterable<number>): Promise<void> {
  const inOrder = [...new Set(lanes)].sort((a, b) => a - b);
  await connection.run(lock, [int8Array(inOrder)]);
}

export interface Advanced {
  /** Queues in which something became ready. */
  readied: Set<number>;
  /** When the clock has something to say of what may start now or later. */
  dueAt: number[];
}

/** Has the first of each lane start, where it may; within the transaction that holds the locks. `ended`: what of a lane has ended in it, or null. */
export async function advanceLanes(
  connection: Connection,
  of: readonly { lane: number; ended: number | null }[],
  nowMs: number,
): Promise<Advanced> {
  const rows = (await connection.run(advance, [
    nowMs,
    int8Array(of.map(({ lane }) => lane)),
    int8Array(of.map(({ ended }) => ended)),
  ])) as [number, number, number][];
  return {
    readied: new Set(rows.filter(([, at]) => at === stage.ready).map(([queue]) => queue)),
    dueAt: rows.map(([, , wakeAt]) => wakeAt),
  };
}
