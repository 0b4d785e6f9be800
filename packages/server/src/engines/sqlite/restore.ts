// Puts a backup back into a data folder, and makes one of a store that no server has open: what the command does without a server.
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { StoreRefused } from '../../engine/refused.ts';
import { leaseKinds, stage } from '../rows.ts';
import { removeCopy, syncFolderOf, syncPath } from './copy-files.ts';
import { checkBeginning, checkCopy, openAlone } from './store-file.ts';

/** Numbers of operations that stay unused at the least, and for each millisecond since the copy was made. */
const spareNumbers = 2 ** 32;
const spareNumbersPerMs = 100;
/** Lease numbers of open operations that stay unused. */
const spareLeases = 1_000_000;
/** Nobody waits for this process meanwhile. */
const pagesAtOnce = 1024;

const isBusy = (error: unknown): boolean => String((error as { code?: string }).code).startsWith('SQLITE_BUSY');

/** Moves `from` to `to` unless there is something already; true when it did. */
function moveTo(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    rmSync(from);
    return true;
  } catch (error) {
    const { code = '' } = error as { code?: string };
    if (code === 'EEXIST') return false;
    // A file system without links.
    if (!/^(EPERM|ENOTSUP|EOPNOTSUPP|ENOSYS|EMLINK)$/.test(code)) throw error;
    if (existsSync(to)) return false;
    renameSync(from, to);
    return true;
  }
}

/** A sentence about a folder that holds a store: whether a server works on it, and what to do. */
function occupied(data: string): StoreRefused {
  try {
    openAlone(join(data, 'waitless.db')).close();
  } catch (error) {
    if (isBusy(error))
      return new StoreRefused(`a server works on the store in ${data}; stop it first, or restore into another folder`);
  }
  return new StoreRefused(
    `${data} has a store already, and restoring would end it; move its files away, or restore into another folder`,
  );
}

export interface Restored {
  readonly bytes: number;
  /** When the store that was copied was last written to, in milliseconds since 1970; 0 where it does not say. */
  readonly lastTimeMs: number;
  readonly schema: number;
  readonly warnings: readonly string[];
}

/**
 * Makes `data` the folder of a store that is as `file` says. The file itself is only read. Throws StoreRefused where the folder cannot take it
 * and NoStore where the file is none, and leaves nothing behind then.
 */
export function restoreStore({ file, data, nowMs }: { file: string; data: string; nowMs: number }): Restored {
  checkBeginning(file);
  const target = join(data, 'waitless.db');
  if (existsSync(target)) throw occupied(data);
  // It would be taken for the log of what is restored, and spoil it.
  const strays = ['waitless.db-wal', 'waitless.db-journal'].filter((name) => existsSync(join(data, name)));
  if (strays.length > 0)
    throw new StoreRefused(
      `${data} has ${strays.join(' and ')}, what a store that is not there has not finished; move it to where its waitless.db is`,
    );
  mkdirSync(data, { recursive: true, mode: 0o700 });
  const partial = join(data, 'waitless.db.restoring');
  removeCopy(partial);
  try {
    closeSync(openSync(partial, 'wx', 0o600));
    copyFileSync(file, partial);
    chmodSync(partial, 0o600);
    const warnings: string[] = [];
    const log = `${file}-wal`;
    if (existsSync(log) && statSync(log).size > 0) copyFileSync(log, `${partial}-wal`);
    else if (wasLive(file))
      warnings.push(
        `${file} was copied out of a data folder and not made by waitless backup; if the server ran meanwhile, work that was acknowledged may be missing in it.`,
      );
    checkCopy(partial, 'full');
    const { lastTimeMs, schema } = beginAnew(partial, nowMs);
    syncPath(partial);
    if (!moveTo(partial, target)) throw occupied(data);
    syncFolderOf(target);
    syncFolderOf(data);
    return { bytes: statSync(target).size, lastTimeMs, schema, warnings };
  } catch (error) {
    removeCopy(partial);
    throw error;
  }
}

/** Byte 18 of a SQLite file is 2 while it is kept with a log beside it, as that of a server is; backups are made to need none. */
function wasLive(path: string): boolean {
  const file = openSync(path, 'r');
  try {
    const at = Buffer.alloc(1);
    return readSync(file, at, 0, 1, 18) === 1 && at[0] === 2;
  } finally {
    closeSync(file);
  }
}

/**
 * The store that was copied went on, perhaps, and so did those who hold its tokens. What it may have given out since must not fit anything that this one
 * gives out: its log has another name, its operations begin far beyond, and open ones that no worker holds get lease numbers of their own. Leases of workers
 * and of backends that answer later keep theirs, and with them their tokens and reply URLs.
 */
function beginAnew(path: string, nowMs: number): { lastTimeMs: number; schema: number } {
  const db = openAlone(path);
  try {
    const meta = db.prepare<[string], number>('SELECT value FROM meta WHERE key = ?').pluck();
    const set = db.prepare('INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)');
    const lastTimeMs = Number(meta.get('last_time') ?? 0);
    const agoMs = lastTimeMs === 0 ? 0 : Math.max(0, nowMs - lastTimeMs);
    db.transaction(() => {
      db.exec("UPDATE meta SET value = lower(hex(randomblob(16))) WHERE key = 'epoch'");
      set.run('next_seq', Number(meta.get('next_seq') ?? 0) + spareNumbers + agoMs * spareNumbersPerMs);
      db.prepare(
        `UPDATE operation SET lease_no = lease_no + ? WHERE stage IN (${stage.ready}, ${stage.waiting}) OR (stage = ${stage.running} AND lease_kind = ${leaseKinds.push})`,
      ).run(spareLeases);
    }).exclusive();
    return { lastTimeMs, schema: db.pragma('user_version', { simple: true }) as number };
  } finally {
    db.close();
  }
}

/** Copies the store of a folder that no server works on into a new file. Throws StoreRefused where that cannot be. */
export async function copyStoppedStore({ data, to }: { data: string; to: string }): Promise<{ bytes: number }> {
  const source = join(data, 'waitless.db');
  if (!existsSync(source))
    throw new StoreRefused(`there is no store in ${data}; give the folder that waitless serve --data works on`);
  if (existsSync(to)) throw new StoreRefused(`there is a file ${to} already; give another name`);
  const partial = `${to}.partial`;
  removeCopy(partial);
  let db;
  try {
    db = openAlone(source);
  } catch (error) {
    if (isBusy(error))
      throw new StoreRefused(`a server works on the store in ${data}; ask it with: waitless backup --url URL`);
    throw error;
  }
  try {
    closeSync(openSync(partial, 'wx', 0o600));
    await db.backup(partial, { progress: () => pagesAtOnce });
    checkCopy(partial, 'quick');
    syncPath(partial);
    if (!moveTo(partial, to)) throw new StoreRefused(`there is a file ${to} already; give another name`);
    syncFolderOf(to);
    return { bytes: statSync(to).size };
  } catch (error) {
    removeCopy(partial);
    throw error;
  } finally {
    db.close();
  }
}
