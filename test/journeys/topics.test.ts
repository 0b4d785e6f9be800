// What each topic keeps: seen, changed, and cut, with a word to whoever has still to read.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { get, post, send, until } from '../support/http.ts';
import { assertProblem } from '../support/operations.ts';
import { serverFor } from '../support/server.ts';
import { batched, cloudEvent, eventPage, publish } from '../support/topics.ts';

interface Topic {
  name: string;
  events: number;
  bytes: number;
  last: number;
  removedTo: number;
  oldestAt: string | null;
  retention: Record<string, string>;
  source: string;
  savedAt: string | null;
}

const many = (count: number, data = 'x'): string =>
  `[${Array.from({ length: count }, (_, i) => cloudEvent(`${data}-${i}`, { data })).join()}]`;
const put = (url: string, topic: string, body: unknown) =>
  send(`${url}/v1/topics/${topic}`, { method: 'PUT', body: body as Record<string, unknown> });
const topicOf = async (url: string, name: string): Promise<Topic> =>
  (await get(`${url}/v1/topics/${name}`)).json<Topic>();

test('topics are listed with what they keep, page by page, and one that has settings and no event is there too', async (t) => {
  const server = await serverFor(t, { fields: { eventRetention: '2d', eventMaxBytes: '1gb' } });
  assert.deepEqual((await get(`${server.url}/v1/topics`)).json(), { items: [], next: null });
  assertProblem(await get(`${server.url}/v1/topics/orders`), 404, 'not-found');
  await publish(server.url, 'orders.placed', { headers: batched, body: many(3) });
  await publish(server.url, 'orders', { headers: batched, body: many(1, 'y') });
  const made = await put(server.url, 'stock', { maxAge: '1h' });
  assert.deepEqual([made.status, made.headers['location']], [201, `${server.url}/v1/topics/stock`]);

  const found: Topic[] = [];
  for (let cursor: string | null = ''; cursor !== null;) {
    const answer = await get(`${server.url}/v1/topics?limit=1${cursor === '' ? '' : `&cursor=${cursor}`}`);
    const page: { items: Topic[]; next: string | null } = answer.json();
    found.push(...page.items);
    cursor = page.next;
  }
  assert.deepEqual(
    found.map(({ name, events, last, source }) => [name, events, last, source]),
    [
      ['orders', 1, 4, 'default'],
      ['orders.placed', 3, 3, 'default'],
      ['stock', 0, 0, 'api'],
    ],
  );
  assert.deepEqual(found[0]!.retention, { maxAge: '2d', maxBytes: '1gb', hardMaxAge: '8d', hardMaxBytes: '4gb' });
  assert.deepEqual(found[2]!.retention, { maxAge: '1h', maxBytes: '1gb', hardMaxAge: '4h', hardMaxBytes: '4gb' });
  assert.ok(found[1]!.bytes > 3 && !Number.isNaN(Date.parse(found[1]!.oldestAt!)));
  assert.deepEqual(await topicOf(server.url, 'orders'), found[0]);
  assertProblem(await get(`${server.url}/v1/topics?cursor=%2e`), 400, 'invalid-cursor');
});

test('settings are changed, kept over a restart, and given up', async (t) => {
  const server = await serverFor(t, { data: 'folder' });
  await put(server.url, 'orders', { maxAge: '30d', hardMaxAge: '31d', maxBytes: '10mb' });
  const changed = await put(server.url, 'orders', { maxAge: '40d', maxBytes: '10mb', hardMaxBytes: '10mb' });
  assert.equal(changed.status, 200);
  await server.restart();
  const kept = await topicOf(server.url, 'orders');
  assert.deepEqual(kept.retention, { maxAge: '40d', maxBytes: '10mb', hardMaxAge: '160d', hardMaxBytes: '10mb' });
  assert.equal((await put(server.url, 'orders', {})).json<Topic>().source, 'default');
  assertProblem(await get(`${server.url}/v1/topics/orders`), 404, 'not-found');
});

test('what a document may not say is refused by its field, and nothing is kept of it', async (t) => {
  const server = await serverFor(t);
  const rows: [document: unknown, status: number, code: string, pointer: string][] = [
    [{ maxAge: 30 }, 400, 'invalid-parameter', '/maxAge'],
    [{ maxAge: '400d' }, 400, 'invalid-parameter', '/maxAge'],
    [{ maxBytes: '0b' }, 400, 'invalid-parameter', '/maxBytes'],
    [{ maxAge: '2d', hardMaxAge: '1d' }, 400, 'invalid-parameter', '/hardMaxAge'],
    [{ maxBytes: '2mb', hardMaxBytes: '1mb' }, 400, 'invalid-parameter', '/hardMaxBytes'],
    [{ hardMaxBytes: '1mb' }, 400, 'invalid-parameter', '/hardMaxBytes'],
    [{ maxage: '1d' }, 400, 'unknown-field', '/maxage'],
    [[], 400, 'invalid-parameter', ''],
  ];
  for (const [document, status, code, pointer] of rows) {
    const answer = await put(server.url, 'orders', document);
    assertProblem(answer, status, code);
    const errors = answer.json<{ errors: { pointer: string }[] }>().errors;
    assert.equal(errors[0]!.pointer, pointer, answer.text);
  }
  assertProblem(await put(server.url, '-no', { maxAge: '1d' }), 400, 'invalid-name');
  assert.deepEqual((await get(`${server.url}/v1/topics`)).json()['items'], []);
});

test('a topic is cut to its size, and a reader that wanted more is told', async (t) => {
  const server = await serverFor(t);
  const { positions } = await publish(server.url, 'orders', { headers: batched, body: many(20) });
  await publish(server.url, 'others', { headers: batched, body: many(20, 'y') });
  const before = await eventPage(server.url, 'orders', '?limit=5');
  const { bytes } = await topicOf(server.url, 'orders');
  await put(server.url, 'orders', { maxBytes: `${Math.ceil(bytes / 4)}b` });

  const cut = await until(async () => {
    const topic = await topicOf(server.url, 'orders');
    return topic.events < 20 ? topic : undefined;
  });
  assert.ok(cut.bytes <= bytes / 4 + 1 && cut.events > 0);
  assert.equal(cut.last, positions.at(-1));
  assert.equal(cut.removedTo, positions[19 - cut.events]);

  const gone = await eventPage(server.url, 'orders', `?after=${before.cursor}`);
  assert.deepEqual([gone.reset?.reason, gone.reset?.from, gone.reset?.to], ['removed', positions[4], cut.removedTo]);
  assert.equal(gone.items[0]!.position, cut.removedTo + 1);
  // Whoever asks for what is there has lost nothing, and whoever read far enough neither.
  assert.equal((await eventPage(server.url, 'orders')).reset, undefined);
  assert.equal((await eventPage(server.url, 'orders', `?after=${gone.cursor}`)).reset, undefined);
  assert.equal((await topicOf(server.url, 'others')).events, 20, 'the other topics are as they were');

  // Behind a balancer this is one node's, which may be the other one.
  const removed = await until(async () => {
    const text = (await get(`${server.url}/metrics`)).text;
    const count = Number(/^waitless_events_removed_total (\d+)$/m.exec(text)?.[1]);
    return count > 0 ? count : undefined;
  });
  assert.ok(removed <= 20 - cut.events);
});

test('what a subscription has still to read is kept beyond the soft limit, and not beyond the hard one, which it is told', async (t) => {
  const server = await serverFor(t);
  const subscription = `${server.url}/v1/subscriptions/slow`;
  assert.equal(
    (await send(subscription, { method: 'PUT', body: { topic: 'orders', target: { pull: true } } })).status,
    201,
  );
  const { positions } = await publish(server.url, 'orders', { headers: batched, body: many(20) });
  await publish(server.url, 'stock', { headers: batched, body: many(20, 'y') });
  const { bytes } = await topicOf(server.url, 'orders');
  const quarter = `${Math.ceil(bytes / 4)}b`;
  const eventsOf = async (topic: string): Promise<number> => (await topicOf(server.url, topic)).events;

  await put(server.url, 'orders', { maxBytes: quarter, hardMaxBytes: '1gb' });
  // A round goes by name: once this one is cut, the other was looked at.
  await put(server.url, 'stock', { maxBytes: '1b' });
  await until(async () => ((await eventsOf('stock')) === 0 ? true : undefined));
  assert.equal(await eventsOf('orders'), 20);

  await put(server.url, 'orders', { maxBytes: quarter, hardMaxBytes: quarter });
  const left = await until(async () => {
    const events = await eventsOf('orders');
    return events < 20 ? events : undefined;
  });
  const gone = positions[19 - left]!;
  const answer = await post(`${subscription}/leases`, { body: { max: 100 } });
  const { leases, reset } = answer.json<{ leases: { position: number }[]; reset: { from: number; to: number } }>();
  assert.deepEqual([reset.from, reset.to], [0, gone]);
  assert.deepEqual(
    leases.map(({ position }) => position),
    positions.slice(20 - left),
  );
});
