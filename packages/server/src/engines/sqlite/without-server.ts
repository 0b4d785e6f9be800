// What can be done with a store while no server has it open. The library that reads it is loaded by whoever does it: a server's own thread has no use for it.
import type { Restored } from './restore.ts';

export type { Restored } from './restore.ts';

/** Makes `data` the folder of a store that is as `file` says. Rejects with StoreRefused where the folder cannot take it, and with NoStore where the file is none. */
export const restoreStore = async (wanted: { file: string; data: string; nowMs: number }): Promise<Restored> =>
  (await import('./restore.ts')).restoreStore(wanted);

/** Copies the store of a folder into a new file. Rejects with StoreRefused where that cannot be. */
export const copyStoppedStore = async (wanted: { data: string; to: string }): Promise<{ bytes: number }> =>
  (await import('./restore.ts')).copyStoppedStore(wanted);
