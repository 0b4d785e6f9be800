// PostgreSQL for tests: a store of its own for each, in one cluster that the whole test run shares; and clusters that a test may break.
import { randomBytes } from 'node:crypto';
import type { TestContext } from 'node:test';
import { Client } from 'pg';
import { cleanUp } from './cleanup.ts';
import { findPostgres } from './postgres-binaries.ts';
import { type Cluster, type PostgresSettings, startCluster } from './postgres-cluster.ts';

export { type Cluster, type PostgresSettings, startCluster, type StopMode } from './postgres-cluster.ts';

/** The reason why no server can be started here, for `skip`. */
export function postgresMissing(): string | undefined {
  const found = findPostgres();
  return 'missing' in found ? found.missing : undefined;
}

/** A cluster that is removed when the test ends. */
export async function clusterFor(t: TestContext, options: { settings?: PostgresSettings } = {}): Promise<Cluster> {
  const cluster = await startCluster(options);
  cleanUp(t, () => cluster.remove());
  return cluster;
}

export type SharedCluster = Pick<Cluster, 'url'>;

let shared: Promise<SharedCluster> | undefined;

/** The cluster of this test run, started by whoever asks first. Nobody may stop it or change its settings. */
export function sharedCluster(): Promise<SharedCluster> {
  return (shared ??= findShared());
}

async function findShared(): Promise<SharedCluster> {
  const asked = process.env['WAITLESS_TEST_POSTGRES'];
  if (asked === undefined) {
    // A test file by itself: it lives as long as this process.
    const own = await startCluster();
    own.unref();
    return own;
  }
  const answer = await fetch(asked);
  const text = await answer.text();
  if (!answer.ok) throw new Error(text);
  return {
    url: (database = 'postgres') => Object.assign(new URL(text), { pathname: `/${database}` }).href,
  };
}

/** Runs statements one by one, on a connection of their own, and gives the rows of the last. */
export async function query<Row = Record<string, unknown>>(url: string, ...statements: string[]): Promise<Row[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    let rows: Row[] = [];
    for (const statement of statements) rows = (await client.query(statement)).rows as Row[];
    return rows;
  } finally {
    await client.end();
  }
}

/** A name for a store in the shared cluster, not yet made. What a server made there is dropped when the test ends. */
export async function newStore(t: TestContext): Promise<{ url: string; schema: string }> {
  const { url } = await sharedCluster();
  const schema = `w_${randomBytes(8).toString('hex')}`;
  // A session that a test has left in a transaction would hold this up for ever.
  cleanUp(t, () => query(url(), `SET lock_timeout = '30s'`, `DROP SCHEMA IF EXISTS ${schema} CASCADE`));
  return { url: `${url()}?schema=${schema}`, schema };
}
