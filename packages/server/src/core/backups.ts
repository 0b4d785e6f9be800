// Backups: one at a time, into a folder of the server's own, whoever asked for it and whether or not they wait.
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { WaitlessError } from '@waitless/protocol';
import type { Engine } from '../engine/engine.ts';
import type { Log } from '../lib/log.ts';
import type { Service } from '../lib/service.ts';

/** The last backup since the server has started. Times in milliseconds since 1970. */
export interface Backup {
  readonly state: 'running' | 'done' | 'failed';
  readonly startedAt: number;
  /** Where it is, once it is whole. */
  readonly file: string | null;
  readonly bytes: number | null;
  readonly createdAt: number | null;
  readonly copiedBytes: number;
  readonly totalBytes: number | null;
  readonly error: Error | null;
}

export interface BackupsDependencies {
  engine: Pick<Engine, 'backup'>;
  /** Where copies go; undefined where the store cannot copy itself, and `instead` says what to do. */
  folder: string | undefined;
  instead: string;
  /** The machine's own time: names of files are read by people. */
  wallMs?: () => number;
  log: Log;
}

/** 2026-01-31T12-30-00-250Z: sorts by time, and no file system objects to it. */
const stamp = (ms: number): string => new Date(ms).toISOString().replace(/[:.]/g, '-');
/** A copy that was not finished, because its server was killed. */
const leftOver = /^waitless-[\dTZ-]+\.db\.partial(-journal|-wal|-shm)?$/;

export class Backups implements Service {
  readonly name = 'backups';
  readonly #d: BackupsDependencies;
  readonly #stop = new AbortController();
  #last: Backup | undefined;
  #ended: Promise<Backup> = Promise.resolve(undefined as never);

  constructor(dependencies: BackupsDependencies) {
    this.#d = dependencies;
  }

  /** The one under way, else the last. */
  get last(): Backup | undefined {
    return this.#last;
  }

  /** Begins one. Throws where the store cannot, and while another is made. The promise never rejects: how it ended is in what it resolves with. */
  begin(): Promise<Backup> {
    const { folder, instead, engine } = this.#d;
    if (folder === undefined || !engine.backup) throw new WaitlessError('backup-elsewhere', instead);
    if (this.#stop.signal.aborted) throw new WaitlessError('shutting-down', undefined, { retryAfterSeconds: 1 });
    if (this.#last?.state === 'running')
      throw new WaitlessError(
        'backup-in-progress',
        `a backup has been under way since ${new Date(this.#last.startedAt).toISOString()}; GET /v1/backup shows how far it is`,
      );
    const startedAt = (this.#d.wallMs ?? Date.now)();
    this.#last = {
      state: 'running',
      startedAt,
      file: null,
      bytes: null,
      createdAt: null,
      copiedBytes: 0,
      totalBytes: null,
      error: null,
    };
    return (this.#ended = this.#make(folder, startedAt));
  }

  start(): Promise<void> {
    return Promise.resolve();
  }

  /** Gives up what is under way; nothing is left of it. */
  async stop(): Promise<void> {
    this.#stop.abort(
      new WaitlessError('shutting-down', 'the server was stopped during the backup', { retryAfterSeconds: 1 }),
    );
    await this.#ended;
  }

  async #make(folder: string, startedAt: number): Promise<Backup> {
    const { engine, log, wallMs = Date.now } = this.#d;
    const file = join(folder, `waitless-${stamp(startedAt)}.db`);
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      for (const name of await readdir(folder)) if (leftOver.test(name)) await rm(join(folder, name), { force: true });
      const { bytes } = await engine.backup!(file, {
        signal: this.#stop.signal,
        onProgress: (progress) => (this.#last = { ...this.#last!, ...progress }),
      });
      this.#last = {
        ...this.#last!,
        state: 'done',
        file,
        bytes,
        createdAt: wallMs(),
        copiedBytes: bytes,
        totalBytes: bytes,
      };
      log.info?.('backup.done', { file, bytes });
    } catch (error) {
      const told = this.#stop.signal.aborted ? (this.#stop.signal.reason as Error) : asProblem(error, folder);
      this.#last = { ...this.#last!, state: 'failed', error: told };
      log.warn('backup.failed', { file, error });
    }
    return this.#last;
  }
}

/** What the system says about the folder, as a sentence for whoever asked. */
function asProblem(error: unknown, folder: string): Error {
  if (error instanceof WaitlessError) return error;
  const { code } = error as { code?: string };
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new WaitlessError('insufficient-storage', `there is no room in ${folder}`);
  return new WaitlessError(
    'storage-unavailable',
    `the backup could not be written to ${folder}${code === undefined ? '' : ` (${code})`}; see the server's log`,
  );
}
