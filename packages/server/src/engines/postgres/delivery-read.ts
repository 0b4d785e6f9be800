// Deliveries as they stand, and the tries that were made.
import type { Delivery, DeliveryAttempt, DeliveryFilter, DeliveryRecord } from '../../engine/deliveries.ts';
import { deliveryStates } from '../rows.ts';
import { int4Array } from './arrays.ts';
import type { Connections, Row, Statement } from './connections.ts';

/** In the order of `DeliveryColumns`, from `deliveryTables`. */
export const deliveryColumns =
  'd.number, d.namespace, d.seq, r.nonce, d.version, d.state, d.at, d.created_at, d.attempt, d.failures, d.lease_no, d.ended_at, d.code, ' +
  'c.url, c.outlet, c.correlation, c.progress, c.thin, c.base';
export const deliveryTables = (deliveries: string): string =>
  `${deliveries} d JOIN request r ON r.seq = d.seq JOIN callback c ON c.seq = d.seq AND c.n = d.callback`;

export type DeliveryColumns = [
  number: number,
  namespace: string,
  seq: number,
  nonce: string,
  version: number,
  state: number,
  at: number,
  createdAt: number,
  attempt: number,
  failures: number,
  leaseNo: number,
  endedAt: number | null,
  code: string | null,
  url: string,
  outlet: string,
  correlationId: string | null,
  progress: boolean,
  thin: boolean,
  base: string,
];

export const toDelivery = (row: DeliveryColumns): Delivery => ({
  number: row[0],
  namespace: row[1],
  operation: { seq: row[2], nonce: row[3] },
  version: row[4],
  createdAt: row[7],
  attempt: row[8],
  failures: row[9],
  callback: {
    url: row[13],
    outlet: row[14],
    correlationId: row[15],
    progress: row[16],
    thin: row[17],
    base: row[18],
  },
});

function toRecord(row: Row): DeliveryRecord {
  const columns = row as unknown as DeliveryColumns;
  const state = deliveryStates[columns[5]]!;
  return {
    ...toDelivery(columns),
    state,
    nextAt: state === 'waiting' ? columns[6] : null,
    endedAt: columns[11],
    code: columns[12],
  };
}

const one: Statement = {
  name: 'delivery',
  text: `SELECT ${deliveryColumns} FROM ${deliveryTables('delivery')} WHERE d.number = $1::int8 AND d.namespace = $2`,
};
const attemptsOf: Statement = {
  name: 'delivery-attempts',
  text: 'SELECT attempt, at, duration_ms, status, code, detail, answer, next_at FROM delivery_attempt WHERE delivery = $1::int8 ORDER BY attempt',
};
/** An operation has few deliveries. `IS TRUE`: for the planner, which might otherwise walk all of the namespace to find them. */
const ofOperation: Statement = {
  name: 'deliveries-of',
  text: `SELECT ${deliveryColumns} FROM ${deliveryTables('delivery')}
    WHERE d.seq = $1::int8 AND (d.namespace = $2) IS TRUE AND d.number < $3::int8 AND d.state + 0 = ANY ($4::int4[]) ORDER BY d.number DESC LIMIT $5::int4`,
};
/** The newest of each state, of which the newest of all: no more rows are looked at than that, whatever the states of the others. */
const listed: Statement = {
  name: 'deliveries',
  text: `SELECT ${deliveryColumns} FROM (
      SELECT n.number FROM unnest($3::int4[]) AS s (state) CROSS JOIN LATERAL (
        SELECT number FROM delivery WHERE namespace = $1 AND state = s.state::int2 AND number < $2::int8 ORDER BY number DESC LIMIT $4::int4
      ) n ORDER BY n.number DESC LIMIT $4::int4
    ) w JOIN (${deliveryTables('delivery')}) ON d.number = w.number ORDER BY d.number DESC`,
};

export async function listDeliveries(
  connections: Connections,
  { namespace, seq, state, limit, before = Number.MAX_SAFE_INTEGER }: DeliveryFilter,
): Promise<DeliveryRecord[]> {
  const states = int4Array(state === undefined ? [...deliveryStates.keys()] : [deliveryStates.indexOf(state)]);
  const rows = await (seq === undefined
    ? connections.run(listed, [namespace, before, states, limit])
    : connections.run(ofOperation, [seq, namespace, before, states, limit]));
  return rows.map(toRecord);
}

export async function readDelivery(
  connections: Connections,
  number: number,
  namespace: string,
): Promise<DeliveryRecord | undefined> {
  const [row] = await connections.run(one, [number, namespace]);
  return row && toRecord(row);
}

export async function readAttempts(connections: Connections, number: number): Promise<DeliveryAttempt[]> {
  const rows = await connections.run(attemptsOf, [number]);
  return rows.map((row) => {
    const [attempt, at, durationMs, status, code, detail, answer, nextAt] = row as unknown as [
      number,
      number,
      number | null,
      number | null,
      string | null,
      string | null,
      Buffer | null,
      number | null,
    ];
    return { attempt, at, durationMs, status, code, detail, answer, nextAt };
  });
}
