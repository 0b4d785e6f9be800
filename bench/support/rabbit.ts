// A RabbitMQ server of our own: in a temporary folder, on loopback, with its own ports, node name and cookie, and without root.
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { connect } from 'amqplib';
import type { Bench } from './bench.ts';
import type { Account, Child } from './children.ts';
import { amqpSocket, queues } from './rabbit-queues.ts';
import { treeCpuSeconds } from './process-tree.ts';

/** Where the packages of Debian and of RabbitMQ itself put the server; the command on PATH is a wrapper that changes the user. */
const serverCommand = '/usr/lib/rabbitmq/bin/rabbitmq-server';
/** A cold start takes 5 to 10 s. */
const startMs = 120_000;
const retryMs = 100;
const drainMs = 10_000;

export interface Rabbit {
  url: string;
  version: string;
  cpuSeconds: () => number;
  /** Throws away what waits in a queue. */
  purge(queue: keyof typeof queues): Promise<void>;
  stop(): Promise<void>;
}

/** Why there can be none here, or undefined. */
export const rabbitMissing = (): string | undefined =>
  existsSync(serverCommand) ? undefined : 'RabbitMQ is not installed (Debian: apt-get install rabbitmq-server)';

/** RabbitMQ needs no root and is given none. Its package makes a user. */
function serverAccount(): Account | undefined {
  if (process.getuid!() !== 0) return undefined;
  const users = readFileSync('/etc/passwd', 'utf8');
  const [, uid, gid] = /^rabbitmq:[^:]*:(\d+):(\d+):/m.exec(users) ?? [];
  if (uid === undefined) throw new Error('there is no user "rabbitmq" to run RabbitMQ as');
  return { uid: Number(uid), gid: Number(gid) };
}

function freePort(): Promise<number> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

/** The folder with cookie and settings; everything in it belongs to the server's user. */
function prepare(bench: Bench, port: number, account: Account | undefined): string {
  const folder = bench.newFolder();
  const files = {
    '.erlang.cookie': randomBytes(20).toString('hex'),
    'rabbitmq.conf': `listeners.tcp.1 = 127.0.0.1:${port}\nlog.console = false\n`,
    enabled_plugins: '[].\n',
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text, { mode: 0o400 });
  mkdirSync(join(folder, 'log'));
  mkdirSync(join(folder, 'data'));
  if (account)
    for (const name of ['.', 'log', 'data', ...Object.keys(files)])
      chownSync(join(folder, name), account.uid, account.gid);
  chmodSync(folder, 0o700);
  return folder;
}

export async function startRabbit(bench: Bench): Promise<Rabbit> {
  const account = serverAccount();
  const [port, distributionPort, epmdPort] = [await freePort(), await freePort(), await freePort()];
  const folder = prepare(bench, port, account);
  const logFile = bench.newFile('rabbit.log');
  const env = {
    PATH: process.env['PATH'],
    LANG: 'C.UTF-8',
    HOME: folder,
    ERL_EPMD_PORT: String(epmdPort),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_NODENAME: `bench-${randomBytes(4).toString('hex')}@localhost`,
    RABBITMQ_MNESIA_BASE: join(folder, 'data'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq.conf'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'enabled_plugins'),
    RABBITMQ_DIST_PORT: String(distributionPort),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
    // The script then becomes the server instead of a shell that waits for it: one process with one pid.
    RUNNING_UNDER_SYSTEMD: 'true',
  };
  const spawned = { logFile, env, folder, ...(account ? { account } : {}) };
  // Erlang's name server would be started by the node as a daemon that nobody owns; this one is there before it and is ours to end.
  const names = bench.children.spawn('epmd', ['-port', String(epmdPort), '-address', '127.0.0.1'], spawned);
  const server = bench.children.spawn(serverCommand, [], spawned);
  const url = `amqp://guest:guest@127.0.0.1:${port}`;
  const admin = await firstConnection(server, url, logFile);
  // A server that goes away is noticed by the front; here it must not end the benchmark in the middle of its cleaning up.
  admin.on('error', () => {});
  const channel = await admin.createChannel();
  return {
    url,
    version: String(admin.connection.serverProperties.version),
    cpuSeconds: () => treeCpuSeconds(server.pid),
    purge: async (queue) => void (await channel.purgeQueue(queues[queue].name)),
    async stop() {
      await Promise.race([admin.close(), pause(drainMs, undefined, { ref: false })]);
      await server.stop('SIGTERM');
      await names.stop('SIGTERM');
      bench.removeFolder(folder);
    },
  };
}

async function firstConnection(server: Child, url: string, logFile: string): ReturnType<typeof connect> {
  let ended = false;
  void server.exited.then(() => (ended = true));
  for (const giveUpAt = performance.now() + startMs; ;) {
    try {
      return await connect(url, amqpSocket);
    } catch (error) {
      if (ended) throw new Error(`RabbitMQ ended at its start:\n${readFileSync(logFile, 'utf8').slice(-2000)}`);
      if (performance.now() > giveUpAt) throw new Error('RabbitMQ did not start in time', { cause: error });
      await pause(retryMs);
    }
  }
}
