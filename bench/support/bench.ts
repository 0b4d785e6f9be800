// What every row is given: its options, folders on a real disk, the processes it starts, and an end that leaves nothing behind.
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { Children } from './children.ts';
import { type CoreSpeed, startCoreSpeed } from './core-speed.ts';
import type { Figure } from './figures.ts';
import type { Progress } from './progress.ts';
import { accounted, type CpuSource } from './process-stats.ts';

export interface BenchOptions {
  /** Length of one run. */
  seconds: number;
  runs: number;
  /** Only the cases whose name contains this. */
  only: string | undefined;
  /** Where the stores are made. */
  folder: string;
  /** How many operations wait in the memory row and expire in the sweep row. */
  operations: number;
  /** Folder for CPU profiles of the servers under test. */
  cpuProfile: string | undefined;
}

export interface Row {
  name: string;
  /** One line for --help. */
  about: string;
  run(bench: Bench): Promise<Figure[]>;
}

/** Not promised by `statfs`, but what Linux calls a tmpfs since 2.4. */
const tmpfsType = 0x01021994;
/** Share of the machine for others from which on a run is disturbed. */
const mostOthers = 0.15;
/**
 * The same for the slowest core: against the fastest seen, and at all. A step takes four or five cycles, so that a core below 2 GHz fails
 * the second test for good; what it measures is no basis for comparison with the targets anyway.
 */
const mostSlowness = 1.4;
const slowStepNs = 2.5;

export interface Disturbance {
  /** Runs, disturbed ones among them, and disturbed ones that were kept for want of better. */
  runs: number;
  disturbed: number;
  kept: number;
  /** Largest share of the machine that others took, 0 to 1. */
  others: number;
  /** Nanoseconds per step of the core probe, see core-speed.ts. */
  fastestCoreNs: number;
  slowestCoreNs: number;
}

export class Bench {
  readonly options: BenchOptions;
  readonly children = new Children();
  readonly disturbance: Disturbance = {
    runs: 0,
    disturbed: 0,
    kept: 0,
    others: 0,
    fastestCoreNs: Number.POSITIVE_INFINITY,
    slowestCoreNs: 0,
  };
  readonly #coreSpeed: CoreSpeed = startCoreSpeed();
  readonly #progress: Progress;
  readonly #root: string;
  #files = 0;
  #disturbed = false;

  constructor(options: BenchOptions, progress: Progress) {
    this.options = options;
    this.#progress = progress;
    mkdirSync(options.folder, { recursive: true });
    if (statfsSync(options.folder).type === tmpfsType)
      throw new Error(
        `${options.folder} is in memory (tmpfs), where a sync costs nothing; give a folder on a disk with --dir`,
      );
    this.#root = mkdtempSync(join(options.folder, 'waitless-bench-'));
    // Servers that refuse to run as root have folders in here: they must get through, but see no names.
    chmodSync(this.#root, 0o711);
  }

  newFile(name: string): string {
    return join(this.#root, `${++this.#files}-${name}`);
  }

  newFolder(): string {
    const folder = this.newFile('store');
    mkdirSync(folder);
    return folder;
  }

  removeFolder(folder: string): void {
    rmSync(folder, { recursive: true, force: true });
  }

  wants(caseName: string): boolean {
    return this.options.only === undefined || caseName.includes(this.options.only);
  }

  step(text: string): void {
    this.#progress.show(text);
  }

  /**
   * Does `once` until `runs` undisturbed samples are there, at most twice as often; then disturbed ones fill up.
   * What others on the machine did is judged by the calls of `measure` inside.
   */
  async repeat<T>(what: string, once: (run: number) => Promise<T>, runs: number = this.options.runs): Promise<T[]> {
    const quiet: T[] = [];
    const disturbed: T[] = [];
    for (let run = 1; quiet.length < runs && run <= runs * 2; run++) {
      this.step(
        `${what}, ${quiet.length} of ${runs} runs${disturbed.length > 0 ? ` and ${disturbed.length} disturbed` : ''}`,
      );
      this.#disturbed = false;
      const sample = await once(run);
      (this.#disturbed ? disturbed : quiet).push(sample);
    }
    const kept = disturbed.slice(0, runs - quiet.length);
    this.disturbance.runs += quiet.length + disturbed.length;
    this.disturbance.disturbed += disturbed.length;
    this.disturbance.kept += kept.length;
    return [...quiet, ...kept];
  }

  /** CPU seconds of each of `sources` while `work` ran. */
  async measure<T>(sources: readonly CpuSource[], work: () => Promise<T>): Promise<{ result: T; cpu: number[] }> {
    const before = await this.#coreSpeed.probe();
    const { result, cpu, others } = await accounted(sources, work);
    const after = await this.#coreSpeed.probe();
    const seen = this.disturbance;
    seen.others = Math.max(seen.others, others);
    seen.fastestCoreNs = Math.min(seen.fastestCoreNs, before, after);
    seen.slowestCoreNs = Math.max(seen.slowestCoreNs, before, after);
    const slowest = Math.max(before, after);
    if (others > mostOthers || slowest > slowStepNs || slowest > seen.fastestCoreNs * mostSlowness)
      this.#disturbed = true;
    return { result, cpu };
  }

  async end(): Promise<void> {
    await Promise.all([this.children.stopAll(), this.#coreSpeed.stop()]);
    this.#progress.clear();
    rmSync(this.#root, { recursive: true, force: true });
  }
}
