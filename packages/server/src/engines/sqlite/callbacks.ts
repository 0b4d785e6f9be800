// Who is to be told of an operation: kept with it, and turned into deliveries in the transaction in which there is something to tell.
import { type CallbackWanted, mostCallbacks } from '../../engine/deliveries.ts';
import type { OutletStatements } from './outlets.ts';
import type { Store } from './store.ts';

/** What `operation.callbacks` says; null there: nobody is to be told of anything. */
const tellsProgress = 2;

/** Something to tell: the operation as it is since this version. `callbacks`: the column of that name. */
export interface News {
  seq: number;
  version: number;
  queue: number;
  callbacks: number | null;
}

export interface CallbackStatements {
  /** False when as many as may be are told already. */
  add(seq: number, callback: CallbackWanted): boolean;
  ended(news: News): void;
  progressed(news: News): void;
}

export function callbackStatements(store: Store, outlets: OutletStatements): CallbackStatements {
  const { db } = store;
  const count = db.prepare<[number], number>('SELECT count(*) FROM callback WHERE seq = ?').pluck();
  const insert = db.prepare(
    'INSERT INTO callback (seq, n, url, outlet, correlation, progress, thin, base) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
  );
  const mark = db.prepare('UPDATE operation SET callbacks = max(coalesce(callbacks, 0), ?) WHERE seq = ?');
  const select = db
    .prepare<[number, number], [n: number, outlet: string]>(
      'SELECT n, outlet FROM callback WHERE seq = +? AND progress >= +? ORDER BY n',
    )
    .raw();
  const insertDelivery = db.prepare(
    `INSERT INTO delivery (number, seq, callback, version, namespace, outlet, state, at, attempt, failures, lease_no, created_at)
     VALUES (?, ?, ?, ?, ?, ?, 0, ?, 0, 0, 0, ?)`,
  );

  function tell({ seq, version, queue }: News, progress: number): void {
    const { namespace } = store.queues.get(queue)!;
    const now = store.nowMs;
    for (const [n, name] of select.all(seq, progress)) {
      const outlet = outlets.idOf(namespace, name);
      insertDelivery.run(store.nextSeq(), seq, n, version, namespace, outlet, now, now);
      outlets.changed(outlet);
    }
  }

  return {
    add(seq, { url, outlet, correlationId, progress, thin, base }) {
      const n = count.get(seq)!;
      if (n >= mostCallbacks) return false;
      insert.run(seq, n, url, outlet, correlationId, progress ? 1 : 0, thin ? 1 : 0, base);
      mark.run(progress ? tellsProgress : 1, seq);
      return true;
    },
    ended(news) {
      if (news.callbacks !== null) tell(news, 0);
    },
    progressed(news) {
      if (news.callbacks === tellsProgress) tell(news, 1);
    },
  };
}
