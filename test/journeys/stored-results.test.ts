// The first request for a customer's score is slow; everyone after it has the answer from the store until it expires, and a hundred who ask at once cost
// one computation.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Backend, type BackendAnswer, backendFor, gate } from '../support/backend.ts';
import { get, post, type Received, send, type Sent, until } from '../support/http.ts';
import { assertProblem, ended, resultOf, statusOf, submit, waitersReach } from '../support/operations.ts';
import { reply, takeOne } from '../support/pull-worker.ts';
import { serverFor, type ServerSettings, type TestServer } from '../support/server.ts';

const scoreOf = (number: number): BackendAnswer => ({
  headers: {
    'Content-Type': 'application/json',
    'Set-Cookie': 'session=secret',
    'Retry-After': '7',
    'X-Computed-By': `bureau ${number}`,
  },
  // Such a body does not survive a parser.
  body: `{"score": 7.40, "big": 9007199254740993, "huge": 1e999, "run": ${number}}`,
});

interface Story {
  server: TestServer;
  backend: Backend;
  /** Asks for the score of a customer. */
  ask: (customer: string, sent?: Sent) => Promise<Received>;
}

async function story(
  t: Parameters<typeof serverFor>[0],
  service: Record<string, unknown> = {},
  settings: Omit<ServerSettings, 'services'> = {},
  backend?: Backend,
): Promise<Story> {
  const at = backend ?? (await backendFor(t, (_, number) => scoreOf(number)));
  const all = { target: { url: at.url }, key: { body: '/customerId' }, validFor: '1h', ...service };
  // What a test sets to undefined the service does not say.
  const score = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  const server = await serverFor(t, { ...settings, services: { score } });
  return {
    server,
    backend: at,
    ask: (customer, { headers, ...sent } = {}) =>
      post(`${server.url}/v1/call/score`, {
        body: `{"customerId": ${JSON.stringify(customer)}}`,
        headers: { 'Content-Type': 'application/json', Prefer: 'wait=20', ...headers },
        ...sent,
      }),
  };
}

const directive = (value: string): Sent => ({ headers: { 'Cache-Control': value } });

/** The whole answer, less what may differ from one time to the next. */
function replayed(answer: Received): unknown {
  const may = new Set(['date', 'request-id', 'age', 'cache-status', 'preference-applied', 'correlation-id']);
  return [
    answer.status,
    Object.entries(answer.headers).filter(([name]) => !may.has(name)),
    answer.body.toString('hex'),
  ];
}

test('the second request for a customer is answered from the store, byte for byte, marked with its age', async (t) => {
  const { ask, backend } = await story(t);
  const first = await ask('4711');
  assert.equal(first.status, 200);
  assert.equal(first.headers['cache-status'], 'waitless; fwd=miss');
  assert.equal(first.headers['age'], undefined);
  const second = await ask('4711', { headers: { 'Correlation-Id': 'mine' } });
  assert.deepEqual(replayed(second), replayed(first));
  assert.equal(second.text, scoreOf(1).body);
  assert.match(second.headers['cache-status']!, /^waitless; hit; ttl=(3600|35\d\d)$/);
  assert.match(second.headers['age']!, /^\d+$/);
  assert.equal(second.headers['operation-id'], first.headers['operation-id']);
  assert.equal(second.headers['correlation-id'], 'mine');
  for (const answer of [first, second]) {
    assert.equal(answer.headers['set-cookie'], undefined);
    assert.equal(answer.headers['retry-after'], undefined);
    assert.equal(answer.headers['x-computed-by'], 'bureau 1');
  }
  // Whoever would rather have a 202 gets the stored result all the same.
  const third = await ask('4711', { headers: { Prefer: 'respond-async' } });
  assert.equal(third.status, 200);
  const matched = await ask('4711', { headers: { 'If-None-Match': first.headers['etag']! } });
  assert.deepEqual([matched.status, matched.body.length], [304, 0]);
  assert.equal((await ask('4712')).json<{ run: number }>().run, 2, 'another customer has a score of his own');
  assert.equal(backend.requests.length, 2);
});

test('a hundred who ask at once cost one computation and get the same answer', async (t) => {
  const done = gate<BackendAnswer>();
  const backend = await backendFor(t, () => done.opened);
  const { ask, server } = await story(t, {}, {}, backend);
  const asking = Array.from({ length: 100 }, (_, i) => ask('4711', { headers: { 'Correlation-Id': `c-${i}` } }));
  await waitersReach(server.url, (waiters) => waiters === 100);
  done.open(scoreOf(1));
  const answers = await Promise.all(asking);
  assert.equal(new Set(answers.map((answer) => JSON.stringify(replayed(answer)))).size, 1);
  assert.deepEqual(
    answers.map(({ headers }) => headers['correlation-id']),
    asking.map((_, i) => `c-${i}`),
    'each caller keeps the name of its own conversation',
  );
  const statuses = answers.map(({ headers }) => headers['cache-status']);
  assert.equal(statuses.filter((status) => status === 'waitless; fwd=miss').length, 1);
  assert.equal(statuses.filter((status) => status === 'waitless; fwd=miss; collapsed').length, 99);
  assert.equal(backend.requests.length, 1);
});

test('who joins gets the same id, and one who cancels ends it for all', async (t) => {
  const { ask, backend } = await story(t, {}, {}, await backendFor(t, () => gate<BackendAnswer>().opened));
  const async = { headers: { Prefer: 'respond-async' } };
  const first = await ask('1', async);
  const second = await ask('1', async);
  assert.deepEqual([first.status, second.status], [202, 202]);
  assert.equal(second.headers['operation-id'], first.headers['operation-id']);
  assert.deepEqual(first.json()['key'], '1');
  assert.equal(second.headers['cache-status'], 'waitless; fwd=miss; collapsed');
  await backend.received(1);
  await send(first.headers['operation-location']!, { method: 'DELETE' });
  assertProblem(await resultOf(second.headers['location']!), 409, 'cancelled');
  assert.equal((await ask('1', async)).headers['cache-status'], 'waitless; fwd=miss');
});

test('a result is valid for the time the service says, and computed anew after it', async (t) => {
  const { ask, backend } = await story(t, { validFor: '2s' });
  const first = await ask('4711');
  assert.equal((await ask('4711')).headers['age'] !== undefined, true);
  assert.equal(backend.requests.length, 1);
  // The store's own clock decides; nobody here knows how fast this machine is.
  const anew = await until(async () => {
    const answer = await ask('4711');
    return answer.headers['operation-id'] === first.headers['operation-id'] ? undefined : answer;
  }, 100);
  assert.equal(anew.headers['cache-status'], 'waitless; fwd=stale');
  const { finishedAt } = await statusOf(`${new URL('.', first.headers['content-location']!).href.slice(0, -1)}`);
  const { createdAt } = await statusOf(`${new URL('.', anew.headers['content-location']!).href.slice(0, -1)}`);
  assert.ok(Date.parse(createdAt) - Date.parse(finishedAt!) >= 2000, `${finishedAt} to ${createdAt}`);
  assert.equal(backend.requests.length, 2);
});

test('the backend may say how long its answer is valid, longer, shorter or not at all', async (t) => {
  const said = new Map([
    ['long', 'max-age=600'],
    ['not-kept', 'no-store'],
    ['found-only', 'no-cache'],
  ]);
  const backend = await backendFor(t, (request, number) => {
    const { customerId } = JSON.parse(request.body.toString()) as { customerId: string };
    return { ...scoreOf(number), headers: { 'Cache-Control': said.get(customerId)! } };
  });
  const { ask } = await story(t, { validFor: '30m' }, {}, backend);
  for (const customer of said.keys()) await ask(customer);
  assert.match((await ask('long')).headers['cache-status']!, /^waitless; hit; ttl=(600|59\d)$/);
  assert.equal((await ask('not-kept')).headers['cache-status'], 'waitless; fwd=miss');
  assert.equal((await ask('found-only')).headers['cache-status'], 'waitless; fwd=miss');
  assert.equal(backend.requests.length, 5);
});

test('without validity a result answers no other submit', async (t) => {
  const { ask, backend } = await story(t, { validFor: undefined, key: { body: '/customerId' } });
  await ask('1');
  assert.equal((await ask('1')).headers['cache-status'], 'waitless; fwd=miss');
  assert.equal(backend.requests.length, 2);
});

test('a request may ask for a new result, a young one, only a stored one, or none that is shared', async (t) => {
  const { ask, backend, server } = await story(t);
  assertProblem(await ask('1', directive('only-if-cached')), 504, 'not-stored');
  assert.equal((await get(`${server.url}/v1/operations`)).json<{ items: unknown[] }>().items.length, 0);
  const first = await ask('1');
  assert.equal((await ask('1', directive('only-if-cached'))).headers['operation-id'], first.headers['operation-id']);
  assert.equal((await ask('1', directive('max-age=600'))).headers['operation-id'], first.headers['operation-id']);
  const anew = await ask('1', directive('no-cache'));
  assert.equal(anew.headers['cache-status'], 'waitless; fwd=request');
  assert.equal(
    (await ask('1')).headers['operation-id'],
    anew.headers['operation-id'],
    'the newest is the one that is kept',
  );
  const mine = await ask('1', directive('no-store'));
  assert.equal(mine.headers['cache-status'], 'waitless; fwd=request');
  assert.equal((await ask('1')).headers['operation-id'], anew.headers['operation-id']);
  assert.equal(backend.requests.length, 3);
  assertProblem(await ask('1', directive('max-age=soon')), 400, 'invalid-parameter');
});

test('those who want a new result at once share one computation too', async (t) => {
  const { ask, backend, server } = await story(t);
  await ask('1');
  const done = gate<BackendAnswer>();
  backend.behave(() => done.opened);
  const asking = [1, 2, 3].map(() => ask('1', directive('no-cache')));
  await waitersReach(server.url, (waiters) => waiters === 3);
  assert.match((await ask('1')).headers['cache-status']!, /hit/, 'the others are answered meanwhile');
  done.open(scoreOf(2));
  const ids = (await Promise.all(asking)).map(({ headers }) => headers['operation-id']);
  assert.equal(new Set(ids).size, 1);
  assert.equal(backend.requests.length, 2);
});

test('a stale result is served while a new one is computed behind it', async (t) => {
  const { ask, backend } = await story(t, { validFor: '1s', staleWhileRevalidate: '10m' });
  const first = await ask('1');
  const done = gate<BackendAnswer>();
  backend.behave(() => done.opened);
  const stale = await until(async () => {
    const answer = await ask('1');
    return /ttl=-/.test(answer.headers['cache-status']!) ? answer : undefined;
  }, 100);
  assert.deepEqual(replayed(stale), replayed(first));
  await backend.received(2);
  assert.deepEqual(replayed(await ask('1')), replayed(first), 'still the old one, and nothing more is begun');
  done.open({ ...scoreOf(2), headers: { 'Cache-Control': 'max-age=600' } });
  const fresh = await until(async () => {
    const answer = await ask('1');
    return answer.headers['operation-id'] === first.headers['operation-id'] ? undefined : answer;
  }, 20);
  assert.equal(fresh.json<{ run: number }>().run, 2);
  assert.equal(backend.requests.length, 2);
});

test('a failure is kept for nobody, and the next request computes', async (t) => {
  const backend = await backendFor(t, (_, number) =>
    number === 1 ? { status: 404, body: 'no such customer' } : scoreOf(number),
  );
  const { ask } = await story(t, {}, {}, backend);
  const first = await ask('1');
  assert.deepEqual([first.status, first.headers['operation-status'], first.text], [404, 'failed', 'no such customer']);
  assert.equal((await ask('1')).json<{ run: number }>().run, 2);
});

test('other paths and methods have results of their own, and a PUT is never answered from the store', async (t) => {
  const { server, backend } = await story(t, { key: { query: 'customer' } });
  const at = (path: string, method: string): Promise<Received> =>
    send(`${server.url}/v1/call/score${path}?customer=1`, { method, headers: { Prefer: 'wait=20' } });
  for (const [path, method] of [
    ['', 'GET'],
    ['/v2', 'GET'],
    ['', 'POST'],
  ] as const) {
    assert.equal((await at(path, method)).headers['cache-status'], 'waitless; fwd=miss');
    assert.match((await at(path, method)).headers['cache-status']!, /hit/);
  }
  assert.equal((await at('', 'PUT')).headers['cache-status'], 'waitless; fwd=method');
  assert.equal((await at('', 'PUT')).headers['cache-status'], 'waitless; fwd=method');
  assert.equal(backend.requests.length, 5);
});

test("a client's own Result-Key shares a result only among equal requests", async (t) => {
  const { server, backend } = await story(t, { key: undefined, validFor: '1h' });
  const ask = (body: string, query = ''): Promise<Received> =>
    post(`${server.url}/v1/call/score${query}`, { body, headers: { 'Result-Key': '4711', Prefer: 'wait=20' } });
  const first = await ask('a');
  assert.equal((await ask('a')).headers['operation-id'], first.headers['operation-id']);
  assert.notEqual((await ask('b')).headers['operation-id'], first.headers['operation-id']);
  assert.notEqual((await ask('a', '?x=1')).headers['operation-id'], first.headers['operation-id']);
  assert.equal(backend.requests.length, 3);
});

test('a stored result of one namespace answers no other', async (t) => {
  const { server, ask, backend } = await story(t, {}, { namespaces: ['a', 'b'] });
  const first = await ask('1', { key: server.key('a') });
  const other = await ask('1', { key: server.key('b') });
  assert.equal(other.headers['cache-status'], 'waitless; fwd=miss');
  assert.notEqual(other.headers['operation-id'], first.headers['operation-id']);
  assert.match((await ask('1', { key: server.key('a') })).headers['cache-status']!, /hit/);
  assert.equal(backend.requests.length, 2);
});

test('a credential that is passed on is part of the key: nobody gets what another one may see', async (t) => {
  const { ask, backend } = await story(t, { forward: ['x-user-token'] });
  const as = (token: string): Sent => ({ headers: { 'X-User-Token': token } });
  const first = await ask('1', as('alice'));
  assert.equal((await ask('1', as('bob'))).headers['cache-status'], 'waitless; fwd=miss');
  assert.equal((await ask('1', as('alice'))).headers['operation-id'], first.headers['operation-id']);
  assert.equal(backend.requests.length, 2);
});

test('an idempotency key comes first, and repeats what its first request was told', async (t) => {
  const { ask, backend } = await story(t);
  const keyed = (key: string): Sent => ({ headers: { 'Idempotency-Key': key } });
  const first = await ask('1', keyed('k1'));
  const hit = await ask('1', keyed('k2'));
  assert.match(hit.headers['cache-status']!, /^waitless; hit/);
  await ask('1', directive('no-cache'));
  const again = await ask('1', keyed('k2'));
  assert.deepEqual([again.status, again.headers['idempotent-replayed'], again.text], [200, 'true', hit.text]);
  assert.equal(again.headers['operation-id'], first.headers['operation-id'], 'not the newer one');
  const async = await ask('1', { headers: { 'Idempotency-Key': 'k2', Prefer: 'respond-async' } });
  assert.equal(async.status, 200, 'a stored result needs no wait');
  assertProblem(await ask('2', keyed('k2')), 422, 'idempotency-key-reused');
  assert.equal(backend.requests.length, 2);
});

test('pull workers compute for those who share a key as backends do', async (t) => {
  const server = await serverFor(t, {
    services: { score: { target: { pull: true }, key: { body: '/customerId' }, validFor: '1h' } },
  });
  const ask = () => submit(server.url, 'score', { body: { customerId: 9 } });
  const [first, second] = [await ask(), await ask()];
  assert.equal(second.id, first.id);
  const lease = await takeOne(server.url, 'score');
  assert.equal((await reply(server.url, lease.token, 'score 9')).status, 200);
  await ended(first.status);
  const hit = await post(`${server.url}/v1/call/score`, { body: { customerId: 9 } });
  assert.deepEqual([hit.status, hit.text, hit.headers['operation-id']], [200, 'score 9', first.id]);
});

test('stored results and what is under way are there after a restart', async (t) => {
  const { ask, server, backend } = await story(t, {}, { data: 'folder' });
  const first = await ask('1');
  await server.restart();
  assert.deepEqual(replayed(await ask('1')), replayed(first));
  assert.equal(backend.requests.length, 1);
});

test('durability none keeps nothing, so it clashes with a key of its own and ignores the rule of the service', async (t) => {
  const { ask, server } = await story(t);
  const none = { 'Operation-Durability': 'none', Prefer: 'respond-async' };
  assertProblem(await ask('1', { headers: { ...none, 'Result-Key': '1' } }), 400, 'conflicting-headers');
  const forgotten = await post(`${server.url}/v1/call/score`, { body: 'no key in it', headers: none });
  assert.deepEqual([forgotten.status, forgotten.body.length], [202, 0]);
});
