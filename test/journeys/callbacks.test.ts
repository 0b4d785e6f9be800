// Called back: whoever leaves a Callback-Url is told of the end by a signed POST, whatever the end is, and can see what became of it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OperationEvent, TimelineEntry } from '@waitless/protocol';
import { backendFor } from '../support/backend.ts';
import { manualTime } from '../support/clock.ts';
import { get, post, send, until } from '../support/http.ts';
import { assertProblem, statusOf, submit } from '../support/operations.ts';
import { answerLease, reply, takeOne } from '../support/pull-worker.ts';
import { calledBack, deliveriesAt, deliveriesWhen, deliveryWhen, noticeIn } from '../support/receiver.ts';

const jobs = { target: { pull: true }, retry: { maxAttempts: 1 } };
const keyed = { target: { pull: true }, key: { header: 'X-Customer' }, validFor: '1h' };
const services = { jobs, keyed };

test('the result is POSTed, signed, as the event that every other outlet tells', async (t) => {
  const { server, receiver, secret } = await calledBack(t, { services });
  const { id, status, receipt } = await submit(server.url, 'jobs', {
    body: 'x',
    headers: { 'Callback-Url': `${receiver.url}/done?order=1#x`, 'Correlation-Id': 'c-1', traceparent },
  });
  assert.equal(receipt.links.deliveries, `${status}/deliveries`);
  assert.deepEqual(
    await deliveriesAt(receipt.links.deliveries),
    { items: [], next: null },
    'there is nothing to tell yet',
  );
  const { token, request } = await takeOne(server.url, 'jobs');
  assert.ok(!JSON.stringify(request.headers).toLowerCase().includes('callback'), 'not the business of the worker');
  await reply(server.url, token, '{"score": 1e999, "a":1,"a":2}', { 'Content-Type': 'application/json' });

  const [told] = await receiver.received(1);
  assert.equal(told!.target, '/done?order=1');
  assert.equal(told!.headers['traceparent'], traceparent);
  assert.equal(told!.headers['authorization'], undefined);
  const { data, ...head } = await noticeIn(told!, secret);
  const operation = await statusOf(status);
  assert.deepEqual(head, {
    specversion: '1.0',
    id: `${id}_${operation.version}`,
    source: `${server.url}/v1/operations`,
    type: 'waitless.operation.succeeded',
    subject: id,
    time: operation.finishedAt,
    datacontenttype: 'application/json',
  });
  const { items } = (await get(`${status}/events`, { headers: { Accept: 'application/json' } })).json<{
    items: OperationEvent[];
  }>();
  const { result, ...event } = data;
  // A delivery keeps its operation for a day after it, so this one thing has changed since.
  const { expiresAt } = items.at(-1)!;
  assert.deepEqual({ ...event, expiresAt }, items.at(-1), 'the event is the same on every outlet');
  assert.ok(event.expiresAt! <= expiresAt!);
  assert.equal(event.correlationId, 'c-1');
  assert.equal(result!.status, 200);
  assert.ok(told!.body.includes('"body":{"score": 1e999, "a":1,"a":2}'), 'as the worker sent it, byte for byte');

  const delivered = await deliveryWhen(status, 'delivered');
  const { attempts, links, createdAt, endedAt, ...rest } = delivered;
  assert.match(rest.id, /^dlv_[0-9a-z]+$/);
  assert.deepEqual(
    { ...rest, id: '' },
    {
      id: '',
      operation: id,
      eventId: head.id,
      correlationId: 'c-1',
      url: `${receiver.url}/done?order=1`,
      body: 'full',
      status: 'delivered',
      attempt: 1,
      nextAt: null,
      code: null,
    },
  );
  assert.deepEqual(links, { self: `${server.url}/v1/deliveries/${rest.id}`, operation: status });
  assert.ok(Date.parse(createdAt) <= Date.parse(endedAt!));
  const [attempt, ...more] = attempts;
  assert.deepEqual([attempt!.attempt, attempt!.status, attempt!.code, attempt!.answer], [1, 204, null, '']);
  assert.deepEqual(more, []);
  const timeline = (await get(`${status}/timeline`)).json<{ items: TimelineEntry[] }>().items;
  assert.deepEqual(
    timeline.map(({ type }) => type),
    ['accepted', 'attempt', 'finished', 'delivery'],
  );
  const { delivery, outcome, attempt: tries } = timeline.at(-1)!;
  assert.deepEqual([delivery, outcome, tries], [rest.id, 'delivered', 1]);
});

const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

test('thin, large and binary results', async (t) => {
  const { server, receiver, secret } = await calledBack(t, { services });
  const told = async (result: string | Uint8Array, headers: Record<string, string> = {}) => {
    const before = receiver.requests.length;
    const { id } = await submit(server.url, 'jobs', {
      headers: { 'Callback-Url': `${receiver.url}/`, ...headers },
    });
    const { token } = await takeOne(server.url, 'jobs');
    await reply(server.url, token, result, { 'Content-Type': 'application/octet-stream' });
    const { data } = await noticeIn((await receiver.received(before + 1))[before]!, secret);
    assert.equal(data.id, id);
    assert.equal(data.correlationId, id, 'the id is the correlation id by default');
    assert.equal(data.resourceLocation, `${server.url}/v1/operations/${id}/result`);
    return data.result;
  };
  assert.equal((await told('text', { 'Callback-Body': 'full' }))!.body, 'text');
  assert.equal(await told('text', { 'Callback-Body': 'thin' }), undefined);
  assert.equal((await told(Buffer.from([0xff, 0])))!.bodyBase64, '/wA=');
  assert.equal((await told('a'.repeat(65_536)))!.body, 'a'.repeat(65_536));
  assert.equal(await told('a'.repeat(65_537)), undefined, 'what is larger is fetched');
});

test('each progress is told to whoever asked for it, in order, and the end after it; others are told the end alone', async (t) => {
  const { server, receiver, secret } = await calledBack(t, { services });
  const { id, status } = await submit(server.url, 'jobs', {
    headers: { 'Callback-Url': receiver.url, 'Callback-Events': 'progress' },
  });
  const { token } = await takeOne(server.url, 'jobs');
  for (const [index, stage] of ['one', 'two', 'three'].entries()) {
    assert.equal((await answerLease(server.url, token, 'progress', { body: { stage, percent: index } })).status, 200);
    await receiver.received(index + 1);
  }
  await reply(server.url, token, 'done');
  const notices = [];
  for (const request of await receiver.received(4)) notices.push(await noticeIn(request, secret));
  assert.deepEqual(
    notices.map(({ id: event, type, data }) => [
      event,
      type.split('.')[2],
      data.progress?.sequence,
      data.progress?.stage,
    ]),
    [
      [`${id}_3`, 'progress', 1, 'one'],
      [`${id}_4`, 'progress', 2, 'two'],
      [`${id}_5`, 'progress', 3, 'three'],
      [`${id}_6`, 'succeeded', undefined, undefined],
    ],
  );
  assert.ok(notices.every(({ data }, at) => (data.result === undefined) === at < 3));
  const all = await deliveriesWhen(status, (items) => items.every((one) => one.status === 'delivered'));
  assert.deepEqual(
    all.map(({ eventId }) => eventId),
    notices.map((one) => one.id).reverse(),
    'newest first',
  );
  const timeline = (await get(`${status}/timeline`)).json<{ items: TimelineEntry[] }>().items;
  assert.deepEqual(
    timeline.map(({ type }) => type).join(' '),
    'accepted attempt progress delivery progress delivery progress delivery finished delivery',
  );
});

test('every way to end is told: failed by the worker, refused by the backend, cancelled, and timed out', async (t) => {
  const backend = await backendFor(t, () => ({ status: 404, body: 'no such customer' }));
  const { clock, advance } = manualTime();
  const { server, receiver, secret } = await calledBack(t, {
    services: { ...services, score: { target: { url: backend.url } } },
    extras: { clock },
  });
  const headers = { 'Callback-Url': receiver.url };
  const told = async (operation: { id: string; status: string }) => {
    await deliveryWhen(operation.status, 'delivered');
    const { type, data } = await noticeIn(receiver.requests.at(-1)!, secret);
    assert.deepEqual([data.id, type, data.done], [operation.id, `waitless.operation.${data.status}`, true]);
    return [data.status, data.error?.code ?? null, data.result?.body ?? null];
  };
  assert.deepEqual(await told(await submit(server.url, 'score', { headers })), [
    'failed',
    'backend-error',
    'no such customer',
  ]);
  const failed = await submit(server.url, 'jobs', { headers });
  const { token } = await takeOne(server.url, 'jobs');
  await answerLease(server.url, token, 'fail', { body: { code: 'no-paint', message: 'we ran out', retry: false } });
  assert.deepEqual(await told(failed), ['failed', 'no-paint', null]);
  const cancelled = await submit(server.url, 'jobs', { headers });
  assert.equal((await send(cancelled.status, { method: 'DELETE' })).status, 200);
  assert.deepEqual(await told(cancelled), ['cancelled', 'cancelled', null]);
  const late = await submit(server.url, 'jobs', { headers: { ...headers, 'Operation-Timeout': '10m' } });
  advance(600_000);
  assert.deepEqual(await told(late), ['failed', 'timed-out', null]);
});

test('who joins is told with a correlation id of its own; who is answered from the store, or repeats, is not told again', async (t) => {
  const { server, receiver, secret } = await calledBack(t, { services });
  const asked = (correlationId: string, more: Record<string, string> = {}) =>
    post(`${server.url}/v1/call/keyed`, {
      body: 'x',
      headers: { 'X-Customer': '42', 'Correlation-Id': correlationId, 'Callback-Url': receiver.url, ...more },
    });
  const first = await asked('first', { 'Idempotency-Key': 'k1' });
  assert.equal(first.status, 202);
  const joined = await asked('second');
  assert.equal(joined.headers['cache-status'], 'waitless; fwd=miss; collapsed');
  const repeated = await asked('first', { 'Idempotency-Key': 'k1', 'Callback-Url': `${receiver.url}/other` });
  assert.equal(repeated.headers['idempotent-replayed'], 'true');
  const { token } = await takeOne(server.url, 'keyed');
  await reply(server.url, token, 'done');
  const notices = [];
  for (const request of await receiver.received(2)) notices.push(await noticeIn(request, secret));
  assert.deepEqual(notices.map(({ data }) => data.correlationId).toSorted(), ['first', 'second']);
  assert.equal(new Set(notices.map(({ id }) => id)).size, 1, 'one event');
  const status = first.headers['operation-location']!;
  await deliveriesWhen(status, (items) => items.length === 2 && items.every((one) => one.status === 'delivered'));
  const stored = await asked('third');
  assert.deepEqual([stored.status, stored.text], [200, 'done'], 'the answer is the result itself');
  assert.equal((await asked('first', { 'Idempotency-Key': 'k1' })).headers['idempotent-replayed'], 'true');
  assert.equal((await deliveriesAt(`${status}/deliveries`)).items.length, 2);
  assert.deepEqual(
    receiver.requests.map(({ target }) => target),
    ['/', '/'],
  );
});

test('no more than a hundred are told of one end; the next one is refused and nothing is kept', async (t) => {
  const { server, receiver } = await calledBack(t, { services });
  const item = { service: 'keyed', headers: { 'X-Customer': '7', 'Callback-Url': receiver.url }, body: 'x' };
  const answer = await post(`${server.url}/v1/batch`, { body: Array.from({ length: 101 }, () => item) });
  const outcomes =
    answer.json<{ status: number; operation?: { id: string }; problem?: { code: string; accepted: boolean } }[]>();
  assert.deepEqual(
    outcomes.slice(0, 100).map((one) => [one.status, one.operation?.id]),
    Array.from({ length: 100 }, () => [202, outcomes[0]!.operation!.id]),
  );
  assert.deepEqual(
    [outcomes[100]!.status, outcomes[100]!.problem!.code, outcomes[100]!.problem!.accepted],
    [429, 'too-many-callbacks', false],
  );
  const alone = await post(`${server.url}/v1/call/keyed`, {
    body: 'x',
    headers: { 'X-Customer': '7', 'Callback-Url': receiver.url },
  });
  assertProblem(alone, 429, 'too-many-callbacks');
  assert.match(alone.headers['retry-after']!, /^[1-9]\d*$/);
  const without = await post(`${server.url}/v1/call/keyed`, { body: 'x', headers: { 'X-Customer': '7' } });
  assert.equal(without.status, 202, 'without a callback it joins');
  const { token } = await takeOne(server.url, 'keyed');
  await reply(server.url, token, 'done');
  await receiver.received(100);
  const status = `${server.url}/v1/operations/${outcomes[0]!.operation!.id}`;
  const first = await until(async () => {
    const page = await deliveriesAt(`${status}/deliveries?limit=60`);
    return page.items.every((one) => one.status === 'delivered') ? page : undefined;
  });
  const rest = await deliveriesAt(`${status}/deliveries?limit=60&cursor=${first.next}`);
  assert.deepEqual([first.items.length, rest.items.length, rest.next], [60, 40, null]);
  assert.equal(new Set([...first.items, ...rest.items].map((one) => one.id)).size, 100);
});

test('items of a batch leave callbacks of their own, and a wrong one spoils no other', async (t) => {
  const { server, receiver, secret } = await calledBack(t, { services });
  const items = [
    { service: 'jobs', headers: { 'Callback-Url': `${receiver.url}/a`, 'Callback-Body': 'thin' }, body: '1' },
    { service: 'jobs', headers: { 'Callback-Url': 'http://10.0.0.1/' }, body: '2' },
    { service: 'jobs', headers: { 'Callback-Url': 'nonsense' }, body: '3' },
    { service: 'jobs', body: '4' },
  ];
  const outcomes = (await post(`${server.url}/v1/batch`, { body: items })).json<
    { status: number; problem?: { code: string; accepted: boolean } }[]
  >();
  assert.deepEqual(
    outcomes.map(({ status, problem }) => [status, problem?.code, problem?.accepted]),
    [
      [202, undefined, undefined],
      [422, 'callback-url-forbidden', false],
      [400, 'invalid-url', false],
      [202, undefined, undefined],
    ],
  );
  for (let i = 0; i < 2; i++) await reply(server.url, (await takeOne(server.url, 'jobs')).token, 'done');
  const [told] = await receiver.received(1);
  assert.equal(told!.target, '/a');
  assert.equal((await noticeIn(told!, secret)).data.result, undefined);
  const whole = await post(`${server.url}/v1/batch`, { headers: { 'Callback-Url': receiver.url }, body: items });
  assertProblem(whole, 400, 'invalid-parameter');
});
