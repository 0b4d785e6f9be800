// Room kept for bad days: a file that is given up when the disk is full, so that the work in hand can still be recorded
// while new work is refused.
import { closeSync, fsyncSync, openSync, rmSync, statfsSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** Below, a busy server fills it with the answers of its running work; above, small disks lose too much to it. */
const ballastBytes = 16 * 1024 * 1024;
/** Free space beyond the ballast before new work is taken again: without it, full and not full would alternate. */
const marginBytes = 8 * 1024 * 1024;
const chunk = Buffer.alloc(1024 * 1024);

export class Ballast {
  readonly #file: string | undefined;
  #folder: string;
  /** New work is refused. */
  full = false;

  /** @param folder of the store, or `:memory:`, where a disk cannot be full */
  constructor(folder: string) {
    this.#folder = folder;
    this.#file = folder === ':memory:' ? undefined : join(folder, 'ballast');
  }

  /** Takes the room where it is not taken yet, and new work again once there is enough. */
  fill(): void {
    if (this.#file === undefined || this.#filled()) return;
    const { bavail, bsize } = statfsSync(this.#folder);
    if (bavail * bsize < ballastBytes + marginBytes) return;
    try {
      const file = openSync(this.#file, 'w', 0o600);
      try {
        for (let written = 0; written < ballastBytes; written += chunk.length) writeSync(file, chunk);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      this.full = false;
    } catch {
      // Somebody else took the room meanwhile: a half-made ballast would only be in the way.
      rmSync(this.#file, { force: true });
    }
  }

  #filled(): boolean {
    try {
      const filled = statSync(this.#file!).size >= ballastBytes;
      if (filled) this.full = false;
      return filled;
    } catch {
      return false;
    }
  }

  /** The disk is full: gives up the room and refuses new work. */
  drop(): void {
    this.full = true;
    if (this.#file !== undefined) rmSync(this.#file, { force: true });
  }
}
