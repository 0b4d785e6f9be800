// Ending an operation by its client's wish.
import { stage } from '../rows.ts';
import { seesCallbacks, tellCallbacks } from './callbacks.ts';
import type { Connection, Statement } from './connections.ts';
import { notReached } from './errors.ts';
import { endShares } from './keyed.ts';
import { notBefore } from './time-line.ts';

const cancelOpen: Statement = {
  name: 'cancel',
  text: `
WITH held AS MATERIALIZED (
  SELECT o.seq, o.stage, o.lease_no FROM operation o WHERE o.seq = $3::int8 AND o.stage < 3 AND ${seesCallbacks} FOR NO KEY UPDATE
), ended AS (
  UPDATE operation o SET stage = ${stage.cancelled}, version = version + 1, updated_at = ${notBefore('$1::int8')}, finished_at = ${notBefore('$1::int8')},
    wake_at = greatest($1::int8 + retention_ms, keep_until), lease_until = NULL, lease_kind = NULL, node = NULL, run_at = NULL,
    error_code = 'cancelled', error_message = 'cancelled by the client'
  FROM held WHERE o.seq = held.seq RETURNING o.seq, o.queue, held.stage AS from_stage, held.lease_no, o.keyed, o.version, o.callbacks
), counted AS (
  INSERT INTO counter AS c (queue, slot, queued, running, cancelled)
  SELECT queue, $2::int4, CASE WHEN from_stage < 2 THEN -1 ELSE 0 END, CASE WHEN from_stage = 2 THEN -1 ELSE 0 END, 1 FROM ended
  ON CONFLICT (queue, slot) DO UPDATE SET queued = c.queued + excluded.queued, running = c.running + excluded.running, cancelled = c.cancelled + excluded.cancelled
), ${endShares('SELECT seq, keyed, NULL::int8 AS updated_at, NULL::int8 AS fresh_ms, NULL::int8 AS stale_ms FROM ended WHERE keyed IS NOT NULL')},
${tellCallbacks('SELECT seq, queue, version FROM ended WHERE callbacks IS NOT NULL')}
SELECT from_stage, lease_no, callbacks FROM ended`,
};

const stageOf: Statement = { name: 'stage', text: 'SELECT stage FROM operation WHERE seq = $1::int8' };
/** A callback may be added while this waits for the row. */
const rounds = 5;

/** The lease it was under, null where it waited; undefined when it had ended before. `tells`: somebody is to be told. */
export async function cancelOne(
  connection: Connection,
  { seq, nowMs }: { seq: number; nowMs: number },
): Promise<{ leaseNo: number | null; tells: boolean } | undefined> {
  for (let round = 0; round < rounds; round++) {
    const rows = await connection.run(cancelOpen, [nowMs, connection.slot, seq]);
    const [row] = rows as [number, number, number | null][];
    if (row) return { leaseNo: row[0] === stage.running ? row[1] : null, tells: row[2] !== null };
    const [[at] = [stage.cancelled]] = (await connection.run(stageOf, [seq])) as [number][];
    if (at >= stage.succeeded) return undefined;
  }
  throw notReached();
}
