// Opens the file so that a commit is on the disk when it returns, and brings its schema up to date.
import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Database from 'better-sqlite3';
import { WaitlessError } from '@waitless/protocol';

/**
 * Where a statement joins, orders or names its index, values are bound as `+?`: this build of SQLite has STAT4, and a statement whose planner may look at
 * a value is planned anew for each one it is bound to, which takes ten times as long as to run it. The plus hides the value.
 */
export type Db = Database.Database;

/** Newest schema this version knows; a store with a newer one is refused by name. */
const migrationsFolder = new URL('./migrations/', import.meta.url);

export interface OpenedDatabase {
  db: Db;
  storeKey: string;
  lastTimeMs: number;
}

/**
 * Opens `folder`/waitless.db, or a store in memory.
 * @param synchronous FULL always; OFF exists for the test that proves that the power-cut test can fail.
 */
export function openDatabase({
  folder,
  synchronous = 'FULL',
}: {
  folder: string;
  synchronous?: 'FULL' | 'OFF';
}): OpenedDatabase {
  const memory = folder === ':memory:';
  if (!memory) makeFolder(folder);
  // Bodies and the key that signs lease tokens stand in it: made for its owner alone, also in a folder that was there before.
  if (!memory) closeSync(openSync(join(folder, 'waitless.db'), 'a', 0o600));
  const db = new Database(memory ? ':memory:' : join(folder, 'waitless.db'), { timeout: 0 });
  try {
    // Twice the usual page: bodies of a kilobyte fill it better and a commit makes half as many system calls (16 against 18 µs of
    // processor per stored request); pages of 16 KB gain nothing more and make a lone commit write more.
    db.pragma('page_size = 8192');
    // Must come before the first table; later it would need a VACUUM of the whole file.
    db.pragma('auto_vacuum = INCREMENTAL');
    // Two servers on one folder would each believe to own the push leases; the second fails here within milliseconds.
    db.pragma('locking_mode = EXCLUSIVE');
    db.pragma('journal_mode = WAL');
    // better-sqlite3 is compiled with NORMAL for WAL although the pragma answers FULL on a fresh file:
    // without this line acknowledged rows were lost in every simulated power cut.
    db.pragma(`synchronous = ${synchronous}`);
    db.pragma('fullfsync = ON');
    // 8 MB of page cache (below, the index pages of a million rows are read again and again; above, memory for nothing) and no mapping,
    // which would count as resident memory.
    db.pragma('cache_size = -8192');
    db.pragma('mmap_size = 0');
    db.pragma('temp_store = MEMORY');
    // A checkpoint each 2,000 pages (16 MB): smaller ones rewrite the same hot pages more often, larger ones cost recovery time after a kill.
    db.pragma('wal_autocheckpoint = 2000');
    db.pragma('journal_size_limit = 67108864');
    migrate(db);
  } catch (error) {
    db.close();
    if ((error as { code?: string }).code === 'SQLITE_BUSY') {
      throw new WaitlessError(
        'storage-unavailable',
        `another process has the store in ${folder} open; stop it or choose another --data folder`,
        { cause: error },
      );
    }
    throw error;
  }
  const meta = db.prepare<[string], string>('SELECT value FROM meta WHERE key = ?').pluck();
  return { db, storeKey: meta.get('store_key')!, lastTimeMs: Number(meta.get('last_time') ?? 0) };
}

/** Readable by its owner alone. By hand, because the recursive option of node never returns under /proc. */
function makeFolder(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT' || dirname(path) === path) throw error;
    makeFolder(dirname(path));
    mkdirSync(path, { mode: 0o700 });
  }
}

function migrate(db: Db): void {
  const files = readdirSync(migrationsFolder)
    .filter((f) => f.endsWith('.sql'))
    .sort();
  const have = db.pragma('user_version', { simple: true }) as number;
  if (have > files.length) {
    throw new WaitlessError(
      'storage-unavailable',
      `the store has schema ${have} and this version knows ${files.length}; start the newer version of Waitless that wrote it`,
    );
  }
  for (const [index, file] of files.entries()) {
    if (index < have) continue;
    const sql = readFileSync(new URL(file, migrationsFolder), 'utf8');
    // One transaction per step, the version with it: a kill in the middle leaves the step undone.
    db.transaction(() => {
      db.exec(sql);
      if (index === 0)
        db.prepare('INSERT INTO meta (key, value) VALUES (?, ?)').run('store_key', randomBytes(32).toString('hex'));
      db.pragma(`user_version = ${index + 1}`);
    }).exclusive();
  }
}
