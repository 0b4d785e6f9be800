// Before anything runs: reaches the database, checks that it keeps what it acknowledges, and brings the schema up to date. Says in one sentence what to mend.
import pg from 'pg';
import { StoreRefused } from '../../engine/refused.ts';
import { pause } from '../../lib/service.ts';
import type { Address } from './address.ts';
import { migrate } from './migrate.ts';
import { refusal } from './refusal.ts';
import { destroySocket, endSession, within } from './session.ts';

/** Oldest release that is tried; older ones get no repairs from their makers either. */
const oldestVersion = 140_000;
/** A database that is just starting answers "not yet"; one that is not there is refused at once. */
const startingMs = 10_000;
const connectTimeoutMs = 5000;

export interface Opened {
  storeKey: string;
  epoch: string;
  /** Sentences for the log. */
  warnings: string[];
  /** `15.4, schema 1`: for /readyz. */
  detail: string;
}

export async function prepareStore(
  address: Address,
  { acceptWeakDurability }: { acceptWeakDurability: boolean },
): Promise<Opened> {
  const client = await connect(address);
  try {
    const { version, weak } = await checkServer(client, address);
    if (weak.length > 0 && !acceptWeakDurability) {
      throw new StoreRefused(
        `${address.place} would lose what was acknowledged (${weak.join('; ')}); mend its settings, or add --i-accept-weak-durability where that may be`,
      );
    }
    const { storeKey, epoch, schemaVersion } = await migrate(client, address);
    return {
      storeKey,
      epoch,
      warnings: weak.map(
        (what) => `weak durability was accepted: ${what}; a crash of the database may lose what was acknowledged`,
      ),
      detail: `PostgreSQL ${version}, schema ${schemaVersion}`,
    };
  } catch (error) {
    throw refusal(error, address, 'preparing');
  } finally {
    await endSession(client);
  }
}

async function connect(address: Address): Promise<pg.Client> {
  const until = performance.now() + startingMs;
  for (;;) {
    const client = new pg.Client({ ...address.config, connectionTimeoutMillis: connectTimeoutMs });
    // Told by the promise as well; without a listener it would end the process.
    client.on('error', () => {});
    try {
      await client.connect();
      return client;
    } catch (error) {
      // The driver leaves it open after some errors, and an open socket keeps the process alive.
      destroySocket(client);
      if ((error as { code?: string }).code !== '57P03' || performance.now() > until)
        throw refusal(error, address, 'connecting');
      await pause(250, new AbortController().signal);
    }
  }
}

const settingsText = `SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS version,
  current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
  current_setting('synchronous_commit') AS synchronous_commit, current_setting('data_sync_retry') AS data_sync_retry,
  pg_is_in_recovery()::text AS standby, current_setting('server_encoding') AS encoding,
  current_setting('default_transaction_read_only') AS read_only`;

async function checkServer(client: pg.Client, { place }: Address): Promise<{ version: string; weak: string[] }> {
  const { rows } = await within(client.query<Record<string, string>>(settingsText), connectTimeoutMs);
  const server = rows[0]!;
  if (Number(server['number']) < oldestVersion)
    throw new StoreRefused(`PostgreSQL at ${place} is ${server['version']}; version 14 or newer is needed`);
  if (server['standby'] === 'true')
    throw new StoreRefused(
      `PostgreSQL at ${place} is a standby and cannot be written; give the address of the primary`,
    );
  if (server['read_only'] === 'on')
    throw new StoreRefused(
      `PostgreSQL at ${place} has default_transaction_read_only on; switch it off for this user or database`,
    );
  if (server['encoding'] !== 'UTF8')
    throw new StoreRefused(
      `the database at ${place} has encoding ${server['encoding']}; create it with ENCODING 'UTF8'`,
    );
  const weak: string[] = [];
  if (server['fsync'] !== 'on') weak.push('fsync is off');
  if (server['full_page_writes'] !== 'on') weak.push('full_page_writes is off');
  // remote_write waits for the standby's memory only where there is one, but for the own disk in any case; local and on do too.
  if (server['synchronous_commit'] === 'off') weak.push('synchronous_commit is off');
  if (server['synchronous_commit'] === 'local')
    weak.push('synchronous_commit is local: a standby that takes over may lack the last commits');
  if (server['data_sync_retry'] !== 'off') weak.push('data_sync_retry is on: a failed sync may be forgotten');
  return { version: server['version']!, weak };
}
