// Events come once and in order over lost streams; what cannot be streamed is watched by polling.
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import { createClient, type OperationEvent, WaitlessError } from './index.ts';
import { json, problem, serve } from './support.test.ts';

const state = (version: number, status: string): Record<string, unknown> => ({
  id: 'op1',
  version,
  eventId: `op1_${version}`,
  status,
  done: status === 'succeeded',
  estimatedCompletionAt: '2026-01-01T00:00:00Z',
});
const tell = (response: ServerResponse, version: number, status: string, kind = status): void => {
  if (!response.headersSent) response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  const data = JSON.stringify({ ...state(version, status), type: `waitless.operation.${kind}` });
  response.write(`id: op1_${version}\nevent: ${kind}\ndata: ${data}\n\n`);
};
const at = 'op1_1';
async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}
const seams = { random: () => 1, sleep: () => Promise.resolve() };

test('a stream that breaks is taken up after its last event, and one that ends politely without a word', async (t) => {
  const asked: (string | undefined)[] = [];
  const { url } = await serve(t, (seen, response) => {
    asked.push(seen.headers['last-event-id'] as string | undefined);
    assert.equal(seen.headers.accept, 'text/event-stream');
    if (asked.length === 1) {
      tell(response, 1, 'queued');
      tell(response, 2, 'running');
      response.end();
    } else if (asked.length === 2) {
      tell(response, 3, 'running', 'progress');
      setImmediate(() => response.destroy());
    } else if (asked.length === 3) problem(response, 503, 'shutting-down', {}, { 'Retry-After': '1' });
    else tell(response, 4, 'succeeded');
  });
  const troubles: string[] = [];
  const client = createClient({ url, seams });
  const versions: number[] = [];
  for await (const event of client.events('op1', { onRetry: (error) => troubles.push(error.code) }))
    versions.push((event as OperationEvent).version);
  assert.deepEqual(versions, [1, 2, 3, 4]);
  assert.deepEqual(asked, [undefined, 'op1_2', 'op1_3', 'op1_3']);
  assert.deepEqual(troubles, ['unreachable', 'shutting-down']);
});

test('events end where there are no more, and a problem that repeating cannot mend is thrown', async (t) => {
  const { url } = await serve(t, (seen, response) => {
    if (seen.headers['last-event-id'] === 'op1_4') response.writeHead(204).end();
    else problem(response, 404, 'not-found');
  });
  const client = createClient({ url, seams });
  assert.deepEqual(await all(client.events('op1', { after: 'op1_4' })), []);
  await assert.rejects(all(client.events('op1')), { code: 'not-found' });
});

test('watch tells the state now, then what each event changes', async (t) => {
  const { url, seen } = await serve(t, (request, response) => {
    if (!request.url.endsWith('/events')) return json(response, 200, { ...state(1, 'queued'), queuePosition: 3 });
    assert.equal(request.headers['last-event-id'], at);
    tell(response, 2, 'running');
    tell(response, 3, 'succeeded');
  });
  const states: unknown[] = [];
  for await (const { status, version, queuePosition } of createClient({ url, seams }).watch('op1'))
    states.push([status, version, queuePosition]);
  assert.deepEqual(states, [
    ['queued', 1, 3],
    ['running', 2, null],
    ['succeeded', 3, null],
  ]);
  assert.equal(seen.length, 2);
});

test('a reset is the state as it is', async (t) => {
  const { url } = await serve(t, (request, response) => {
    if (!request.url.endsWith('/events')) return json(response, 200, state(1, 'queued'));
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    const data = JSON.stringify({ type: 'reset', detail: 'why', operation: state(5, 'running') });
    response.write(`id: op1_5\nevent: reset\ndata: ${data}\n\n`);
    tell(response, 6, 'succeeded');
  });
  const versions: number[] = [];
  for await (const { version } of createClient({ url, seams }).watch('op1')) versions.push(version);
  assert.deepEqual(versions, [1, 5, 6]);
});

for (const [what, answer] of [
  ['501', (response: ServerResponse) => problem(response, 501, 'not-implemented')],
  ['404', (response: ServerResponse) => problem(response, 404, 'not-found')],
  ['406', (response: ServerResponse) => problem(response, 406, 'not-acceptable')],
  ['something else than a stream', (response: ServerResponse) => json(response, 200, {})],
  [
    'a stream of something else',
    (response: ServerResponse) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      response.write('data: hello\n\n');
    },
  ],
] as const) {
  test(`watch goes on by polling where the stream is ${what}`, async (t) => {
    const { url } = await serve(t, (request, response) => {
      if (request.url.endsWith('/events')) return answer(response);
      const polls = request.headers['if-none-match'];
      if (polls === undefined) json(response, 200, state(1, 'queued'), { ETag: 'W/"1"' });
      else json(response, 200, state(2, 'succeeded'), { ETag: 'W/"2"' });
    });
    const versions: number[] = [];
    for await (const { version } of createClient({ url, seams }).watch('op1')) versions.push(version);
    assert.deepEqual(versions, [1, 2]);
  });
}

test('the signal ends a silent stream with its reason, and leaving the loop ends its connection', async (t) => {
  const controller = new AbortController();
  const reason = new Error('enough');
  const closed = Promise.withResolvers<void>();
  const { url } = await serve(t, (seen, response) => {
    if (seen.headers['last-event-id'] === undefined) {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' }).flushHeaders();
      controller.abort(reason);
    } else {
      response.on('close', () => closed.resolve());
      tell(response, 2, 'running');
    }
  });
  const client = createClient({ url, seams });
  await assert.rejects(all(client.events('op1', { signal: controller.signal })), (error) => error === reason);
  for await (const event of client.events('op1', { after: at })) {
    assert.ok(!(event instanceof WaitlessError));
    break;
  }
  await closed.promise;
});
