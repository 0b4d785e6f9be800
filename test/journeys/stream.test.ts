// Many operations on one connection: every change of each comes once and in order, and one place stands for all of them.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Operation } from '@waitless/protocol';
import { type EventStream, eventStream, type Following, type Told } from '../support/event-stream.ts';
import { get, post, send } from '../support/http.ts';
import { assertProblem, statusOf, submit, waitersReach } from '../support/operations.ts';
import { answerLease, leaseCall, reply, takeOne } from '../support/pull-worker.ts';
import { serverFor, type TestServer } from '../support/server.ts';

const services = { jobs: { target: { pull: true } } };

const streamUrl = (server: TestServer, ids: readonly string[]): string =>
  `${server.url}/v1/stream?operations=${ids.join(',')}`;
const streamOf = (
  t: TestContext,
  server: TestServer,
  ids: readonly string[],
  following: Following = {},
): Promise<EventStream> => eventStream(t, streamUrl(server, ids), following);

async function submitted(server: TestServer, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) ids.push((await submit(server.url, 'jobs', { body: `${i}` })).id);
  return ids;
}

/** What was told of each operation, as `version event`. */
function stories(events: readonly Told[]): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const { event, data } of events) {
    const id = String(data['id']);
    assert.equal(data['eventId'], `${id}_${data.version}`);
    found.set(id, [...(found.get(id) ?? []), `${data.version} ${event}`]);
  }
  return found;
}

/** Three operations with a failed attempt and progress, told whole. */
async function eventful(t: TestContext, server: TestServer): Promise<{ ids: string[]; whole: readonly Told[] }> {
  const ids = await submitted(server, 3);
  const stream = await streamOf(t, server, ids);
  for (const _ of ids) {
    const { token } = await takeOne(server.url, 'jobs');
    for (const stage of ['a', 'b'])
      assert.equal((await answerLease(server.url, token, 'progress', { body: { stage } })).status, 200);
    assert.equal((await reply(server.url, token, 'done')).status, 200);
  }
  return { ids, whole: await stream.ended() };
}
const wholeStory = ['1 queued', '2 running', '3 progress', '4 progress', '5 succeeded'];

test('a hundred operations are told on one connection as they happen, and it ends with the last of them', async (t) => {
  const server = await serverFor(t, { services });
  const ids = await submitted(server, 100);
  const stream = await streamOf(t, server, ids);
  assert.equal(stream.status, 200);
  assert.equal(stream.headers['content-type'], 'text/event-stream');
  assert.equal(stream.headers['cache-control'], 'no-store');
  assert.equal(stream.headers['x-accel-buffering'], 'no');
  await waitersReach(server.url, (waiters) => waiters === 1);
  for (let left = ids.length; left > 0;) {
    const { leases } = await leaseCall(server.url, 'jobs', { max: 30, waitSeconds: 10 });
    left -= leases.length;
    for (const { token, operation } of leases) {
      await stream.when(({ event, data }) => event === 'running' && data['id'] === operation.id);
      assert.equal((await reply(server.url, token, 'done')).status, 200);
    }
  }
  const events = await stream.ended();
  const told = stories(events);
  assert.deepEqual([...told.keys()].toSorted(), ids.toSorted());
  for (const story of told.values()) assert.deepEqual(story, ['1 queued', '2 running', '3 succeeded']);
  assert.equal(new Set(events.map(({ id }) => id)).size, events.length, 'each has a place of its own');
  const again = await get(streamUrl(server, ids.toReversed()), { headers: { 'Last-Event-ID': events.at(-1)!.id } });
  assert.equal(again.status, 204, 'who comes back, in whatever order, is told that there is no more');
  await waitersReach(server.url, (waiters) => waiters === 0);
});

test('after every single event a stream goes on with what follows, without a gap and without a repeat', async (t) => {
  const server = await serverFor(t, { services });
  const { ids, whole } = await eventful(t, server);
  for (const story of stories(whole).values()) assert.deepEqual(story, wholeStory);
  for (let seen = 1; seen < whole.length; seen++) {
    const rest = await (await streamOf(t, server, ids, { lastEventId: whole[seen - 1]!.id })).ended();
    assert.deepEqual(stories(rest), stories(whole.slice(seen)), `after ${seen}`);
    // Wherever it was cut, the places of a continued stream are as good as those of the first.
    if (rest.length < 2) continue;
    const further = await (await streamOf(t, server, ids, { lastEventId: rest[0]!.id })).ended();
    assert.deepEqual(
      further.map(({ data }) => data['eventId']),
      rest.slice(1).map(({ data }) => data['eventId']),
    );
  }
});

test('a place that is none of these operations is answered with where each of them stands, and events go on from there', async (t) => {
  const server = await serverFor(t, { services });
  const { ids: others, whole } = await eventful(t, server);
  const ids = await submitted(server, 2);
  const first = await streamOf(t, server, ids);
  await first.when(({ event }) => event === 'queued');
  const good = first.events[0]!.id;
  const flipped = `${good.slice(0, -1)}${good.endsWith('A') ? 'B' : 'A'}`;
  const places = [
    whole[0]!.id,
    flipped,
    `${ids[0]}_1`,
    'nonsense',
    `x${good}`,
    '9'.repeat(4000),
    `${good.split('.')[0]}.`,
  ];
  const streams: EventStream[] = [];
  for (const lastEventId of places) {
    const stream = await streamOf(t, server, ids, { lastEventId });
    const [reset] = await stream.when(({ event }) => event === 'reset');
    assert.equal(reset!.data.type, 'reset');
    const documents = reset!.data['operations'] as Operation[];
    for (const [i, id] of ids.toSorted().entries()) {
      const { estimatedCompletionAt: _, queuePosition: __, ...told } = documents[i]!;
      const {
        estimatedCompletionAt: ___,
        queuePosition: ____,
        ...document
      } = await statusOf(`${server.url}/v1/operations/${id}`);
      assert.deepEqual(told, document);
    }
    streams.push(stream);
  }
  const fewer = await streamOf(t, server, ids.slice(1), { lastEventId: good });
  await fewer.when(({ event }) => event === 'reset');
  for (const _ of ids) await reply(server.url, (await takeOne(server.url, 'jobs')).token, 'done');
  for (const stream of streams) {
    const [reset, ...events] = await stream.ended();
    for (const story of stories(events).values()) assert.deepEqual(story, ['2 running', '3 succeeded']);
    assert.equal(stories(events).size, 2);
    const again = await streamOf(t, server, ids, { lastEventId: reset!.id });
    assert.deepEqual(stories(await again.ended()), stories(events), 'the place of a reset is one');
  }
  const late = await (await streamOf(t, server, others, { lastEventId: good })).ended();
  assert.deepEqual(
    late.map(({ event }) => event),
    ['reset'],
  );
});

test('a stream of many goes on over a restart, with what happened meanwhile', async (t) => {
  const server = await serverFor(t, { services, data: 'folder' });
  const ids = await submitted(server, 3);
  const first = await streamOf(t, server, ids);
  const { token, operation } = await takeOne(server.url, 'jobs', { leaseSeconds: 3600 });
  await first.when(({ event, data }) => event === 'running' && data['id'] === operation.id);
  await server.restart();
  const before = await first.ended();
  await reply(server.url, token, 'done');
  const second = await streamOf(t, server, ids, { lastEventId: before.at(-1)!.id });
  for (let i = 1; i < ids.length; i++) await reply(server.url, (await takeOne(server.url, 'jobs')).token, 'done');
  const told = stories([...before, ...(await second.ended())]);
  for (const id of ids) assert.deepEqual(told.get(id), ['1 queued', '2 running', '3 succeeded']);
});

test('one that is forgotten meanwhile keeps the others from nothing', async (t) => {
  const server = await serverFor(t, { services });
  const ids = await submitted(server, 2);
  const stream = await streamOf(t, server, ids);
  const { token, operation } = await takeOne(server.url, 'jobs');
  await reply(server.url, token, 'done');
  await stream.when(({ event }) => event === 'succeeded');
  assert.equal(
    (await send(`${server.url}/v1/operations/${operation.id}?purge=true`, { method: 'DELETE' })).status,
    204,
  );
  await reply(server.url, (await takeOne(server.url, 'jobs')).token, 'done');
  for (const story of stories(await stream.ended()).values())
    assert.deepEqual(story, ['1 queued', '2 running', '3 succeeded']);
  assertProblem(await get(streamUrl(server, ids)), 404, 'not-found');
});

test('a token opens a stream of its operations and of no other, and a stream is not asked for what it has not', async (t) => {
  const server = await serverFor(t, { services, namespaces: ['alice', 'bob'] });
  const key = server.key('alice');
  const submitAs = async (namespace: string): Promise<string> =>
    (await submit(server.url, 'jobs', { body: 'x', key: server.key(namespace) })).id;
  const [first, second, third] = [await submitAs('alice'), await submitAs('alice'), await submitAs('alice')];
  const foreign = await submitAs('bob');
  const made = await post(`${server.url}/v1/tokens`, { key, body: { operations: [first, second] } });
  const { token } = made.json<{ token: string }>();
  const stream = await eventStream(t, `${streamUrl(server, [second!, first!])}&token=${token}`);
  await stream.when(({ data }) => data['id'] === first);
  await stream.when(({ data }) => data['id'] === second);
  assert.equal(stream.headers['referrer-policy'], 'no-referrer');
  const unknown = `${'0'.repeat(32)}001`;
  for (const ids of [[third!], [first!, third!], [first!, foreign], [unknown]])
    assertProblem(await get(`${streamUrl(server, ids)}&token=${token}`), 404, 'not-found');
  for (const ids of [[foreign], [first!, foreign], [first!, unknown], ['nonsense']])
    assertProblem(await get(streamUrl(server, ids), { key }), 404, 'not-found');
  assertProblem(await get(streamUrl(server, [first!])), 401, 'unauthenticated');

  const all = `operations=${first}`;
  for (const [query, status, code] of [
    ['', 400, 'invalid-parameter'],
    ['operations=', 400, 'invalid-parameter'],
    [`${all},`, 400, 'invalid-parameter'],
    [`${all}&${all}`, 400, 'invalid-parameter'],
    [`${all}&after=1`, 400, 'invalid-parameter'],
    [`operations=${Array.from({ length: 101 }, (_, i) => `a${i}`).join()}`, 400, 'invalid-parameter'],
    [`${all}&from=start`, 400, 'invalid-parameter'],
    [`${all}&topics=a..b`, 400, 'invalid-name'],
    [`topics=${'**.'.repeat(5)}a`, 400, 'invalid-filter'],
    ['topics=a&from=x', 400, 'invalid-cursor'],
    ['topics=a&filter=x', 400, 'invalid-filter'],
    [`topics=${Array.from({ length: 101 }, (_, i) => `a${i}`).join()}`, 400, 'invalid-parameter'],
  ] as const) {
    const refused = await get(`${server.url}/v1/stream?${query}`, { key });
    assertProblem(refused, status, code);
  }
  const json = await get(streamUrl(server, [first!]), { key, headers: { Accept: 'application/json' } });
  assertProblem(json, 406, 'not-acceptable');
  const head = await send(streamUrl(server, [first!]), { key, method: 'HEAD' });
  assert.equal(head.status, 200);
  assert.equal(head.headers['content-type'], 'text/event-stream');
  stream.destroy();
});
