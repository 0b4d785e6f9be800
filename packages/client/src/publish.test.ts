// Publishing: the id is made once, so that a repeat is the same event; what a server never heard of is told as it is.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as v from 'valibot';
import { ContractBroken, createClient } from './index.ts';
import { json, problem, type Seen, serve } from './support.test.ts';

type Event = Record<string, unknown> & { id: string };
const eventsOf = ({ body }: Seen): Event[] => JSON.parse(body.toString()) as Event[];
const stored = (seen: Seen, first = 1) => ({
  ids: eventsOf(seen).map(({ id }) => id),
  positions: eventsOf(seen).map((_, at) => first + at),
});
const seams = { random: () => 1, sleep: () => Promise.resolve() };

test('an event is a CloudEvent with a name of its own, and comes back with where it stands', async (t) => {
  const { url, seen } = await serve(t, (one, response) => json(response, 202, stored(one, 41)));
  const client = createClient({ url, apiKey: 'k', seams: { newName: () => 'made' } });
  const published = await client.publish('orders.placed', { pizza: 'funghi' }, { subject: '17', orderingKey: 'alice' });
  assert.deepEqual(published, { id: 'made', position: 41, repeated: false });
  const [one] = seen;
  assert.deepEqual([one!.method, one!.url], ['POST', '/v1/topics/orders.placed/events']);
  assert.equal(one!.headers['content-type'], 'application/cloudevents-batch+json');
  assert.equal(one!.headers.authorization, 'Bearer k');
  const [{ time, ...event }] = eventsOf(one!) as [Event];
  assert.ok(Math.abs(Date.parse(time as string) - Date.now()) < 60_000);
  assert.deepEqual(event, {
    specversion: '1.0',
    id: 'made',
    source: '/waitless-client',
    type: 'orders.placed',
    subject: '17',
    datacontenttype: 'application/json',
    partitionkey: 'alice',
    data: { pizza: 'funghi' },
  });
});

test('a publish that gets no answer is repeated with the same ids, and hears that it was there', async (t) => {
  const { url, seen } = await serve(t, (one, response) => {
    if (seen.length === 1) response.destroy();
    else if (seen.length === 2) problem(response, 503, 'shutting-down');
    else json(response, 202, { ...stored(one), repeated: [true, false] });
  });
  const troubles: string[] = [];
  const published = await createClient({ url, seams }).publishAll('orders', [{ data: 'a' }, { data: 'b', id: 'own' }], {
    durability: 'memory',
    onRetry: ({ code }) => troubles.push(code),
  });
  assert.deepEqual(troubles, ['unreachable', 'shutting-down']);
  assert.equal(seen.length, 3);
  for (const one of seen) {
    assert.deepEqual(one.body, seen[0]!.body);
    assert.equal(one.headers['operation-durability'], 'memory');
  }
  const [first] = eventsOf(seen[0]!);
  assert.match(first!.id, /^[0-9a-f]{32}$/);
  assert.deepEqual(published, [
    { id: first!.id, position: 1, repeated: true },
    { id: 'own', position: 2, repeated: false },
  ]);
});

test('of durability none nothing is repeated, and nothing is known', async (t) => {
  const { url, seen } = await serve(t, (one, response) => {
    if (one.body.includes('lost')) response.destroy();
    else response.writeHead(202).end();
  });
  const client = createClient({ url, seams });
  const published = await client.publish('orders', 'x', { durability: 'none', id: 'a' });
  assert.deepEqual(published, { id: 'a', position: undefined, repeated: false });
  await assert.rejects(client.publish('orders', 'lost', { durability: 'none' }), { code: 'unreachable' });
  assert.equal(seen.length, 2);
});

test('what cannot be published is refused, here or there, and once', async (t) => {
  const { url, seen } = await serve(t, (one, response) => {
    if (one.url.includes('operations.')) problem(response, 403, 'reserved-topic', { detail: 'not yours' });
    else json(response, 202, { ids: ['x'] });
  });
  const client = createClient({ url, seams });
  for (const topic of ['', '.', '..', 'a..b', 'a/b', 'a b', '-a'])
    await assert.rejects(client.publish(topic, 'x'), { code: 'invalid-name' });
  await assert.rejects(client.publish('a', 'x', { reconnectSeconds: 301 }), { code: 'invalid-parameter' });
  const many = Array.from({ length: 1001 }, () => ({}));
  await assert.rejects(client.publishAll('a', many), { code: 'invalid-parameter', message: /at most 1000/ });
  assert.deepEqual(await client.publishAll('a', []), []);
  assert.equal(seen.length, 0);
  await assert.rejects(client.publish('operations.x', 'x'), { code: 'reserved-topic', message: 'not yours' });
  await assert.rejects(client.publish('a', 'x'), { code: 'unexpected-answer' });
  assert.equal(seen.length, 2);
});

test('a typed topic checks both ways and sends what the schema made of the value', async (t) => {
  const { url, seen } = await serve(t, (one, response) => json(response, 202, stored(one)));
  const schema = v.object({ pizza: v.string(), slices: v.optional(v.number(), 8) });
  const client = createClient({ url });
  const orders = client.topic('orders', schema);
  await orders.publish({ pizza: 'funghi' }, { type: 'order.placed' });
  const [event] = eventsOf(seen[0]!);
  assert.deepEqual([event!['type'], event!['data']], ['order.placed', { pizza: 'funghi', slices: 8 }]);
  // @ts-expect-error -- the topic has no such data
  await assert.rejects(orders.publish({ pizza: 1 }), { code: 'input-mismatch' });
  assert.equal(seen.length, 1);

  const page = await serve(t, (_, response) => {
    const item = (position: number, data: unknown) => ({ position, topic: 'orders', event: { ...event, data } });
    json(response, 200, { items: [item(1, { pizza: 'x' }), item(2, 'y')], next: null, cursor: '2-e' });
  });
  const { items, cursor, more } = await createClient({ url: page.url }).topics.history('orders.**', { after: 0 });
  assert.deepEqual([cursor, more, page.seen[0]!.url], ['2-e', false, '/v1/topics/orders.**/events?after=0']);
  const value = await orders.read(items[0]!);
  const slices: number = value.slices;
  assert.equal(slices, 8);
  await assert.rejects(
    orders.read(items[1]!),
    (error) => error instanceof ContractBroken && /event/.test(error.message),
  );
});
