// The log: events get the next positions of their namespace and are read back in that order.
//
// One thread writes, one group commits at a time: positions become visible in the order they were given, so no reader can skip one.
import type { ReadWanted } from '../../engine/engine.ts';
import type { EventRow, NewEventRow, PageRow } from './log-wire.ts';
import { codeOf, type StoreError, toStoreError } from './store-error.ts';
import type { Store } from './store.ts';

interface LogRow {
  id: number;
  namespace: string;
  last: number;
}

export type AppendRow = { kind: 'appended'; position: number } | { kind: 'refused'; error: StoreError };

export interface LogStatements {
  append(event: NewEventRow): AppendRow;
  read(wanted: ReadWanted): PageRow;
  /** Before the commit: writes how far the logs have grown. */
  flush(): void;
  /** After the commit: the namespaces that have grown by it. */
  committed(): string[];
  /** After a rollback: forgets what was not written. */
  rolledBack(): void;
}

/** Positions of one log in the key of its events. */
const positions = 2 ** 40;

/** By log number, position, log number again, and how many at most. */
export const selectEvents = `SELECT place & ${positions - 1}, topic, head, appended_at, body FROM event
   WHERE place > ((? << 40) | ?) AND place < ((? + 1) << 40) ORDER BY place LIMIT +?`;

export function logStatements(store: Store): LogStatements {
  const { db } = store;
  const epoch = db.prepare<[], string>("SELECT value FROM meta WHERE key = 'epoch'").pluck().get()!;
  const selectLogs = db.prepare<[], LogRow>('SELECT id, namespace, last FROM log');
  const addLog = db.prepare('INSERT INTO log (namespace, last) VALUES (?, 0)');
  const setLast = db.prepare('UPDATE log SET last = ? WHERE id = ?');
  // The arithmetic is SQLite's own, in 64 bits: numbers of JavaScript end at 2^53.
  const insert = db.prepare(
    'INSERT INTO event (place, topic, head, appended_at, body) VALUES ((? << 40) | ?, ?, ?, ?, ?)',
  );
  const select = db
    .prepare<unknown[], [position: number, topic: string, head: string, appendedAt: number, body: Buffer]>(selectEvents)
    .raw();
  const logs = new Map<string, LogRow>();
  const grown = new Set<LogRow>();

  function load(): void {
    logs.clear();
    for (const log of selectLogs.all()) logs.set(log.namespace, log);
  }
  load();

  function logOf(namespace: string): LogRow {
    let log = logs.get(namespace);
    if (!log) {
      log = { id: Number(addLog.run(namespace).lastInsertRowid), namespace, last: 0 };
      logs.set(namespace, log);
    }
    return log;
  }

  return {
    append({ namespace, topic, head, body }) {
      try {
        const log = logOf(namespace);
        insert.run(log.id, log.last + 1, topic, head, store.nowMs, body);
        grown.add(log);
        return { kind: 'appended', position: ++log.last };
      } catch (error) {
        // A row that cannot be stored is undone alone by SQLite. Anything else concerns the whole group.
        if (/^SQLITE_(?!CONSTRAINT|TOOBIG|MISMATCH)/.test(codeOf(error))) throw error;
        return { kind: 'refused', error: toStoreError(error) };
      }
    },
    read({ namespace, after, limit, maxBytes }) {
      const log = logs.get(namespace);
      const page: PageRow = { epoch, last: log?.last ?? 0, events: [] };
      if (!log || after >= log.last) return page;
      let bytes = 0;
      for (const [position, topic, head, appendedAt, body] of select.iterate(
        log.id,
        Math.max(after, 0),
        log.id,
        limit,
      )) {
        bytes += body.length;
        if (page.events.length > 0 && bytes > maxBytes) break;
        page.events.push({ position, topic, head, appendedAt, body } satisfies EventRow);
      }
      return page;
    },
    flush() {
      for (const log of grown) setLast.run(log.last, log.id);
    },
    committed() {
      if (grown.size === 0) return [];
      const namespaces = [...grown].map((log) => log.namespace);
      grown.clear();
      return namespaces;
    },
    rolledBack() {
      grown.clear();
      load();
    },
  };
}
