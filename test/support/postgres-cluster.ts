// A PostgreSQL server that can be stopped, killed and started again. It is tied to the process that made it: a watcher ends it and removes
// its folder when that process is gone, however it ended.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, chown, mkdtemp, open, readFile, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { freePort } from './free-port.ts';
import { findPostgres, postgresEnvironment, reachable } from './postgres-binaries.ts';

/** Names and values as in postgresql.conf. */
export type PostgresSettings = Readonly<Record<string, string>>;

/** `fast`: sessions are cut and everything is written; `immediate`: ends at once, recovers at the next start; `kill`: the same by SIGKILL. */
export type StopMode = 'fast' | 'immediate' | 'kill';

export interface Cluster {
  readonly port: number;
  /** Of the server's first process; undefined while it is stopped. */
  readonly pid: number | undefined;
  /** Such as `18.4`. */
  readonly version: string;
  readonly password: string;
  /** Everything of it is in here; the database in `data`. */
  readonly folder: string;
  /** Address with the superuser's name and password. */
  url(database?: string): string;
  /** What the server has logged. */
  log(): Promise<string>;
  /** Starts it on the same port and folder; settings given here replace those from before. Resolves when it takes connections. */
  start(settings?: PostgresSettings): Promise<void>;
  /** Resolves when every process of the server is gone. */
  stop(mode?: StopMode): Promise<void>;
  /** Stops it for good and removes its folder. */
  remove(): Promise<void>;
  /** Lets this process end without stopping the cluster, which then ends by its watcher. */
  unref(): void;
}

const signals = { fast: 'SIGINT', immediate: 'SIGQUIT', kill: 'SIGKILL' } as const;

/** As a careful operator sets it up. The temporary disk is not shared memory, of which a killed server would leave pieces behind. */
const basicSettings: PostgresSettings = {
  fsync: 'on',
  full_page_writes: 'on',
  synchronous_commit: 'on',
  shared_buffers: '64MB',
  max_connections: '200',
  max_wal_size: '256MB',
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  dynamic_shared_memory_type: 'mmap',
};

/**
 * A process for each cluster that outlives ours by the moment it takes to end the cluster. It is told the id of each process to end, the last one
 * last. Where nobody collects the dead, an ended one still has its id, but the server takes its file away. A killed one leaves the file, and in it
 * the number of a piece of shared memory that would stay until the machine is restarted.
 */
const watcherScript = String.raw`
pid=
file=$0/data/postmaster.pid
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
  kill -QUIT "$pid"
  tries=0
  while [ $tries -lt 100 ] && [ -e "$file" ] && kill -0 "$pid"; do
    sleep 0.1
    tries=$((tries + 1))
  done
  kill -KILL "$pid"
fi
[ -e "$file" ] && ipcrm -m "$(sed -n '7s/.* //p' "$file")"
rm -rf "$0"
`;

/** A cluster of its own, running, in a new folder inside the one that is given. */
export async function startCluster({
  settings = {},
  folder: parent = tmpdir(),
}: { settings?: PostgresSettings; folder?: string } = {}): Promise<Cluster> {
  const binaries = findPostgres();
  if ('missing' in binaries) throw new Error(binaries.missing);
  const { user, version } = binaries;
  const folder = await mkdtemp(join(parent, 'waitless-postgres-'));
  // Not of our terminal's group, so that Ctrl-C leaves it to its work.
  const watcher = spawn('sh', ['-c', watcherScript, folder], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  const watched = once(watcher, 'exit');
  const watch = (pid: number | undefined): void => void watcher.stdin.write(`${pid ?? ''}\n`);

  const data = join(folder, 'data');
  const files = { log: join(folder, 'log'), password: join(folder, 'password'), settings: join(folder, 'settings') };
  const password = randomBytes(12).toString('base64url');
  let port = await freePort();
  let current = { ...basicSettings, ...settings };
  let child: ChildProcess | undefined;
  let gone: Promise<unknown> = Promise.resolve();
  let held = true;

  async function giveToUser(path: string, mode: number): Promise<void> {
    await chmod(path, mode);
    if (user) await chown(path, user.uid, user.gid);
  }

  /** `gone` resolves when the last of its processes is: they all hold the pipe that is its standard output, and say nothing there. */
  async function run(path: string, args: string[]): Promise<ChildProcess> {
    const log = await open(files.log, 'a');
    const options = { ...user, cwd: folder, env: postgresEnvironment, detached: true };
    const running = spawn(path, args, { ...options, stdio: ['ignore', 'pipe', log.fd] });
    gone = new Promise((resolve) => running.once('close', resolve)).then(() => {
      if (child === running) child = undefined;
      watch(undefined);
    });
    running.stdout?.resume();
    await once(running, 'spawn');
    await log.close();
    watch(running.pid);
    return running;
  }

  const readLog = (): Promise<string> => readFile(files.log, 'utf8');

  /** Whether the server has written down that it is ready, and is not one from before. */
  async function isReady(pid: number | undefined): Promise<boolean> {
    const lines = (await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n');
    return Number(lines[0]) === pid && lines[7]?.trim() === 'ready';
  }

  async function launch(): Promise<boolean> {
    const lines = Object.entries({ ...current, port: String(port) }).map(
      ([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`,
    );
    await writeFile(files.settings, lines.join(''));
    await giveToUser(files.settings, 0o600);
    const running = await run(join(bin, 'postgres'), ['-D', data]);
    while (running.exitCode === null && running.signalCode === null) {
      if (await isReady(running.pid)) {
        child = running;
        if (!held) loosen();
        return true;
      }
      await pause(10);
    }
    await gone;
    return false;
  }

  function loosen(): void {
    held = false;
    for (const process of [child, watcher]) process?.unref();
    // Streams of a child are sockets, which the types do not say.
    for (const stream of [child?.stdout, watcher.stdin]) (stream as Socket | undefined)?.unref();
  }

  async function remove(): Promise<void> {
    await cluster.stop('immediate');
    watcher.ref();
    watcher.stdin.end();
    await watched;
  }

  let bin: string;
  const cluster: Cluster = {
    get port() {
      return port;
    },
    get pid() {
      return child?.pid;
    },
    version,
    password,
    folder,
    url: (database = 'postgres') => `postgres://postgres:${password}@127.0.0.1:${port}/${database}`,
    log: readLog,
    async start(changed = {}) {
      if (child) throw new Error('the cluster is running');
      current = { ...current, ...changed };
      if (!(await launch())) throw new Error(`PostgreSQL did not start:\n${(await readLog()).slice(-2000)}`);
    },
    async stop(mode = 'fast') {
      const stopping = child;
      if (!stopping) return;
      child = undefined;
      stopping.ref();
      (stopping.stdout as Socket | null)?.ref();
      stopping.kill(signals[mode]);
      await gone;
    },
    remove,
    unref: loosen,
  };

  try {
    await giveToUser(folder, 0o700);
    bin = await reachable(binaries, folder);
    await writeFile(files.password, password);
    await giveToUser(files.password, 0o600);
    const passwords = ['--auth=scram-sha-256', `--pwfile=${files.password}`];
    const kind = ['--username=postgres', '--encoding=UTF8', '--locale=C', '--no-sync', '--no-instructions'];
    const made = await run(join(bin, 'initdb'), ['-D', data, ...kind, ...passwords]);
    await gone;
    if (made.exitCode !== 0) throw new Error(`initdb ended with ${made.exitCode}:\n${await readLog()}`);
    await writeFile(join(data, 'postgresql.conf'), `include '../settings'\n`, { flag: 'a' });
    // Somebody may have taken the port since it was found free.
    for (let tries = 1; !(await launch()); tries++) {
      const log = await readLog();
      if (tries === 5 || !log.includes('Address already in use')) throw new Error(`PostgreSQL did not start:\n${log}`);
      port = await freePort();
    }
    return cluster;
  } catch (error) {
    await remove();
    throw error;
  }
}
