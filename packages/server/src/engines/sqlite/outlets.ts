// Outlets: how much is under way to each place, what it is blocked for, and whose turn it is. A row lives as long as something is open for it.
import type { OutletNews } from '../../engine/deliveries.ts';
import type { Store } from './store.ts';

export interface OutletState {
  failures: number;
  blockedUntil: number | null;
}

export interface OutletStatements {
  /** The number of a place, which is made when it is new. */
  idOf(namespace: string, name: string): number;
  /** Something that is open for it was added, has changed or has gone: what follows from that is written before the commit. */
  changed(id: number): void;
  /** Those with something due and room for it, in turn, and how much room each has. */
  due(limit: number, maxInFlight: number): { id: number; room: number }[];
  /** Something of it was given out now. */
  served(id: number): void;
  /** How it stands after the news, if there were any. */
  heard(id: number, news: OutletNews): OutletState | null;
  flush(): void;
  /** When the next one has something due that has nothing due now. */
  next(): number | undefined;
  /** Whether something is due that was not before this group; asked once. */
  committed(): boolean;
  rolledBack(): void;
}

export function outletStatements(store: Store): OutletStatements {
  const { db } = store;
  const find = db.prepare<[string, string], number>('SELECT id FROM outlet WHERE namespace = ? AND name = ?').pluck();
  const insert = db.prepare('INSERT INTO outlet (namespace, name) VALUES (?, ?)');
  // Counted, not added up: a number that follows from the rows cannot drift from them.
  const refresh = db
    .prepare<[number], [inFlight: number, dueAt: number | null]>(
      `UPDATE outlet AS o SET
         in_flight = (SELECT count(*) FROM delivery d INDEXED BY delivery_sending WHERE d.outlet = o.id AND d.state = 1),
         due_at = (SELECT max(min(d.at), coalesce(o.blocked_until, 0), o.served_at) FROM delivery d INDEXED BY delivery_waiting WHERE d.outlet = o.id AND d.state = 0)
       WHERE o.id = ? RETURNING in_flight, due_at`,
    )
    .raw();
  const drop = db.prepare('DELETE FROM outlet WHERE id = ?');
  const setServed = db.prepare('UPDATE outlet SET served_at = ? WHERE id = ?');
  const selectDue = db.prepare<{ now: number; most: number; limit: number }, { id: number; room: number }>(
    `SELECT id, iif(blocked_until IS NULL, :most, 1) - in_flight AS room FROM outlet INDEXED BY outlet_due
     WHERE due_at <= +:now AND in_flight < iif(blocked_until IS NULL, :most, 1) ORDER BY due_at LIMIT +:limit`,
  );
  const heal = db.prepare<[number], OutletState>(
    'UPDATE outlet SET failures = 0, blocked_until = NULL WHERE id = ? RETURNING failures, blocked_until AS blockedUntil',
  );
  const hurt = db.prepare<[number, number, number], OutletState>(
    `UPDATE outlet SET failures = failures + 1, blocked_until = iif(failures + 1 >= ?, max(coalesce(blocked_until, 0), ?), blocked_until)
     WHERE id = ? RETURNING failures, blocked_until AS blockedUntil`,
  );
  const nextDue = db
    .prepare<[number], number | null>('SELECT min(due_at) FROM outlet INDEXED BY outlet_due WHERE due_at > +?')
    .pluck();
  /** Outlets of which something was changed in this group. */
  const touched = new Set<number>();
  let due = false;

  /** Whether something is due. */
  function write(id: number): boolean {
    const row = refresh.get(id);
    if (!row) return false;
    const [inFlight, dueAt] = row;
    if (inFlight === 0 && dueAt === null) drop.run(id);
    if (dueAt === null) return false;
    if (dueAt > store.nowMs) store.wake(dueAt);
    return dueAt <= store.nowMs;
  }

  return {
    idOf: (namespace, name) => find.get(namespace, name) ?? Number(insert.run(namespace, name).lastInsertRowid),
    changed: (id) => void touched.add(id),
    due: (limit, maxInFlight) => selectDue.all({ now: store.nowMs, most: maxInFlight, limit }),
    served(id) {
      setServed.run(store.nowMs, id);
      write(id);
    },
    heard(id, news) {
      if (news.kind === 'none') return null;
      touched.add(id);
      return news.kind === 'well' ? heal.get(id)! : hurt.get(news.tripAt, news.blockUntil, id)!;
    },
    flush() {
      for (const id of touched) if (write(id)) due = true;
      touched.clear();
    },
    next: () => nextDue.get(store.nowMs) ?? undefined,
    committed() {
      const was = due;
      due = false;
      return was;
    },
    rolledBack() {
      touched.clear();
      due = false;
    },
  };
}
