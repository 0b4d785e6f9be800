// Deliveries: given out fairly by outlet, and each try written with what follows from it.
import {
  type DeliveriesWanted,
  type DeliveryRecord,
  type DeliverySettlement,
  type DeliverySettleOutcome,
  interrupted,
  type LeasedDelivery,
} from '../../engine/deliveries.ts';
import { keptAfterDeliveryMs } from '../rows.ts';
import type { DeliveryReads } from './delivery-reads.ts';
import type { KeyedStatements } from './keyed.ts';
import type { OutletStatements } from './outlets.ts';
import type { Store } from './store.ts';

const states = { waiting: 0, sending: 1, delivered: 2, dead: 3 } as const;

interface Standing {
  seq: number;
  namespace: string;
  outlet: number;
  state: number;
  attempt: number;
  lease_no: number;
}

interface Sending {
  number: number;
  outlet: number;
  attempt: number;
  at: number;
}

export interface DeliveryStatements {
  lease(wanted: DeliveriesWanted): LeasedDelivery[];
  settle(settlement: DeliverySettlement): DeliverySettleOutcome;
  redeliver(
    number: number,
    namespace: string,
  ): { kind: 'waiting'; delivery: DeliveryRecord } | { kind: 'sending' } | { kind: 'unknown' };
  /** At start: what the last process was sending waits again. */
  voidAll(): void;
  /** Takes back what was given out and not answered for in time. */
  sweep(): void;
  /** When there is something to do that is not to be done now. */
  next(): number | undefined;
  /** Whether something of the operation is still to be told. */
  isOpen(seq: number): boolean;
  /** The operation is about to be removed, and has callbacks. */
  removing(seq: number): void;
}

export function deliveryStatements(
  store: Store,
  { outlets, keyed, reads }: { outlets: OutletStatements; keyed: KeyedStatements; reads: DeliveryReads },
): DeliveryStatements {
  const { db } = store;
  const selectDue = db
    .prepare<[number, number, number], number>(
      'SELECT number FROM delivery INDEXED BY delivery_waiting WHERE outlet = +? AND state = 0 AND at <= +? ORDER BY at, number LIMIT +?',
    )
    .pluck();
  const begin = db.prepare(
    'UPDATE delivery SET state = 1, at = ?, attempt = attempt + 1, lease_no = lease_no + 1, lease_until = ? WHERE number = ?',
  );
  const standing = db.prepare<[number], Standing>(
    'SELECT seq, namespace, outlet, state, attempt, lease_no FROM delivery WHERE number = ?',
  );
  const note = db.prepare(
    'INSERT INTO delivery_attempt (delivery, attempt, at, duration, status, code, detail, answer, next_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
  );
  const waitAgain = db.prepare(
    'UPDATE delivery SET state = 0, at = ?, failures = failures + ?, lease_until = NULL, code = ? WHERE number = ?',
  );
  const finish = db.prepare(
    'UPDATE delivery SET state = ?, ended_at = ?, failures = failures + ?, lease_until = NULL, code = ? WHERE number = ?',
  );
  const anew = db.prepare(
    'UPDATE delivery SET state = 0, at = ?, outlet = ?, failures = 0, ended_at = NULL WHERE number = ?',
  );
  const sending = db.prepare<[number], Sending>(
    'SELECT number, outlet, attempt, at FROM delivery INDEXED BY delivery_sending WHERE state = 1 AND lease_until <= +?',
  );
  const nextEnd = db
    .prepare<[], number | null>('SELECT min(lease_until) FROM delivery INDEXED BY delivery_sending WHERE state = 1')
    .pluck();
  const anyOpen = db
    .prepare<[number], number>('SELECT 1 FROM delivery INDEXED BY delivery_seq WHERE seq = +? AND state < 2 LIMIT 1')
    .pluck();
  const openOutlets = db
    .prepare<[number], number>('SELECT outlet FROM delivery INDEXED BY delivery_seq WHERE seq = +? AND state < 2')
    .pluck();
  const removals = [
    'DELETE FROM delivery_attempt WHERE delivery IN (SELECT number FROM delivery INDEXED BY delivery_seq WHERE seq = ?)',
    'DELETE FROM delivery WHERE seq = ?',
    'DELETE FROM callback WHERE seq = ?',
  ].map((sql) => db.prepare(sql));

  /** Whether the try arrived is not known: it is made again, and costs the schedule nothing. */
  function interrupt({ number, outlet, attempt, at }: Sending, detail: string): void {
    const now = store.nowMs;
    note.run(number, attempt, at, null, null, interrupted, detail, null, now);
    waitAgain.run(now, 0, interrupted, number);
    outlets.changed(outlet);
  }

  return {
    lease({ max, leaseMs, maxInFlight }) {
      // What came before it in its group counts too.
      outlets.flush();
      const places = outlets.due(max, maxInFlight);
      // Each has one at least, so that none can get more than the others' first ones leave.
      const most = max - places.length + 1;
      const due = places.map(({ id, room }) => ({
        id,
        waiting: selectDue.all(id, store.nowMs, Math.min(room, most)),
        taken: 0,
      }));
      const leases: LeasedDelivery[] = [];
      const leaseUntil = store.nowMs + leaseMs;
      // One of each in turn: much that waits for one holds up nobody else.
      for (let some = true; some && leases.length < max;) {
        some = false;
        for (const outlet of due) {
          const number = outlet.waiting[outlet.taken];
          if (number === undefined || leases.length === max) continue;
          outlet.taken++;
          some = true;
          begin.run(store.nowMs, leaseUntil - store.pausedMs, number);
          leases.push(reads.leased(number));
        }
      }
      for (const { id, taken } of due) if (taken > 0) outlets.served(id);
      if (leases.length > 0) store.wake(leaseUntil);
      return leases;
    },
    settle({ number, leaseNo, tried, verdict, outlet: news }) {
      const now = store.nowMs;
      const row = standing.get(number);
      if (!row) return { kind: 'unknown' };
      // What comes late counts as long as nobody has taken it for interrupted: it tells what has happened.
      if (row.state !== states.sending || row.lease_no !== leaseNo) return { kind: 'lost' };
      const { at, durationMs, status, code, detail, answer } = tried;
      const again = verdict.to === 'waiting' ? verdict.at : null;
      note.run(number, row.attempt, at, durationMs, status, code, detail, answer, again);
      if (verdict.to === 'waiting') waitAgain.run(verdict.at, verdict.failed ? 1 : 0, code, number);
      else {
        finish.run(states[verdict.to], now, verdict.to === 'dead' ? 1 : 0, code, number);
        keyed.keepUntil(row.seq, now + keptAfterDeliveryMs);
      }
      outlets.changed(row.outlet);
      return { kind: 'recorded', outlet: outlets.heard(row.outlet, news) };
    },
    redeliver(number, namespace) {
      const row = standing.get(number);
      if (row?.namespace !== namespace) return { kind: 'unknown' };
      if (row.state === states.sending) return { kind: 'sending' };
      const { callback } = reads.record(number)!;
      const outlet = outlets.idOf(namespace, callback.outlet);
      anew.run(store.nowMs, outlet, number);
      outlets.changed(outlet);
      return { kind: 'waiting', delivery: reads.record(number)! };
    },
    voidAll() {
      for (const row of sending.all(Number.MAX_SAFE_INTEGER)) interrupt(row, 'the server stopped during this try');
      outlets.flush();
    },
    sweep() {
      for (const row of sending.all(store.leaseNow)) interrupt(row, 'nothing was heard of this try in time');
      outlets.flush();
    },
    next() {
      const end = nextEnd.get() ?? null;
      const due = outlets.next() ?? Number.POSITIVE_INFINITY;
      const next = Math.min(due, end === null ? Number.POSITIVE_INFINITY : end + store.pausedMs);
      return next === Number.POSITIVE_INFINITY ? undefined : next;
    },
    isOpen: (seq) => anyOpen.get(seq) !== undefined,
    removing(seq) {
      for (const outlet of openOutlets.all(seq)) outlets.changed(outlet);
      for (const removal of removals) removal.run(seq);
    },
  };
}
