// What a start on a database that cannot be used must be like: refused with one sentence, and nothing of ours left behind in the database.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { TestContext } from 'node:test';
import { postgresEngine } from '../../packages/server/src/engines/postgres/engine.ts';
import { StoreRefused } from '../../packages/server/src/engine/refused.ts';
import { cleanUp } from '../support/cleanup.ts';
import { query, sharedCluster } from '../support/postgres.ts';
import { NotStarted, spawnServer } from '../support/spawn-server.ts';

/** Stands in every password that a test gives. */
export const marker = 'ossifrage';

/** One sentence that a person can act on: what is wrong, then what to do, and no secret in it. */
export function assertSentence(
  sentence: string,
  expected: RegExp,
  { secrets = [] }: { secrets?: string[] } = {},
): void {
  assert.match(sentence, expected);
  assert.equal(sentence.trim().split('\n').length, 1, sentence);
  assert.match(
    sentence,
    /; .*\b(mend|start|give|create|choose|raise|let|set|see|try|switch|is needed|add)\b/,
    sentence,
  );
  for (const secret of [marker, ...secrets]) assert.ok(!sentence.includes(secret), sentence);
}

/** Opens a store there and sees it refused. */
export async function refused(
  url: string,
  expected: RegExp,
  settings: { acceptWeakDurability?: boolean } = {},
): Promise<void> {
  const engine = postgresEngine({ url, ...settings });
  const error: unknown = await engine.open(Date.now()).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error === undefined) await engine.close();
  assert.ok(
    error instanceof StoreRefused,
    `it was not refused: ${error instanceof Error ? error.stack : String(error)}`,
  );
  assertSentence(error.message, expected, { secrets: [decodeURIComponent(new URL(url).password)].filter(Boolean) });
}

/** Opens a store there, which must work, and closes it again; the warnings that it gave. */
export async function opens(
  url: string,
  settings: { acceptWeakDurability?: boolean } = {},
): Promise<readonly string[]> {
  const engine = postgresEngine({ url, ...settings });
  const { warnings = [] } = await engine.open(Date.now());
  await engine.close();
  return warnings;
}

/** Runs the command that people type: it ends by itself with exit code 78 and prints one sentence. */
export async function commandRefuses(t: TestContext, url: string, expected: RegExp): Promise<void> {
  const ended: unknown = await spawnServer(t, {
    data: url,
    own: true,
    nodes: 1,
    services: { jobs: { target: { pull: true } } },
  }).then(
    (server) => server,
    (error: unknown) => error,
  );
  assert.ok(ended instanceof NotStarted, `it started or failed in another way: ${String(ended)}`);
  assert.equal(ended.code, 78, ended.printed);
  assertSentence(ended.printed, expected, { secrets: [decodeURIComponent(new URL(url).password)].filter(Boolean) });
}

/** The same address behind another port. */
export const through = (url: string, port: number): string => Object.assign(new URL(url), { port: String(port) }).href;

/** What stands in a schema, by name; undefined when there is no such schema. */
export async function relationsOf(admin: string, schema: string): Promise<string[] | undefined> {
  const rows = await query<{ relname: string | null }>(
    admin,
    `SELECT relname FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid WHERE nspname = '${schema}' ORDER BY relname`,
  );
  return rows.length === 0 ? undefined : rows.flatMap(({ relname }) => relname ?? []);
}

export interface Login {
  /** For statements as the superuser. */
  readonly admin: string;
  readonly user: string;
  /** Not made yet; gone with the test. */
  readonly schema: string;
  /** The address of this user. */
  readonly url: (change?: { password?: string; database?: string; user?: string; host?: string }) => string;
}

/** A user of their own who may do what the statements say; `$user` and `$schema` stand for the names. */
export async function loginFor(t: TestContext, statements: readonly string[] = []): Promise<Login> {
  const admin = (await sharedCluster()).url();
  const user = `w_${randomBytes(8).toString('hex')}`;
  const schema = `s_${randomBytes(8).toString('hex')}`;
  cleanUp(t, async () => {
    await query(admin, `SET lock_timeout = '30s'`, `DROP SCHEMA IF EXISTS ${schema} CASCADE`);
    await query(admin, `DROP OWNED BY ${user} CASCADE`, `DROP ROLE ${user}`);
  });
  const named = (text: string): string => text.replaceAll('$user', user).replaceAll('$schema', schema);
  await query(admin, `CREATE ROLE ${user} LOGIN PASSWORD '${marker}'`, ...statements.map(named));
  const { host: place, pathname } = new URL(admin);
  return {
    admin,
    user,
    schema,
    url: ({ password = marker, database = pathname.slice(1), user: name = user, host = place } = {}) =>
      `postgres://${name}:${password}@${host}/${database}?schema=${schema}`,
  };
}
