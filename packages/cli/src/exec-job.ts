// Does one job by running a command: the request's body is its input, what it prints is the result, its exit code says how it went.
import { spawn } from 'node:child_process';
import type { Job, Reply } from '@waitless/client';
import { mediaTypeOf } from './media-type.ts';
import { plain } from './text.ts';

export interface CommandSettings {
  /** For the shell. */
  command: string;
  cwd: string;
  env: Readonly<Record<string, string | undefined>>;
  onStderr: (chunk: Buffer) => void;
  /** Ends the command at once: this process is about to end. */
  hurry: AbortSignal;
}

/** EX_TEMPFAIL of sysexits.h: not now. */
const retryLater = 75;
/** What a shell says when it cannot run the command at all. */
const cannotRun: ReadonlySet<number | null> = new Set([126, 127]);
/** No service takes a larger result. */
const mostBytes = 512 * 1024 * 1024;
/** Between asking a command to end and ending it. */
const patienceMs = 5_000;

/** The job did not succeed. The worker reads `code`, `message` and `retry` of it. */
export class CommandFailed extends Error {
  override readonly name = 'CommandFailed';
  readonly code: 'command-failed' | 'command-killed' | 'command-not-found' | 'retry-later';
  /** Whether another attempt may succeed. */
  readonly retry: boolean;

  constructor(code: CommandFailed['code'], message: string, retry: boolean) {
    super(message);
    this.code = code;
    this.retry = retry;
  }
}

/** What the command knows of the job, beside its input. Names and values are the same in every language. */
export const variablesOf = (job: Job): Record<string, string> => ({
  WAITLESS_OPERATION_ID: job.id,
  WAITLESS_CORRELATION_ID: job.correlationId,
  WAITLESS_SERVICE: job.service,
  WAITLESS_ATTEMPT: String(job.attempt),
  WAITLESS_LAST_ATTEMPT: String(job.lastAttempt),
  WAITLESS_METHOD: job.method,
  WAITLESS_PATH: job.path,
  WAITLESS_QUERY: job.query,
  WAITLESS_CONTENT_TYPE: job.headers.get('content-type') ?? '',
  WAITLESS_DEADLINE: job.deadline ?? '',
});

/** What a command works on. */
export interface CommandWork {
  /** Its input. */
  body: Uint8Array;
  /** Beside those of this process. */
  variables: Readonly<Record<string, string>>;
  /** Its work is not wanted any more: ends the command. */
  signal: AbortSignal;
}

/** Runs the command to its end; what it prints is the reply, of this media type or of one that it looks like. Rejects with CommandFailed. */
export async function execJob(
  settings: CommandSettings & { contentType: string | undefined },
  job: Job,
): Promise<Reply> {
  const { body, signal } = job;
  const stdout = await runCommand(settings, { body, signal, variables: variablesOf(job) });
  return { headers: { 'Content-Type': settings.contentType ?? mediaTypeOf(stdout) }, body: stdout };
}

/** Runs the command to its end and resolves with what it printed. Rejects with CommandFailed. */
export async function runCommand(settings: CommandSettings, work: CommandWork): Promise<Buffer> {
  const { stdout, lastLine, code, signal } = await run(settings, work);
  const says = lastLine === '' ? '' : `${lastLine} `;
  if (signal !== null) throw new CommandFailed('command-killed', `${says}(killed by ${signal})`, true);
  if (code === 0) return stdout;
  const message = `${says}(exit code ${code})`;
  if (code === retryLater) throw new CommandFailed('retry-later', message, true);
  // The worker is at fault here and not the job, so another worker may do it.
  if (cannotRun.has(code)) throw new CommandFailed('command-not-found', message, true);
  throw new CommandFailed('command-failed', message, false);
}

interface Ended {
  stdout: Buffer;
  lastLine: string;
  code: number | null;
  signal: NodeJS.Signals | null;
}

function run({ command, cwd, env, onStderr, hurry }: CommandSettings, work: CommandWork): Promise<Ended> {
  // A group of its own: Ctrl-C in the terminal must not end what is to be finished, and everything that it starts can be ended with it.
  const grouped = process.platform !== 'win32';
  const child = spawn(command, {
    shell: true,
    cwd,
    env: { ...env, ...work.variables },
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: grouped,
  });
  const send = (signal: NodeJS.Signals): void => {
    try {
      if (grouped && child.pid !== undefined) process.kill(-child.pid, signal);
      else child.kill(signal);
    } catch {
      // It has ended by itself.
    }
  };
  let timer: NodeJS.Timeout | undefined;
  const end = (): void => {
    send('SIGTERM');
    timer ??= setTimeout(() => send('SIGKILL'), patienceMs);
  };
  work.signal.addEventListener('abort', end, { once: true });
  if (work.signal.aborted) end();
  const kill = (): void => send('SIGKILL');
  hurry.addEventListener('abort', kill, { once: true });

  const chunks: Buffer[] = [];
  let bytes = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= mostBytes) chunks.push(chunk);
    else end();
  });
  let tail = '';
  child.stderr.on('data', (chunk: Buffer) => {
    onStderr(chunk);
    tail = (tail + chunk.toString()).slice(-8_192);
  });
  // A command need not read its input.
  child.stdin.on('error', () => undefined);
  child.stdin.end(work.body);

  return new Promise<Ended>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      const lastLine = plain(tail.trimEnd().split(/\r?\n/).at(-1) ?? '').trim();
      if (bytes > mostBytes) reject(new CommandFailed('command-failed', 'it printed more than 512 MB', false));
      else resolve({ stdout: Buffer.concat(chunks), lastLine, code, signal });
    });
  }).finally(() => {
    clearTimeout(timer);
    work.signal.removeEventListener('abort', end);
    hurry.removeEventListener('abort', kill);
  });
}
