// A real server for one test: on a free port, in memory or in a folder of its own, stopped and removed when the test ends.
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Config, type Extras, resolveConfig, type RunningServer, startServer } from '@waitless/server';
import type { Engine } from '../../packages/server/src/engine/engine.ts';
import { cleanUp } from './cleanup.ts';
import { variant } from './variant.ts';

export interface ServerSettings {
  /** Service documents by name, as in a config file. */
  services?: Readonly<Record<string, unknown>>;
  /** Other fields of the config file, such as `maxWait` or `publicUrl`. */
  fields?: Readonly<Record<string, unknown>>;
  /** `folder` keeps operations over `restart`; `:memory:` (the default) does not. Any other text is a folder of the caller's. */
  data?: string;
  /** Namespaces that get an API key each; without any the server asks for none. */
  namespaces?: readonly string[];
  /** What stands in the place of the real clock, engine, log ... */
  extras?: Extras;
}

export interface TestServer {
  readonly url: string;
  readonly config: Config;
  /** API key of a namespace that was asked for. */
  key(namespace: string): string;
  /** Stops the server; safe to call twice. */
  stop(): Promise<void>;
  /** Stops the server and starts it on the same data and the same port, so that every URL it gave out still leads to it. */
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

/** Loses every hint of the engine; only that it has failed is still told. */
function withoutHints(engine: Engine): Engine {
  return {
    ...engine,
    onSignal: (listener) =>
      engine.onSignal((signal) => {
        if (signal.kind === 'failed') listener(signal);
      }),
  };
}

/** Starts a server that lives as long as the test. */
export async function serverFor(t: TestContext, settings: ServerSettings = {}): Promise<TestServer> {
  const { services = {}, fields = {}, namespaces = [] } = settings;
  const folder = settings.data === 'folder' || namespaces.length > 0 ? await temporaryFolder(t) : undefined;
  const data = settings.data === 'folder' ? join(folder!, 'data') : (settings.data ?? ':memory:');
  const keyFile = namespaces.length > 0 ? await writeKeyFile(folder!, namespaces) : undefined;

  const configOn = (port: number): Config =>
    resolveConfig({
      document: { logLevel: 'silent', ...fields, services },
      options: { port: String(port), data, ...(keyFile ? { apiKeyFile: keyFile.path } : {}) },
      env: {},
      cwd: folder ?? tmpdir(),
    }).config;
  const engine = async (): Promise<Engine> => {
    const { sqliteEngine } = await import('../../packages/server/src/engines/sqlite/engine.ts');
    return withoutHints(sqliteEngine({ folder: data }));
  };
  const start = async (port: number, extras: Extras = {}): Promise<RunningServer> =>
    startServer(configOn(port), {
      hints: variant.hints,
      ...(variant.hints ? {} : { engine: await engine() }),
      ...(variant.pollMs === undefined ? {} : { pollMs: variant.pollMs }),
      ...extras,
    });

  let running = await start(0, settings.extras);
  cleanUp(t, () => running.stop());
  return {
    get url() {
      return running.url;
    },
    get config() {
      return running.config;
    },
    key(namespace) {
      const key = keyFile?.keys.get(namespace);
      if (key === undefined) throw new Error(`no key was made for namespace ${namespace}`);
      return key;
    },
    stop: () => running.stop(),
    async restart(extras) {
      await running.stop();
      running = await start(Number(new URL(running.url).port), extras);
    },
  };
}
