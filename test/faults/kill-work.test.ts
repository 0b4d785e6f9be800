// kill -9 while work is being done: every acknowledged operation comes to one end, with the right bytes, without anybody's help.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TimelineEntry } from '@waitless/protocol';
import { backendFor } from '../support/backend.ts';
import { get } from '../support/http.ts';
import { ended, submit } from '../support/operations.ts';
import { temporaryFolder } from '../support/server.ts';
import { spawnServer } from '../support/spawn-server.ts';

test('3 kills while a backend works: every operation succeeds once, under its id, and each execution is in its timeline', async (t) => {
  let busy = 0;
  const backend = await backendFor(t, async ({ body }) => {
    busy++;
    // A slow backend: what is in flight at the kill must be many.
    await new Promise((resolve) => setTimeout(resolve, 20));
    busy--;
    return { body: `done ${body.toString()}` };
  });
  const data = join(await temporaryFolder(t), 'data');
  const settings = {
    services: {
      score: { target: { url: backend.url }, concurrency: 16, retry: { initialDelay: '1ms', maxDelay: '5ms' } },
    },
    data,
  };
  let server = await spawnServer(t, settings);
  const accepted = await Promise.all(
    Array.from({ length: 400 }, (_, index) => submit(server.url, 'score', { body: `job ${index}` })),
  );

  for (const executions of [80, 180, 280]) {
    await backend.received(executions);
    assert.ok(busy > 0);
    await server.end('SIGKILL');
    server = await spawnServer(t, { ...settings, port: server.port });
  }

  const executions = new Map<string, number>();
  for (const [index, { status, result, id }] of accepted.entries()) {
    assert.equal((await ended(status)).status, 'succeeded');
    assert.equal((await get(result)).text, `done job ${index}`);
    const { items } = (await get(`${status}/timeline`)).json<{ items: TimelineEntry[] }>();
    executions.set(id, items.filter(({ type }) => type === 'attempt').length);
  }
  const atBackend = new Map<string, number>();
  for (const { headers } of backend.requests) {
    const id = headers['operation-id']!;
    atBackend.set(id, (atBackend.get(id) ?? 0) + 1);
  }
  assert.deepEqual(new Set(atBackend.keys()), new Set(executions.keys()), 'nothing else was executed');
  for (const [id, count] of atBackend)
    assert.ok(executions.get(id)! >= count, `${id}: ${count} executions, ${executions.get(id)} told`);
  t.diagnostic(`${backend.requests.length} executions of 400 operations`);
});
