// Ending an operation by its client's wish.
import { stage } from '../rows.ts';
import type { Connection, Statement } from './connections.ts';
import { endShares } from './keyed.ts';
import { notBefore } from './time-line.ts';

const cancelOpen: Statement = {
  name: 'cancel',
  text: `
WITH held AS MATERIALIZED (
  SELECT o.seq, o.stage, o.lease_no FROM operation o WHERE o.seq = $3::int8 AND o.stage < 3 FOR NO KEY UPDATE
), ended AS (
  UPDATE operation o SET stage = ${stage.cancelled}, version = version + 1, updated_at = ${notBefore('$1::int8')}, finished_at = ${notBefore('$1::int8')},
    wake_at = greatest($1::int8 + retention_ms, keep_until), lease_until = NULL, lease_kind = NULL, node = NULL, run_at = NULL,
    error_code = 'cancelled', error_message = 'cancelled by the client'
  FROM held WHERE o.seq = held.seq RETURNING o.seq, o.queue, held.stage AS from_stage, held.lease_no, o.keyed
), counted AS (
  INSERT INTO counter AS c (queue, slot, queued, running, cancelled)
  SELECT queue, $2::int4, CASE WHEN from_stage < 2 THEN -1 ELSE 0 END, CASE WHEN from_stage = 2 THEN -1 ELSE 0 END, 1 FROM ended
  ON CONFLICT (queue, slot) DO UPDATE SET queued = c.queued + excluded.queued, running = c.running + excluded.running, cancelled = c.cancelled + excluded.cancelled
), ${endShares('SELECT seq, keyed, NULL::int8 AS updated_at, NULL::int8 AS fresh_ms, NULL::int8 AS stale_ms FROM ended WHERE keyed IS NOT NULL')}
SELECT from_stage, lease_no FROM ended`,
};

/** The lease it was under, null where it waited; undefined when it had ended before. */
export async function cancelOne(
  connection: Connection,
  { seq, nowMs }: { seq: number; nowMs: number },
): Promise<{ leaseNo: number | null } | undefined> {
  const [row] = (await connection.run(cancelOpen, [nowMs, connection.slot, seq])) as [number, number][];
  return row && { leaseNo: row[0] === stage.running ? row[1] : null };
}
