// Whether a server has the store in a folder open, asked without changing anything in it.
import { existsSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Database } from 'better-sqlite3';

/** True when another process holds the store. False also where there is none, or where it cannot be looked at. */
export function isStoreInUse(folder: string): boolean {
  const path = join(folder, 'waitless.db');
  if (!existsSync(path)) return false;
  const index = `${path}-shm`;
  const hadIndex = existsSync(index);
  let db: Database | undefined;
  try {
    // Loaded for whoever asks: a server has the library in its store's thread alone.
    const open = createRequire(import.meta.url)('better-sqlite3') as typeof import('better-sqlite3');
    db = new open(path, { timeout: 0, readonly: true });
    db.pragma('user_version');
    return false;
  } catch (error) {
    return String((error as { code?: unknown }).code).startsWith('SQLITE_BUSY');
  } finally {
    db?.close();
    // A reader of what a killed server left makes this file, and servers, who have the store for themselves, never do.
    if (!hadIndex) rmSync(index, { force: true });
  }
}
