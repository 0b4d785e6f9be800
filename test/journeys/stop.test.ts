// Stopping and starting as an operator does it: SIGTERM, a second server on the same folder, a restart.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Operation } from '@waitless/protocol';
import { backendFor, never } from '../support/backend.ts';
import { get, post } from '../support/http.ts';
import { resultOf, statusOf, submit, waitersReach } from '../support/operations.ts';
import { leaseCall, takeOne } from '../support/pull-worker.ts';
import { serverFor, temporaryFolder } from '../support/server.ts';
import { NotStarted, spawnServer } from '../support/spawn-server.ts';
import { clocksApartMs, variant } from '../support/variant.ts';

test('a connection that never asked for anything does not hold up a stop', async (t) => {
  const server = await serverFor(t, { fields: { shutdownTimeout: '1h' } });
  const closed: Promise<unknown>[] = [];
  for (let i = 0; i < 3; i++) {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    socket.on('error', () => undefined).resume();
    closed.push(once(socket, 'close'));
    await once(socket, 'connect');
  }
  // Answered on another connection, so the server has taken up those before it.
  assert.equal((await get(`${server.url}/livez`)).status, 200);
  await server.stop();
  await Promise.all(closed);
});

test('after SIGTERM those who wait are let go with 202, the exit code is 0, and nothing is lost', async (t) => {
  const backend = await backendFor(t, never);
  const data = join(await temporaryFolder(t), 'data');
  const services = { score: { target: { url: backend.url }, concurrency: 2 }, jobs: { target: { pull: true } } };
  const first = await spawnServer(t, { services, data });

  const accepted = await Promise.all(
    Array.from({ length: 20 }, (_, index) => submit(first.url, 'score', { body: `job ${index}` })),
  );
  await backend.received(2);
  const pulled = await submit(first.url, 'jobs', { body: 'x' });
  const held = await takeOne(first.url, 'jobs', { leaseSeconds: 3600 });
  const waiting = Array.from({ length: 5 }, (_, index) =>
    post(`${first.url}/v1/call/score`, { body: `waiting ${index}`, headers: { Prefer: 'wait=50' } }),
  );
  const looking = get(accepted[0]!.result, { headers: { Prefer: 'wait=50' } });
  const idle = leaseCall(first.url, 'jobs', { waitSeconds: 50 });
  // Five submits, one look-up and the idle worker.
  await waitersReach(first.url, (waiters) => waiters === 7);

  const ended = first.end('SIGTERM');
  const letGo = await Promise.all(waiting);
  for (const answer of [...letGo, await looking])
    assert.equal(answer.status, 202, 'the operation goes on, so it is no error');
  assert.deepEqual((await idle).leases, [], 'a worker that waits is let go too');
  assert.deepEqual(await ended, { code: 0, signal: null }, first.printed);

  backend.behave(({ body }) => ({ body: `done ${body.toString()}` }));
  const second = await spawnServer(t, { services, data, port: first.port });
  for (const [index, { result }] of accepted.entries())
    assert.equal((await resultOf(result)).text, `done job ${index}`);
  for (const [index, answer] of letGo.entries())
    assert.equal((await resultOf(answer.headers['location']!)).text, `done waiting ${index}`);
  assert.equal((await statusOf(pulled.status)).status, 'running', 'the lease of a pull worker outlives the process');
  assert.equal((await post(`${second.url}/v1/leases/${held.token}/reply`, { body: 'kept' })).status, 200);
  for (const { status } of accepted) assert.equal((await statusOf(status)).attempt, 1, 'a stop uses up no attempt');
  assert.deepEqual(await second.end('SIGTERM'), { code: 0, signal: null }, second.printed);
});

test('once it stops nothing new is accepted: 503 with accepted: false, or no connection', async (t) => {
  const backend = await backendFor(t, never);
  const server = await spawnServer(t, {
    services: { score: { target: { url: backend.url } } },
    data: join(await temporaryFolder(t), 'data'),
  });
  await submit(server.url, 'score');
  await backend.received(1);

  const ended = server.end('SIGTERM');
  for (;;) {
    const answer = await post(`${server.url}/v1/call/score`, { body: 'x' }).catch(() => 'refused' as const);
    if (answer === 'refused') break;
    if (answer.status === 202) continue;
    assert.equal(answer.status, 503);
    const problem = answer.json<{ code: string; accepted: boolean }>();
    assert.deepEqual([problem.code, problem.accepted], ['shutting-down', false]);
    break;
  }
  assert.deepEqual(await ended, { code: 0, signal: null });
});

test('after a kill push attempts in flight are queued again at once and made again under the same id', async (t) => {
  const backend = await backendFor(t, never);
  const data = join(await temporaryFolder(t), 'data');
  const services = { score: { target: { url: backend.url } } };
  const first = await spawnServer(t, { services, data });
  const accepted = await submit(first.url, 'score', { body: 'x' });
  const [before] = await backend.received(1);
  await first.end('SIGKILL');

  backend.behave(() => ({ body: 'after the kill' }));
  await spawnServer(t, { services, data, port: first.port });
  assert.equal((await resultOf(accepted.result)).text, 'after the kill');
  const [, after] = await backend.received(2);
  assert.deepEqual(
    [after!.headers['operation-id'], after!.headers['operation-attempt']],
    [accepted.id, before!.headers['operation-attempt']],
  );
  assert.ok(
    (await get(`${accepted.status}/timeline`)).text.includes('"outcome":"interrupted"'),
    'the timeline tells of it',
  );
});

test(
  'a second server on the same folder refuses with one sentence and exit code 1 or 78, and the first goes on',
  { timeout: 20_000 },
  async (t) => {
    if (variant.engine !== 'sqlite') return t.skip('skipped: a database is there to be shared');
    const data = join(await temporaryFolder(t), 'data');
    const services = { jobs: { target: { pull: true } } };
    const first = await spawnServer(t, { services, data });
    const { status } = await submit(first.url, 'jobs');

    const refused = await spawnServer(t, { services, data }).then(
      () => assert.fail('the second one started'),
      (error: NotStarted) => error,
    );
    assert.ok(refused instanceof NotStarted, String(refused));
    assert.ok(refused.code === 1 || refused.code === 78, String(refused.code));
    const lines = refused.printed.trim().split('\n');
    assert.equal(lines.length, 1, refused.printed);
    assert.match(refused.printed, /another process/);
    assert.ok(refused.printed.includes(data), 'it names the folder');

    assert.equal((await statusOf(status)).status, 'queued');
    await submit(first.url, 'jobs');
    await first.end('SIGKILL');
    // A killed server holds nothing: the next one starts.
    const third = await spawnServer(t, { services, data, port: first.port });
    assert.equal((await statusOf(status)).status, 'queued');
    assert.equal((await third.end('SIGTERM')).code, 0);
  },
);

test('times, versions and ids go on after a restart: nothing goes back and no id is given twice', async (t) => {
  const data = join(await temporaryFolder(t), 'data');
  const services = { jobs: { target: { pull: true } } };
  const ids = new Set<string>();
  let last: Operation | undefined;
  let port = 0;
  for (let round = 0; round < 4; round++) {
    const server = await spawnServer(t, { services, data, port });
    port = server.port;
    if (last) assert.deepEqual(await statusOf(last.links.self), last, 'as it was before');
    for (let index = 0; index < 20; index++) {
      const operation = await statusOf((await submit(server.url, 'jobs')).status);
      assert.ok(!ids.has(operation.id));
      ids.add(operation.id);
      if (last) assert.ok(Date.parse(operation.createdAt) >= Date.parse(last.createdAt) - clocksApartMs());
      last = operation;
    }
    await server.end(round % 2 === 0 ? 'SIGKILL' : 'SIGTERM');
  }
  assert.equal(ids.size, 80);
});
