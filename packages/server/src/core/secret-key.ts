// The key that secrets of the store are sealed with: a file outside the data, so that who has a copy of the store has no secret.
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { link, mkdir, open, realpath, rm } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { WaitlessError } from '@waitless/protocol';
import { type SealingKey, sealingKey, sealingKeyBytes } from '../lib/seal.ts';

export interface SecretKey {
  /** Where it lies, for sentences to the operator. */
  readonly place: string;
  /** Undefined where there is none yet. Throws `secrets-locked` for one that must not be used. */
  find(): Promise<SealingKey | undefined>;
  /** The one there is, else a new one. */
  make(): Promise<SealingKey>;
}

const newBytes = (): Uint8Array => randomBytes(sealingKeyBytes);

/** For a store that is gone at the end, and its secrets with it. */
export function keyInMemory(): SecretKey {
  const key = sealingKey(newBytes());
  return { place: 'memory', find: () => Promise.resolve(key), make: () => Promise.resolve(key) };
}

/** For a server that was told no place and finds none by itself. */
export function noPlaceForKey(): SecretKey {
  const refuse = (): never => {
    throw locked(
      'there is no place for the secret key: HOME is not set; start the server with --secret-key-file FILE, outside the data folder',
    );
  };
  return {
    place: 'no file',
    find: () => Promise.resolve(undefined),
    make: () => Promise.resolve().then(refuse),
  };
}

/** One line of base64, so that it survives editors and secret stores: `openssl rand -base64 32` makes one too. */
export function keyInFile({ path, outside }: { path: string; outside: string | undefined }): SecretKey {
  const find = async (): Promise<SealingKey | undefined> => {
    try {
      const file = await open(path, 'r');
      try {
        const { mode, uid } = await file.stat();
        refuseOpen(path, { mode, uid });
        await refuseInside(path, outside);
        return keyOf(path, await file.readFile('latin1'));
      } finally {
        await file.close();
      }
    } catch (error) {
      if ((error as { code?: string }).code === 'ENOENT') return undefined;
      throw asLocked(error, 'read', path);
    }
  };
  const make = async (): Promise<SealingKey> => {
    const there = await find();
    if (there) return there;
    try {
      await write(path, outside);
    } catch (error) {
      // Another server of this machine was first: its key is the one.
      if ((error as { code?: string }).code !== 'EEXIST') throw asLocked(error, 'made', path);
    }
    return (await find()) ?? Promise.reject(locked(`the secret key file ${path} was removed again meanwhile`));
  };
  return { place: path, find, make };
}

/** Whole under its name or not there: a second server that starts in this moment never reads half a key. */
async function write(path: string, outside: string | undefined): Promise<void> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await refuseInside(join(folder, 'key'), outside);
  const draft = `${path}.${randomBytes(6).toString('hex')}`;
  const file = await open(draft, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    try {
      await file.writeFile(`${Buffer.from(newBytes()).toString('base64')}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await link(draft, path);
  } finally {
    await rm(draft, { force: true });
  }
  // A key that a power cut takes away takes every secret with it. Not all systems can sync a folder.
  const entry = await open(folder, 'r').catch(() => undefined);
  await entry?.sync().catch(() => {});
  await entry?.close();
}

/** As PostgreSQL judges keys: others never; the group may read one that root has put there, as container platforms do. */
function refuseOpen(path: string, { mode, uid }: { mode: number; uid: number }): void {
  if (process.platform === 'win32') return;
  if ((mode & 0o027) === 0 && ((mode & 0o040) === 0 || uid === 0)) return;
  throw locked(`the secret key file ${path} is open to other users; close it with: chmod 600 ${path}`);
}

/** The configuration has compared the names; links may still lead into the data folder. */
async function refuseInside(path: string, outside: string | undefined): Promise<void> {
  if (outside === undefined) return;
  const [file, data] = [await realpath(dirname(path)), await realpath(outside).catch(() => outside)];
  if (file === data || file.startsWith(data + sep))
    throw locked(`the secret key file ${path} lies in the data folder, and every copy of that would hold it; move it`);
}

function keyOf(path: string, text: string): SealingKey {
  const bytes = /^[A-Za-z0-9+/]{43}=\s*$/.test(text) ? Buffer.from(text, 'base64') : undefined;
  if (bytes?.length !== sealingKeyBytes)
    throw locked(
      `the secret key file ${path} holds no key, which is one line of 32 bytes in base64; bring back the right file, or move it away and rotate`,
    );
  return sealingKey(bytes);
}

export const locked = (sentence: string): WaitlessError => new WaitlessError('secrets-locked', sentence);

function asLocked(error: unknown, what: 'read' | 'made', path: string): WaitlessError {
  if (error instanceof WaitlessError) return error;
  const { code } = error as { code?: string };
  return locked(
    `the secret key file ${path} cannot be ${what}${code === undefined ? '' : ` (${code})`}; mend that, or start the server with --secret-key-file FILE`,
  );
}
