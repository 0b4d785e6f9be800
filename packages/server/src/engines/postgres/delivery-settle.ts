// What became of tries: each is written with what follows from it for its delivery and for the outlet.
import type { DeliverySettlement, DeliverySettleOutcome } from '../../engine/deliveries.ts';
import { deliveryStates } from '../rows.ts';
import { byteaArray, int4Array, int8Array, textArray } from './arrays.ts';
import type { Connection, Statement } from './connections.ts';

/**
 * Outlets are held first, in their order, then the deliveries whose lease is still the one that is settled. How an outlet stands after each try of the batch
 * is counted in the order of the batch: since the last one that found it well (`run`) so many have failed.
 */
const settleText = `
WITH input AS MATERIALIZED (
  SELECT * FROM unnest($2::int8[], $3::int4[], $4::int4[], $5::int8[], $6::int4[], $7::int8[], $8::int4[], $9::int4[], $10::text[], $11::text[], $12::bytea[],
    $13::int4[], $14::int4[], $15::int8[]) WITH ORDINALITY
    AS i (number, lease_no, to_state, next_at, failed, tried_at, duration_ms, status, code, detail, answer, news, trip_at, block_until, ord)
), known AS MATERIALIZED (
  SELECT i.ord, d.outlet FROM input i CROSS JOIN LATERAL (SELECT outlet FROM delivery d WHERE d.number = i.number LIMIT 1) d
), places AS MATERIALIZED (
  SELECT s.id, o.rev = s.rev AS exact, o.failures, o.blocked_until FROM (
    SELECT o.id, o.rev FROM (SELECT DISTINCT outlet FROM known) k
    CROSS JOIN LATERAL (SELECT id, rev, namespace, name FROM outlet o WHERE o.id = k.outlet LIMIT 1) o ORDER BY o.namespace, o.name
  ) s CROSS JOIN LATERAL (SELECT rev, failures, blocked_until FROM outlet o WHERE o.id = s.id FOR NO KEY UPDATE) o
), held AS MATERIALIZED (
  SELECT i.*, k.outlet, d.attempt, p.exact, p.failures AS failed_before, p.blocked_until AS blocked_before,
    count(*) FILTER (WHERE i.news = 1) OVER (PARTITION BY k.outlet ORDER BY i.ord) AS run
  FROM known k JOIN places p ON p.id = k.outlet JOIN input i ON i.ord = k.ord CROSS JOIN LATERAL (
    SELECT attempt FROM delivery d WHERE d.number = i.number AND d.outlet = p.id AND d.lease_no = i.lease_no AND d.state + 0 = 1 FOR NO KEY UPDATE
  ) d
), counted AS MATERIALIZED (
  SELECT h.*, CASE h.run WHEN 0 THEN h.failed_before ELSE 0 END + count(*) FILTER (WHERE h.news = 2) OVER (PARTITION BY h.outlet, h.run ORDER BY h.ord) AS failures
  FROM held h
), heard AS MATERIALIZED (
  SELECT c.*, greatest(CASE c.run WHEN 0 THEN c.blocked_before END,
    max(c.block_until) FILTER (WHERE c.news = 2 AND c.failures >= c.trip_at) OVER (PARTITION BY c.outlet, c.run ORDER BY c.ord)) AS blocked_until
  FROM counted c
), moved AS (
  UPDATE delivery d SET state = h.to_state, at = CASE h.to_state WHEN 0 THEN h.next_at ELSE d.at END, failures = d.failures + h.failed, code = h.code,
    ended_at = CASE WHEN h.to_state > 1 THEN $1::int8 END, lease_until = NULL, node = NULL
  FROM heard h WHERE d.number = h.number
), tries AS (
  INSERT INTO delivery_attempt (delivery, attempt, at, duration_ms, status, code, detail, answer, next_at)
  SELECT number, attempt, tried_at, duration_ms, status, code, detail, answer, CASE to_state WHEN 0 THEN next_at END FROM heard
  ON CONFLICT (delivery, attempt) DO NOTHING
), after AS MATERIALIZED (
  SELECT p.id, p.exact, h.*, (
    SELECT d.at FROM delivery d WHERE d.outlet = p.id AND d.state = 0 ORDER BY d.at, d.number LIMIT 1
  ) AS waiting_at FROM places p CROSS JOIN LATERAL (
    SELECT count(*)::int4 AS back, min(next_at) FILTER (WHERE to_state = 0) AS back_at, (array_agg(failures ORDER BY ord DESC))[1] AS failures,
      (array_agg(blocked_until ORDER BY ord DESC))[1] AS blocked_until
    FROM heard WHERE outlet = p.id
  ) h WHERE h.back > 0
), outlets AS (
  UPDATE outlet o SET rev = o.rev + 1, in_flight = o.in_flight - a.back, full_at = NULL, failures = a.failures, blocked_until = a.blocked_until,
    due_at = CASE WHEN NOT a.exact THEN greatest($1::int8, a.blocked_until)
      WHEN coalesce(a.waiting_at, a.back_at) IS NOT NULL THEN greatest($1::int8, least(a.waiting_at, a.back_at), a.blocked_until) END
  FROM after a WHERE o.id = a.id
)
SELECT i.ord, k.ord IS NOT NULL, h.ord IS NOT NULL, h.failures, h.blocked_until, h.to_state = 0
FROM input i LEFT JOIN known k ON k.ord = i.ord LEFT JOIN heard h ON h.ord = i.ord`;

const settle: Statement = { name: 'settle-deliveries', text: settleText };

const newsCodes = { none: 0, well: 1, ill: 2 } as const;
/** What the database's text cannot hold, in words that came from outside. */
const plain = (text: string | null): string | null => text?.replaceAll('\0', '').toWellFormed() ?? null;

/** Records a batch in which no delivery stands twice. */
export async function settleDeliveries(
  batch: readonly DeliverySettlement[],
  { connection, nowMs }: { connection: Connection; nowMs: number },
): Promise<DeliverySettleOutcome[]> {
  const rows = (await connection.run(settle, [
    nowMs,
    int8Array(batch.map((s) => s.number)),
    int4Array(batch.map((s) => s.leaseNo)),
    int4Array(batch.map((s) => deliveryStates.indexOf(s.verdict.to))),
    int8Array(batch.map((s) => (s.verdict.to === 'waiting' ? s.verdict.at : null))),
    int4Array(batch.map(({ verdict: v }) => Number(v.to === 'dead' || (v.to === 'waiting' && v.failed)))),
    int8Array(batch.map((s) => s.tried.at)),
    int4Array(batch.map((s) => (s.tried.durationMs === null ? null : Math.round(s.tried.durationMs)))),
    int4Array(batch.map((s) => s.tried.status)),
    textArray(batch.map((s) => plain(s.tried.code))),
    textArray(batch.map((s) => plain(s.tried.detail))),
    byteaArray(batch.map((s) => s.tried.answer)),
    int4Array(batch.map((s) => newsCodes[s.outlet.kind])),
    int4Array(batch.map(({ outlet }) => (outlet.kind === 'ill' ? outlet.tripAt : null))),
    int8Array(batch.map(({ outlet }) => (outlet.kind === 'ill' ? outlet.blockUntil : null))),
  ])) as [number, boolean, boolean, number, number | null, boolean | null][];
  const outcomes = new Map<number, DeliverySettleOutcome>();
  for (const [ord, known, recorded, failures, blockedUntil] of rows) {
    const outlet = batch[ord - 1]!.outlet.kind === 'none' ? null : { failures, blockedUntil };
    outcomes.set(ord - 1, recorded ? { kind: 'recorded', outlet } : known ? { kind: 'lost' } : { kind: 'unknown' });
  }
  return batch.map((_, i) => outcomes.get(i)!);
}
