// A store full of ended operations whose retention is over, made in seconds: copies of one that went through the API, written while the server is down.
import { closeSync, fsyncSync, openSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type BetterSqlite3 from 'better-sqlite3';

/** The very library and version that the server uses. */
const Database = createRequire(new URL('../../packages/server/package.json', import.meta.url))(
  'better-sqlite3',
) as typeof BetterSqlite3;

/** Rows per transaction: more only grows the log, fewer only costs commits. */
const chunk = 50_000;

export interface OldOperations {
  /** Folder of the store; it must hold exactly one operation, and that one ended. */
  data: string;
  count: number;
  /** When their retention ends, in milliseconds since 1970, counted from the moment the last table is begun. */
  dueAt: () => number;
}

/**
 * Copies the store's one operation `count` times with numbers and random parts of their own. All of them become due at the same moment, which is returned.
 * The operations themselves are written last, so that the time they are given is not spent on their bodies.
 */
export function writeOldOperations({ data, count, dueAt }: OldOperations): number {
  const file = join(data, 'waitless.db');
  const db = new Database(file, { fileMustExist: true });
  try {
    db.pragma('synchronous = OFF');
    const template = db
      .prepare<[], { seq: number; queue: number; stage: number }>('SELECT seq, queue, stage FROM operation')
      .all();
    const [only] = template;
    if (template.length !== 1 || !only || only.stage !== 3)
      throw new Error('the store to be filled must hold exactly one operation, and that one succeeded');
    const first = Number(db.prepare<[], number>("SELECT value FROM meta WHERE key = 'next_seq'").pluck().get()) + 1;
    let due = 0;
    for (const table of ['request', 'result', 'operation']) {
      if (table === 'operation') due = dueAt();
      copyRows(db, { table, template: only.seq, first, count, due });
    }
    db.prepare("UPDATE meta SET value = ? WHERE key = 'next_seq'").run(first + count - 1);
    db.prepare('UPDATE queue SET succeeded = succeeded + ? WHERE id = ?').run(count, only.queue);
    db.pragma('wal_checkpoint(TRUNCATE)');
    return due;
  } finally {
    db.close();
    // Otherwise the system would write it out during the measurement.
    const descriptor = openSync(file, 'r+');
    fsyncSync(descriptor);
    closeSync(descriptor);
  }
}

function copyRows(
  db: BetterSqlite3.Database,
  {
    table,
    template,
    first,
    count,
    due,
  }: { table: string; template: number; first: number; count: number; due: number },
): void {
  const columns = db.prepare<[string], string>('SELECT name FROM pragma_table_info(?)').pluck().all(table);
  const value: Readonly<Record<string, string>> = {
    seq: 'n.seq',
    nonce: 'lower(hex(randomblob(16)))',
    wake_at: String(due),
  };
  const copy = db.prepare(
    `WITH RECURSIVE n(seq) AS (SELECT ? UNION ALL SELECT seq + 1 FROM n WHERE seq + 1 < ?)
     INSERT INTO ${table} (${columns.join(', ')}) SELECT ${columns.map((name) => value[name] ?? `t.${name}`).join(', ')} FROM n, ${table} t WHERE t.seq = ${template}`,
  );
  for (let from = first; from < first + count; from += chunk) copy.run(from, Math.min(from + chunk, first + count));
}
