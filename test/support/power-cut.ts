// A power cut on one machine: a disk image whose file system writes nothing by itself is copied the moment the process is killed. What
// was synced is in the copy; what only the page cache knew is not.
import { execFile } from 'node:child_process';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { cleanUp } from './cleanup.ts';
import { promisify } from 'node:util';
import { temporaryFolder } from './server.ts';

const run = promisify(execFile);

/** Why there can be no power cut here, or undefined. */
export async function whyNoPowerCut(t: TestContext): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'mounting a disk image as here needs Linux';
  if (process.getuid?.() !== 0) return 'mounting a disk image needs root';
  try {
    const disk = await makeDisk(t, { megabytes: 16 });
    await disk.cut();
    return undefined;
  } catch (error) {
    return `no disk image can be mounted: ${(error as Error).message.split('\n')[0]}`;
  }
}

export interface Disk {
  /** Where its file system is mounted. */
  readonly folder: string;
  /** Copies what has reached the disk and mounts the copy. Kill the process before; the disk itself stays as it is. */
  cut(): Promise<{ folder: string }>;
}

/** A disk of its own for one test: an ext4 file system in a file, whose journal is committed by a sync alone (or after five minutes). */
export async function makeDisk(t: TestContext, { megabytes }: { megabytes: number }): Promise<Disk> {
  const home = await temporaryFolder(t);
  const image = join(home, 'disk.img');
  // Set up in full now: work that the kernel does later for a lazy file system would carry other data to the disk.
  await run('truncate', ['-s', `${megabytes}M`, image]);
  await run('mkfs.ext4', ['-qF', '-E', 'lazy_itable_init=0,lazy_journal_init=0,nodiscard', image]);
  let copies = 0;

  async function mount(path: string, name: string): Promise<string> {
    const folder = join(home, name);
    await mkdir(folder);
    await run('mount', ['-o', 'loop,commit=300', path, folder]);
    cleanUp(t, () => run('umount', [folder]));
    return folder;
  }

  const folder = await mount(image, 'disk');
  return {
    folder,
    async cut() {
      const copy = join(home, `copy-${++copies}.img`);
      await run('cp', ['--sparse=always', image, copy]);
      return { folder: await mount(copy, `copy-${copies}`) };
    },
  };
}

/** Bytes that a server has given to write calls so far, apart from the ballast in its folder, which it syncs as a whole and never needs. */
export async function writtenBytes(pid: number, data: string): Promise<number> {
  const io = await readFile(`/proc/${pid}/io`, 'utf8');
  const ballast = await stat(join(data, 'ballast')).then(
    ({ size }) => size,
    () => 0,
  );
  return Number(/^wchar: (\d+)$/m.exec(io)![1]) - ballast;
}
