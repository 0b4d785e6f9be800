// Told, not asked: every change of an operation comes as an event, once and in order, whenever one begins to listen and wherever one goes on.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import type { Operation, OperationEvent } from '@waitless/protocol';
import { createClient } from '@waitless/client';
import { backendFor } from '../support/backend.ts';
import { type EventStream, eventStream, type Told } from '../support/event-stream.ts';
import { get, post, send } from '../support/http.ts';
import { ended, statusOf, submit, waitersReach } from '../support/operations.ts';
import { answerLease, reply, takeOne } from '../support/pull-worker.ts';
import { serverFor, type TestServer } from '../support/server.ts';

const jobs = { target: { pull: true }, retry: { initialDelay: '1ms', maxDelay: '1ms' } };
const services = { jobs };

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}
const brief = (events: readonly Told[]): string[] => events.map(({ event, data }) => `${data.version} ${event}`);
const versions = (events: readonly Told[]): number[] => events.map(({ data }) => data.version);
const upTo = (last: number, from = 1): number[] => Array.from({ length: last - from + 1 }, (_, i) => from + i);

/** Takes the one operation there is, reports these stages and answers. */
async function work(server: TestServer, stages: readonly string[]): Promise<void> {
  const { token } = await takeOne(server.url, 'jobs');
  for (const [index, stage] of stages.entries())
    assert.equal((await answerLease(server.url, token, 'progress', { body: { stage, percent: index } })).status, 200);
  assert.equal((await reply(server.url, token, 'done')).status, 200);
}

/** An operation with a failed attempt, progress and a result: 9 versions. */
async function eventful(server: TestServer): Promise<{ id: string; status: string }> {
  const accepted = await submit(server.url, 'jobs', { body: 'x', headers: { 'Correlation-Id': 'conversation' } });
  const { token } = await takeOne(server.url, 'jobs');
  await answerLease(server.url, token, 'progress', { body: { stage: 'first try' } });
  await answerLease(server.url, token, 'fail', { body: { code: 'no-paint', message: 'we ran out' } });
  await work(server, ['bureau 1', 'bureau 2', 'bureau 3']);
  return accepted;
}
const eventfulStory = [
  '1 queued',
  '2 running',
  '3 progress',
  '4 queued',
  '5 running',
  '6 progress',
  '7 progress',
  '8 progress',
  '9 succeeded',
];

test('a stream tells every change from accepted to the end as it happens, and then it ends', async (t) => {
  const server = await serverFor(t, { services });
  const { id, status } = await submit(server.url, 'jobs', { body: 'x', headers: { 'Correlation-Id': 'c-1' } });
  const stream = await eventStream(t, `${status}/events`);
  assert.equal(stream.status, 200);
  assert.equal(stream.headers['content-type'], 'text/event-stream');
  assert.equal(stream.headers['cache-control'], 'no-store');
  assert.equal(stream.headers['x-accel-buffering'], 'no');
  assert.equal(stream.headers['content-length'], undefined);
  assert.equal(stream.headers['operation-id'], id);
  await stream.when(({ event }) => event === 'queued');
  const { token } = await takeOne(server.url, 'jobs');
  await stream.when(({ event }) => event === 'running');
  for (const stage of ['bureau 1', 'bureau 2', 'bureau 3']) {
    await answerLease(server.url, token, 'progress', { body: { stage, data: { of: [1, 2] } } });
    // Before the next one is reported: nobody has to wait for the end to see this.
    await stream.when(({ data }) => (data['progress'] as { stage?: string } | undefined)?.stage === stage);
  }
  await reply(server.url, token, 'done');
  const events = await stream.ended();
  assert.deepEqual(brief(events), ['1 queued', '2 running', '3 progress', '4 progress', '5 progress', '6 succeeded']);
  for (const told of events) {
    assert.equal(told.id, `${id}_${told.data.version}`);
    assert.equal(told.data['eventId'], told.id);
    assert.equal(told.data.type, `waitless.operation.${told.event}`);
    assert.equal(told.data['id'], id);
    assert.equal(told.data['service'], 'jobs');
    assert.equal(told.data['correlationId'], 'c-1');
    assert.equal(told.data.done, told === events.at(-1));
  }
  assert.deepEqual(events[3]!.data['progress'], { sequence: 2, stage: 'bureau 2', data: { of: [1, 2] } });
  // The last event is what the status says from now on.
  const document = await statusOf(status);
  const last = events.at(-1)!.data as unknown as OperationEvent;
  for (const name of [
    'eventId',
    'status',
    'version',
    'updatedAt',
    'attempt',
    'finishedAt',
    'expiresAt',
    'error',
  ] as const)
    assert.deepEqual(last[name], document[name], name);
  assert.equal(last.resourceLocation, document.resourceLocation);
});

test('whatever version was seen last, what follows comes without a gap and without a repeat', async (t) => {
  const server = await serverFor(t, { services });
  const { id, status } = await eventful(server);
  const whole = await (await eventStream(t, `${status}/events`)).ended();
  assert.deepEqual(brief(whole), eventfulStory);
  const page = (await get(`${status}/events`, { headers: { Accept: 'application/json' } })).json<{
    items: unknown[];
    next: null;
  }>();
  assert.deepEqual(
    page,
    { items: whole.map(({ data }) => data), next: null },
    'the page tells the same, in the same words',
  );
  for (let seen = 1; seen < 9; seen++) {
    const stream = await eventStream(t, `${status}/events`, { lastEventId: `${id}_${seen}` });
    assert.deepEqual(await stream.ended(), whole.slice(seen), `after ${seen}`);
  }
  assert.deepEqual(whole[3]!.data['lastAttempt'], {
    attempt: 1,
    outcome: 'no-paint',
    backendStatus: null,
    detail: 'we ran out',
  });
});

test('who comes back after the last event is told that there is no more', async (t) => {
  const server = await serverFor(t, { services });
  const { id, status } = await eventful(server);
  const again = await get(`${status}/events`, { headers: { 'Last-Event-ID': `${id}_9` } });
  assert.equal(again.status, 204);
  assert.equal(again.body.length, 0);
  const head = await send(`${status}/events`, { method: 'HEAD' });
  assert.equal(head.status, 200);
  assert.equal(head.headers['content-type'], 'text/event-stream');
  await waitersReach(server.url, (waiters) => waiters === 0);
});

test('a place that is none of this operation is answered with a reset and where it stands, and events go on from there', async (t) => {
  const server = await serverFor(t, { services });
  const other = await submit(server.url, 'jobs', { body: 'other' });
  await reply(server.url, (await takeOne(server.url, 'jobs')).token, 'done');
  const { id, status } = await submit(server.url, 'jobs', { body: 'x' });
  const streams: EventStream[] = [];
  for (const lastEventId of [`${other.id}_1`, `${id}_2`, `${id}_999999999`, `${id}_0`, `${id}_-1`, 'nonsense', '1']) {
    const stream = await eventStream(t, `${status}/events`, { lastEventId });
    const [reset] = await stream.when(({ event }) => event === 'reset');
    assert.equal(reset!.id, `${id}_1`);
    const { estimatedCompletionAt: _, ...snapshot } = reset!.data['operation'] as Operation;
    const { estimatedCompletionAt: __, ...document } = await statusOf(status);
    assert.deepEqual(snapshot, document);
    streams.push(stream);
  }
  await work(server, []);
  for (const stream of streams) {
    const events = await stream.ended();
    assert.deepEqual(brief(events.slice(1)), ['2 running', '3 succeeded']);
  }
  const late = await (await eventStream(t, `${status}/events`, { lastEventId: `${id}_4` })).ended();
  assert.deepEqual(
    late.map(({ id: at, event }) => [at, event]),
    [[`${id}_3`, 'reset']],
    'of an operation that has ended the reset is all there is to tell',
  );
});

test('a hundred ends raced against the beginning of the stream: everyone is told, nobody hangs', async (t) => {
  const server = await serverFor(t, { services });
  const count = 100;
  for (let i = 0; i < count; i++) await submit(server.url, 'jobs', { body: `${i}` });
  const taken = await Promise.all(Array.from({ length: count }, () => takeOne(server.url, 'jobs')));
  const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
  const stories = await Promise.all(
    taken.map(async ({ token, operation }, i) => {
      // From 20 ms before the end to 20 ms after it.
      const offset = (i % 41) - 20;
      const answered = after(Math.max(0, offset)).then(() => reply(server.url, token, 'done'));
      await after(Math.max(0, -offset));
      const stream = await eventStream(t, `${server.url}/v1/operations/${operation.id}/events`);
      assert.equal((await answered).status, 200);
      return brief(await stream.ended());
    }),
  );
  for (const story of stories) assert.deepEqual(story, ['1 queued', '2 running', '3 succeeded']);
  await waitersReach(server.url, (waiters) => waiters === 0);
});

test('a stream goes on over a restart of the server, with the next event', async (t) => {
  const server = await serverFor(t, { services, data: 'folder' });
  const { id, status } = await submit(server.url, 'jobs', { body: 'x' });
  const { token } = await takeOne(server.url, 'jobs', { leaseSeconds: 3600 });
  const client = createClient({ url: server.url });
  const watched = all(client.events(id));
  const first = await eventStream(t, `${status}/events`);
  await answerLease(server.url, token, 'progress', { body: { stage: 'before' } });
  await first.when(({ event }) => event === 'progress');
  await server.restart();
  assert.deepEqual(versions(await first.ended()), upTo(3), 'a stop ends the stream in good order');
  await answerLease(server.url, token, 'progress', { body: { stage: 'between' } });
  const second = await eventStream(t, `${status}/events`, { lastEventId: `${id}_3` });
  await answerLease(server.url, token, 'progress', { body: { stage: 'after' } });
  await reply(server.url, token, 'done');
  assert.deepEqual(versions(await second.ended()), upTo(6, 4));
  assert.deepEqual(
    (await watched).map((event) => (event as OperationEvent).version),
    upTo(6),
    'a client of ours comes back by itself',
  );
});

test('many who follow one operation are all told all of it', async (t) => {
  const server = await serverFor(t, { services });
  const { status } = await submit(server.url, 'jobs', { body: 'x' });
  const streams = await Promise.all(Array.from({ length: 50 }, () => eventStream(t, `${status}/events`)));
  await waitersReach(server.url, (waiters) => waiters === 50);
  await work(server, ['a', 'b', 'c', 'd']);
  for (const stream of streams) assert.deepEqual(versions(await stream.ended()), upTo(7));
  await waitersReach(server.url, (waiters) => waiters === 0);
});

test('a submit that asks for a stream is answered with it, and the backend is not asked for one', async (t) => {
  const backend = await backendFor(t);
  const server = await serverFor(t, { services: { score: { target: { url: backend.url } } } });
  const headers = { Accept: 'text/event-stream, application/json;q=0.5', 'Correlation-Id': 'c-2' };
  const stream = await eventStream(t, `${server.url}/v1/call/score/a?b=c`, { method: 'POST', headers, body: 'x' });
  assert.equal(stream.status, 200);
  const id = stream.headers['operation-id'] as string;
  assert.equal(stream.headers['operation-location'], `${server.url}/v1/operations/${id}`);
  assert.equal(stream.headers['location'], `${server.url}/v1/operations/${id}/result`);
  assert.equal(stream.headers['correlation-id'], 'c-2');
  const events = await stream.ended();
  assert.deepEqual(brief(events), ['1 queued', '2 running', '3 succeeded']);
  assert.equal((await get(events.at(-1)!.data['resourceLocation'] as string)).text, 'done');
  assert.equal(backend.requests[0]!.headers['accept'], 'application/json;q=0.5');

  // A browser sends the same again when the stream has ended or was lost: that must not be new work.
  for (const [seen, expected] of [
    [3, 204],
    [1, 200],
  ] as const) {
    const again = await eventStream(t, `${server.url}/v1/call/score/a?b=c`, { lastEventId: `${id}_${seen}` });
    assert.equal(again.status, expected);
    assert.deepEqual(versions(await again.ended()), expected === 204 ? [] : [2, 3]);
  }
  assert.equal(backend.requests.length, 1);
  const both = await post(`${server.url}/v1/call/score`, {
    headers: { Accept: 'application/json, text/event-stream' },
  });
  assert.equal(both.status, 202, 'a client that takes both gets the 202');
});

test('a submit that is answered from the store, or joins, streams the operation that it shares', async (t) => {
  const backend = await backendFor(t);
  const score = { target: { url: backend.url }, key: { body: '/customerId' }, validFor: '1h' };
  const server = await serverFor(t, { services: { score } });
  const ask = { method: 'POST', body: '{"customerId":"42"}', headers: { Accept: 'text/event-stream' } };
  const first = await eventStream(t, `${server.url}/v1/call/score`, ask);
  const joined = await eventStream(t, `${server.url}/v1/call/score`, ask);
  assert.match(String(first.headers['cache-status']), /fwd=miss/);
  for (const stream of [first, joined]) assert.equal((await stream.ended()).at(-1)?.event, 'succeeded');
  const hit = await eventStream(t, `${server.url}/v1/call/score`, ask);
  assert.match(String(hit.headers['cache-status']), /hit/);
  assert.equal(hit.headers['operation-id'], first.headers['operation-id']);
  assert.deepEqual(brief(await hit.ended()), ['1 queued', '2 running', '3 succeeded']);
  assert.equal(backend.requests.length, 1);
});

test('a cancel ends the stream with an event that says so', async (t) => {
  const server = await serverFor(t, { services });
  const { status } = await submit(server.url, 'jobs', { body: 'x' });
  const stream = await eventStream(t, `${status}/events`);
  await stream.when(({ event }) => event === 'queued');
  assert.equal((await send(status, { method: 'DELETE' })).status, 200);
  const last = (await stream.ended()).at(-1)!;
  assert.equal(last.event, 'cancelled');
  assert.deepEqual(last.data['error'], (await ended(status)).error);
});

test('the client watches by the stream, and every state is what the status said then', async (t) => {
  const server = await serverFor(t, { services });
  const { id, status } = await submit(server.url, 'jobs', { body: 'x' });
  const seen: string[] = [];
  const told: string[] = [];
  const fetch: typeof globalThis.fetch = (input, init) => {
    seen.push(new URL(input as string).pathname);
    return globalThis.fetch(input, init);
  };
  const working = waitersReach(server.url, (waiters) => waiters === 1).then(() => work(server, ['a', 'b']));
  for await (const operation of createClient({ url: server.url, fetch }).watch(id)) {
    told.push(`${operation.version} ${operation.status} ${operation.progress?.stage ?? ''}`);
    if (operation.done) {
      const document = await statusOf(status);
      assert.deepEqual(operation, document);
    }
  }
  await working;
  assert.deepEqual(told, ['1 queued ', '2 running ', '3 running a', '4 running b', '5 succeeded b']);
  assert.deepEqual(seen, [`/v1/operations/${id}`, `/v1/operations/${id}/events`]);
});

test('a stop ends streams in good order and does not wait for their connections to be closed', async (t) => {
  const server = await serverFor(t, { services, fields: { shutdownTimeout: '1h' } });
  const { id } = await submit(server.url, 'jobs', { body: 'x' });
  const { port, host } = new URL(server.url);
  const socket = connect(Number(port), '127.0.0.1');
  t.after(() => socket.destroy());
  let text = '';
  const told = new Promise<void>((resolve) => {
    socket.setEncoding('latin1').on('data', (piece: string) => {
      text += piece;
      if (text.includes('event: queued')) resolve();
    });
  });
  socket.write(`GET /v1/operations/${id}/events HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  await told;
  const closed = once(socket, 'close');
  await server.stop();
  await closed;
  assert.match(text, /\r\n0\r\n\r\n$/, 'the answer is whole');
});
