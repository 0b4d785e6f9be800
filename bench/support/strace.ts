// Counting and slowing the syncs of a server from outside with strace, so that nothing in the server knows about it.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';

export type Tracing = { countTo: string } | { delaySyncsMs: number };

const syncCalls = 'fdatasync,fsync';

/** `strace` and its options, to stand before a command. Only the syncs stop the process; every other call runs at full speed. */
export function straceCommand(tracing: Tracing): string[] {
  // -D: the traced process is our child and strace hangs on it, so that ending the one by its pid ends the other.
  const command = ['strace', '-D', '-f', '-qq', '--seccomp-bpf', '-e', 'signal=none', '-e', `trace=${syncCalls}`];
  if ('countTo' in tracing) return [...command, '-ttt', '-o', tracing.countTo];
  if (tracing.delaySyncsMs > 0) command.push('-e', `inject=${syncCalls}:delay_enter=${tracing.delaySyncsMs * 1000}`);
  return [...command, '-o', '/dev/null'];
}

/** Why strace cannot be used here, or undefined. */
export async function straceMissing(): Promise<string | undefined> {
  try {
    await promisify(execFile)('strace', [
      '-D',
      '-f',
      '-qq',
      '--seccomp-bpf',
      '-e',
      'trace=fsync',
      '-o',
      '/dev/null',
      'true',
    ]);
    return undefined;
  } catch (error) {
    const { code, stderr = '' } = error as { code?: unknown; stderr?: string };
    return code === 'ENOENT'
      ? 'strace is not installed'
      : `strace does not work here: ${stderr.trim().split('\n', 1)[0]}`;
  }
}

/** Syncs begun in a span of time (milliseconds since 1970) according to a finished trace. */
export function countSyncs(file: string, { fromMs, toMs }: { fromMs: number; toMs: number }): number {
  let count = 0;
  for (const match of readFileSync(file, 'latin1').matchAll(/^\d+ +(\d+\.\d+) (?:fdatasync|fsync)\(/gm)) {
    const at = Number(match[1]) * 1000;
    if (at >= fromMs && at <= toMs) count++;
  }
  return count;
}
