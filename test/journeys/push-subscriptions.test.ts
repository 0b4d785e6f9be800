// Push subscriptions as receivers and services see them: every event once, signed, tried again where it failed, and nobody held up by anybody else.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { type Backend, backendFor, type BackendRequest, type Behaviour, gate, never } from '../support/backend.ts';
import { eventIn } from '../support/event-receiver.ts';
import { get, post, send, until } from '../support/http.ts';
import { assertProblem, statusWhen, submit } from '../support/operations.ts';
import { callbackFields, rotated } from '../support/receiver.ts';
import { serverFor, type ServerSettings, type TestServer } from '../support/server.ts';
import { isThrough, pullEvents, putSubscription, subscriptionAt, subscriptionUrl } from '../support/subscribers.ts';
import { batched, cloudEvent, publish, structured } from '../support/topics.ts';

const retry = { initialDelay: '10ms', maxDelay: '50ms', maxAttempts: 50 };

async function start(t: TestContext, settings: ServerSettings = {}): Promise<TestServer> {
  return serverFor(t, { ...settings, fields: { ...(await callbackFields(t)), ...settings.fields } });
}

/** Publishes that many in batches; their ids. */
async function publishMany(
  { url }: TestServer,
  topic: string,
  { count, more = () => ({}) }: { count: number; more?: (i: number) => Record<string, unknown> },
): Promise<string[]> {
  const ids = Array.from({ length: count }, (_, i) => `${topic}-${i}`);
  const events = ids.map((id, i) => cloudEvent(id, { data: i, ...more(i) }));
  for (let i = 0; i < events.length; i += 50)
    await publish(url, topic, { headers: batched, body: `[${events.slice(i, i + 50).join(',')}]` });
  return ids;
}

const through = (url: string, name: string) =>
  until(async () => {
    const seen = await subscriptionAt(url, name);
    return isThrough(seen) ? seen : undefined;
  }, 20);

const idOf = ({ body }: BackendRequest): string => (JSON.parse(body.toString('utf8')) as { id: string }).id;
const idsAt = ({ requests }: Backend): string[] => requests.map(idOf);
const sorted = (texts: readonly string[]): string[] => texts.toSorted();

test('a webhook gets every event of its pattern and filter, once, as it was published, with the headers of the document and valid signatures', async (t) => {
  const server = await start(t);
  const secret = await rotated(server.url);
  const receiver = await backendFor(t, () => ({ status: 204 }));
  await putSubscription(server.url, 'hook', {
    topic: 'orders.*',
    filter: { not: { exact: { type: 'test.ignored' } } },
    target: { url: `${receiver.url}/in?x=1`, headers: { 'X-Shop': 'one' } },
  });
  const more = (i: number) => ({ type: i % 3 === 0 ? 'test.ignored' : 'test.happened' });
  const ids = await publishMany(server, 'orders.placed', { count: 60, more });
  await publishMany(server, 'stock.low', { count: 5 });
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const exact = `{"specversion":"1.0","id":"exact","source":"/test","type":"t","traceparent":"${traceparent}","data":{"n":1.0000000000000000000001,"n":2}}`;
  await publish(server.url, 'orders.paid', { headers: structured, body: exact });
  await publish(server.url, 'orders.photo', { headers: { 'Content-Type': 'image/png' }, body: Buffer.from([255, 0]) });
  await through(server.url, 'hook');
  const wanted = ids.filter((_, i) => i % 3 !== 0);
  assert.equal(receiver.requests.length, wanted.length + 2);
  const received = await Promise.all(receiver.requests.map((request) => eventIn(request, secret)));
  assert.equal(new Set(received.map(({ messageId }) => messageId)).size, received.length);
  assert.deepEqual(
    sorted(received.flatMap(({ event }) => (event.id.startsWith('orders.placed') ? event.id : []))),
    sorted(wanted),
  );
  for (const { headers, target } of receiver.requests)
    assert.deepEqual([target, headers['x-shop'], headers['user-agent']], ['/in?x=1', 'one', 'Waitless']);
  const at = received.findIndex(({ event }) => event.id === 'exact');
  assert.ok(received[at]!.text.includes('"data":{"n":1.0000000000000000000001,"n":2}'), received[at]!.text);
  assert.equal(receiver.requests[at]!.headers['traceparent'], traceparent);
  const photo = received.find(({ event }) => event['datacontenttype'] === 'image/png')!.event;
  assert.equal(photo['data_base64'], '/wA=');
});

test('what a receiver fails is sent again under the same id with a signature of its own, until it is taken; its own secret signs', async (t) => {
  const server = await start(t);
  const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
  const tries = new Map<string, string[]>();
  const behaviour: Behaviour = async (request) => {
    const { messageId, event } = await eventIn(request, secret);
    tries.set(event.id, [...(tries.get(event.id) ?? []), messageId]);
    const status = [500, 404, 302, 200][tries.get(event.id)!.length - 1]!;
    return { status };
  };
  const receiver = await backendFor(t, behaviour);
  await putSubscription(server.url, 'hook', { topic: 'a', target: { url: receiver.url, secret }, retry });
  // Few enough that the failures of the first do not look like a receiver that is dead.
  for (let i = 0; i < 6; i++) {
    await publish(server.url, 'a', { headers: structured, body: cloudEvent(`e${i}`) });
    await through(server.url, 'hook');
  }
  assert.equal(tries.size, 6);
  for (const [id, ids] of tries) assert.deepEqual([ids.length, new Set(ids).size], [4, 1], id);
});

test('every subscription has its own copy: two webhooks, a service and a puller get all, beside one that is dead and one that never answers', async (t) => {
  const backend = await backendFor(t);
  const server = await start(t, { services: { jobs: { target: { url: backend.url } } } });
  const one = await backendFor(t, () => ({ status: 200 }));
  const two = await backendFor(t, (_, number) => ({ status: number % 7 === 0 ? 500 : 200 }));
  const silent = await backendFor(t, never);
  const dead = await backendFor(t, () => ({ reset: true }));
  await putSubscription(server.url, 'dead', { topic: '**', target: { url: dead.url } });
  await putSubscription(server.url, 'silent', { topic: '**', target: { url: silent.url } });
  await putSubscription(server.url, 'one', { topic: '**', target: { url: one.url } });
  await putSubscription(server.url, 'two', { topic: 'orders.**', target: { url: two.url }, retry });
  await putSubscription(server.url, 'jobs', { topic: 'orders.*', target: { service: 'jobs' } });
  await putSubscription(server.url, 'pulled', { topic: 'orders.placed', target: { pull: true } });
  const ids = await publishMany(server, 'orders.placed', { count: 60 });
  const pulled: string[] = [];
  for (let tokens: string[] = []; pulled.length < ids.length;) {
    const { leases } = await pullEvents(server.url, 'pulled', {
      max: 40,
      settle: tokens.map((token) => ({ token, ack: true })),
    });
    tokens = leases.map(({ token }) => token);
    pulled.push(...leases.map(({ event }) => event.id));
  }
  for (const name of ['one', 'two', 'jobs']) await through(server.url, name);
  await backend.received(ids.length);
  const taken = two.requests.flatMap((request, i) => ((i + 1) % 7 === 0 ? [] : idOf(request)));
  assert.deepEqual(sorted(pulled), sorted(ids));
  assert.deepEqual(sorted(idsAt(one)), sorted(ids));
  assert.deepEqual(sorted(taken), sorted(ids));
  assert.deepEqual(sorted(backend.requests.map(({ headers }) => headers['ce-id']!)), sorted(ids));
  const { lag, open } = await subscriptionAt(server.url, 'dead');
  assert.ok(lag.atLeast + open.waiting + open.sending > 0, 'the dead one still has them before it');
  assert.ok(silent.requests.length <= 32, 'no more at once than it may have');
});

test('a service target starts one operation for each event: the data untouched, the attributes as fields, and the event known by its id', async (t) => {
  const backend = await backendFor(t, ({ body }) => ({ body }));
  const server = await start(t, { services: { jobs: { target: { url: `${backend.url}/work` } } } });
  await putSubscription(server.url, 'jobs', { topic: 'orders.*', target: { service: 'jobs' } });
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const data = '{ "n": 1.0000000000000000000001, "n": 2 }';
  const body = `{"specversion":"1.0","id":"order-1","source":"/shop","type":"order.placed","subject":"h\\u00e9","traceparent":"${traceparent}","data":${data}}`;
  await publish(server.url, 'orders.placed', { headers: structured, body });
  // Known for a repeat by its source and id: no second event, and no second operation.
  await publish(server.url, 'orders.placed', { headers: structured, body });
  const [request] = await backend.received(1);
  const { headers } = request!;
  assert.deepEqual([request!.method, request!.target, request!.body.toString()], ['POST', '/work', data]);
  assert.deepEqual(
    [
      'ce-specversion',
      'ce-id',
      'ce-source',
      'ce-type',
      'ce-subject',
      'content-type',
      'correlation-id',
      'traceparent',
    ].map((name) => headers[name]),
    ['1.0', 'order-1', '/shop', 'order.placed', 'h%C3%A9', 'application/json', 'order-1', traceparent],
  );
  const id = headers['operation-id']!;
  const ended = await statusWhen(`${server.url}/v1/operations/${id}`, ({ done }) => done);
  assert.deepEqual([ended.status, ended.correlationId], ['succeeded', 'order-1']);
  assert.equal((await get(`${server.url}/v1/operations/${id}/result`)).text, data);
  await through(server.url, 'jobs');
  assert.equal(backend.requests.length, 1);
});

test('an event that is carried again after its operation was stored starts no second one, also where that one has failed and may be tried anew', async (t) => {
  const backend = await backendFor(t, () => ({ status: 404 }));
  const ended = gate();
  let carriedAgain = 0;
  const server = await start(t, {
    services: { jobs: { target: { url: backend.url }, retryFailed: true } },
    // As if each event's first acknowledgement had been lost with its process.
    wrapEngine: (engine) => ({
      ...engine,
      async settleEvents(batch, nowMs) {
        await ended.opened;
        const acked = batch.every(({ verdict }) => verdict.to === 'acked');
        if (!acked || carriedAgain++ > 0) return engine.settleEvents(batch, nowMs);
        const again = { to: 'waiting', at: nowMs, attemptUsed: false, code: 'interrupted', detail: null } as const;
        return engine.settleEvents(
          batch.map((one) => ({ ...one, verdict: again })),
          nowMs,
        );
      },
    }),
  });
  await putSubscription(server.url, 'jobs', { topic: 'a', target: { service: 'jobs' } });
  await publish(server.url, 'a', { headers: structured, body: cloudEvent('one') });
  const [request] = await backend.received(1);
  const operation = await statusWhen(
    `${server.url}/v1/operations/${request!.headers['operation-id']!}`,
    ({ done }) => done,
  );
  assert.equal(operation.status, 'failed');
  ended.open();
  await through(server.url, 'jobs');
  assert.ok(carriedAgain >= 2, 'it was carried again');
  const { items } = (await get(`${server.url}/v1/operations?service=jobs`)).json<{ items: { id: string }[] }>();
  assert.deepEqual(
    items.map(({ id }) => id),
    [operation.id],
  );
});

test('a service whose own operations would start the next ones is refused as a target of their transitions', async (t) => {
  const server = await start(t, { services: { jobs: { target: { pull: true } }, other: { target: { pull: true } } } });
  const put = (service: string, topic: string) =>
    send(subscriptionUrl(server.url, 'loop'), { method: 'PUT', body: { topic, target: { service } } });
  const refused = await put('jobs', 'operations.*.succeeded');
  assertProblem(refused, 400, 'invalid-parameter');
  assert.match(refused.text, /"pointer":"\/target\/service"/);
  assert.equal((await get(subscriptionUrl(server.url, 'loop'))).status, 404, 'nothing is left of it');
  assert.equal((await put('jobs', 'operations.other.succeeded')).status, 201);
});

test('a finished operation is an event that starts the next one, in one conversation; a loop of them ends as a dead letter', async (t) => {
  const backend = await backendFor(t);
  const target = { url: backend.url };
  const server = await start(t, { services: { bake: { target }, bring: { target } } });
  await putSubscription(server.url, 'bring', { topic: 'operations.bake.succeeded', target: { service: 'bring' } });
  await submit(server.url, 'bake', { headers: { 'Correlation-Id': 'pizza-1' } });
  const [bake, bring] = await backend.received(2);
  assert.equal(bring!.headers['correlation-id'], 'pizza-1');
  assert.equal(bring!.headers['ce-type'], 'waitless.operation.succeeded');
  assert.equal(bring!.headers['ce-subject'], bake!.headers['operation-id']);
  const told = JSON.parse(bring!.body.toString()) as { id: string; status: string; service: string };
  assert.deepEqual([told.id, told.status, told.service], [bake!.headers['operation-id'], 'succeeded', 'bake']);
  await putSubscription(server.url, 'bake', { topic: 'operations.bring.succeeded', target: { service: 'bake' } });
  await submit(server.url, 'bake', { headers: { 'Correlation-Id': 'pizza-2' } });
  const letters = await until(async () => {
    const all = await Promise.all(
      ['bring', 'bake'].map((name) => get(subscriptionUrl(server.url, name, '/dead-letters'))),
    );
    const items = all.flatMap((answer) => answer.json<{ items: { code: string }[] }>().items);
    return items.length > 0 ? items : undefined;
  }, 20);
  for (const name of ['bring', 'bake']) await through(server.url, name);
  assert.deepEqual(
    letters.map(({ code }) => code),
    ['too-many-hops'],
  );
  const round = backend.requests.filter(({ headers }) => headers['correlation-id'] === 'pizza-2');
  assert.deepEqual(
    round.map(({ headers }) => headers['ce-waitlesshops'] ?? '0'),
    ['0', '1', '2', '3', '4', '5', '6', '7', '8'],
  );
});

test('while the queue of a service is full its events wait, none is lost or given up, and each becomes an operation in the end', async (t) => {
  const gates: (() => void)[] = [];
  const backend = await backendFor(t, () => new Promise((resolve) => gates.push(() => resolve({ status: 200 }))));
  const server = await start(t, {
    services: { jobs: { target: { url: backend.url }, concurrency: 1, maxQueued: 2 } },
  });
  await putSubscription(server.url, 'jobs', { topic: 'a', target: { service: 'jobs' } });
  const ids = await publishMany(server, 'a', { count: 8 });
  const open = await until(async () => {
    const seen = await subscriptionAt(server.url, 'jobs');
    return seen.open.waiting > 0 ? seen : undefined;
  });
  assert.ok(open.open.waiting + open.open.sending >= 1);
  const done = through(server.url, 'jobs');
  for (let i = 0; i < ids.length; i++) (await until(() => gates[i]))();
  await done;
  assert.deepEqual(sorted(backend.requests.map(({ headers }) => headers['ce-id']!)), sorted(ids));
  assert.deepEqual((await subscriptionAt(server.url, 'jobs')).open, { waiting: 0, sending: 0, held: 0, dead: 0 });
});

test('an event whose service is gone becomes a dead letter that says so, and starts its operation by a redrive once the service is there', async (t) => {
  const backend = await backendFor(t);
  const server = await start(t, { fields: { allowNetwork: ['127.0.0.0/8'] } });
  const service = `${server.url}/v1/services/gone`;
  const document = { target: { url: backend.url } };
  assert.equal((await send(service, { method: 'PUT', body: document })).status, 201);
  await putSubscription(server.url, 'jobs', { topic: 'a', target: { service: 'gone' } });
  assert.equal((await send(service, { method: 'DELETE' })).status, 204);
  await publish(server.url, 'a', { headers: structured, body: cloudEvent('one') });
  const letters = await until(async () => {
    const { items } = (await get(subscriptionUrl(server.url, 'jobs', '/dead-letters'))).json<{ items: unknown[] }>();
    return items.length > 0 ? JSON.stringify(items) : undefined;
  });
  assert.match(letters, /unknown-target/);
  assert.equal((await send(service, { method: 'PUT', body: document })).status, 201);
  const redriven = await post(subscriptionUrl(server.url, 'jobs', '/redrive'), { body: {} });
  assert.deepEqual(redriven.json(), { redriven: 1 });
  const [request] = await backend.received(1);
  assert.equal(request!.headers['ce-id'], 'one');
});

test('a receiver that answers 410 is left alone, and gets what it missed once somebody resumes it', async (t) => {
  const server = await start(t);
  let status = 410;
  const receiver = await backendFor(t, () => ({ status }));
  await putSubscription(server.url, 'hook', { topic: 'a', target: { url: receiver.url } });
  await publish(server.url, 'a', { headers: structured, body: cloudEvent('one') });
  await until(async () => ((await subscriptionAt(server.url, 'hook')).state === 'paused' ? true : undefined));
  const seen = receiver.requests.length;
  await publish(server.url, 'a', { headers: structured, body: cloudEvent('two') });
  status = 200;
  assert.equal((await post(subscriptionUrl(server.url, 'hook', '/resume'), { body: {} })).status, 200);
  await through(server.url, 'hook');
  assert.deepEqual(sorted(idsAt(receiver).slice(seen)), ['one', 'two']);
});

test('of an ordering key one event is on its way at a time, in order, also while some fail; keys do not wait for each other', async (t) => {
  const server = await start(t);
  const under = new Set<string>();
  const done: { key: string; n: number }[] = [];
  const failed = new Set<string>();
  const receiver = await backendFor(t, async (request) => {
    const { id, data } = JSON.parse(request.body.toString()) as { id: string; data: { key: string; n: number } };
    assert.ok(!under.has(data.key), 'one of a key at a time');
    under.add(data.key);
    await new Promise((resolve) => setImmediate(resolve));
    under.delete(data.key);
    if (data.n % 4 === 1 && !failed.has(id)) {
      failed.add(id);
      return { status: 500 };
    }
    done.push(data);
    return { status: 200 };
  });
  await putSubscription(server.url, 'hook', { topic: 'a', target: { url: receiver.url }, ordered: true, retry });
  const keys = ['x', 'y', 'z'];
  for (let n = 0; n < 12; n++)
    for (const key of keys)
      await publish(server.url, 'a', {
        headers: { ...structured, 'Ordering-Key': key },
        body: cloudEvent(`${key}${n}`, { data: { key, n } }),
      });
  await through(server.url, 'hook');
  for (const key of keys)
    assert.deepEqual(
      done.flatMap((one) => (one.key === key ? one.n : [])),
      Array.from({ length: 12 }, (_, n) => n),
    );
});

test('what is published while the server is down or the subscription paused comes later, in full, and once', async (t) => {
  const server = await start(t, { data: 'folder' });
  const receiver = await backendFor(t, () => ({ status: 200 }));
  await putSubscription(server.url, 'hook', { topic: 'a', target: { url: receiver.url } });
  assert.equal((await post(subscriptionUrl(server.url, 'hook', '/pause'), { body: {} })).status, 200);
  const ids = await publishMany(server, 'a', { count: 20 });
  await server.restart();
  assert.equal(receiver.requests.length, 0);
  assert.equal((await post(subscriptionUrl(server.url, 'hook', '/resume'), { body: {} })).status, 200);
  await through(server.url, 'hook');
  assert.deepEqual(sorted(idsAt(receiver)), sorted(ids));
  const other = await backendFor(t, () => ({ status: 200 }));
  await putSubscription(server.url, 'late', { topic: 'a', target: { url: other.url }, from: 'start' });
  await through(server.url, 'late');
  assert.deepEqual(sorted(idsAt(other)), sorted(ids), 'one that is made later and reads from the start has all too');
  assert.equal((await send(subscriptionUrl(server.url, 'hook'), { method: 'DELETE' })).status, 204);
  await publish(server.url, 'a', { headers: structured, body: cloudEvent('after') });
  await through(server.url, 'late');
  assert.equal(receiver.requests.length, ids.length, 'who is removed gets nothing more');
});
