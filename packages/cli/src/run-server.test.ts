// What `serve` says about its store: where it is, without a password, and why it cannot be used.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { resolveConfig, type RunningServer, startServer, StoreRefused } from '@waitless/server';
import { exitCodes, Failure } from './failure.ts';
import type { Output } from './output.ts';
import { announce, startFailure } from './run-server.ts';
import { run } from './support.test.ts';

const same = (text: string): string => text;

/** The lines that a server with this store begins with. */
function announced(
  options: Record<string, string>,
  storeWarnings: readonly string[] = [],
  more: readonly string[] = [],
): string[] {
  const resolved = resolveConfig({ options, env: {}, cwd: '/srv' });
  const lines: string[] = [];
  const output = { out: { dim: same, bold: same, cyan: same, yellow: same }, line: (text: string) => lines.push(text) };
  const server = { url: 'http://127.0.0.1:1', config: resolved.config, storeWarnings, warnings: more };
  announce(server as unknown as RunningServer, resolved, { output: output as unknown as Output } as Parameters<
    typeof announce
  >[2]);
  return lines;
}

test('the first lines name the store, and no password', () => {
  const postgres = announced({ data: 'postgres://app:ossifrage@db/jobs?schema=a' });
  assert.ok(postgres.includes('  data        PostgreSQL db:5432, database jobs, schema a, as app (flag --data)'));
  assert.ok(postgres.includes('  durability  stored: committed by the database before the 202 is sent'));
  assert.doesNotMatch(postgres.join('\n'), /ossifrage/);
  assert.match(postgres.at(-1)!, /^ {2}Every process list .* shows the password in --data/);
  assert.ok(announced({ data: ':memory:' }).includes('  data        in memory'));
  const folder = announced({ data: 'store' });
  assert.ok(folder.includes('  data        /srv/store (flag --data)'));
  assert.ok(folder.includes('  durability  stored: on disk before the 202 is sent'));
});

test('a database whose weak settings were accepted is not announced as a safe one', () => {
  const lines = announced({ data: 'postgres://app@db/jobs', iAcceptWeakDurability: 'true' }, ['fsync is off']);
  assert.ok(lines.includes('  durability  weak, as was accepted: what is acknowledged may be lost'));
  assert.ok(lines.includes('  fsync is off'));
  const other = announced({ data: 'store' }, [], ['a service cannot be used here']);
  assert.ok(
    other.includes('  durability  stored: on disk before the 202 is sent'),
    'another warning is about something else',
  );
  assert.ok(other.includes('  a service cannot be used here'));
});

test('a store that refuses is one sentence and exit code 78, whatever the database has put into it', () => {
  const failure = startFailure(new StoreRefused('PostgreSQL at db:5432 says\n\u001b[2Jno; ask its owner'));
  assert.ok(failure instanceof Failure);
  assert.deepEqual([failure.message, failure.exitCode], ['PostgreSQL at db:5432 says no; ask its owner', 78]);
  const other = new Error('disk');
  assert.equal(startFailure(other), other, 'errors of a folder keep their own ways');
});

test('a server with a folder does not load the PostgreSQL driver', async () => {
  const { cache, resolve } = createRequire(import.meta.url);
  const driver = resolve('pg');
  const { config } = resolveConfig({ options: { data: ':memory:', port: '0', logLevel: 'silent' }, env: {}, cwd: '/' });
  const server = await startServer(config);
  await server.stop();
  assert.ok(!(driver in cache));
  await import('pg');
  assert.ok(driver in cache, 'it would have been seen');
});

test('an address in the wrong place is refused without its password', async () => {
  const address = 'postgres://app:ossifrage/#?@db.example.com:5432/jobs';
  const wrong: [argv: string[], code: number, message: RegExp][] = [
    [[address], exitCodes.usage, /unknown command 'postgres:\/\/app:\*\*\*@db/],
    [['serve', address], exitCodes.usage, /too many arguments.*postgres:\/\/app:\*\*\*@db/],
    [['serve', `--dta=${address}`], exitCodes.usage, /unknown option '--dta=postgres:\/\/app:\*\*\*@db/],
    [['ls', '--url', address], exitCodes.usage, /--url: "postgres:\/\/app:\*\*\*@db/],
    ...[
      '--port',
      '--host',
      '--max-wait',
      '--max-body-memory',
      '--log-level',
      '--allow-network',
      '--config',
      '--api-key-file',
    ].map((flag): [string[], number, RegExp] => [['serve', flag, address], 78, /^waitless: --.*app:\*\*\*@db/]),
    [
      ['serve', '--port', `postgres://app:${'ossifrage'.repeat(9)}@db/jobs`],
      78,
      /"postgres:\/\/app:\*\*\*@db\/jobs" does not fit/,
    ],
    ...['--data', '--target', '--pull', '--public-url', '--cors-origin'].map((flag): [string[], number, RegExp] => [
      ['serve', flag, address],
      78,
      new RegExp(`^waitless: ${flag}: `),
    ]),
  ];
  for (const [argv, code, message] of wrong) {
    const ran = await run(argv);
    assert.equal(ran.code, code, ran.stderr);
    assert.match(ran.stderr, message);
    assert.doesNotMatch(ran.stderr + ran.stdout, /ossifrage/, argv.join(' '));
  }
});
