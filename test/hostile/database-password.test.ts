// The password of the database: every place it may stand in lets the server in, and nothing the server prints or answers holds it.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { cleanUp } from '../support/cleanup.ts';
import { until } from '../support/http.ts';
import { postgresMissing, query, sharedCluster } from '../support/postgres.ts';
import { temporaryFolder } from '../support/server.ts';

const bin = fileURLToPath(new URL('../../packages/cli/bin/waitless.js', import.meta.url));
const missing = postgresMissing();

/** With every character that an address or a file of passwords could stumble over. */
const marker = 'ossifrage';
const password = `${marker}/?#@%:\\ä ${marker}`;

interface Login {
  /** For statements as the superuser. */
  admin: string;
  user: string;
  schema: string;
  /** The address, with or without the password. */
  address: (secret?: string) => string;
}

/** A user who has a schema and this password. */
async function loginFor(t: TestContext): Promise<Login> {
  const admin = (await sharedCluster()).url();
  const user = `w_${randomBytes(8).toString('hex')}`;
  await query(admin, `CREATE ROLE ${user} LOGIN PASSWORD '${password}'`, `CREATE SCHEMA ${user} AUTHORIZATION ${user}`);
  cleanUp(t, () => query(admin, `SET lock_timeout = '30s'`, `DROP OWNED BY ${user} CASCADE`, `DROP ROLE ${user}`));
  const { host, pathname } = new URL(admin);
  const address = (secret?: string): string =>
    `postgres://${user}${secret === undefined ? '' : `:${encodeURIComponent(secret)}`}@${host}${pathname}?schema=${user}`;
  return { admin, user, schema: user, address };
}

interface Served {
  child: ChildProcess;
  /** Both streams so far. */
  printed: () => string;
  /** Undefined when it ended before it listened. */
  url: string | undefined;
  ended: Promise<number | null>;
}

interface Settings {
  argv?: readonly string[];
  env?: Readonly<Record<string, string>>;
  /** Files of the folder it runs in, which is its home as well. */
  files?: Readonly<Record<string, string>>;
}

async function serve(t: TestContext, { argv = [], env = {}, files = {} }: Settings): Promise<Served> {
  const cwd = join(await temporaryFolder(t), 'home');
  await mkdir(cwd);
  for (const [name, text] of Object.entries(files)) await writeFile(join(cwd, name), text, { mode: 0o600 });
  const before = readdirSync(cwd);
  const child = spawn(
    process.execPath,
    [bin, 'serve', '--port', '0', '--log-level', 'debug', '--pull', 'jobs', ...argv],
    {
      cwd,
      env: { PATH: process.env['PATH'], HOME: cwd, NO_COLOR: '1', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  const ended = once(child, 'close').then(([code]) => code as number | null);
  cleanUp(t, async () => {
    child.kill('SIGKILL');
    await ended;
    assert.deepEqual(readdirSync(cwd), before, 'nothing was written');
  });
  let printed = '';
  const url = new Promise<string>((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        printed += text;
        const found = /listening on (http:\S+)/.exec(printed);
        // The last of the first lines.
        if (found && printed.includes('no API key')) resolve(found[1]!);
      });
    }
  });
  return { child, printed: () => printed, url: await Promise.race([url, ended.then(() => undefined)]), ended };
}

async function get(url: string): Promise<{ status: number; text: string }> {
  const answer = await fetch(url);
  return { status: answer.status, text: JSON.stringify([...answer.headers]) + (await answer.text()) };
}

describe('the password of the database', { skip: missing && `skipped: ${missing}`, concurrency: 2 }, () => {
  const ways: [title: string, settings: (login: Login) => Settings][] = [
    ['in the address of the environment', ({ address }) => ({ env: { WAITLESS_DATA: address(password) } })],
    ['in the address of the command line', ({ address }) => ({ argv: ['--data', address(password)] })],
    [
      'in the file, from the environment',
      ({ address }) => ({
        files: { 'waitless.yaml': `data: '${address('X').replace('X', '${env:DB_PASSWORD}')}'\n` },
        env: { DB_PASSWORD: encodeURIComponent(password) },
      }),
    ],
    [
      'in a file of its own',
      ({ address }) => ({
        argv: ['--data', address(), '--data-password-file', 'secret'],
        files: { secret: `${password}\n` },
      }),
    ],
    ['in PGPASSWORD', ({ address }) => ({ argv: ['--data', address()], env: { PGPASSWORD: password } })],
    [
      'in ~/.pgpass',
      ({ address, user }) => ({
        argv: ['--data', address()],
        files: { '.pgpass': `*:*:*:${user}:${password.replaceAll(/[\\:]/g, '\\$&')}\n` },
      }),
    ],
  ];
  for (const [title, settings] of ways) {
    test(`${title} lets the server in, and the first lines name the store without it`, async (t) => {
      const login = await loginFor(t);
      const server = await serve(t, settings(login));
      assert.ok(server.url, server.printed());
      const { port } = new URL(login.admin);
      assert.ok(
        server
          .printed()
          .includes(`PostgreSQL 127.0.0.1:${port}, database postgres, schema ${login.schema}, as ${login.user}`),
        server.printed(),
      );
      server.child.kill('SIGTERM');
      assert.equal(await server.ended, 0, server.printed());
      assert.ok(!server.printed().includes(marker), server.printed());
    });
  }

  test('is in no answer and no line of the log, also while the database lets nobody in', async (t) => {
    const login = await loginFor(t);
    const server = await serve(t, { env: { WAITLESS_DATA: login.address(password) } });
    assert.ok(server.url, server.printed());
    const pages = ['/readyz', '/metrics', '/', '/v1/services', '/v1/operations', '/openapi.json'];
    const seen: string[] = [];
    const look = async (): Promise<number[]> => {
      const answers = await Promise.all(pages.map((path) => get(server.url + path)));
      seen.push(...answers.map(({ text }) => text));
      return answers.map(({ status }) => status);
    };
    assert.deepEqual(
      await look(),
      pages.map(() => 200),
    );
    // A password that was changed: sessions are cut and no new one is let in.
    await query(
      login.admin,
      `ALTER ROLE ${login.user} PASSWORD 'another'`,
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '${login.user}'`,
    );
    const submitted = await fetch(`${server.url}/v1/call/jobs`, { method: 'POST', body: 'x' });
    assert.equal(submitted.status, 503);
    seen.push(await submitted.text());
    assert.match(seen.at(-1)!, /"code":"engine-unavailable"/);
    assert.equal((await look())[0], 503);
    await query(login.admin, `ALTER ROLE ${login.user} PASSWORD '${password}'`);
    await until(async () => (await look())[0] === 200 || undefined);
    server.child.kill('SIGTERM');
    assert.equal(await server.ended, 0, server.printed());
    for (const text of [...seen, server.printed()]) assert.ok(!text.includes(marker), text);
  });

  const refusals: [title: string, address: (login: Login) => string, sentence: RegExp][] = [
    [
      'a wrong one',
      ({ address }) => address(`${password}!`),
      /does not let user "w_\w+" in \(password authentication failed/,
    ],
    [
      'for a database that is not there',
      ({ address }) => address(password).replace('/postgres?', '/none?'),
      /there is no database "none"/,
    ],
    [
      'for an address where nobody listens',
      ({ address }) => address(password).replace(/:\d+\//, ':1/'),
      /connection refused/,
    ],
    ['without TLS on the other side', ({ address }) => `${address(password)}&sslmode=require`, /SSL/],
  ];
  for (const [title, address, sentence] of refusals) {
    test(`${title}: one sentence, exit code 78, and it is not in it`, async (t) => {
      const login = await loginFor(t);
      const server = await serve(t, { env: { WAITLESS_DATA: address(login) } });
      assert.equal(await server.ended, 78, server.printed());
      assert.match(server.printed(), sentence);
      assert.equal(server.printed().trim().split('\n').length, 1, server.printed());
      assert.ok(!server.printed().includes(marker), server.printed());
    });
  }
});
