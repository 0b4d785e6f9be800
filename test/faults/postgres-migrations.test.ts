// The schema is made once and whole: by eight nodes at once, through a connection cut at every message, and by processes killed in the midst of it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { describe, test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Client } from 'pg';
import type { Engine } from '../../packages/server/src/engine/engine.ts';
import { StoreRefused } from '../../packages/server/src/engine/refused.ts';
import { postgresEngine } from '../../packages/server/src/engines/postgres/engine.ts';
import { statementsOf } from '../../packages/server/src/engines/postgres/migrate.ts';
import { manualClock } from '../../packages/server/src/lib/clock.ts';
import { kept, lease, settle, submission } from '../engines/postgres-store.ts';
import { cleanUp } from '../support/cleanup.ts';
import { newStore, postgresMissing, query } from '../support/postgres.ts';
import { frontendMessages, messageCutter } from '../support/postgres-wire.ts';
import { type Inspect, tcpProxy } from '../support/tcp-proxy.ts';
import { opens, through } from './postgres-start.ts';

const missing = postgresMissing();
const command = fileURLToPath(new URL('../../packages/cli/bin/waitless.js', import.meta.url));

/** Tables, columns, indexes, constraints and the last step that was made; undefined where there is not even the schema. */
async function stateOf(url: string, schema: string): Promise<string | undefined> {
  const [found] = await query(url, `SELECT FROM pg_namespace WHERE nspname = '${schema}'`);
  if (!found) return undefined;
  const lists = [
    `SELECT relname, relkind, reloptions FROM pg_class WHERE relnamespace = '${schema}'::regnamespace`,
    `SELECT relname, attname, atttypid::int, attnotnull, attstorage FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
     WHERE relnamespace = '${schema}'::regnamespace AND attnum > 0`,
    `SELECT indexname, replace(indexdef, '${schema}', '') FROM pg_indexes WHERE schemaname = '${schema}'`,
    `SELECT conname, contype FROM pg_constraint WHERE connamespace = '${schema}'::regnamespace`,
  ];
  const [row] = await query(
    url,
    `SELECT ${lists.map((list, i) => `(SELECT json_agg(t ORDER BY t::text) FROM (${list}) t) AS of${i}`).join(', ')}`,
  );
  const meta = `SELECT key, CASE WHEN key IN ('store_key', 'epoch') THEN length(value)::text ELSE value END FROM ${schema}.meta ORDER BY 1`;
  return JSON.stringify({ ...row, meta: await query(url, meta) }, null, 1);
}

/** What a store looks like that nobody has disturbed. */
async function wholeState(t: TestContext): Promise<string> {
  const { url, schema } = await newStore(t);
  await opens(url);
  return (await stateOf(url, schema))!;
}

const firstSchema = new URL('../../packages/server/src/engines/postgres/migrations/0001.sql', import.meta.url);
const storedKey = 'ab'.repeat(32);

/** A store as the first schema left it, with an operation that has ended under an idempotency key and one that waits. */
async function oldStore(t: TestContext, at: number): Promise<{ url: string; schema: string }> {
  const { url, schema } = await newStore(t);
  const client = new Client({ connectionString: url.replace(/\?.*/, ''), options: `-c search_path=${schema}` });
  await client.connect();
  try {
    await client.query(`CREATE SCHEMA ${schema}`);
    for (const statement of statementsOf(readFileSync(firstSchema, 'utf8'))) await client.query(statement);
    await client.query(
      "INSERT INTO meta VALUES ('product', 'waitless'), ('schema_version', '1'), ('store_key', $1), ('epoch', 'e')",
      [storedKey],
    );
    await client.query("INSERT INTO queue (namespace, service) VALUES ('default', 'work')");
    await client.query('INSERT INTO counter (queue, slot, queued, succeeded) VALUES (1, 33, 1, 1)');
    const columns = 'seq, rank, wake_at, created_at, updated_at, deadline_at, retention_ms, queue, version, attempt, ';
    for (const [seq, stage, wakeAt] of [
      [1, 3, at + 9e7],
      [2, 0, at + 6e5],
    ]) {
      await client.query(
        `INSERT INTO operation (${columns} lease_no, request_bytes, stage) VALUES ($1, 1, $2, $3, $3, $3::int8 + 600000, 1000, 1, 1, 0, 0, 4, $4)`,
        [seq, wakeAt, at, stage],
      );
      await client.query(
        `INSERT INTO request (seq, nonce, correlation, head, idempotency, body) VALUES ($1, $2, 'c', '{}', $3, 'body')`,
        [seq, `${seq}`.padStart(32, '0'), seq === 1 ? 'k' : null],
      );
    }
    await client.query("INSERT INTO result VALUES (1, 200, 1, '[]', 'h', 'answer')");
    await client.query("INSERT INTO idempotency VALUES (1, 'k', 'f', 1, $1, false)", [at + 9e7]);
    await client.query("SELECT setval('operation_seq', 2)");
  } finally {
    await client.end();
  }
  return { url, schema };
}

/** Sees each message on the way to the server, on all connections together, before it gets there. */
const watching =
  (see: (text: string) => void): (() => Inspect) =>
  () => {
    const messages = frontendMessages();
    return (chunk) => {
      for (const { message } of messages(chunk)) see(message.body.toString('latin1'));
      return undefined;
    };
  };

describe('the schema of a new store', { skip: missing && `skipped: ${missing}`, concurrency: 3 }, () => {
  test('is made once by eight nodes that come at once, and all of them open it', async (t) => {
    const whole = await wholeState(t);
    const { url, schema } = await newStore(t);
    const nodes = Array.from({ length: 8 }, () => postgresEngine({ url }));
    const opened = await Promise.all(nodes.map((node) => node.open(Date.now())));
    assert.equal(new Set(opened.map(({ storeKey }) => storeKey)).size, 1, 'they sign with one key');
    assert.equal(await stateOf(url, schema), whole);
    const numbers = await Promise.all(nodes.map((node) => node.queue('default', 'jobs')));
    assert.equal(new Set(numbers.map(({ id }) => id)).size, 1);
    await Promise.all(nodes.map((node) => node.close()));
  });

  test('is there whole or not at all after a cut at every message of a start, and the next start gets further', async (t) => {
    const whole = await wholeState(t);
    const { url, schema } = await newStore(t);
    /** A start whose connection is cut after so many messages; false when it got through before. */
    async function cutAfter(nth: number): Promise<boolean> {
      const cutter = messageCutter();
      const proxy = await tcpProxy(t, { to: Number(new URL(url).port), inspect: cutter.inspect });
      void cutter.cutAfter({ nth });
      const engine = postgresEngine({ url: through(url, proxy.port) });
      const error = await engine.open(Date.now()).then(
        () => undefined,
        (reason: Error) => reason,
      );
      if (error === undefined) return engine.close().then(() => false);
      assert.ok(error instanceof StoreRefused, `message ${nth}: ${error.stack}`);
      assert.ok(cutter.seen >= nth, `message ${nth} was reached`);
      return true;
    }

    let before = 0;
    let state: string | undefined;
    while (state === undefined) {
      assert.ok(await cutAfter(++before), 'no start gets through without the commit');
      state = await stateOf(url, schema);
    }
    assert.equal(state, whole, `after message ${before}`);
    let after = 0;
    while (await cutAfter(++after))
      assert.equal(await stateOf(url, schema), whole, `after message ${after} on a whole schema`);
    t.diagnostic(`${before} cuts until the commit, ${after - 1} on a whole schema`);
    assert.ok(before > 30, 'each statement was cut');
    await opens(url);
    assert.equal(await stateOf(url, schema), whole);
  });

  test('of the first version becomes that of today, and what was stored there is as it was', async (t) => {
    const whole = await wholeState(t);
    const at = Date.now();
    const { url, schema } = await oldStore(t, at);
    const nodes = Array.from({ length: 3 }, () => postgresEngine({ url }));
    const opened = await Promise.all(nodes.map((node) => node.open(at)));
    for (const node of nodes) cleanUp(t, () => node.close());
    assert.ok(opened.every(({ storeKey }) => storeKey === storedKey));
    const upgraded = JSON.parse((await stateOf(url, schema))!) as Record<string, unknown>;
    const today = JSON.parse(whole) as Record<string, unknown>;
    delete upgraded['meta'];
    delete today['meta'];
    assert.deepEqual(upgraded, today);
    const [engine] = nodes as [Engine];
    const { id } = await engine.queue('default', 'work');
    const idempotency = { key: 'k', fingerprint: 'f', expiresAt: at + 9e7, retryFailed: false };
    const clock = manualClock(opened[0]!.nowMs);
    const [replayed] = await engine.submit([submission(id, clock, { idempotency })], clock.now());
    assert.ok(replayed?.kind === 'replayed');
    assert.deepEqual([replayed.operation.seq, replayed.operation.key, replayed.as], [1, null, 'new']);
    assert.equal(Buffer.from((await engine.result(1))!.body!).toString(), 'answer');
    assert.deepEqual(await engine.request(2), { head: '{}', bodyBytes: 4 });
    const node = { engine, clock };
    const [old] = await lease(node);
    assert.deepEqual([old?.seq, old?.correlationId], [2, 'c']);
    assert.equal((await settle(node, [old!], kept(1000)))[0]?.kind, 'recorded');
    const sharing = { identity: 'i', share: 's', use: 'stored' as const, maxAgeMs: null, onlyStored: false };
    const ask = async (): Promise<string> =>
      (await engine.submit([submission(id, clock, { key: 'a', sharing })], clock.now()))[0]!.kind;
    assert.equal(await ask(), 'new');
    await settle(node, await lease(node), kept(1000));
    assert.equal(await ask(), 'stored');
    const [counted] = await engine.counts();
    assert.deepEqual(counted?.counts, { queued: 0, running: 0, succeeded: 3, failed: 0, cancelled: 0 });
  });

  test('is there whole or not at all after kill -9 in the midst of a start, and the next start works', async (t) => {
    const whole = await wholeState(t);
    const places = [
      'BEGIN',
      'CREATE SCHEMA',
      'CREATE TABLE operation ',
      'CREATE INDEX operation_ready',
      'INSERT INTO meta',
      'COMMIT',
    ];
    const { url, schema } = await newStore(t);
    for (const place of places) {
      let kill = (): void => {};
      let killed = false;
      const inspect = watching((text) => {
        if (!killed && text.includes(place)) kill();
      });
      const proxy = await tcpProxy(t, { to: Number(new URL(url).port), inspect });
      const env = { PATH: process.env['PATH'], WAITLESS_DATA: through(url, proxy.port) };
      const child = spawn(process.execPath, [command, 'serve', '--port', '0', '--pull', 'jobs'], {
        env,
        stdio: 'ignore',
      });
      cleanUp(t, () => child.kill('SIGKILL'));
      kill = () => void (killed = child.kill('SIGKILL'));
      const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
      assert.equal(signal, 'SIGKILL', `killed at ${place}`);
      const state = await stateOf(url, schema);
      if (place === 'COMMIT') assert.ok(state === undefined || state === whole);
      else assert.equal(state, undefined, `killed at ${place}`);
    }
    await opens(url);
    assert.equal(await stateOf(url, schema), whole);
  });
});
