// What travels is what /asyncapi.json says: every event, notice and frame that a server really sends is judged by the schema of its message.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createConfig, lintFromString } from '@redocly/openapi-core';
import type { ClientFrame } from '@waitless/protocol';
import { eventStream } from '../support/event-stream.ts';
import { get } from '../support/http.ts';
import { submit } from '../support/operations.ts';
import { answerLease, reply, takeOne } from '../support/pull-worker.ts';
import { calledBack, noticeIn } from '../support/receiver.ts';
import { putSubscription } from '../support/subscribers.ts';
import { cloudEvent, publish, structured } from '../support/topics.ts';
import { channelTo } from '../support/web-socket.ts';

interface Document {
  asyncapi: string;
  components: { messages: Record<string, { payload: object }>; schemas: Record<string, object> };
}
interface Seen {
  message: string;
  payload: unknown;
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** What the linter finds wrong with these, as bodies of an OpenAPI document: of those alone it compares examples with schemas. */
async function faultsOf({ components }: Document, seen: readonly Seen[]): Promise<string[]> {
  const responses = seen.map(({ message, payload }, index) => {
    const schema = components.messages[message]?.payload;
    assert.ok(schema, `the document has no message ${message}`);
    return [`${message}${index}`, { description: 'x', content: { 'application/json': { schema, example: payload } } }];
  });
  const source = JSON.stringify({
    openapi: '3.1.0',
    info: { title: 'What was seen', version: '1', license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    servers: [{ url: 'http://127.0.0.1' }],
    security: [],
    paths: {},
    components: { schemas: components.schemas, responses: Object.fromEntries(responses) as object },
  });
  const config = await createConfig({ extends: ['recommended-strict'], rules: { 'no-unused-components': 'off' } });
  const found = await lintFromString({ source, absoluteRef: 'seen.json', config });
  return found.map(({ message, location }) => `${message} ${location[0]?.pointer}`);
}

test('every event, notice and frame that is sent is what the AsyncAPI document says', async (t) => {
  const { server, receiver, secret } = await calledBack(t, { services: { jobs: { target: { pull: true } } } });
  const answer = await get(`${server.url}/asyncapi.json`);
  assert.equal(answer.status, 200);
  assert.equal(answer.headers['content-type'], 'application/json; charset=utf-8');
  const document = answer.json<Document & Record<string, unknown>>();
  assert.equal(document.asyncapi, '3.0.0');

  const headers = { 'Callback-Url': receiver.url, 'Callback-Events': 'progress' };
  const { id, status } = await submit(server.url, 'jobs', { body: 'x', headers });
  const streams = [
    await eventStream(t, `${status}/events`, { lastEventId: 'nonsense' }),
    await eventStream(t, `${status}/events`),
  ];
  const shared = await eventStream(t, `${server.url}/v1/stream?operations=${id}`, { lastEventId: 'nonsense' });
  const socket = await channelTo(t, server.url);
  const asked: ClientFrame[] = [
    { type: 'watch', operations: [id], after: { [id]: 'nonsense' } },
    { type: 'watch', operations: ['nobody'] },
    { type: 'submit', service: 'jobs', body: 'y', watch: 'all', include: 'result' },
    { type: 'cancel', id: 'nobody' },
    { type: 'ping' },
  ];
  for (const frame of asked) await socket.ask(frame);
  const { token } = await takeOne(server.url, 'jobs');
  await answerLease(server.url, token, 'progress', { body: { stage: 'bureau 1', percent: 33, data: [1] } });
  await answerLease(server.url, token, 'fail', { body: { code: 'no-paint', message: 'we ran out', retryAfter: 0 } });
  socket.send({ type: 'work', ref: 'w', service: 'jobs', credits: 1 });
  for (let done = 0; done < 2; done++) {
    const lease = await socket.frame('lease', (one) => done === 0 || one.token !== socket.all('lease')[0]!.token);
    await socket.ask({ type: 'progress', token: lease.token, percent: 50 });
    await socket.ask({ type: 'extend', token: lease.token });
    if (done === 0) await socket.ask({ type: 'reply', token: lease.token, body: { painted: true } });
    else assert.equal((await reply(server.url, lease.token, 'painted')).status, 200);
  }
  await socket.frame('event', ({ event }) => event.done && event.id !== id);
  await putSubscription(server.url, 'orders', { topic: 'orders', target: { pull: true } });
  await publish(server.url, 'orders', { headers: structured, body: cloudEvent('order-7', { data: { order: 7 } }) });
  socket.send({ type: 'work', ref: 's', subscription: 'orders', credits: 1 });
  const { token: held } = await socket.frame('lease', ({ ref }) => ref === 's');
  await socket.ask({ type: 'extend', token: held });
  for (const type of ['reply', 'nack', 'ack'] as const) await socket.ask({ type, token: held });
  const told = [...(await streams[0]!.ended()), ...(await streams[1]!.ended())];
  const several = await shared.ended();
  const notices = await Promise.all((await receiver.received(3)).map((request) => noticeIn(request, secret)));

  const seen: Seen[] = [
    ...told.map(({ event, data }) => ({ message: `operation${capital(event)}`, payload: data })),
    ...several.map(({ event, data }) => ({
      message: event === 'reset' ? 'streamReset' : `operation${capital(event)}`,
      payload: data,
    })),
    ...notices.map((notice) => ({ message: `notice${capital(notice.type.split('.').at(-1)!)}`, payload: notice })),
    ...socket.frames.map((frame) => ({ message: `${frame.type}Frame`, payload: frame })),
  ];
  const kinds = new Set(seen.map(({ message }) => message));
  const expected =
    'operationQueued operationRunning operationProgress operationSucceeded operationReset streamReset noticeProgress ' +
    'noticeSucceeded acceptedFrame eventFrame leaseFrame okFrame errorFrame pongFrame';
  for (const message of expected.split(' ')) assert.ok(kinds.has(message), `${message} was not seen`);
  assert.deepEqual(await faultsOf(document, seen), []);
  const wrong = { message: 'pongFrame', payload: { type: 'ping' } };
  assert.notEqual((await faultsOf(document, [wrong])).length, 0, 'the judge is awake');
});
