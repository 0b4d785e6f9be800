// Ending an operation by its client's wish.
import { stage } from '../rows.ts';
import { seesCallbacks, tellCallbacks } from './callbacks.ts';
import type { Connection, Statement } from './connections.ts';
import { notReached } from './errors.ts';
import { endShares } from './keyed.ts';
import { type Advanced, advanceLanes, lockLanes } from './lanes.ts';
import { notBefore } from './time-line.ts';
import { inTransaction } from './transaction.ts';

/** @param inLane it runs behind the lock of the operation's lane; otherwise it ends only those of none */
const cancelText = (inLane: boolean): string => `
WITH held AS MATERIALIZED (
  SELECT o.seq, o.stage, o.lease_no FROM operation o WHERE o.seq = $3::int8 AND o.stage < 3 AND ${seesCallbacks}${inLane ? '' : ' AND o.lane IS NULL'} FOR NO KEY UPDATE
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
SELECT from_stage, lease_no, callbacks FROM ended`;

const cancelOpen: Statement = { name: 'cancel', text: cancelText(false) };
const cancelInLane: Statement = { name: 'cancel-in-lane', text: cancelText(true) };
const stageOf: Statement = { name: 'stage', text: 'SELECT stage, lane FROM operation WHERE seq = $1::int8' };
/** A callback may be added while this waits for the row. */
const rounds = 5;

type Cancelled = [fromStage: number, leaseNo: number, callbacks: number | null];

/** The lease it was under, null where it waited; undefined when it had ended before. `tells`: somebody is to be told. */
export async function cancelOne(
  connection: Connection,
  { seq, nowMs }: { seq: number; nowMs: number },
): Promise<{ leaseNo: number | null; tells: boolean; next: Advanced } | undefined> {
  let lane: number | null = null;
  for (let round = 0; round < rounds; round++) {
    const { row, next } = lane === null ? await cancelFree() : await cancelIn(lane);
    if (row) return { leaseNo: row[0] === stage.running ? row[1] : null, tells: row[2] !== null, next };
    const [[at, of] = [stage.cancelled, null]] = (await connection.run(stageOf, [seq])) as [number, number | null][];
    if (at >= stage.succeeded) return undefined;
    lane = of;
  }
  throw notReached();

  async function cancelFree(statement = cancelOpen): Promise<{ row: Cancelled | undefined; next: Advanced }> {
    const rows = await connection.run(statement, [nowMs, connection.slot, seq]);
    return { row: rows[0] as Cancelled | undefined, next: { readied: new Set(), dueAt: [] } };
  }

  /** Has the one behind it start in the same commit. */
  function cancelIn(of: number): ReturnType<typeof cancelFree> {
    return inTransaction(connection, async () => {
      await lockLanes(connection, [of]);
      const cancelled = await cancelFree(cancelInLane);
      if (!cancelled.row) return cancelled;
      return { ...cancelled, next: await advanceLanes(connection, [{ lane: of, ended: seq }], nowMs) };
    });
  }
}
