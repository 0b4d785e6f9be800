// Cutting a PostgreSQL connection at an exact message: the database has done it, and the client never hears.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client } from 'pg';
import { cleanUp } from './cleanup.ts';
import { newStore, postgresMissing, query, sharedCluster } from './postgres.ts';
import { frontendMessages, messageCutter } from './postgres-wire.ts';
import { tcpProxy } from './tcp-proxy.ts';

const skip = postgresMissing() ?? false;

function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(type.length + 4, type, 'latin1');
  head.writeInt32BE(body.length + 4, type.length);
  return Buffer.concat([head, body]);
}

function startup(code: number): Buffer {
  const body = Buffer.alloc(4);
  body.writeInt32BE(code);
  return message('', body);
}

test('messages are found wherever the stream was split', () => {
  const parts = [
    startup(80877103),
    startup(196608),
    message('Q', Buffer.from('SELECT 1\0')),
    message('S', Buffer.alloc(0)),
  ];
  const stream = Buffer.concat(parts);
  const ends = parts.map((_, at) => Buffer.concat(parts.slice(0, at + 1)).length);
  for (let size = 1; size <= stream.length; size++) {
    const take = frontendMessages();
    const found: { type: string; body: string; end: number }[] = [];
    for (let at = 0; at < stream.length; at += size)
      for (const { message, end } of take(stream.subarray(at, at + size)))
        found.push({ type: message.type, body: message.body.toString('latin1'), end: at + end });
    assert.deepEqual(
      found.map(({ type, end }) => [type, end]),
      ['startup', 'startup', 'Q', 'S'].map((type, at) => [type, ends[at]]),
    );
    assert.equal(found[2]!.body, 'SELECT 1\0');
  }
});

test('a statement whose answer is cut off has been done', { skip }, async (t) => {
  const store = await newStore(t);
  const { url } = await sharedCluster();
  await query(url(), `CREATE SCHEMA ${store.schema}`, `CREATE TABLE ${store.schema}.done (n int)`);
  const cutter = messageCutter();
  const proxy = await tcpProxy(t, { to: Number(new URL(url()).port), inspect: cutter.inspect });
  const client = new Client({ connectionString: url().replace(/:\d+\//, `:${proxy.port}/`) });
  cleanUp(t, () => client.end());
  client.on('error', () => {});
  await client.connect();
  const insert = (n: number): Promise<unknown> => client.query(`INSERT INTO ${store.schema}.done VALUES ($1)`, [n]);
  await insert(1);

  const cut = cutter.cutAfter({ nth: 2, matches: ({ type }) => type === 'S' });
  await insert(2);
  await assert.rejects(insert(3));
  assert.equal((await cut).type, 'S');
  assert.ok(cutter.seen > 10);
  // The statement may be under way still.
  for (let rows: unknown[] = []; rows.length < 3;)
    rows = await query(url(), `SELECT n FROM ${store.schema}.done ORDER BY n`);
});

test('without the message that carries it, a statement has not been done', { skip }, async (t) => {
  const store = await newStore(t);
  const { url } = await sharedCluster();
  await query(url(), `CREATE SCHEMA ${store.schema}`, `CREATE TABLE ${store.schema}.done (n int)`);
  const cutter = messageCutter();
  const proxy = await tcpProxy(t, { to: Number(new URL(url()).port), inspect: cutter.inspect });
  const client = new Client({ connectionString: url().replace(/:\d+\//, `:${proxy.port}/`) });
  cleanUp(t, () => client.end());
  client.on('error', () => {});
  await client.connect();
  const {
    rows: [session],
  } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  const cut = cutter.cutAfter({ matches: ({ type }) => type === 'B' });
  await assert.rejects(client.query(`INSERT INTO ${store.schema}.done VALUES ($1)`, [1]));
  await cut;
  const others = `SELECT 1 FROM pg_stat_activity WHERE pid = ${session!.pid}`;
  while ((await query(url(), others)).length > 0);
  assert.deepEqual(await query(url(), `SELECT n FROM ${store.schema}.done`), []);
});
