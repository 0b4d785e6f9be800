// Store files that no server has open: opened by one process alone, and looked at whether they are whole.
import { closeSync, openSync, readdirSync, readSync } from 'node:fs';
import Database from 'better-sqlite3';
import type { Db } from './database.ts';

/** What is wrong with a file that should be a store; a sentence without its name. */
export class NoStore extends Error {
  override readonly name = 'NoStore';
  readonly kind: 'other' | 'damaged' | 'newer';

  constructor(kind: NoStore['kind'], sentence: string) {
    super(sentence);
    this.kind = kind;
  }
}

const magic = 'SQLite format 3\0';

/** Newest schema that this version knows. */
export const newestSchema = (): number =>
  readdirSync(new URL('./migrations/', import.meta.url)).filter((name) => name.endsWith('.sql')).length;

/** Opens a store file for this process alone; SQLITE_BUSY where another one has it open. */
export function openAlone(path: string): Db {
  const db = new Database(path, { timeout: 0, fileMustExist: true });
  try {
    db.pragma('locking_mode = EXCLUSIVE');
    db.pragma('synchronous = FULL');
    db.pragma('fullfsync = ON');
    // The lock is taken by the first write transaction, and what a killed server has left in its log is taken in.
    db.exec('BEGIN IMMEDIATE; COMMIT');
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** Throws NoStore where the bytes at the beginning are not those of a SQLite file. */
export function checkBeginning(path: string): void {
  const file = openSync(path, 'r');
  try {
    const start = Buffer.alloc(magic.length);
    const length = readSync(file, start, 0, start.length, 0);
    if (length < start.length || start.toString('latin1') !== magic)
      throw new NoStore('other', 'it is no store of Waitless; give a file that waitless backup has made');
  } finally {
    closeSync(file);
  }
}

/**
 * Makes a copy one that needs no file beside it, and looks whether it is a whole store of a schema that is known here. Throws NoStore where it is not.
 * @param how `quick` reads every page; `full` also holds every index against its table, which takes several times as long
 */
export function checkCopy(path: string, how: 'quick' | 'full'): void {
  checkBeginning(path);
  let db: Db | undefined;
  try {
    db = openAlone(path);
    const schema = db.pragma('user_version', { simple: true }) as number;
    const found = db
      .prepare("SELECT count(*) FROM sqlite_schema WHERE name IN ('meta', 'operation', 'request')")
      .pluck();
    if (found.get() !== 3)
      throw new NoStore('other', 'it is a database of something else; give a file that waitless backup has made');
    if (schema > newestSchema())
      throw new NoStore(
        'newer',
        `it has schema ${schema} and this version knows ${newestSchema()}; use the newer version of Waitless that wrote it`,
      );
    const wrong = db
      .prepare<[], string>(how === 'quick' ? 'PRAGMA quick_check(1)' : 'PRAGMA integrity_check(1)')
      .pluck()
      .get();
    if (wrong !== 'ok')
      throw new NoStore('damaged', `it is damaged (${String(wrong).replace(/\s+/g, ' ')}); take another copy`);
    db.pragma('journal_mode = DELETE');
  } catch (error) {
    const { code = '', message } = error as { code?: string; message: string };
    if (/^SQLITE_(NOTADB|CORRUPT)/.test(code))
      throw new NoStore('damaged', `it is damaged (${message}); take another copy`);
    throw error;
  } finally {
    db?.close();
  }
}
