// The server under test, started the way a user starts it.
import { fileURLToPath } from 'node:url';
import type { Bench } from './bench.ts';
import { firstMessage, firstPrinted } from './children.ts';
import { requestOnce } from './http-connection.ts';
import { getBytes } from './payload.ts';
import { straceCommand, type Tracing } from './strace.ts';

const command = fileURLToPath(new URL('../../packages/cli/bin/waitless.js', import.meta.url));

export interface WaitlessOptions {
  /** Folder of the store; a fresh one by default. */
  data?: string;
  /** Such as `['--pull', 'jobs']`. */
  services: readonly string[];
  tracing?: Tracing;
}

export interface Waitless {
  pid: number;
  port: number;
  data: string;
  /** `performance.now()` just before the process was started. */
  spawnedAtMs: number;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Settings of the person who runs the benchmark are not those of the server that is measured. */
const environment = (): NodeJS.ProcessEnv =>
  Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(WAITLESS_|NODE_OPTIONS$|FORCE_COLOR$)/.test(name)),
  );

export async function startWaitless(
  bench: Bench,
  { data = bench.newFolder(), services, tracing }: WaitlessOptions,
): Promise<Waitless> {
  const profile = bench.options.cpuProfile;
  const flags =
    profile === undefined || tracing ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`, '--cpu-prof-interval=500'];
  const line = [
    ...(tracing ? straceCommand(tracing) : []),
    process.execPath,
    ...flags,
    command,
    'serve',
    ...services,
    '--port',
    '0',
    '--data',
    data,
  ];
  const logFile = bench.newFile('server.log');
  const spawnedAtMs = performance.now();
  const child = bench.children.spawn(line[0]!, line.slice(1), { logFile, env: environment() });
  const [, port] = await firstPrinted(child, { pattern: /https?:\/\/[^\s:]+:(\d+)/, logFile, name: 'waitless serve' });
  return {
    pid: child.pid,
    port: Number(port),
    data,
    spawnedAtMs,
    stop: (signal = flags.length > 0 ? 'SIGTERM' : 'SIGKILL') => child.stop(signal),
  };
}

/** The worker process of a service; it ends with `stop` or with this process. */
export async function startWorker(
  bench: Bench,
  { port, service, connections = 2 }: { port: number | readonly number[]; service: string; connections?: number },
): Promise<{ pid: number; stop(): Promise<void> }> {
  const child = bench.children.fork('./pull-worker.ts', [[port].flat().join(','), service, String(connections)]);
  await firstMessage(child, 'the pull worker');
  return child;
}

/** Sum of a counter or gauge of /metrics over the lines that have all of these labels. */
export async function metric(
  server: { port: number },
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<number> {
  const { status, body } = await requestOnce(server.port, getBytes(server.port, '/metrics'));
  if (status !== 200) throw new Error(`/metrics answered ${status}`);
  let sum = Number.NaN;
  for (const [, given = '', value] of body.matchAll(new RegExp(`^${name}(\\{[^}]*\\})? (\\S+)$`, 'gm'))) {
    if (Object.entries(labels).every(([label, text]) => given.includes(`${label}="${text}"`)))
      sum = (Number.isNaN(sum) ? 0 : sum) + Number(value);
  }
  if (Number.isNaN(sum)) throw new Error(`/metrics has no ${name} with ${JSON.stringify(labels)}`);
  return sum;
}
