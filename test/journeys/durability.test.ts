// What a 202 promises: on disk, in memory for a moment, or nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backendFor, gate, never } from '../support/backend.ts';
import { get, post } from '../support/http.ts';
import { assertProblem, resultOf, statusOf, submit } from '../support/operations.ts';
import { leaseCall } from '../support/pull-worker.ts';
import { serverFor } from '../support/server.ts';
import { variant } from '../support/variant.ts';

const level = (durability: string, more: Record<string, string> = {}): Record<string, string> => ({
  'Operation-Durability': durability,
  ...more,
});

test('the durability is echoed, and stored is what one gets without asking', async (t) => {
  const server = await serverFor(t, { services: { jobs: { target: { pull: true } } }, data: 'folder' });
  const echoed = async (headers: Record<string, string>): Promise<string | undefined> =>
    (await post(`${server.url}/v1/call/jobs`, { headers })).headers['operation-durability'];

  assert.equal(await echoed({}), 'stored');
  assert.equal(await echoed(level('stored')), 'stored');
  assert.equal(await echoed(level('memory')), 'memory');
  assert.equal(await echoed(level('none')), 'none');
  assertProblem(await post(`${server.url}/v1/call/jobs`, { headers: level('eternal') }), 400, 'invalid-parameter');
});

test('an operation of durability memory is an operation like any other: readable at once, worked, kept over a restart', async (t) => {
  const backend = await backendFor(t, ({ body }) => ({ body }));
  const server = await serverFor(t, { services: { score: { target: { url: backend.url } } }, data: 'folder' });
  const first = await submit(server.url, 'score', { body: 'm', headers: level('memory', { 'Idempotency-Key': 'k' }) });
  assert.equal((await statusOf(first.status)).id, first.id);
  assert.equal((await resultOf(first.result)).text, 'm');
  const waited = await post(`${server.url}/v1/call/score`, {
    body: 'w',
    headers: level('memory', { Prefer: 'wait=30' }),
  });
  assert.deepEqual([waited.status, waited.text], [200, 'w']);

  await server.restart();

  assert.equal((await resultOf(first.result)).text, 'm');
  assert.equal(
    (await submit(server.url, 'score', { body: 'm', headers: level('memory', { 'Idempotency-Key': 'k' }) })).id,
    first.id,
  );
});

test('a request of durability none reaches the backend once and leaves no operation behind', async (t) => {
  const backend = await backendFor(t, () => ({ status: 500 }));
  const server = await serverFor(t, { services: { score: { target: { url: backend.url } } } });

  const answer = await post(`${server.url}/v1/call/score/path?q=1`, {
    body: 'forget me',
    headers: level('none', { 'Correlation-Id': 'c', 'X-Own': '1' }),
  });
  assert.deepEqual([answer.status, answer.body.length], [202, 0]);
  for (const name of ['operation-id', 'operation-location', 'location'])
    assert.equal(answer.headers[name], undefined, name);

  const [request] = await backend.received(1);
  assert.deepEqual(
    [request!.target, request!.body.toString(), request!.headers['x-own'], request!.headers['correlation-id']],
    ['/path?q=1', 'forget me', '1', 'c'],
  );
  assert.equal(request!.headers['operation-reply-url'], undefined, 'there is nothing to reply to');
  assert.deepEqual((await get(`${server.url}/v1/operations`)).json()['items'], []);
  // A stored operation that comes after it proves that the failed one is not tried again.
  backend.behave(() => ({}));
  await resultOf((await submit(server.url, 'score', { body: 'stored' })).result);
  assert.deepEqual(
    backend.requests.map(({ body }) => body.toString()),
    ['forget me', 'stored'],
  );
});

test('requests of durability none are sent one after another within the concurrency of the service', async (t) => {
  const held = gate();
  let running = 0;
  let most = 0;
  const backend = await backendFor(t, async () => {
    most = Math.max(most, ++running);
    await held.opened;
    running--;
    return {};
  });
  const server = await serverFor(t, { services: { score: { target: { url: backend.url }, concurrency: 2 } } });

  await Promise.all(
    Array.from({ length: 20 }, () => post(`${server.url}/v1/call/score`, { body: 'x', headers: level('none') })),
  );
  // What is kept nowhere is sent by the node that took it, and each node keeps the limit for itself.
  const limit = 2 * variant.nodes;
  await backend.received(limit);
  held.open();
  await backend.received(20);
  assert.equal(most, limit);
});

test('a pull worker that waits gets a request of durability none at once, and its answer goes nowhere', async (t) => {
  const server = await serverFor(t, { services: { jobs: { target: { pull: true } } } });
  const workers = [1, 2].map(() => leaseCall(server.url, 'jobs', { waitSeconds: 50 }));

  assert.equal((await post(`${server.url}/v1/call/jobs`, { body: 'forget me', headers: level('none') })).status, 202);
  const { leases } = await Promise.race(workers);
  assert.deepEqual(
    leases.map(({ request, attempt }) => [request.body, attempt]),
    [['forget me', 1]],
  );
  const settled = await leaseCall(server.url, 'jobs', {
    settle: [{ token: leases[0]!.token, reply: { body: 'ignored' } }],
  });
  assert.deepEqual(settled.settled, [{ status: 200 }]);

  // The other one still waits and gets the next.
  await submit(server.url, 'jobs', { body: 'stored' });
  const bodies = (await Promise.all(workers)).map((answer) => answer.leases[0]!.request.body);
  assert.deepEqual(new Set(bodies), new Set(['forget me', 'stored']));
});

test('what needs an operation cannot be had with durability none', async (t) => {
  const server = await serverFor(t, { services: { jobs: { target: { pull: true } } } });
  for (const header of [{ Prefer: 'wait=5' }, { 'Idempotency-Key': 'k' }, { 'Operation-Delay': '1s' }])
    assertProblem(
      await post(`${server.url}/v1/call/jobs`, { headers: level('none', header as Record<string, string>) }),
      400,
      'conflicting-headers',
    );
  assert.deepEqual((await leaseCall(server.url, 'jobs', { max: 5 })).leases, [], 'nothing was queued');
});

test('the memory queue for durability none is bounded: beyond it 429 queue-full, and the stored ones still go', async (t) => {
  const backend = await backendFor(t, never);
  const server = await serverFor(t, {
    services: { score: { target: { url: backend.url }, concurrency: 1, maxBody: '20mb' } },
    fields: { shutdownTimeout: '1s' },
  });
  const body = Buffer.alloc(16 * 1024 * 1024);
  const answers = [];
  // Each node has a queue of its own.
  for (let index = 0; index < 6 * variant.nodes; index++)
    answers.push(await post(`${server.url}/v1/call/score`, { body, headers: level('none') }));

  const refused = answers.filter(({ status }) => status !== 202);
  const share = refused.length / variant.nodes;
  assert.ok(share >= 1 && share <= 3, `${refused.length} of ${answers.length} times 16 MB were refused`);
  for (const answer of refused) {
    assertProblem(answer, 429, 'queue-full');
    assert.ok(Number(answer.headers['retry-after']) >= 1);
  }
  assert.equal((await post(`${server.url}/v1/call/score`, { body: 'stored' })).status, 202);
});
