// Two nodes on one fresh PostgreSQL store, named one by one and without a balancer, so that a test says which of them it asks, stops or kills.
import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import type { TestContext } from 'node:test';
import type { Operation, Page, ServiceSummary } from '@waitless/protocol';
import { type Extras, resolveConfig, startServer } from '@waitless/server';
import type { Engine } from '../../packages/server/src/engine/engine.ts';
import { postgresEngine } from '../../packages/server/src/engines/postgres/engine.ts';
import { cleanUp } from '../support/cleanup.ts';
import { freePort } from '../support/free-port.ts';
import { get, until } from '../support/http.ts';
import { newStore, postgresMissing, query } from '../support/postgres.ts';
import { temporaryFolder, writeKeyFile } from '../support/server.ts';
import { type Exit, type NodeProcess, NotStarted, spawnServer } from '../support/spawn-server.ts';

const missing = postgresMissing();
/** Options of every test that needs the database. */
export const withPostgres = { skip: missing === undefined ? false : `skipped: ${missing}` };

export interface Store {
  url: string;
  schema: string;
}

export interface ServerPair {
  readonly store: Store;
  /** URLs of the nodes. */
  readonly urls: readonly [string, string];
  /** API key of a namespace that was asked for. */
  key(namespace: string): string;
  /** Stops one of them, as at a SIGTERM. */
  stop(index: 0 | 1): Promise<void>;
}

export interface PairSettings {
  services: Readonly<Record<string, unknown>>;
  fields?: Readonly<Record<string, unknown>>;
  namespaces?: readonly string[];
  /** false: nodes tell each other nothing; what one writes the other finds by its polls. */
  hints?: boolean;
  /** How often waiters re-read without a hint. */
  pollMs?: number;
  /** Makes the engine of a node another one. */
  wrapEngine?: (engine: Engine, index: number) => Engine;
  extras?: (index: number) => Extras;
}

/** Two servers in this process: for everything that needs no kill. */
export async function twoServers(t: TestContext, settings: PairSettings): Promise<ServerPair> {
  const { services, fields, namespaces = [], hints = true, pollMs, wrapEngine, extras } = settings;
  const store = await newStore(t);
  const folder = await temporaryFolder(t);
  const keyFile = namespaces.length > 0 ? await writeKeyFile(folder, namespaces) : undefined;
  const { config } = resolveConfig({
    document: { logLevel: 'silent', ...fields, services },
    options: { port: '0', data: store.url, ...(keyFile ? { apiKeyFile: keyFile.path } : {}) },
    env: {},
    cwd: folder,
  });
  const start = async (index: number): Promise<Awaited<ReturnType<typeof startServer>>> => {
    const engine = postgresEngine({ url: store.url, hints });
    const server = await startServer(config, {
      engine: wrapEngine ? wrapEngine(engine, index) : engine,
      ...(pollMs === undefined ? {} : { pollMs }),
      ...extras?.(index),
    });
    cleanUp(t, () => server.stop());
    return server;
  };
  const servers = [await start(0), await start(1)] as const;
  return {
    store,
    urls: [servers[0].url, servers[1].url],
    key: (namespace) => keyFile!.keys.get(namespace)!,
    stop: (index) => servers[index].stop(),
  };
}

export interface ProcessPair {
  readonly store: Store;
  readonly urls: readonly [string, string];
  /** Ends one by a signal and resolves when it is gone. */
  end(index: number, signal: NodeJS.Signals): Promise<Exit>;
  /** Starts one that is gone, on its port. */
  start(index: number): Promise<void>;
  /** Stops one in the midst of whatever it does; it does not know. */
  freeze(index: number): void;
  /** Lets it go on. */
  thaw(index: number): void;
  /** Of one node, so far. */
  printed(index: number): string;
}

/** Two processes, each under an address that it keeps. */
export async function twoProcesses(
  t: TestContext,
  { services, fields = {} }: Pick<PairSettings, 'services' | 'fields'>,
): Promise<ProcessPair> {
  const store = await newStore(t);
  const startOn = (port: number): Promise<NodeProcess> =>
    spawnServer(t, { services, fields, data: store.url, own: true, nodes: 1, port });
  /** Somebody else may have taken the port since it was found free. */
  const startFirst = async (): Promise<NodeProcess> => {
    for (let tries = 1; ; tries++) {
      const node = await startOn(await freePort()).catch((error: unknown) => {
        if (tries === 5 || !(error instanceof NotStarted) || !/port \d+ .*is taken/.test(error.printed)) throw error;
        return undefined;
      });
      if (node) return node;
    }
  };
  const nodes = await Promise.all([startFirst(), startFirst()]);
  return {
    store,
    urls: [nodes[0].url, nodes[1].url],
    end: (index, signal) => nodes[index]!.end(signal),
    start: async (index) => void (nodes[index] = await startOn(nodes[index]!.port)),
    freeze: (index) => void process.kill(nodes[index]!.pid, 'SIGSTOP'),
    thaw: (index) => void process.kill(nodes[index]!.pid, 'SIGCONT'),
    printed: (index) => nodes[index]!.printed,
  };
}

/** The statement's rows, with our schema's tables by their plain names. */
export const rowsOf = <Row>({ url, schema }: Store, statement: string): Promise<Row[]> =>
  query<Row>(new URL(url.split('?')[0]!).href, `SET search_path = ${schema}`, statement);

/** Every operation of the namespace without keys, newest first, as one node lists it. */
export async function everyOperation(base: string): Promise<Operation[]> {
  const agent = new Agent({ keepAlive: true });
  try {
    const found: Operation[] = [];
    let cursor = '';
    for (;;) {
      const { items, next } = (await get(`${base}/v1/operations?limit=1000${cursor}`, { agent })).json<
        Page<Operation>
      >();
      found.push(...items);
      if (next === null) return found;
      cursor = `&cursor=${encodeURIComponent(next)}`;
    }
  } finally {
    agent.destroy();
  }
}

type Counts = Record<string, Record<string, number>>;

/** Counters of each service that has any, as one node tells them. */
export async function countsOn(base: string): Promise<Counts> {
  const { items } = (await get(`${base}/v1/services`)).json<{ items: ServiceSummary[] }>();
  return Object.fromEntries(items.map(({ name, counts }) => [name, { ...counts }]));
}

/** The counters of every node say what the lists say. Nothing may be moving. */
export async function assertCountsAreRight(urls: readonly string[]): Promise<void> {
  for (const url of urls) {
    const told = await countsOn(url);
    const listed: Counts = {};
    for (const name of Object.keys(told))
      listed[name] = { queued: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0 };
    for (const { service, status } of await everyOperation(url)) listed[service]![status]!++;
    assert.deepEqual(told, listed, `the counters of ${url} against its list`);
  }
}

/** Resolves when nothing in the tables is left of nodes that are gone, and so many are there. */
export async function onlyTheLivingAreListed(store: Store, living: number): Promise<void> {
  await until(async () => {
    const [row] = await rowsOf<{ nodes: number; carried: number; counters: number }>(
      store,
      `SELECT (SELECT count(*) FROM node)::int AS nodes,
         (SELECT count(*) FROM operation o WHERE o.node IS NOT NULL AND NOT EXISTS (SELECT FROM node n WHERE n.id = o.node))::int AS carried,
         (SELECT count(*) FROM counter c WHERE c.slot >= 32 AND NOT EXISTS (SELECT FROM node n WHERE n.id = c.slot / 32))::int AS counters`,
    );
    return row!.nodes === living && row!.carried === 0 && row!.counters === 0 ? true : undefined;
  });
}
