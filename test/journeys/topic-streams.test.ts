// Topics as they are published: whoever reads a stream of them is told each event once and in order, wherever it was cut, beside those who keep a subscription.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { TopicEventFrame, TopicFrame } from '@waitless/protocol';
import { type EventStream, eventStream, type Following, type Told } from '../support/event-stream.ts';
import { get, post, send, until } from '../support/http.ts';
import { assertProblem, submit, waitersReach } from '../support/operations.ts';
import { backendFor } from '../support/backend.ts';
import { reply, takeOne } from '../support/pull-worker.ts';
import { callbackFields } from '../support/receiver.ts';
import { serverFor, type TestServer } from '../support/server.ts';
import { pullEvents, putSubscription } from '../support/subscribers.ts';
import { batched, cloudEvent, eventPage, eventsUrl, publish, structured } from '../support/topics.ts';
import { as, channelTo } from '../support/web-socket.ts';

const streamOf = (
  t: TestContext,
  { url }: TestServer,
  topic: string,
  { query = '', ...following }: Following & { query?: string } = {},
): Promise<EventStream> => eventStream(t, eventsUrl(url, topic, query), following);

const idsOf = (events: readonly Told[]): unknown[] => events.map(({ data }) => data['id']);
const has = (id: string) => (event: Told) => event.data['id'] === id;
const many = (count: number, name = 'e'): string =>
  `[${Array.from({ length: count }, (_, i) => cloudEvent(`${name}${i}`, { data: { n: i } })).join()}]`;
const named = (count: number, name = 'e'): string[] => Array.from({ length: count }, (_, i) => `${name}${i}`);
const filterQuery = (filter: unknown): string => `?from=start&filter=${encodeURIComponent(JSON.stringify(filter))}`;

test('what is published is told as it is, under its position, to everybody who reads, and nobody else', async (t) => {
  const server = await serverFor(t);
  await publish(server.url, 'orders.placed', { headers: structured, body: cloudEvent('before') });
  const one = await streamOf(t, server, 'orders.placed');
  const other = await streamOf(t, server, 'orders.*');
  const foreign = await streamOf(t, server, 'bills');
  assert.equal(one.status, 200);
  assert.equal(one.headers['content-type'], 'text/event-stream');
  assert.equal(one.headers['cache-control'], 'no-store');
  assert.equal(one.headers['x-accel-buffering'], 'no');
  await waitersReach(server.url, (waiters) => waiters === 3);
  const data = '{"n": 1,\n "text":"a\\nb"}';
  const sent = cloudEvent('e1', { subject: 'x' }).replace(/}$/, `,"data":${data}}`);
  await publish(server.url, 'orders.placed', { headers: structured, body: sent });
  await publish(server.url, 'orders.lost', { body: 'plain', headers: { 'Content-Type': 'text/plain' } });
  await publish(server.url, 'bills', { headers: structured, body: cloudEvent('bill') });
  const told = await other.when(({ data: { type } }) => type === 'orders.lost');
  await one.when(has('e1'));
  await foreign.when(has('bill'));
  const { items } = await eventPage(server.url, '**');
  assert.deepEqual(
    told.map(({ data: event }) => event),
    items.slice(1, 3).map(({ event }) => event),
    'the same words as in the page',
  );
  assert.deepEqual([idsOf(one.events), idsOf(foreign.events)], [['e1'], ['bill']]);
  assert.ok(told.every(({ event }) => event === 'event'));
  assert.equal(one.events[0]!.id, told[0]!.id, 'its place is that of the event, whoever reads it');
  const head = await send(eventsUrl(server.url, 'orders.placed'), {
    method: 'HEAD',
    headers: { Accept: 'text/event-stream' },
  });
  assert.deepEqual([head.status, head.headers['content-type'], head.body.length], [200, 'text/event-stream', 0]);
  for (const stream of [one, other, foreign]) stream.destroy();
  await waitersReach(server.url, (waiters) => waiters === 0);
});

test('after every single event a stream goes on with what follows, and so it does before the first', async (t) => {
  const server = await serverFor(t, { data: 'folder' });
  const whole = await streamOf(t, server, 'orders.**');
  const begin = await until(() => whole.place);
  for (const [i, topic] of ['orders', 'orders.a', 'orders.b.c', 'other', 'orders.a'].entries())
    await publish(server.url, topic, { headers: structured, body: cloudEvent(`e${i}`) });
  const events = await whole.when(has('e4'));
  assert.deepEqual(idsOf(events), ['e0', 'e1', 'e2', 'e4']);
  const places = [begin, ...events.map(({ id }) => id)];
  for (const [seen, lastEventId] of places.entries()) {
    const rest = await streamOf(t, server, 'orders.**', { lastEventId, query: '?from=start' });
    if (seen < events.length) assert.deepEqual(await rest.when(has('e4')), events.slice(seen));
    const page = await eventPage(server.url, 'orders.**', `?after=${lastEventId}`);
    assert.equal(page.items.length, events.length - seen, 'a place is one for pages too');
    rest.destroy();
  }
  await server.restart();
  const again = await streamOf(t, server, 'orders.**', { lastEventId: events[1]!.id });
  await publish(server.url, 'orders.new', { headers: structured, body: cloudEvent('e5') });
  assert.deepEqual(
    idsOf(await again.when(has('e5'))),
    ['e2', 'e4', 'e5'],
    'over a restart, a topic that is new among them',
  );
  for (const from of ['start', events[1]!.id, '2']) {
    const stream = await streamOf(t, server, 'orders.**', { query: `?from=${from}` });
    assert.equal((await stream.when(has('e5'))).length, from === 'start' ? 5 : 3, from);
  }
});

test('a filter chooses, and what it leaves out moves no place', async (t) => {
  const server = await serverFor(t);
  const wanted = { all: [{ prefix: { type: 'big' } }, { not: { exact: { subject: 'no' } } }] };
  const stream = await streamOf(t, server, 'orders', { query: filterQuery(wanted) });
  const events = [
    cloudEvent('1', { type: 'big.one' }),
    cloudEvent('2', { type: 'small' }),
    cloudEvent('3', { type: 'big', subject: 'no' }),
    cloudEvent('4', { type: 'bigger' }),
  ];
  await publish(server.url, 'orders', { headers: batched, body: `[${events.join()}]` });
  assert.deepEqual(idsOf(await stream.when(has('4'))), ['1', '4']);
  const again = await streamOf(t, server, 'orders', { lastEventId: stream.events[0]!.id, query: filterQuery(wanted) });
  assert.deepEqual(idsOf(await again.when(has('4'))), ['4']);
});

test('all of what many publish at once comes to all who read, those who came before, meanwhile and after', async (t) => {
  const server = await serverFor(t);
  const before = await streamOf(t, server, 'load.*');
  await until(() => before.place);
  const meanwhile: EventStream[] = [];
  await Promise.all(
    named(8, 'p').map(async (name, i) => {
      for (let round = 0; round < 4; round++) {
        await publish(server.url, `load.${name}`, { headers: batched, body: many(50, `${name}-${round}-`) });
        if (i % 2 === 0 && round === 1) meanwhile.push(await streamOf(t, server, 'load.*', { query: '?from=start' }));
      }
    }),
  );
  const after = await streamOf(t, server, 'load.*', { query: '?from=start' });
  const { items } = await eventPage(server.url, 'load.*', '?limit=1000');
  const { items: rest } = await eventPage(server.url, 'load.*', `?limit=1000&after=${items.at(-1)!.position}`);
  const wanted = [...items, ...rest].map(({ event }) => event['id']);
  assert.equal(wanted.length, 1600);
  for (const stream of [before, ...meanwhile, after]) {
    await until(() => stream.events.length >= wanted.length || undefined);
    assert.deepEqual(idsOf(stream.events), wanted);
  }
});

test('three subscribers, by push, by pull and live, each get all of it', async (t) => {
  const server = await serverFor(t, { fields: await callbackFields(t) });
  const receiver = await backendFor(t, () => ({ status: 204 }));
  await putSubscription(server.url, 'push', { topic: 'orders.*', target: { url: `${receiver.url}/in` } });
  await putSubscription(server.url, 'pull', { topic: 'orders.*', target: { pull: true } });
  const live = await streamOf(t, server, 'orders.*');
  await until(() => live.place);
  for (let round = 0; round < 6; round++)
    await publish(server.url, `orders.${round % 3}`, { headers: batched, body: many(50, `r${round}-`) });
  const wanted = named(6, 'r').flatMap((round) => named(50, `${round}-`));
  const pulled: string[] = [];
  for (let settle: { token: string; ack: true }[] = []; pulled.length < wanted.length;) {
    const { leases } = await pullEvents(server.url, 'pull', { max: 100, waitSeconds: 10, settle });
    pulled.push(...leases.map(({ event }) => event.id));
    settle = leases.map(({ token }) => ({ token, ack: true }));
  }
  await live.when(has(wanted.at(-1)!));
  const pushed = (): string[] =>
    receiver.requests.map(({ body }) => (JSON.parse(body.toString('utf8')) as { id: string }).id);
  await until(() => (new Set(pushed()).size >= wanted.length ? true : undefined));
  assert.deepEqual(idsOf(live.events), wanted);
  assert.deepEqual(pulled, wanted);
  assert.deepEqual([...new Set(pushed())].toSorted(), wanted.toSorted());
});

test('a place that is none is said, and what is kept is told from its beginning', async (t) => {
  const server = await serverFor(t);
  await publish(server.url, 'orders', { headers: batched, body: many(3) });
  const first = await streamOf(t, server, 'orders', { query: '?from=start' });
  const [{ id: good }] = (await first.when(has('e2'))) as [Told];
  const beyond = `zz${good.slice(good.indexOf('-'))}`;
  const foreign = `${good.slice(0, -1)}${good.endsWith('0') ? '1' : '0'}`;
  for (const lastEventId of ['nonsense', '2', `${good}x`, '9'.repeat(4000), beyond, foreign]) {
    const stream = await streamOf(t, server, 'orders', { lastEventId });
    const events = await stream.when(has('e2'));
    assert.deepEqual(
      events.map(({ event }) => event),
      ['reset', 'event', 'event', 'event'],
      lastEventId.slice(0, 40),
    );
    const { type, reason, to } = events[0]!.data;
    assert.deepEqual([type, reason, to], ['reset', 'history', 0]);
    const again = await streamOf(t, server, 'orders', { lastEventId: events[0]!.id });
    assert.deepEqual(idsOf(await again.when(has('e2'))), named(3), 'the place of a reset is one');
    stream.destroy();
    again.destroy();
  }
});

test('what retention has removed before somebody came back is said, and what is kept follows', async (t) => {
  const server = await serverFor(t);
  const data = 'x'.repeat(200_000);
  await publish(server.url, 'orders.a', { headers: structured, body: cloudEvent('a0', { data }) });
  await publish(server.url, 'orders.b', { headers: structured, body: cloudEvent('b0') });
  const stream = await streamOf(t, server, 'orders.*', { query: '?from=start' });
  const [{ id: seen }] = (await stream.when(has('b0'))) as [Told];
  stream.destroy();
  for (const id of ['a1', 'a2'])
    await publish(server.url, 'orders.a', { headers: structured, body: cloudEvent(id, { data }) });
  const cut = await send(`${server.url}/v1/topics/orders.a`, {
    method: 'PUT',
    body: { maxBytes: '1kb', hardMaxBytes: '1kb' },
  });
  assert.equal(cut.status, 201, cut.text);
  await until(async () => (await eventPage(server.url, 'orders.a')).items.length === 0 || undefined);
  await publish(server.url, 'orders.b', { headers: structured, body: cloudEvent('b1') });
  const back = await streamOf(t, server, 'orders.*', { lastEventId: seen });
  const events = await back.when(has('b1'));
  const [reset] = events;
  assert.deepEqual(
    [reset!.event, reset!.data['reason'], reset!.data['from'], reset!.data['to']],
    ['reset', 'removed', 1, 4],
  );
  assert.deepEqual(idsOf(events.slice(1)), ['b0', 'b1'], 'what other topics still have is told');
});

test('what nobody could mean is refused before the stream begins', async (t) => {
  const { url } = await serverFor(t, { fields: { maxWaiters: 1 } });
  const asked = (topic: string, query = '') =>
    get(eventsUrl(url, topic, query), { headers: { Accept: 'text/event-stream' } });
  assertProblem(await asked('orders', '?from=yesterday'), 400, 'invalid-cursor');
  assertProblem(await asked('orders', '?from=-1'), 400, 'invalid-cursor');
  assertProblem(await asked('orders', '?filter={'), 400, 'invalid-filter');
  assertProblem(await asked('orders', '?filter=%7B%22regex%22%3A%7B%7D%7D'), 400, 'invalid-filter');
  assertProblem(await asked('orders', `?filter=${'x'.repeat(4097)}`), 400, 'invalid-filter');
  assertProblem(await asked('orders', '?after=1'), 400, 'invalid-parameter');
  assertProblem(await asked('orders', '?from=now&from=now'), 400, 'invalid-parameter');
  assertProblem(await asked('orders..x'), 400, 'invalid-name');
  assertProblem(await asked('*.%2A%2A.**.**.**.**.**'), 400, 'invalid-filter');
  assertProblem(await get(eventsUrl(url, 'orders', '?from=now')), 400, 'invalid-parameter');
});

/** What a connection was told of topics, in words. */
const toldOn = (frames: readonly object[], ref: string): string[] =>
  (frames as (TopicFrame & { type: string; ref?: string })[])
    .filter((frame) => frame.ref === ref && (frame.type === 'event' || frame.type === 'reset'))
    .map((frame) => (frame.type === 'event' ? frame.event.id : frame.reason));

test('operations and topics are told on one connection, with one place for all of them', async (t) => {
  const server = await serverFor(t, { services: { jobs: { target: { pull: true } } } });
  const { id } = await submit(server.url, 'jobs', { body: 'x' });
  const url = `${server.url}/v1/stream?operations=${id}&topics=orders.*,bills`;
  const stream = await eventStream(t, url);
  await stream.when(({ event }) => event === 'queued');
  await publish(server.url, 'orders.a', { headers: structured, body: cloudEvent('e0') });
  await stream.when(has('e0'));
  const { token } = await takeOne(server.url, 'jobs');
  await stream.when(({ event }) => event === 'running');
  await publish(server.url, 'other', { headers: structured, body: cloudEvent('no') });
  await publish(server.url, 'bills', { headers: structured, body: cloudEvent('e1') });
  await stream.when(has('e1'));
  await reply(server.url, token, 'done');
  await stream.when(({ event }) => event === 'succeeded');
  await publish(server.url, 'orders.b', { headers: structured, body: cloudEvent('e2') });
  const whole = await stream.when(has('e2'));
  const words = (events: readonly Told[]): string[] =>
    events.map(({ event, data }) => (event === 'event' ? String(data['id']) : event));
  assert.deepEqual(words(whole), ['queued', 'e0', 'running', 'e1', 'succeeded', 'e2']);
  assert.equal(new Set(whole.map((event) => event.id)).size, whole.length);
  for (const [i, { id: lastEventId }] of whole.entries()) {
    const rest = await eventStream(t, `${server.url}/v1/stream?topics=bills,orders.*&operations=${id}`, {
      lastEventId,
    });
    if (i < whole.length - 1) await rest.when(has('e2'));
    const wanted = words(whole.slice(i + 1));
    // Between operations and topics there is no order but that in which they were told.
    if (wanted.includes('succeeded')) await rest.when(({ event }) => event === 'succeeded');
    assert.deepEqual(words(rest.events).toSorted(), wanted.toSorted(), `after ${i}`);
    rest.destroy();
  }
  const forged = await eventStream(t, url, { lastEventId: whole[1]!.id.replace(/^./, 'z') });
  await forged.when(has('e2'));
  const [reset, ...events] = forged.events;
  assert.deepEqual([reset!.event, reset!.data['topics']], ['reset', ['bills', 'orders.*']]);
  assert.equal((reset!.data['operations'] as { id: string }[])[0]!.id, id);
  assert.deepEqual(words(events), ['e0', 'e1', 'e2']);
  const topics = await eventStream(t, `${server.url}/v1/stream?topics=**&from=start`);
  assert.deepEqual(words(await topics.when(has('e2'))), ['e0', 'no', 'e1', 'e2'], 'topics alone');
});

test('a WebSocket publishes, watches topics from where it wants, and goes on after any event', async (t) => {
  const server = await serverFor(t);
  const channel = await channelTo(t, server.url);
  const event = (id: string) => ({ specversion: '1.0' as const, id, source: '/s', type: 't', data: { id } });
  const first = as('ok', await channel.ask({ type: 'publish', topic: 'orders.a', event: event('e0') }));
  assert.deepEqual([first.ids, first.positions?.length], [['e0'], 1]);
  channel.send({ type: 'watch', ref: 'live', topics: ['orders.*'] });
  await channel.frame('ok', ({ ref }) => ref === 'live');
  channel.send({ type: 'watch', ref: 'all', topics: ['orders.#'], after: 0 });
  channel.send({ type: 'watch', ref: 'some', topics: ['**'], after: 0, filter: { exact: { id: 'e2' } } });
  const more = as('ok', await channel.ask({ type: 'publish', topic: 'orders.b', events: [event('e1'), event('e2')] }));
  assert.equal(more.positions![1]! - more.positions![0]!, 1);
  const again = as('ok', await channel.ask({ type: 'publish', topic: 'orders.b', events: [event('e2')] }));
  assert.deepEqual([again.positions, again.repeated], [[more.positions![1]], [true]]);
  const frames = (): TopicEventFrame[] =>
    channel.frames.filter((frame) => frame.type === 'event') as unknown[] as TopicEventFrame[];
  await until(() =>
    ['live', 'all', 'some'].every((ref) => toldOn(channel.frames, ref).at(-1) === 'e2') ? true : undefined,
  );
  assert.deepEqual(toldOn(channel.frames, 'live'), ['e1', 'e2']);
  assert.deepEqual(toldOn(channel.frames, 'all'), ['e0', 'e1', 'e2']);
  assert.deepEqual(toldOn(channel.frames, 'some'), ['e2']);
  const one = frames().find(({ ref, event: { id } }) => ref === 'live' && id === 'e1')!;
  assert.deepEqual([one.topic, one.position, one.event['data']], ['orders.b', more.positions![0], { id: 'e1' }]);
  const stream = await streamOf(t, server, 'orders.*', { lastEventId: one.id });
  assert.equal((await stream.when(has('e2')))[0]!.data['id'], 'e2', 'its id is a place for other outlets too');

  as('ok', await channel.ask({ type: 'unwatch', topics: ['orders.*'], watch: 'live' }));
  for (const [ref, after] of Object.entries({ after: one.id, position: one.position, forged: 'x', beyond: 999 }))
    channel.send({ type: 'watch', ref, topics: ['orders.*'], after });
  await channel.ask({ type: 'publish', topic: 'orders.c', event: event('e3') });
  const refs = ['after', 'position', 'forged', 'beyond', 'all'];
  await until(() => (refs.every((ref) => toldOn(channel.frames, ref).at(-1) === 'e3') ? true : undefined));
  assert.deepEqual(
    refs.map((ref) => toldOn(channel.frames, ref).join(' ')),
    ['e2 e3', 'e2 e3', 'history e0 e1 e2 e3', 'history e0 e1 e2 e3', 'e0 e1 e2 e3'],
  );
  assert.deepEqual(toldOn(channel.frames, 'live'), ['e1', 'e2'], 'nothing after it was given up');
});

test('a token for topics opens their streams and pages, and nothing else', async (t) => {
  const server = await serverFor(t, { namespaces: ['alice', 'bob'] });
  const key = server.key('alice');
  await publish(server.url, 'orders.1', { key, headers: structured, body: cloudEvent('mine') });
  await publish(server.url, 'orders.1', { key: server.key('bob'), headers: structured, body: cloudEvent('foreign') });
  const made = await post(`${server.url}/v1/tokens`, { key, body: { topics: ['orders.*', 'bills'] } });
  assert.equal(made.status, 200, made.text);
  const { token } = made.json<{ token: string }>();
  const query = `?from=start&token=${token}`;
  for (const topic of ['orders.1', 'orders.*']) {
    const stream = await eventStream(t, eventsUrl(server.url, topic, query));
    assert.equal(stream.status, 200);
    assert.deepEqual(idsOf(await stream.when(has('mine'))), ['mine']);
    assert.equal(stream.headers['referrer-policy'], 'no-referrer');
    const page = await get(eventsUrl(server.url, topic, `?token=${token}`));
    assert.deepEqual(
      page.json<{ items: { event: { id: string } }[] }>().items.map(({ event }) => event.id),
      ['mine'],
    );
  }
  const both = await eventStream(t, `${server.url}/v1/stream?topics=orders.1,bills&from=start&token=${token}`);
  assert.deepEqual(idsOf(await both.when(has('mine'))), ['mine']);
  const socket = await channelTo(t, server.url, { query: `?token=${token}` });
  socket.send({ type: 'watch', ref: 'w', topics: ['orders.*'], after: 0 });
  await until(() => (toldOn(socket.frames, 'w').length === 1 ? true : undefined));
  assert.equal(
    as('error', await socket.ask({ type: 'watch', topics: ['orders.**'] })).problem.code,
    'insufficient-scope',
  );
  const event = { specversion: '1.0' as const, id: 'x', source: '/s', type: 't' };
  assert.equal(
    as('error', await socket.ask({ type: 'publish', topic: 'orders.1', event })).problem.code,
    'insufficient-scope',
  );

  for (const topic of ['orders', 'orders.**', '**', '*.1', 'bills.x', 'orders.1.x'])
    for (const headers of [{}, { Accept: 'text/event-stream' }])
      assertProblem(await get(eventsUrl(server.url, topic, `?token=${token}`), { headers }), 403, 'insufficient-scope');
  assertProblem(await get(`${server.url}/v1/stream?topics=bills,other&token=${token}`), 403, 'insufficient-scope');
  const sent = { headers: structured, body: cloudEvent('x') };
  assertProblem(await post(eventsUrl(server.url, 'orders.1', `?token=${token}`), sent), 403, 'insufficient-scope');
  assertProblem(await get(`${server.url}/v1/topics?token=${token}`), 403, 'insufficient-scope');
  assertProblem(await get(`${server.url}/v1/operations/x?token=${token}`), 404, 'not-found');
  const { items } = await eventPage(server.url, '**', '', { key });
  assert.equal(items.length, 1, 'nothing was published with it');
});
