// The PostgreSQL servers that tests stand on: they keep what they are told, come back where they were, and leave nothing behind.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { chmod, readdir } from 'node:fs/promises';
import { test, type TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { sharedPostgres } from '../../scripts/shared-postgres.mjs';
import { cleanUp } from './cleanup.ts';
import { clusterFor, newStore, postgresMissing, query, startCluster, type StopMode } from './postgres.ts';
import { temporaryFolder } from './server.ts';

const skip = postgresMissing() ?? false;

/** The processes that work in a cluster's folder, its children included; the dead that nobody has collected yet work nowhere. */
function processesIn(folder: string): string[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readlinkSync(`/proc/${pid}/cwd`).startsWith(folder);
    } catch {
      return false;
    }
  });
}

/** The time limit is the runner's: a cluster that stays fails the test. */
async function untilGone(folder: string): Promise<void> {
  while (existsSync(folder) || processesIn(folder).length > 0) await pause(20);
}

/** A process that runs these lines, and the first line it prints. */
async function program(t: TestContext, lines: string): Promise<{ child: ChildProcess; printed: string }> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', lines], { stdio: ['pipe', 'pipe', 'inherit'] });
  cleanUp(t, () => child.kill('SIGKILL'));
  const ended = once(child, 'exit').then(([code]) => assert.fail(`ended with ${code}`));
  ended.catch(() => {});
  const [printed] = (await Promise.race([once(child.stdout.setEncoding('utf8'), 'data'), ended])) as [string];
  return { child, printed: printed.trim() };
}

const support = new URL('postgres.ts', import.meta.url).href;
const runPart = new URL('../../scripts/shared-postgres.mjs', import.meta.url).href;

test('a cluster comes back on its port with its data, whichever way it was stopped', { skip }, async (t) => {
  const cluster = await clusterFor(t, { settings: { work_mem: '5MB' } });
  const { port } = cluster;
  const url = cluster.url();
  assert.deepEqual(await query(url, 'SELECT 1 AS one'), [{ one: 1 }]);
  for (const name of ['fsync', 'full_page_writes', 'synchronous_commit'])
    assert.deepEqual(await query(url, `SHOW ${name}`), [{ [name]: 'on' }]);
  assert.deepEqual(await query(url, 'SHOW work_mem'), [{ work_mem: '5MB' }]);
  await query(url, 'CREATE TABLE kept (way text)');

  const ways: StopMode[] = ['fast', 'immediate', 'kill'];
  for (const way of ways) {
    await query(url, `INSERT INTO kept VALUES ('${way}')`);
    await cluster.stop(way);
    assert.equal(cluster.pid, undefined);
    assert.deepEqual(processesIn(cluster.folder), [], way);
    await assert.rejects(query(url, 'SELECT 1'), { code: 'ECONNREFUSED' });
    await cluster.start({ synchronous_commit: way === 'kill' ? 'off' : 'on' });
    assert.equal(cluster.port, port);
  }
  assert.deepEqual(
    (await query<{ way: StopMode }>(url, 'SELECT way FROM kept')).map(({ way }) => way),
    ways,
  );
  assert.deepEqual(await query(url, 'SHOW synchronous_commit'), [{ synchronous_commit: 'off' }]);
  assert.match(await cluster.log(), /automatic recovery in progress/);

  await cluster.stop();
  await assert.rejects(cluster.start({ wal_level: 'nonsense' }), /invalid value for parameter "wal_level"/);
  await cluster.start({ wal_level: 'replica' });
  assert.deepEqual(await query(url, 'SHOW wal_level'), [{ wal_level: 'replica' }]);

  await cluster.remove();
  assert.ok(!existsSync(cluster.folder));
  assert.deepEqual(processesIn(cluster.folder), []);
});

test('a cluster that cannot start says why, and leaves nothing', { skip }, async (t) => {
  const folder = await temporaryFolder(t);
  await chmod(folder, 0o755);
  await assert.rejects(startCluster({ folder, settings: { shared_buffers: '1 banana' } }), /shared_buffers/);
  assert.deepEqual(await readdir(folder), []);
  assert.deepEqual(processesIn(folder), []);
});

for (const [way, last] of [
  ['is killed', 'setInterval(() => {}, 1000);'],
  ['ends', 'cluster.unref(); await new Promise((go) => process.stdin.once("end", go).resume());'],
] as const) {
  test(`a cluster is gone when the process that made it ${way}`, { skip }, async (t) => {
    const lines = `import { startCluster } from ${JSON.stringify(support)};
      const cluster = await startCluster(); console.log(cluster.folder); ${last}`;
    const { child, printed: folder } = await program(t, lines);
    if (process.platform === 'linux') assert.ok(processesIn(folder).length > 0);
    if (way === 'is killed') child.kill('SIGKILL');
    else child.stdin!.end();
    await untilGone(folder);
  });
}

test('a store is a schema of its own, dropped when its test ends', { skip }, async (t) => {
  const schemas = async (url: string): Promise<unknown[]> =>
    (await query<{ name: string }>(url, `SELECT nspname AS name FROM pg_namespace`)).map(({ name }) => name);
  const outer = await newStore(t);
  let dropped = '';
  await t.test('inner', async (inner) => {
    const { url, schema } = await newStore(inner);
    dropped = schema;
    assert.equal(new URL(url).searchParams.get('schema'), schema);
    const plain = url.replace(/\?.*/, '');
    assert.ok(!(await schemas(plain)).includes(schema));
    await query(plain, `CREATE SCHEMA ${schema}`, `CREATE TABLE ${schema}.t ()`);
    assert.ok((await schemas(plain)).includes(schema));
  });
  assert.notEqual(outer.schema, dropped);
  assert.ok(!(await schemas(outer.url.replace(/\?.*/, ''))).includes(dropped));
});

test('a run starts one cluster when the first one asks, and ends it', { skip }, async () => {
  const run = await sharedPostgres(process.execPath);
  const ask = async (): Promise<string> => (await fetch(run.env['WAITLESS_TEST_POSTGRES']!)).text();
  const [url, again] = await Promise.all([ask(), ask()]);
  assert.equal(again, url);
  assert.equal((await fetch(`${run.env['WAITLESS_TEST_POSTGRES']}0`)).status, 404);
  const [row] = await query<{ data_directory: string }>(url, 'SHOW data_directory');
  const folder = row!.data_directory.replace(/\/data$/, '');
  assert.ok(existsSync(folder));
  await run.end();
  assert.ok(!existsSync(folder));
  assert.deepEqual(processesIn(folder), []);
});

test('a run in which nobody asks starts none', async () => {
  const run = await sharedPostgres('/nowhere/there/is/no/node');
  await run.end();
});

test('the cluster of a run that is killed is gone as well', { skip }, async (t) => {
  const lines = `import { sharedPostgres } from ${JSON.stringify(runPart)};
    const { env } = await sharedPostgres(process.execPath);
    console.log(await (await fetch(env.WAITLESS_TEST_POSTGRES)).text());`;
  const { child, printed: url } = await program(t, lines);
  const [row] = await query<{ data_directory: string }>(url, 'SHOW data_directory');
  child.kill('SIGKILL');
  await untilGone(row!.data_directory.replace(/\/data$/, ''));
});
