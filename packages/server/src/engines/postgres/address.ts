// A `postgres://` address taken apart: what the driver needs, the schema, and how to name it to people without its password.
import { userInfo } from 'node:os';
import type { ClientConfig } from 'pg';
import pg from 'pg';

export interface Address {
  config: ClientConfig;
  /** Where our tables stand in the database. */
  schema: string;
  /** `host:port/database, schema NAME`: for messages. */
  place: string;
  user: string;
  database: string;
}

const defaultSchema = 'waitless';

/**
 * Settings of our sessions. Statements here are few, prepared once and always look rows up by an index; plans are made when tables may still be
 * empty, and the cheapest plan for an empty table, reading it from end to end, would be kept while it grows to millions of rows.
 * jit off: the planner's penalty for what is switched off would otherwise count as cost and start the compiler.
 */
const sessionSettings: Readonly<Record<string, string>> = {
  plan_cache_mode: 'force_generic_plan',
  enable_seqscan: 'off',
  enable_hashjoin: 'off',
  enable_mergejoin: 'off',
  enable_bitmapscan: 'off',
  jit: 'off',
  // What finds a few hundred rows by an index is done before a helping process has started.
  max_parallel_workers_per_gather: '0',
  // Reading many rows to find few must look as expensive as it will be: by the usual figures, walking a whole index of a table that is still empty
  // costs less than looking up ten keys.
  cpu_tuple_cost: '10',
  cpu_index_tuple_cost: '10',
  // What we have given up must not go on: a little above our own limit for a statement.
  statement_timeout: '5000',
  idle_in_transaction_session_timeout: '30000',
  default_transaction_isolation: 'read\\ committed',
  client_encoding: 'UTF8',
  // A role or database may have the older form, in which a body would be read as other bytes.
  bytea_output: 'hex',
};

export function readAddress(url: string): Address {
  const address = new URL(url);
  const schema = address.searchParams.get('schema') ?? defaultSchema;
  address.searchParams.delete('schema');
  // The driver's own reading: it also asks PGPASSWORD and ~/.pgpass for what is not in the URL.
  if (address.username === '' && !new pg.Client({ connectionString: address.href }).user) {
    // It looks for the name of this process's user in the environment alone, where services and containers have none.
    address.username = encodeURIComponent(ownName());
  }
  const { host, port, database, user } = new pg.Client({ connectionString: address.href });
  const settings = { search_path: schema, ...sessionSettings };
  return {
    config: {
      connectionString: address.href,
      application_name: address.searchParams.get('application_name') ?? 'waitless',
      keepAlive: true,
      options: Object.entries(settings)
        .map(([name, value]) => `-c ${name}=${value}`)
        .join(' '),
    },
    schema,
    place: `${host}:${port}/${database}, schema ${schema}`,
    user: user ?? '',
    database: database ?? '',
  };
}

function ownName(): string {
  try {
    return userInfo().username;
  } catch {
    // A container's user may have no name.
    return '';
  }
}
