// A server as a process of its own, or as several on one store, started by the command that people type: for tests that kill it, measure it or ask it to stop.
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { balancerFor } from './balancer.ts';
import { cleanUp } from './cleanup.ts';
import { freePort } from './free-port.ts';
import { temporaryFolder } from './server.ts';
import { dataOf } from './store.ts';
import { variant } from './variant.ts';

const command = fileURLToPath(new URL('../../packages/cli/bin/waitless.js', import.meta.url));

export interface SpawnSettings {
  services?: Readonly<Record<string, unknown>>;
  /** Other fields of the config file. */
  fields?: Readonly<Record<string, unknown>>;
  /** Folder of the store, or `:memory:` (the default); another engine has a store of its own for each folder. */
  data?: string;
  /** true: `data` is taken as it is, whatever the variant of this process says. */
  own?: boolean;
  /** How many nodes, where it is not as many as the variant says. */
  nodes?: 1 | 2;
  /** 0, the default, is a free one. */
  port?: number;
  /** Another program than the command: a file that Node runs with the config file's path as its argument and that prints its URL first. */
  program?: string;
  /** A command that starts another one and ends with its exit code, such as a tracer with its options. */
  under?: readonly string[];
}

export interface NodeProcess {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** What it has printed so far, both streams. */
  readonly printed: string;
  /** Resolves when the process has ended. */
  readonly exited: Promise<Exit>;
  /** Sends a signal and resolves when the process has ended. */
  end(signal: NodeJS.Signals): Promise<Exit>;
}

/** One process, or several nodes behind a balancer that are asked and ended together. */
export interface ServerProcess extends NodeProcess {
  readonly nodes: readonly NodeProcess[];
  /** Kills one node, which loses what it has in hand, and starts it again on its data and its port. */
  killAndStart(index: number): Promise<void>;
}

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** The process ended before it said where it listens. */
export class NotStarted extends Error {
  readonly code: number | null;
  readonly printed: string;

  constructor(code: number | null, printed: string) {
    super(`the server ended with ${code} before it listened:\n${printed}`);
    this.code = code;
    this.printed = printed;
  }
}

/** Starts a server that is gone when the test has ended. Rejects with NotStarted when it does not come up. */
export async function spawnServer(t: TestContext, settings: SpawnSettings = {}): Promise<ServerProcess> {
  const { data: name = ':memory:', own = false, nodes: count = variant.nodes } = settings;
  const data = own ? name : await dataOf(t, name);
  const balancer = count > 1 ? await balancerFor(t, settings.port) : undefined;
  const shared = balancer ? { publicUrl: balancer.url, backendUrl: balancer.url } : {};
  const fields = { ...shared, ...settings.fields };
  const start = (port: number): Promise<NodeProcess> => spawnNode(t, { ...settings, data, fields, port });
  // A node behind a balancer is down for a while, and nobody else may get its port then.
  const first = async (): Promise<number> => (balancer ? freePort() : (settings.port ?? 0));
  const nodes = await Promise.all(Array.from({ length: count }, async () => start(await first())));
  balancer?.to(nodes.map(({ port }) => port));
  return {
    nodes,
    get url() {
      return balancer?.url ?? nodes[0]!.url;
    },
    get port() {
      return balancer?.port ?? nodes[0]!.port;
    },
    get pid() {
      return nodes[0]!.pid;
    },
    get printed() {
      return nodes.map(({ printed }) => printed).join('');
    },
    get exited() {
      return Promise.all(nodes.map(({ exited }) => exited)).then(worst);
    },
    end: (signal) => Promise.all(nodes.map((node) => node.end(signal))).then(worst),
    async killAndStart(index) {
      const killed = nodes[index]!;
      await killed.end('SIGKILL');
      nodes[index] = await start(killed.port);
    },
  };
}

/** The one that did not end as it should, if there is one. */
const worst = (exits: readonly Exit[]): Exit => exits.find(({ code }) => code !== 0) ?? exits[0]!;

async function spawnNode(t: TestContext, settings: SpawnSettings): Promise<NodeProcess> {
  const { services = {}, fields = {}, data = ':memory:', port = 0, program = command, under = [] } = settings;
  const folder = await temporaryFolder(t);
  const config = join(folder, 'waitless.json');
  await writeFile(config, JSON.stringify({ logLevel: 'error', ...fields, data, port, services }));
  const args = program === command ? [command, 'serve', '--config', config] : [program, config];
  // None of the caller's own settings may leak in.
  const env = { PATH: process.env['PATH'], HOME: folder, NO_COLOR: '1' };
  const [first = '', ...rest] = [...under, process.execPath, ...args];
  const child = spawn(first, rest, { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let printed = '';
  const exited = new Promise<Exit>((resolve) => child.once('close', (code, signal) => resolve({ code, signal })));
  const end = (signal: NodeJS.Signals): Promise<Exit> => {
    child.kill(signal);
    return exited;
  };
  cleanUp(t, () => (child.exitCode === null && child.signalCode === null ? end('SIGKILL') : undefined));
  const url = await new Promise<string>((resolve, reject) => {
    const listen = (text: string): void => {
      printed += text;
      const found = /https?:\/\/[^\s]+/.exec(printed);
      if (found) resolve(found[0]);
    };
    child.stdout.setEncoding('utf8').on('data', listen);
    child.stderr.setEncoding('utf8').on('data', (text: string) => void (printed += text));
    child.once('error', reject);
    void exited.then(({ code }) => reject(new NotStarted(code, printed)));
  });
  return {
    url,
    port: Number(new URL(url).port),
    pid: child.pid!,
    get printed() {
      return printed;
    },
    exited,
    end,
  };
}
