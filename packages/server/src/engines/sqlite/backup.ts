// A backup as the server's side sees it: room, a temporary name, the copy made by the store, the look at it, the sync, and only then its name.
import { chmod, open, rename, stat, statfs } from 'node:fs/promises';
import { closeSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { type MessagePort, Worker } from 'node:worker_threads';
import { WaitlessError } from '@waitless/protocol';
import type { BackupOptions, BackupDone } from '../../engine/engine.ts';
import type { CopyNews, CopyWanted } from './copying.ts';
import { removeCopy, syncFolderOf } from './copy-files.ts';
import { toCallerError } from './store-error.ts';

/** Left free beside the copy: the store itself must not meet a full disk because of its backup. */
const roomLeftBytes = 48 * 1024 * 1024;
/** Copied between two syncs. Without them the last commit of the copy would sync all of it at once, in the store's thread. */
const syncEveryBytes = 4 * 1024 * 1024;

const noRoom = (folder: string): WaitlessError =>
  new WaitlessError(
    'insufficient-storage',
    `there is not enough room in ${folder} for a backup; free some, or start the server with --backup-folder on another disk`,
  );

const freeBytes = async (folder: string): Promise<number> => {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
};

/**
 * Copies the store through the port of its thread to the path `to`, where a whole copy is when this resolves, and nothing otherwise.
 * @param storeBytes how large the store is, about
 */
export async function backUp(
  port: MessagePort,
  { to, storeBytes, signal, onProgress }: { to: string; storeBytes: number } & BackupOptions,
): Promise<BackupDone> {
  signal?.throwIfAborted();
  const folder = dirname(to);
  if ((await freeBytes(folder)) < storeBytes + roomLeftBytes) throw noRoom(folder);
  const partial = `${to}.partial`;
  // It holds all that the store holds: nobody else may read it, not even while it grows.
  closeSync(openSync(partial, 'wx', 0o600));
  try {
    await copyTo(port, partial, { folder, signal, onProgress });
    await checked(partial, signal);
    await chmod(partial, 0o600);
    await synced(partial);
    signal?.throwIfAborted();
    await rename(partial, to);
    syncFolderOf(to);
    return { bytes: (await stat(to)).size };
  } catch (error) {
    removeCopy(partial);
    throw (error as { code?: string }).code === 'ENOSPC' ? noRoom(folder) : error;
  }
}

async function synced(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Resolves when the store's thread has closed the copy, so that it can be removed. */
async function copyTo(
  port: MessagePort,
  path: string,
  { folder, signal, onProgress }: { folder: string } & BackupOptions,
): Promise<void> {
  const say = (wanted: CopyWanted): void => port.postMessage(wanted);
  let refused: Error | undefined;
  const giveUp = (reason: Error): void => {
    refused ??= reason;
    say({ giveUp: true });
  };
  const onAbort = (): void => giveUp(signal!.reason as Error);
  let syncedAt = 0;
  let syncing: Promise<void> | undefined;
  const settle = async (copied: number): Promise<void> => {
    syncedAt = copied;
    await synced(path);
    if ((await freeBytes(folder)) < roomLeftBytes) giveUp(noRoom(folder));
  };
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    await new Promise<void>((resolve, reject) => {
      const onNews = (news: CopyNews): void => {
        if ('copied' in news) {
          onProgress?.({ copiedBytes: news.copied, totalBytes: news.total });
          if (!syncing && news.copied - syncedAt >= syncEveryBytes)
            syncing = settle(news.copied)
              .catch((error: Error) => giveUp(error))
              .finally(() => (syncing = undefined));
          return;
        }
        port.off('message', onNews).off('close', onClose);
        if ('done' in news) resolve();
        else reject(refused ?? (news.failed.code === 'SQLITE_FULL' ? noRoom(folder) : toCallerError(news.failed)));
      };
      const onClose = (): void =>
        reject(new WaitlessError('storage-unavailable', 'the store was closed during the backup'));
      port.on('message', onNews).once('close', onClose);
      say({ copyTo: path });
    });
    if (refused) throw refused;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    await syncing;
  }
}

/** Rejects where the copy is not whole. */
async function checked(path: string, signal: AbortSignal | undefined): Promise<void> {
  const url = new URL(import.meta.url.endsWith('.ts') ? './check-thread.ts' : './check-thread.js', import.meta.url);
  const thread = new Worker(url, { workerData: { path } });
  const end = (): void => void thread.terminate();
  signal?.addEventListener('abort', end, { once: true });
  try {
    const failed = await new Promise<string | null>((resolve, reject) => {
      thread.once('message', resolve);
      thread.once('error', reject);
      thread.once('exit', () => reject(signal?.reason ?? new Error('the look at the copy ended without a word')));
    });
    if (failed !== null) throw new WaitlessError('storage-unavailable', `the backup is not whole: ${failed}`);
  } finally {
    signal?.removeEventListener('abort', end);
    await thread.terminate();
  }
}
