// Watching goes on over restarts of the server, tells about them, and ends with the operation or the signal.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createClient, WaitlessError } from './index.ts';

async function listen(
  t: TestContext,
  listener: RequestListener,
  port = 0,
): Promise<{ server: Server; port: number; stop: () => Promise<void> }> {
  const server = createServer(listener);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const stop = async (): Promise<void> => {
    if (!server.listening) return;
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  };
  t.after(stop);
  return { server, port: (server.address() as AddressInfo).port, stop };
}

const state = (version: number, status: string): string =>
  JSON.stringify({ id: 'op1', version, status, done: status === 'succeeded' });

test('yields every change, asks only for changes, and survives a restart on the same port', async (t) => {
  const asked: (string | undefined)[] = [];
  const first = await listen(t, (request, response) => {
    asked.push(request.headers['if-none-match']);
    // The long-poll is held when this server dies.
    if (request.headers['if-none-match'] === undefined) response.setHeader('ETag', 'W/"1"').end(state(1, 'queued'));
  });
  const told: string[] = [];
  const client = createClient({
    url: `http://127.0.0.1:${first.port}`,
    seams: {
      random: () => 1,
      // The second server starts in the pause after the second failure; waiting for facts instead of for time.
      sleep: async () => {
        if (told.length === 2)
          await listen(
            t,
            (request, response) => {
              asked.push(request.headers['if-none-match']);
              const version = request.headers['if-none-match'] === 'W/"1"' ? 2 : 3;
              response.setHeader('ETag', `W/"${version}"`).end(state(version, version === 2 ? 'running' : 'succeeded'));
            },
            first.port,
          );
      },
    },
  });
  const states: string[] = [];
  for await (const operation of client.watch('op1', { stream: false, onRetry: (error) => told.push(error.code) })) {
    states.push(operation.status);
    if (operation.status === 'queued') first.server.once('request', () => void first.stop());
  }
  assert.deepEqual(states, ['queued', 'running', 'succeeded']);
  assert.deepEqual(told, ['unreachable', 'unreachable']);
  assert.deepEqual(asked, [undefined, 'W/"1"', 'W/"1"', 'W/"2"']);
});

test('answers that say "later" are retried with their Retry-After; unknown ids are not', async (t) => {
  const answers = [
    [503, 'shutting-down', '3'],
    [429, 'too-many-connections', '2'],
    [404, 'not-found', undefined],
  ] as const;
  let next = 0;
  const { port } = await listen(t, (_, response) => {
    const [status, code, after] = answers[next++]!;
    response.writeHead(status, {
      'Content-Type': 'application/problem+json',
      ...(after === undefined ? {} : { 'Retry-After': after }),
    });
    response.end(JSON.stringify({ code, status, title: code }));
  });
  const pauses: number[] = [];
  const client = createClient({
    url: `http://127.0.0.1:${port}`,
    seams: { random: () => 0, sleep: async (ms) => void pauses.push(ms) },
  });
  await assert.rejects(
    client.watch('op1', { stream: false })[Symbol.asyncIterator]().next(),
    (error: WaitlessError) => error.code === 'not-found',
  );
  assert.deepEqual(pauses, [3_000, 2_000]);
});

test('polls that come back at once and unchanged do not spin', async (t) => {
  let polls = 0;
  const { port } = await listen(t, (request, response) => {
    if (request.headers['if-none-match'] === undefined) response.setHeader('ETag', 'W/"1"').end(state(1, 'running'));
    else if (++polls < 4) response.writeHead(304, { ETag: 'W/"1"' }).end();
    else response.end(state(2, 'succeeded'));
  });
  const pauses: number[] = [];
  const client = createClient({
    url: `http://127.0.0.1:${port}`,
    seams: { random: () => 1, now: () => 0, sleep: async (ms) => void pauses.push(ms) },
  });
  const states: string[] = [];
  for await (const operation of client.watch('op1', { stream: false })) states.push(operation.status);
  assert.deepEqual(states, ['running', 'succeeded']);
  assert.deepEqual(pauses, [200, 400, 800]);
});

test('the signal ends a held poll with its reason', async (t) => {
  const controller = new AbortController();
  const reason = new Error('enough');
  const { port } = await listen(t, (request, response) => {
    if (request.headers['if-none-match'] === undefined) response.setHeader('ETag', 'W/"1"').end(state(1, 'running'));
    else controller.abort(reason);
  });
  const client = createClient({ url: `http://127.0.0.1:${port}` });
  const states: string[] = [];
  await assert.rejects(async () => {
    for await (const operation of client.watch('op1', { stream: false, signal: controller.signal }))
      states.push(operation.status);
  }, reason);
  assert.deepEqual(states, ['running']);
});
