// Deliveries as they stand, and the tries that were made.
import type {
  Delivery,
  DeliveryAttempt,
  DeliveryFilter,
  DeliveryRecord,
  LeasedDelivery,
} from '../../engine/deliveries.ts';
import { deliveryStates } from '../rows.ts';
import type { Store } from './store.ts';

interface DeliveryRow {
  number: number;
  namespace: string;
  seq: number;
  nonce: string;
  version: number;
  url: string;
  outlet: string;
  correlation: string | null;
  progress: number;
  thin: number;
  base: string;
  state: number;
  at: number;
  attempt: number;
  failures: number;
  leaseNo: number;
  createdAt: number;
  endedAt: number | null;
  code: string | null;
}

export interface DeliveryReads {
  leased(number: number): LeasedDelivery;
  record(number: number): DeliveryRecord | undefined;
  withAttempts(
    number: number,
    namespace: string,
  ): { delivery: DeliveryRecord; attempts: DeliveryAttempt[] } | undefined;
  list(filter: DeliveryFilter): DeliveryRecord[];
}

const toDelivery = (row: DeliveryRow): Delivery => ({
  number: row.number,
  namespace: row.namespace,
  operation: { seq: row.seq, nonce: row.nonce },
  version: row.version,
  callback: {
    url: row.url,
    outlet: row.outlet,
    correlationId: row.correlation,
    progress: row.progress === 1,
    thin: row.thin === 1,
    base: row.base,
  },
  createdAt: row.createdAt,
  attempt: row.attempt,
  failures: row.failures,
});

const toRecord = (row: DeliveryRow): DeliveryRecord => ({
  ...toDelivery(row),
  state: deliveryStates[row.state]!,
  nextAt: deliveryStates[row.state] === 'waiting' ? row.at : null,
  endedAt: row.endedAt,
  code: row.code,
});

export function deliveryReads({ db }: Store): DeliveryReads {
  const select = db.prepare<[number], DeliveryRow>(
    `SELECT d.number, d.namespace, d.seq, o.nonce, d.version, c.url, c.outlet, c.correlation, c.progress, c.thin, c.base, d.state, d.at, d.attempt, d.failures,
       d.lease_no AS leaseNo, d.created_at AS createdAt, d.ended_at AS endedAt, d.code
     FROM delivery d JOIN operation o ON o.seq = d.seq JOIN callback c ON c.seq = d.seq AND c.n = d.callback WHERE d.number = +?`,
  );
  const selectAttempts = db.prepare<[number], DeliveryAttempt>(
    `SELECT attempt, at, duration AS durationMs, status, code, detail, answer, next_at AS nextAt
     FROM delivery_attempt WHERE delivery = +? ORDER BY attempt`,
  );
  const ofOperation = db
    .prepare<unknown[], number>(
      `SELECT number FROM delivery INDEXED BY delivery_seq
       WHERE seq = +? AND namespace = +? AND number < +? AND state = coalesce(?, state) ORDER BY number DESC LIMIT +?`,
    )
    .pluck();
  const ofState = db
    .prepare<[string, number, number, number], number>(
      'SELECT number FROM delivery INDEXED BY delivery_listed WHERE namespace = +? AND state = +? AND number < +? ORDER BY number DESC LIMIT +?',
    )
    .pluck();

  function record(number: number): DeliveryRecord | undefined {
    const row = select.get(number);
    return row && toRecord(row);
  }

  return {
    leased(number) {
      const row = select.get(number)!;
      return { ...toDelivery(row), leaseNo: row.leaseNo };
    },
    record,
    withAttempts(number, namespace) {
      const delivery = record(number);
      return delivery?.namespace === namespace ? { delivery, attempts: selectAttempts.all(number) } : undefined;
    },
    list({ namespace, seq, state, limit, before = Number.MAX_SAFE_INTEGER }) {
      const code = state === undefined ? null : deliveryStates.indexOf(state);
      const states = code === null ? deliveryStates.keys() : [code];
      const numbers =
        seq === undefined
          ? // The newest of each state, of which the newest of all: no more rows are looked at than that, whatever the states of the others.
            [...states]
              .flatMap((one) => ofState.all(namespace, one, before, limit))
              .sort((a, b) => b - a)
              .slice(0, limit)
          : ofOperation.all(seq, namespace, before, code, limit);
      return numbers.map((number) => record(number)!);
    },
  };
}
