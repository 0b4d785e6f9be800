// PostgreSQL for a row: a cluster of its own, everything durable, what it spent, wrote and synced, and how large its tables are.
import { setTimeout as pause } from 'node:timers/promises';
import { Client } from 'pg';
import { type Cluster, startCluster } from '../../test/support/postgres.ts';
import type { Bench } from './bench.ts';
import { treeCpuSeconds } from './process-tree.ts';

/** What is not named here is as PostgreSQL comes, or as the tests set it: fsync, full_page_writes and synchronous_commit are on. */
const settings = { shared_buffers: '256MB', max_wal_size: '1GB' };

/** An idle session tells its statistics after 10 s at the latest. */
const toldAfterMs = 11_000;

/** Counted since the start of the cluster. */
export interface Written {
  /** Transactions that wrote something. */
  writes: number;
  /** All transactions of the store's database; those of the last seconds may be missing. */
  transactions: number;
  walBytes: number;
  /** Syncs of the write-ahead log; those of the last seconds may be missing. */
  walSyncs: number;
}

export interface TableSize {
  name: string;
  /** Rows alive and dead as the server counts them, which is not to the last one. */
  live: number;
  dead: number;
  /** With indexes and large values. */
  bytes: number;
  /** How often autovacuum was through with it. */
  vacuums: number;
}

export interface Postgres {
  /** For `--data`. */
  url: string;
  version: string;
  cpuSeconds: () => number;
  /** Exact at once for `writes` and `walBytes`. */
  written(): Promise<Written>;
  /** Lets every session tell its statistics, then exact in all. */
  settled(): Promise<Written>;
  tables(): Promise<TableSize[]>;
  /** Statements of the benchmark itself; the rows of the last one. */
  query(...statements: string[]): Promise<Record<string, unknown>[]>;
  remove(): Promise<void>;
}

/** Version 18 has moved the syncs. */
const syncsSince18 = `(SELECT coalesce(sum(fsyncs), 0) FROM pg_stat_io WHERE object = 'wal')`;
const syncsBefore18 = '(SELECT wal_sync FROM pg_stat_wal)';

export async function startPostgres(bench: Bench): Promise<Postgres> {
  const cluster: Cluster = await startCluster({ settings, folder: bench.options.folder });
  // If the benchmark ends halfway, the cluster's watcher ends the cluster.
  cluster.unref();
  const client = new Client({ connectionString: cluster.url() });
  client.on('error', () => {});
  await client.connect();
  const syncs = Number.parseInt(cluster.version, 10) < 18 ? syncsBefore18 : syncsSince18;

  async function query(...statements: string[]): Promise<Record<string, unknown>[]> {
    let rows: Record<string, unknown>[] = [];
    for (const statement of statements) rows = (await client.query(statement)).rows as Record<string, unknown>[];
    return rows;
  }

  async function written(): Promise<Written> {
    const [row] = await query(
      `SELECT pg_snapshot_xmax(pg_current_snapshot())::text::float8 AS writes,
         (SELECT sum(xact_commit)::float8 FROM pg_stat_database) AS transactions,
         (pg_current_wal_insert_lsn() - '0/0')::float8 AS "walBytes",
         ${syncs}::float8 AS "walSyncs"`,
    );
    return row as unknown as Written;
  }

  return {
    url: cluster.url(),
    version: cluster.version,
    query,
    written,
    cpuSeconds: () => treeCpuSeconds(cluster.pid!),
    async settled() {
      await pause(toldAfterMs);
      return written();
    },
    async tables() {
      const rows = await query(
        `SELECT relname AS name, n_live_tup::float8 AS live, n_dead_tup::float8 AS dead,
           pg_total_relation_size(relid)::float8 AS bytes, autovacuum_count::float8 AS vacuums
         FROM pg_stat_user_tables ORDER BY bytes DESC`,
      );
      return rows as unknown as TableSize[];
    },
    async remove() {
      await client.end().catch(() => {});
      await cluster.remove();
    },
  };
}

export const difference = (after: Written, before: Written): Written => ({
  writes: after.writes - before.writes,
  transactions: after.transactions - before.transactions,
  walBytes: after.walBytes - before.walBytes,
  walSyncs: after.walSyncs - before.walSyncs,
});
