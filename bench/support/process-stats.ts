// What the kernel knows about processes: CPU time, memory, and how busy the whole machine was.
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** Ticks of /proc per second: USER_HZ, 100 on every Linux that Node runs on. */
export const ticksPerSecond = 100;

/** User and system time of a process with all its threads, in seconds, in steps of 10 ms. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The name in parentheses may hold spaces; utime and stime are the 12th and 13th field after it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** Busy time of all cores since the machine started, in seconds. */
function machineSeconds(): number {
  const fields = readFileSync('/proc/stat', 'latin1').split('\n', 1)[0]!.trim().split(/\s+/).slice(1).map(Number);
  const [user = 0, nice = 0, system = 0, , , interrupt = 0, softInterrupt = 0] = fields;
  return (user + nice + system + interrupt + softInterrupt) / ticksPerSecond;
}

const kilobytes = (text: string, field: string): number =>
  Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? Number.NaN);

/** Resident memory of a process in MiB: all of it, and with shared pages divided among those who share them. */
export function memoryMiB(pid: number): { rss: number; pss: number } {
  return {
    rss: kilobytes(readFileSync(`/proc/${pid}/status`, 'latin1'), 'VmRSS') / 1024,
    pss: kilobytes(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'), 'Pss') / 1024,
  };
}

/** A process by its number, or a way to read the CPU seconds of something larger. */
export type CpuSource = number | (() => number);

const read = (source: CpuSource): number => (typeof source === 'number' ? cpuSeconds(source) : source());

/** CPU seconds per source while `work` ran, and the share of the machine (0 to 1) that went to processes other than these. */
export async function accounted<T>(
  sources: readonly CpuSource[],
  work: () => Promise<T>,
): Promise<{ result: T; cpu: number[]; others: number }> {
  const ours = [process.pid, ...sources];
  const before = ours.map(read);
  const machineBefore = machineSeconds();
  const started = performance.now();
  const result = await work();
  const seconds = (performance.now() - started) / 1000;
  const spent = ours.map((source, i) => read(source) - before[i]!);
  const all = spent.reduce((sum, s) => sum + s, 0);
  const others = Math.max(0, machineSeconds() - machineBefore - all) / (seconds * availableParallelism());
  return { result, cpu: spent.slice(1), others };
}
