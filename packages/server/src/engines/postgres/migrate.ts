// Brings the schema up to date: all steps in one transaction under a lock, so that of several nodes one migrates and a kill at any moment leaves nothing half-made.
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import pg from 'pg';
import { StoreRefused } from '../../engine/refused.ts';
import type { Address } from './address.ts';
import { within } from './session.ts';

const migrationsFolder = new URL('./migrations/', import.meta.url);
/** Another node may be in the middle of the same migration. */
const lockTimeoutMs = 60_000;
/** How long a wait for the lock may be silent: in between the other side shows that it is still there. */
const lockLookMs = 2000;
/** A step may rewrite a table. */
const stepLimitMs = lockTimeoutMs + 5000;
const answerLimitMs = 10_000;

/** Single statements of a migration, so that an error names the one that failed. */
export const statementsOf = (sql: string): string[] =>
  sql
    .replaceAll(/^\s*--.*$/gm, '')
    .split(/;\s*$/m)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '');

const migrations = (): { name: string; statements: string[] }[] =>
  readdirSync(migrationsFolder)
    .filter((file) => file.endsWith('.sql'))
    .sort()
    .map((name) => ({ name, statements: statementsOf(readFileSync(new URL(name, migrationsFolder), 'utf8')) }));

export async function migrate(
  client: pg.Client,
  address: Address,
): Promise<{ storeKey: string; epoch: string; schemaVersion: number }> {
  const { schema, place } = address;
  const steps = migrations();
  const ask = <Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<pg.QueryResult<Row>> =>
    within(client.query<Row>(text, values), answerLimitMs);
  await beginAlone(ask, schema);
  const have = await versionOf(ask, address);
  if (have > steps.length) {
    throw new StoreRefused(
      `the store at ${place} has schema ${have} and this version knows ${steps.length}; start the newer version of Waitless that wrote it`,
    );
  }
  await ask(`SET LOCAL statement_timeout = ${lockTimeoutMs}`);
  for (const [index, step] of steps.entries()) {
    if (index < have) continue;
    for (const statement of step.statements) await within(client.query(statement), stepLimitMs);
    if (index === 0) {
      await ask("INSERT INTO meta (key, value) VALUES ('product', 'waitless'), ('store_key', $1), ('epoch', $2)", [
        randomBytes(32).toString('hex'),
        randomBytes(8).toString('hex'),
      ]);
    }
    await ask(
      "INSERT INTO meta (key, value) VALUES ('schema_version', $1) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
      [String(index + 1)],
    );
  }
  await checkTables(ask, address);
  const { rows } = await ask<{ key: string; value: string }>('SELECT key, value FROM meta');
  await ask('COMMIT');
  const meta = new Map(rows.map(({ key, value }) => [key, value]));
  return { storeKey: meta.get('store_key')!, epoch: meta.get('epoch')!, schemaVersion: steps.length };
}

type Ask = <Row extends pg.QueryResultRow>(text: string, values?: unknown[]) => Promise<pg.QueryResult<Row>>;

/** Begins a transaction that no other node's migration of this schema overlaps. */
async function beginAlone(ask: Ask, schema: string): Promise<void> {
  const until = performance.now() + lockTimeoutMs;
  for (;;) {
    await ask('BEGIN');
    await ask(`SET LOCAL lock_timeout = ${lockLookMs}`);
    try {
      await ask('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`waitless ${schema}`]);
      return void (await ask(`SET LOCAL lock_timeout = ${lockTimeoutMs}`));
    } catch (error) {
      if ((error as { code?: string }).code !== '55P03' || performance.now() > until) throw error;
      await ask('ROLLBACK');
    }
  }
}

/** 0 for a schema that was not there, and now is, or that is empty; refuses one with somebody else's tables, and one that the user may not use. */
async function versionOf(ask: Ask, { schema, place, user }: Address): Promise<number> {
  const { rows: found } = await ask<{ owner: string; usage: boolean; create: boolean }>(
    `SELECT pg_get_userbyid(nspowner) AS owner, has_schema_privilege(oid, 'USAGE') AS usage, has_schema_privilege(oid, 'CREATE') AS create
     FROM pg_namespace WHERE nspname = $1`,
    [schema],
  );
  const [at] = found;
  if (!at) {
    await ask(`CREATE SCHEMA ${pg.escapeIdentifier(schema)}`).catch((error: { code?: string; message: string }) => {
      if (error.code !== '42501') throw error;
      throw new StoreRefused(
        `user "${user}" may not create the schema at ${place} (${error.message}); let the owner of the database run: CREATE SCHEMA ${schema} AUTHORIZATION "${user}"`,
      );
    });
    return 0;
  }
  const { rows } = await ask<{ relname: string; relkind: string }>(
    'SELECT relname, relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 ORDER BY relname',
    [schema],
  );
  if (!at.usage || (rows.length === 0 && !at.create)) {
    throw new StoreRefused(
      `the schema at ${place} belongs to "${at.owner}" and user "${user}" may not ${at.usage ? 'create tables in' : 'use'} it; ` +
        `start as "${at.owner}", or choose another with ?schema=NAME in --data`,
    );
  }
  if (rows.length === 0) return 0;
  const foreign = new StoreRefused(
    `the schema at ${place} holds other tables than ours (${rows[0]!.relname}); choose another with ?schema=NAME in --data`,
  );
  if (!rows.some(({ relname, relkind }) => relname === 'meta' && relkind === 'r')) throw foreign;
  const meta = await ask<{ key: string; value: string }>(
    "SELECT key::text, value::text FROM meta WHERE key::text IN ('product', 'schema_version')",
  ).catch((error: { code?: string }) => {
    if (error.code === '42703') throw foreign;
    throw error.code === '42501' ? noRights({ place, user, schema }, 'meta') : error;
  });
  const values = new Map(meta.rows.map(({ key, value }) => [key, value]));
  if (values.get('product') !== 'waitless' || !/^\d{1,9}$/.test(values.get('schema_version') ?? '')) throw foreign;
  return Number(values.get('schema_version'));
}

const noRights = ({ place, user, schema }: Pick<Address, 'place' | 'user' | 'schema'>, table: string): StoreRefused =>
  new StoreRefused(
    `user "${user}" may not read and write the tables at ${place} (${table}); start as their owner, or let it run: ` +
      `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${schema} TO "${user}"; GRANT USAGE ON ALL SEQUENCES IN SCHEMA ${schema} TO "${user}"`,
  );

/** The tables may belong to somebody else: better said now than at the first submit. */
async function checkTables(ask: Ask, address: Address): Promise<void> {
  const { rows } = await ask<{ relname: string }>(
    `SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND
       CASE c.relkind WHEN 'r' THEN NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))
         WHEN 'S' THEN NOT has_sequence_privilege(c.oid, 'USAGE') ELSE false END ORDER BY relname LIMIT 1`,
    [address.schema],
  );
  if (rows[0]) throw noRights(address, rows[0].relname);
}
