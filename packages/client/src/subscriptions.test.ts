// Subscriptions and topics as the client asks for them: each verb its own route, and dead letters with their events byte for byte.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient } from './index.ts';
import { json, problem, serve } from './support.test.ts';

test('each verb is its route, with what it needs and nothing else', async (t) => {
  const { url, seen } = await serve(t, ({ method, url: path }, response) => {
    if (method === 'DELETE' && path.endsWith('mails')) response.writeHead(204).end();
    else if (path.includes('/topics?')) {
      const cursor = new URL(path, 'http://x').searchParams.get('cursor');
      json(response, 200, { items: [{ name: cursor ?? 'first' }], next: cursor === null ? 'a/b' : null });
    } else json(response, 200, { name: 'mails', items: [1], next: null, redriven: 3, removed: 2 });
  });
  const { subscriptions, topics } = createClient({ url });
  const document = { topic: 'orders.*', target: { pull: true }, from: 'start' } as const;
  assert.deepEqual(await subscriptions.list(), [1]);
  assert.equal((await subscriptions.get('mails')).name, 'mails');
  await subscriptions.put('mails', document);
  await subscriptions.pause('mails');
  await subscriptions.resume('mails');
  await subscriptions.deliveries('mails', { state: 'waiting', limit: 5 });
  assert.equal(await subscriptions.redrive('mails', { positions: [4, 5] }), 3);
  assert.equal(await subscriptions.forget('mails', { positions: [4, 5] }), 2);
  await subscriptions.forget('mails');
  await subscriptions.remove('mails');
  assert.deepEqual((await topics.list()).map(({ name }) => name), ['first', 'a/b']); // prettier-ignore
  await topics.get('orders.placed');
  await topics.set('orders.placed', { maxAge: '30d' });
  assert.deepEqual(
    seen.map(({ method, url: path, body }) => `${method} ${path} ${body.toString()}`.trimEnd()),
    [
      'GET /v1/subscriptions',
      'GET /v1/subscriptions/mails',
      `PUT /v1/subscriptions/mails ${JSON.stringify(document)}`,
      'POST /v1/subscriptions/mails/pause {}',
      'POST /v1/subscriptions/mails/resume {}',
      'GET /v1/subscriptions/mails/deliveries?state=waiting&limit=5',
      'POST /v1/subscriptions/mails/redrive {"positions":[4,5]}',
      'DELETE /v1/subscriptions/mails/dead-letters?positions=4%2C5',
      'DELETE /v1/subscriptions/mails/dead-letters',
      'DELETE /v1/subscriptions/mails',
      'GET /v1/topics?limit=1000',
      'GET /v1/topics?limit=1000&cursor=a%2Fb',
      'GET /v1/topics/orders.placed',
      'PUT /v1/topics/orders.placed {"maxAge":"30d"}',
    ],
  );
  for (const { headers, body } of seen)
    assert.equal(headers['content-type'], body.length > 0 ? 'application/json' : undefined);
});

test('dead letters have their events as they were published, or none; errors are those of the wire', async (t) => {
  const event = '{"specversion":"1.0","id":"e","source":"s","type":"t","data":{"a" : 1e999}}';
  const { url } = await serve(t, ({ url: path }, response) => {
    if (path.includes('/unknown/')) return problem(response, 404, 'unknown-subscription');
    if (path.includes('/other/')) return json(response, 200, { hello: 1 });
    const letter = '{"position":7,"topic":"orders","attempt":5,"code":"nacked","detail":"a \\"event\\": 1"';
    response.end(`{"items" : [${letter},"event":${event}},{"position":8,"topic":null,"event":null}],"next":"c"}`);
    return undefined;
  });
  const { subscriptions } = createClient({ url });
  const { items, next } = await subscriptions.deadLetters('mails');
  assert.equal(next, 'c');
  assert.equal(items[0]!.event!.text(), '{"a" : 1e999}');
  assert.deepEqual([items[0]!.event!.topic, items[0]!.detail, items[1]!.event], ['orders', 'a "event": 1', undefined]);
  await assert.rejects(subscriptions.deadLetters('unknown'), { code: 'unknown-subscription' });
  await assert.rejects(subscriptions.deadLetters('other'), { code: 'unexpected-answer' });
  await assert.rejects(subscriptions.get('a/b'), { code: 'invalid-name' });
});
