// Handing out ready operations: oldest rank first, each with a new lease number, namespaces in fair turns, never two nodes the same one.
import type { LeasedOperation, LeaseWanted } from '../../engine/engine.ts';
import { leaseKinds } from '../rows.ts';
import { int4Array } from './arrays.ts';
import type { Connection, Row, Statement } from './connections.ts';
import { inlineBytes } from './read.ts';
import { leaseNow, notBefore } from './time-line.ts';
import type { Filled } from './takers.ts';

/**
 * Rows that another node is leasing at this moment are skipped, not waited for. Of what was picked only as much is taken as fits the bytes
 * wanted; the first always fits when nothing was taken before ($8).
 */
const leaseReady: Statement = {
  name: 'lease',
  text: `
WITH picked AS MATERIALIZED (
  SELECT p.seq, p.rank, p.request_bytes, q.ord
  FROM unnest($1::int4[]) WITH ORDINALITY AS q (queue, ord) CROSS JOIN LATERAL (
    SELECT seq, rank, request_bytes FROM operation o WHERE o.queue = q.queue AND o.stage = 0 AND o.wake_at > $2::int8
    ORDER BY o.rank, o.seq LIMIT $3::int4 FOR NO KEY UPDATE SKIP LOCKED
  ) p LIMIT $4::int4
), fit AS (
  SELECT seq, place FROM (
    SELECT seq, row_number() OVER w AS place, sum(request_bytes) OVER w AS bytes FROM picked WINDOW w AS (ORDER BY ord, rank, seq)
  ) x WHERE bytes <= $7::int8 OR (place = 1 AND $8::bool)
), taken AS (
  UPDATE operation o SET stage = 2, version = version + 1, attempt = attempt + 1, lease_no = lease_no + 1, lease_kind = $5::int2,
    node = $9::int4,
    lease_until = ${leaseNow('$2::int8')} + $6::int8, wake_at = least(greatest($2::int8, time_line.last_ms) + $6::int8, deadline_at),
    started_at = coalesce(started_at, ${notBefore('$2::int8')}), attempt_at = $2::int8, updated_at = ${notBefore('$2::int8')}, run_at = NULL, worker = $10::text
  FROM fit, time_line WHERE o.seq = fit.seq
  RETURNING o.seq, o.queue, o.lease_no, o.attempt, o.created_at, o.deadline_at, o.request_bytes, fit.place
), counted AS (
  INSERT INTO counter AS c (queue, slot, queued, running) SELECT queue, $11::int4, -count(*), count(*) FROM taken GROUP BY queue
  ON CONFLICT (queue, slot) DO UPDATE SET queued = c.queued + excluded.queued, running = c.running + excluded.running
)
SELECT t.seq, r.nonce, t.queue, t.lease_no, t.attempt, r.correlation, r.labels, t.created_at, t.deadline_at, r.head, t.request_bytes,
  CASE WHEN t.request_bytes <= ${inlineBytes} THEN r.body END, (SELECT count(*) FROM picked)
FROM taken t JOIN request r ON r.seq = t.seq ORDER BY t.place`,
};

function toLeased(row: Row, leaseUntil: number): LeasedOperation {
  const [seq, nonce, queue, leaseNo, attempt, correlationId, labels, createdAt, deadlineAt, head, bodyBytes, body] =
    row;
  return {
    seq: seq as number,
    nonce: nonce as string,
    queue: queue as number,
    leaseNo: leaseNo as number,
    attempt: attempt as number,
    correlationId: correlationId as string | null,
    labels: labels === null ? null : (JSON.parse(labels as string) as Record<string, string>),
    createdAt: createdAt as number,
    deadlineAt: deadlineAt as number,
    leaseUntil,
    head: head as string,
    bodyBytes: bodyBytes as number,
    body: body as Buffer | null,
  };
}

/** Leases up to what is wanted from these queues, in rounds of a fair share each, so that a flood in one does not hold up the others. */
export async function leaseFrom(
  queues: readonly number[],
  wanted: LeaseWanted,
  { connection, nodeId, nowMs }: { connection: Connection; nodeId: number; nowMs: number },
): Promise<Filled> {
  const leases: LeasedOperation[] = [];
  let bytes = 0;
  const round = (limit: number): Promise<Row[]> =>
    connection.run(leaseReady, [
      int4Array(queues),
      nowMs,
      Math.max(1, Math.floor(limit / queues.length)),
      limit,
      leaseKinds[wanted.kind],
      wanted.leaseMs,
      wanted.maxBytes - bytes,
      leases.length === 0,
      nodeId,
      wanted.worker,
      connection.slot,
    ]);
  for (;;) {
    const limit = wanted.max - leases.length;
    if (limit <= 0 || bytes >= wanted.maxBytes || queues.length === 0) return { leases, more: true };
    let rows: Row[];
    try {
      rows = await round(limit);
    } catch (error) {
      // What earlier rounds leased is stored as leased, and must reach its taker.
      if (leases.length > 0) return { leases, more: true, lost: error };
      throw error;
    }
    for (const row of rows) {
      const leased = toLeased(row, nowMs + wanted.leaseMs);
      leases.push(leased);
      bytes += leased.bodyBytes;
    }
    // After an earlier round there may be more that only did not fit the bytes that were left.
    if (rows.length === 0) return { leases, more: leases.length > 0 };
    // More was there than fits the bytes wanted.
    if (rows.length < (rows[0]!.at(-1) as number)) return { leases, more: true };
    if (queues.length === 1 && rows.length < limit) return { leases, more: false };
  }
}
