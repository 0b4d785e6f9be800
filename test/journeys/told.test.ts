// Told, not asked, whatever one listens at: the same events under the same ids at every outlet, and nobody is left hanging.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { OperationEvent, OperationProgress } from '@waitless/protocol';
import { type Backend, backendFor, type BackendRequest, gate } from '../support/backend.ts';
import { eventStream } from '../support/event-stream.ts';
import { get, post } from '../support/http.ts';
import { statusOf, statusWhen, submit } from '../support/operations.ts';
import { answerLease, reply, takeOne } from '../support/pull-worker.ts';
import { calledBack, noticeIn } from '../support/receiver.ts';
import type { TestServer } from '../support/server.ts';
import { variant } from '../support/variant.ts';
import { as, channelTo } from '../support/web-socket.ts';
import { raceEndsAgainstListeners } from './told-run.ts';

const jobs = { target: { pull: true } };

test('one end reaches callback, event stream, shared stream, WebSocket and long-poll as the same event', async (t) => {
  const { server, receiver, secret } = await calledBack(t, { services: { jobs } });
  const accepted = await submit(server.url, 'jobs', { body: 'x', headers: { 'Callback-Url': receiver.url } });
  const { id, status } = accepted;
  const { token } = await takeOne(server.url, 'jobs');
  const running = await statusOf(status);
  const stream = await eventStream(t, `${status}/events`);
  const shared = await eventStream(t, `${server.url}/v1/stream?operations=${id}`);
  const socket = await channelTo(t, server.url);
  as('ok', await socket.ask({ type: 'watch', operations: [id] }));
  const poll = get(status, { headers: { Prefer: 'wait=30', 'If-None-Match': `W/"${running.version}"` } });
  await reply(server.url, token, 'done');

  const told = {
    stream: (await stream.ended()).at(-1)!.data as unknown as OperationEvent,
    shared: (await shared.ended()).at(-1)!.data as unknown as OperationEvent,
    socket: (await socket.frame('event', ({ event }) => event.done)).event,
    callback: (await noticeIn((await receiver.received(1))[0]!, secret)).data,
  };
  const polled = (await poll).json<OperationEvent>();
  assert.equal(polled.status, 'succeeded');
  for (const [outlet, event] of Object.entries(told)) {
    assert.equal(event.eventId, `${id}_3`, outlet);
    assert.equal(polled.eventId, event.eventId);
    // How long it is kept is put off by the delivery, which is over for some and not for others.
    const { expiresAt: _, ...same } = event;
    const { expiresAt: __, ...first } = told.stream;
    const { result: ___, ...bare } = { result: undefined, ...same };
    assert.deepEqual(bare, first, outlet);
  }
  assert.equal(receiver.requests[0]!.headers['webhook-id'], polled.eventId);
});

test('ends raced against the beginning of listening by poll, stream and WebSocket: everyone is told, nobody hangs', (t) => {
  // 500 once; in the other variants each outlet at each of the 41 moments.
  const count = variant.nodes === 1 && variant.hints ? 500 : 4 * 41;
  return raceEndsAgainstListeners(t, { rounds: 1, count });
});

const stages = ['preparation', 'baking', 'oven'] as const;

/** Tells one stage, and gives the status of the answer. */
type Tell = (progress: { stage: string; percent: number }) => Promise<number>;
/** Tells all stages, the next one only once everybody has seen the one before. */
type Report = (tell: Tell) => Promise<void>;

/** Who takes the work, in three ways; each reports and then answers. */
const workers: Readonly<Record<string, (t: TestContext, url: string, report: Report) => Promise<void>>> = {
  'a pull worker': async (_, url, report) => {
    const { token } = await takeOne(url, 'jobs');
    await report((body) => answerLease(url, token, 'progress', { body }).then(({ status }) => status));
    await reply(url, token, 'done');
  },
  'a worker on a WebSocket': async (t, url, report) => {
    const socket = await channelTo(t, url);
    socket.send({ type: 'work', ref: 'w', service: 'jobs', credits: 1 });
    const { token } = await socket.frame('lease');
    await report(async (body) => (as('ok', await socket.ask({ type: 'progress', token, ...body })), 200));
    as('ok', await socket.ask({ type: 'reply', token, body: 'done' }));
  },
};

interface Listening {
  server: TestServer;
  receiver: Backend;
  secret: string;
  /** Who tells the stages and ends the work; begun once everybody listens. */
  work: (report: Report) => Promise<void>;
}

/** Submits, listens everywhere, has the work done, and expects the stages at each outlet. */
async function expectStages(t: TestContext, service: string, { server, receiver, secret, work }: Listening) {
  const { id, status } = await submit(server.url, service, {
    body: 'x',
    headers: { 'Callback-Url': receiver.url, 'Callback-Events': 'progress' },
  });
  const stream = await eventStream(t, `${status}/events`);
  const shared = await eventStream(t, `${server.url}/v1/stream?operations=${id}`);
  const socket = await channelTo(t, server.url);
  as('ok', await socket.ask({ type: 'watch', operations: [id] }));
  const story = stages.map((stage, index) => ({ sequence: index + 1, stage, percent: index * 33 }));
  await work(async (tell) => {
    for (const { sequence, stage, percent } of story) {
      assert.equal(await tell({ stage, percent }), 200);
      await stream.when(({ data }) => progressOf(data)?.sequence === sequence);
      await shared.when(({ data }) => progressOf(data)?.sequence === sequence);
      await socket.frame('event', ({ event }) => event.progress?.sequence === sequence);
      const { progress } = await statusWhen(status, (operation) => operation.progress?.sequence === sequence);
      assert.deepEqual(progress, { sequence, stage, percent });
    }
  });
  for (const events of [await stream.ended(), await shared.ended()])
    assert.deepEqual(progressIn(events.map(({ data }) => data)), story);
  await socket.frame('event', ({ event }) => event.done);
  const onSocket = socket.all('event').map(({ event }) => event);
  assert.deepEqual(progressIn(onSocket), story);
  // Each callback is a message of its own and none waits for another, so their order is that of their versions.
  const notices = await Promise.all((await receiver.received(4)).map((request) => noticeIn(request, secret)));
  const called = notices.toSorted((a, b) => a.data.version - b.data.version);
  assert.deepEqual(progressIn(called.map(({ data }) => data)), story);
  assert.deepEqual(
    called.map((notice) => notice.id),
    onSocket.filter((event) => event.progress !== undefined || event.done).map(({ eventId }) => eventId),
  );
}

const progressOf = (event: object): OperationProgress | undefined =>
  (event as { progress?: OperationProgress }).progress;
const progressIn = (events: readonly object[]): OperationProgress[] =>
  events.flatMap((event) => progressOf(event) ?? []);

const everywhere = 'in the status, the streams, the WebSocket and callbacks';

for (const [who, take] of Object.entries(workers))
  test(`stages come in order and numbered from ${who}: ${everywhere}`, async (t) => {
    const called = await calledBack(t, { services: { jobs } });
    await expectStages(t, 'jobs', { ...called, work: (report) => take(t, called.server.url, report) });
  });

test(`stages come in order and numbered from a backend with the progress URL: ${everywhere}`, async (t) => {
  const mayAnswer = gate();
  const backend = await backendFor(t, () => mayAnswer.opened.then(() => ({ body: 'done' })));
  const called = await calledBack(t, { services: { score: { target: { url: backend.url } } } });
  const work = async (report: Report): Promise<void> => {
    const [{ headers }] = (await backend.received(1)) as [BackendRequest];
    await report((body) => post(headers['operation-progress-url']!, { body }).then(({ status }) => status));
    mayAnswer.open();
  };
  await expectStages(t, 'score', { ...called, work });
});
