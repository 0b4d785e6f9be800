// A disk that is soon full: a file system in memory of a given size, for one test.
import { execFile } from 'node:child_process';
import { mkdir, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { cleanUp } from './cleanup.ts';
import { temporaryFolder } from './server.ts';

const run = promisify(execFile);

export interface SmallDisk {
  readonly folder: string;
  /** Takes all the room but so much, as somebody else's file would. */
  occupyAllBut(megabytes: number): Promise<void>;
  /** Gives that room back. */
  free(): Promise<void>;
}

/** Mounts the disk, or says why it cannot. */
export async function makeSmallDisk(t: TestContext, { megabytes }: { megabytes: number }): Promise<SmallDisk | string> {
  if (process.platform !== 'linux') return 'mounting a small disk as here needs Linux';
  if (process.getuid?.() !== 0) return 'mounting a small disk needs root';
  const folder = join(await temporaryFolder(t), 'disk');
  await mkdir(folder);
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder]);
  } catch (error) {
    return `no small disk can be mounted: ${(error as Error).message.split('\n')[0]}`;
  }
  cleanUp(t, () => run('umount', [folder]));
  const other = join(folder, 'somebody-elses-file');
  return {
    folder,
    async occupyAllBut(left) {
      const { bavail, bsize } = await statfs(folder);
      await writeFile(other, Buffer.alloc(Math.max(0, bavail * bsize - left * 1024 * 1024)));
    },
    free: () => rm(other),
  };
}
