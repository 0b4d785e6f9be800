// Giving deliveries out: those of due outlets, as many as each has room for, one of each in turn.
import type { DeliveriesWanted, LeasedDelivery } from '../../engine/deliveries.ts';
import type { Connection, Row, Statement } from './connections.ts';
import { deliveryColumns, deliveryTables, type DeliveryColumns, toDelivery } from './delivery-read.ts';
import { leaseNow } from './time-line.ts';

/** While an outlet is blocked no other limit helps. */
const noLimit = 2 ** 31 - 1;

/**
 * Outlets that somebody holds at this moment are passed over, or waited for in their order (`wait`). An outlet that was changed since the statement began
 * (`exact` false) is left due: what was added to it is not seen here. One that has been served is due again as of now, behind those that have waited longer.
 * Answers, once or beside each delivery: whether there is more to look at, and when the next outlet is due.
 */
const leaseText = (wait: boolean): string => `
WITH due AS MATERIALIZED (
  (SELECT id, rev, namespace, name FROM outlet WHERE due_at <= $1::int8 ORDER BY due_at LIMIT $2::int4)
  UNION ALL
  (SELECT id, rev, namespace, name FROM outlet WHERE full_at < $3::int4 ORDER BY full_at LIMIT $2::int4)
), mine AS MATERIALIZED (
  SELECT d.id, coalesce(o.due_at, $1::int8) AS due_at, o.rev = d.rev AS exact, o.blocked_until IS NULL AS free,
    CASE WHEN o.blocked_until IS NULL THEN $3::int4 ELSE 1 END - o.in_flight AS room
  FROM (SELECT * FROM due ORDER BY namespace, name) d CROSS JOIN LATERAL (
    SELECT o.due_at, o.rev, o.blocked_until, o.in_flight FROM outlet o WHERE o.id = d.id AND (o.due_at <= $1::int8 OR o.full_at < $3::int4) FOR NO KEY UPDATE${wait ? '' : ' SKIP LOCKED'}
  ) o
), picked AS MATERIALIZED (
  SELECT p.number, row_number() OVER (PARTITION BY m.id ORDER BY p.at, p.number) AS turn, m.due_at, m.id
  FROM mine m CROSS JOIN LATERAL (
    SELECT d.number, d.at FROM delivery d WHERE d.outlet = m.id AND d.state = 0 AND d.at <= $1::int8
    ORDER BY d.at, d.number LIMIT greatest(least(m.room, $2::int4), 0)
  ) p
), chosen AS MATERIALIZED (
  SELECT number FROM picked ORDER BY turn, due_at, id LIMIT $2::int4
), taken AS (
  UPDATE delivery d SET state = 1, at = $1::int8, attempt = d.attempt + 1, lease_no = d.lease_no + 1, lease_until = ${leaseNow('$1::int8')} + $4::int8, node = $5::int4
  FROM chosen c, time_line WHERE d.number = c.number AND d.state + 0 = 0
  RETURNING d.*
), left_over AS MATERIALIZED (
  SELECT m.id, m.exact, m.free, m.room <= t.count AS is_full, t.count, (
    SELECT d.at FROM delivery d WHERE d.outlet = m.id AND d.state = 0 AND d.number <> ALL (ARRAY(SELECT number FROM taken)) ORDER BY d.at, d.number LIMIT 1
  ) AS next_at FROM mine m CROSS JOIN LATERAL (SELECT count(*)::int4 FROM taken WHERE outlet = m.id) t
), served AS (
  UPDATE outlet o SET rev = o.rev + 1, in_flight = o.in_flight + l.count, full_at = CASE WHEN l.is_full THEN CASE WHEN l.free THEN $3::int4 ELSE ${noLimit} END END,
    due_at = CASE WHEN NOT l.is_full AND (l.next_at IS NOT NULL OR NOT l.exact)
      THEN greatest(CASE WHEN l.exact THEN l.next_at END, o.blocked_until, $1::int8) END
  FROM left_over l WHERE o.id = l.id
)
SELECT f.passed, f.unseen, f.next_due, ${deliveryColumns}
FROM (
  SELECT (SELECT count(*) FROM due) - (SELECT count(*) FROM mine) AS passed,
    (SELECT count(*) FROM left_over WHERE NOT exact AND NOT is_full) AS unseen,
    (SELECT due_at FROM outlet WHERE due_at > $1::int8 ORDER BY due_at LIMIT 1) AS next_due
) f LEFT JOIN (${deliveryTables('taken')}) ON true ORDER BY d.at, d.number`;

const leaseFree: Statement = { name: 'lease-deliveries', text: leaseText(false) };
const leaseAll: Statement = { name: 'lease-deliveries-waiting', text: leaseText(true) };
const headWidth = 3;
/** Somebody may change the same outlets again and again; what is left then is due still. */
const rounds = 4;

export interface LeasedDeliveries {
  leases: LeasedDelivery[];
  /** There may be more that is due now. */
  more: boolean;
  /** When the next outlet is due that is not due now. */
  nextDue: number | null;
}

export async function leaseDeliveries(
  connection: Connection,
  { max, maxInFlight, leaseMs }: DeliveriesWanted,
  { nowMs, nodeId }: { nowMs: number; nodeId: number },
): Promise<LeasedDeliveries> {
  let statement = leaseFree;
  for (let round = 1; ; round++) {
    const rows = await connection.run(statement, [nowMs, max, maxInFlight, leaseMs, nodeId]);
    const [passed, unseen, nextDue] = rows[0] as [number, number, number | null];
    const leases = rows.flatMap((row) => toLeased(row.slice(headWidth)));
    const more = leases.length === max || passed + unseen > 0;
    if (leases.length > 0 || !more || round === rounds) return { leases, more, nextDue };
    statement = passed > 0 ? leaseAll : leaseFree;
  }
}

function toLeased(row: Row): LeasedDelivery[] {
  const columns = row as unknown as DeliveryColumns;
  return row[0] === null ? [] : [{ ...toDelivery(columns), leaseNo: columns[10] }];
}
