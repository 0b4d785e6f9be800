// The SDK told instead of asking, against real servers: requests, watchers and workers on WebSockets, through a restart, and where none comes through.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { createClient, type OperationEvent } from '@waitless/client';
import { backendFor, gate } from '../support/backend.ts';
import { plainProxy } from '../support/plain-proxy.ts';
import { seenThrough } from '../support/seen-through.ts';
import { serverFor } from '../support/server.ts';

/** The shortest pauses, so that a test takes no longer than its servers. */
const seams = { random: () => 0.1 };
const streams = (seen: readonly string[]): number => seen.filter((one) => one === 'GET /v1/stream').length;

test('a hundred requests wait on one WebSocket; nobody polls, and each fetches its result once', async (t) => {
  const held = gate();
  const backend = await backendFor(t, async ({ body }) => {
    await held.opened;
    return { body: `scored ${body.toString()}` };
  });
  const server = await serverFor(t, { services: { score: { target: { url: backend.url }, concurrency: 100 } } });
  const { url, seen } = await seenThrough(t, server.url);
  // The limits of a connection never pass: a machine that has no time for a hundred requests at once is no connection that was lost.
  const client = createClient({ url, seams: { ...seams, after: () => () => {} } });
  const answers = Array.from({ length: 100 }, (_, job) => client.request('score', `job ${job}`));
  await backend.received(100);
  held.open();
  const results = await Promise.all(answers);
  for (const [job, result] of results.entries()) assert.equal(result.text(), `scored job ${job}`);
  assert.equal(streams(seen), 1);
  const looks = results.map(({ operationId }) => `GET /v1/operations/${operationId}/result`);
  assert.deepEqual(seen.filter((one) => one.startsWith('GET /v1/operations/')).toSorted(), looks.toSorted());
});

test('through a proxy that knows no upgrades requests, watchers and workers get the same by asking', async (t) => {
  const backend = await backendFor(t, () => ({ body: 'scored' }));
  const server = await serverFor(t, {
    services: { score: { target: { url: backend.url } }, jobs: { target: { pull: true } } },
  });
  const { url, seen } = await plainProxy(t, server.url);
  const client = createClient({ url, seams });
  assert.equal((await client.request('score', 'x')).text(), 'scored');
  const worker = client.worker('jobs', ({ text }) => `did ${text()}`);
  const job = await client.request('jobs', 'y');
  assert.equal(job.text(), 'did y');
  const states: string[] = [];
  for await (const { status } of client.watch(job.operationId)) states.push(status);
  assert.deepEqual(states, ['succeeded']);
  const told: unknown[] = [];
  for await (const event of client.events(job.operationId)) told.push((event as OperationEvent).version);
  assert.deepEqual(
    told,
    told.map((_, index) => index + 1),
  );
  await worker.stop();
  // The handshake that came through as a request, and the question why: once for the client, once for the worker.
  assert.equal(streams(seen), 4);
  assert.ok(seen.includes('POST /v1/services/jobs/leases'));
});

test('handlers go on while the server stops and starts again, and their answers are taken', async (t) => {
  const server = await serverFor(t, { services: { jobs: { target: { pull: true } } }, data: 'folder' });
  const client = createClient({ url: server.url, seams });
  const begun = gate();
  const restarted = gate();
  let runs = 0;
  const worker = client.worker('jobs', async ({ signal, id }) => {
    if (++runs === 3) begun.open();
    await restarted.opened;
    assert.equal(signal.aborted, false);
    return id;
  });
  const answers = Array.from({ length: 3 }, () => client.request('jobs', 'x'));
  await begun.opened;
  await server.restart();
  restarted.open();
  for (const answer of await Promise.all(answers)) assert.equal(answer.text(), answer.operationId);
  await worker.stop();
  assert.equal(runs, 3, 'each was done once');
});

for (const [where, flags] of [
  ['', []],
  [', where there is no WebSocket', ['--no-experimental-websocket']],
] as const) {
  test(`a process that waits for nothing more ends by itself${where}`, { timeout: 30_000 }, async (t) => {
    const backend = await backendFor(t, () => ({ body: 'scored' }));
    const server = await serverFor(t, { services: { score: { target: { url: backend.url } } } });
    const { url, seen } = await seenThrough(t, server.url);
    const program = `
      import { createClient } from '@waitless/client';
      const client = createClient({ url: '${url}' });
      for (let i = 0; i < 3; i++) console.log((await client.request('score', 'x')).text());
    `;
    const child = spawn(process.execPath, [...flags, '--input-type=module', '-e', program], {
      cwd: join(import.meta.dirname, '../../packages/cli'),
      env: { PATH: process.env['PATH'] },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.after(() => child.kill());
    let printed = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text));
    assert.deepEqual(await once(child, 'close'), [0, null]);
    assert.equal(printed, 'scored\n'.repeat(3));
    assert.equal(streams(seen), flags.length === 0 ? 1 : 0, 'one connection for one request after another');
  });
}
