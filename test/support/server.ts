// A real server for one test: on a free port, with a store of its own, stopped and removed when the test ends.
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Config, type Extras, resolveConfig, type RunningServer, startServer } from '@waitless/server';
import type { Engine } from '../../packages/server/src/engine/engine.ts';
import { balancerFor } from './balancer.ts';
import { cleanUp } from './cleanup.ts';
import { freePort } from './free-port.ts';
import { dataOf, engineOn } from './store.ts';
import { variant } from './variant.ts';

export interface ServerSettings {
  /** Service documents by name, as in a config file. */
  services?: Readonly<Record<string, unknown>>;
  /** Other fields of the config file, such as `maxWait` or `publicUrl`. */
  fields?: Readonly<Record<string, unknown>>;
  /** `folder` keeps operations over `restart`; `:memory:` (the default) need not. Any other text is a folder of the caller's. */
  data?: string;
  /** Namespaces that get an API key each; without any the server asks for none. */
  namespaces?: readonly string[];
  /** What stands in the place of the real clock, log ...; of every node. */
  extras?: Extras;
  /** Makes the engine of each node another one. */
  wrapEngine?: (engine: Engine) => Engine;
}

export interface TestServer {
  readonly url: string;
  readonly config: Config;
  /** API key of a namespace that was asked for. */
  key(namespace: string): string;
  /** Stops the server; safe to call twice. */
  stop(): Promise<void>;
  /**
   * Stops the server and starts it on the same data and the same port, so that every URL it gave out still leads to it; of several nodes
   * one after the other, as an operator does it.
   */
  restart(extras?: Extras): Promise<void>;
}

/** A folder that is gone when the test has ended. */
export async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'waitless-test-'));
  cleanUp(t, () => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Makes a key file with one key for each namespace. */
export async function writeKeyFile(
  folder: string,
  namespaces: readonly string[],
): Promise<{ path: string; keys: Map<string, string> }> {
  const keys = new Map(namespaces.map((namespace) => [namespace, randomBytes(24).toString('base64url')]));
  const lines = Array.from(
    keys,
    ([namespace, key]) => `${namespace} ${namespace} ${createHash('sha256').update(key).digest('hex')}\n`,
  );
  const path = join(folder, 'keys');
  await writeFile(path, lines.join(''));
  return { path, keys };
}

/** Starts a server that lives as long as the test: one node, or as many as the variant says behind a balancer. */
export async function serverFor(t: TestContext, settings: ServerSettings = {}): Promise<TestServer> {
  const { services = {}, fields = {}, namespaces = [], wrapEngine } = settings;
  const folder = settings.data === 'folder' || namespaces.length > 0 ? await temporaryFolder(t) : undefined;
  const data = await dataOf(t, settings.data === 'folder' ? join(folder!, 'data') : (settings.data ?? ':memory:'));
  const keyFile = namespaces.length > 0 ? await writeKeyFile(folder!, namespaces) : undefined;
  const balancer = variant.nodes > 1 ? await balancerFor(t) : undefined;
  // What a node gives out leads to any of them.
  const shared = balancer ? { publicUrl: balancer.url, backendUrl: balancer.url } : {};

  const configOn = (port: number): Config =>
    resolveConfig({
      document: { logLevel: 'silent', ...shared, ...fields, services },
      options: { port: String(port), data, ...(keyFile ? { apiKeyFile: keyFile.path } : {}) },
      env: {},
      cwd: folder ?? tmpdir(),
    }).config;
  const ownEngine = async (): Promise<Pick<Extras, 'engine'>> => {
    if (wrapEngine) return { engine: wrapEngine(await engineOn(data)) };
    return variant.hints ? {} : { engine: await engineOn(data) };
  };
  const running: RunningServer[] = [];
  const startNode = async (index: number, port: number, extras: Extras = {}): Promise<void> => {
    running[index] = await startServer(configOn(port), {
      hints: variant.hints,
      ...(variant.pollMs === undefined ? {} : { pollMs: variant.pollMs }),
      ...(await ownEngine()),
      ...extras,
    });
  };
  const portOf = ({ url }: RunningServer): number => Number(new URL(url).port);
  const stop = async (): Promise<void> => void (await Promise.all(running.map((node) => node.stop())));

  cleanUp(t, stop);
  // A node behind a balancer is down for a while in a restart, and nobody else may get its port then.
  const first = async (): Promise<number> => (balancer ? freePort() : 0);
  const started = await Promise.allSettled(
    Array.from({ length: variant.nodes }, async (_, index) => startNode(index, await first(), settings.extras)),
  );
  for (const one of started) if (one.status === 'rejected') throw one.reason as Error;
  balancer?.to(running.map(portOf));
  return {
    url: balancer?.url ?? running[0]!.url,
    config: running[0]!.config,
    key(namespace) {
      const key = keyFile?.keys.get(namespace);
      if (key === undefined) throw new Error(`no key was made for namespace ${namespace}`);
      return key;
    },
    stop,
    async restart(extras) {
      for (const [index, node] of running.entries()) {
        await node.stop();
        await startNode(index, portOf(node), extras);
      }
    },
  };
}
