// Cancelling: ends the operation for good, wherever it stands, and tells whoever works on it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Operation } from '@waitless/protocol';
import { backendFor, gate, never } from '../support/backend.ts';
import { get, post, type Received, send } from '../support/http.ts';
import { assertProblem, ended, statusOf, statusWhen, submit, waitersReach } from '../support/operations.ts';
import { answerLease, leaseCall, reply, takeOne } from '../support/pull-worker.ts';
import { serverFor } from '../support/server.ts';

const jobs = { jobs: { target: { pull: true } } };
const cancel = (status: string, query = ''): Promise<Received> => send(`${status}${query}`, { method: 'DELETE' });

test('a queued operation that is cancelled is handed to nobody, and cancelling again says the same', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const { status, result } = await submit(server.url, 'jobs');

  const first = await cancel(status);
  const again = await cancel(status);

  for (const answer of [first, again]) {
    assert.equal(answer.status, 200);
    const { status: state, done, error } = answer.json<Operation>();
    assert.deepEqual([state, done, error!.code], ['cancelled', true, 'cancelled']);
  }
  assert.deepEqual(again.body, first.body);
  assert.deepEqual((await leaseCall(server.url, 'jobs', { max: 5 })).leases, []);
  assertProblem(await get(result), 409, 'cancelled');
});

test('a delayed operation can be cancelled before its time', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const { status } = await submit(server.url, 'jobs', { headers: { 'Operation-Delay': '1h' } });
  assert.equal((await cancel(status)).json()['status'], 'cancelled');
});

test('cancelling aborts the push attempt in flight', async (t) => {
  const backend = await backendFor(t, never);
  const server = await serverFor(t, { services: { score: { target: { url: backend.url }, concurrency: 1 } } });
  const { status, result } = await submit(server.url, 'score', { body: 'cancelled' });
  const [request] = await backend.received(1);

  assert.equal((await cancel(status)).status, 200);
  await request!.abandoned;

  // The place that the attempt held is free again, and the operation is not tried a second time.
  backend.behave(() => ({ body: 'next' }));
  const next = await submit(server.url, 'score', { body: 'next' });
  assert.equal((await ended(next.status)).status, 'succeeded');
  assert.deepEqual(
    backend.requests.map(({ body }) => body.toString()),
    ['cancelled', 'next'],
  );
  assert.equal((await statusOf(status)).status, 'cancelled');
  assertProblem(await get(result), 409, 'cancelled');
});

test('a leased worker learns of the cancel at its next heartbeat, and its answer is refused', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const { status } = await submit(server.url, 'jobs');
  const { token } = await takeOne(server.url, 'jobs');
  assert.equal((await cancel(status)).json()['status'], 'cancelled');

  assertProblem(await answerLease(server.url, token, 'extend', { body: { leaseSeconds: 5 } }), 409, 'cancelled');
  assertProblem(await answerLease(server.url, token, 'progress', { body: { percent: 5 } }), 409, 'cancelled');
  assertProblem(await reply(server.url, token, 'too late'), 409, 'cancelled');
  assertProblem(await answerLease(server.url, token, 'release'), 409, 'cancelled');
  const { settled } = await leaseCall(server.url, 'jobs', { settle: [{ token, reply: { body: 'too late' } }] });
  assert.deepEqual([settled[0]!.status, settled[0]!.code], [409, 'cancelled']);
  assert.equal((await statusOf(status)).status, 'cancelled');
});

test('an operation that is to be answered later is cancelled too, and its reply URL refuses', async (t) => {
  const backend = await backendFor(t, () => ({ status: 202 }));
  const server = await serverFor(t, { services: { score: { target: { url: backend.url } } } });
  const { status } = await submit(server.url, 'score');
  const [request] = await backend.received(1);
  await statusWhen(status, ({ version }) => version >= 3);

  assert.equal((await cancel(status)).json()['status'], 'cancelled');
  assertProblem(await post(request!.headers['operation-reply-url']!, { body: 'x' }), 409, 'cancelled');
});

test('those who wait for a cancelled operation are told at once', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const key = { 'Idempotency-Key': 'k' };
  const { status, result } = await submit(server.url, 'jobs', { headers: key });
  const { headers } = await get(status);
  const waiting = [
    get(status, { headers: { Prefer: 'wait=50', 'If-None-Match': headers['etag']! } }),
    get(result, { headers: { Prefer: 'wait=50' } }),
    post(`${server.url}/v1/call/jobs`, { headers: { ...key, Prefer: 'wait=50' } }),
  ];
  // Cancelled only once they wait: then it is the cancel that wakes them.
  await waitersReach(server.url, (waiters) => waiters === 3);

  await cancel(status);

  const [changed, held, latched] = await Promise.all(waiting);
  assert.equal(changed!.json()['status'], 'cancelled');
  assertProblem(held!, 409, 'cancelled');
  assertProblem(latched!, 409, 'cancelled');
});

test('an ended operation does not change any more: a cancel answers with it as it is', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const { status, result } = await submit(server.url, 'jobs');
  await reply(server.url, (await takeOne(server.url, 'jobs')).token, 'done');
  const before = await get(status);

  const answer = await cancel(status);
  assert.deepEqual([answer.status, answer.body], [200, before.body]);
  assert.equal((await get(result)).text, 'done');
});

test('200 races of a cancel against a reply have exactly one winner each', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const accepted = await Promise.all(Array.from({ length: 200 }, () => submit(server.url, 'jobs')));
  const { leases } = await leaseCall(server.url, 'jobs', { max: 200 });
  assert.equal(leases.length, 200);

  let replied = 0;
  await Promise.all(
    accepted.map(async ({ id, status, result }, index) => {
      const { token } = leases.find(({ operation }) => operation.id === id)!;
      const calls = [() => cancel(status), () => reply(server.url, token, 'result')];
      if (index % 2 === 1) calls.reverse();
      const answers = await Promise.all(calls.map((call) => call()));
      if (index % 2 === 1) answers.reverse();
      const [cancelled, answer] = answers as [Received, Received];
      const operation = await statusOf(status);
      if (operation.status === 'cancelled') assertProblem(answer, 409, 'cancelled');
      else {
        replied++;
        assert.equal(operation.status, 'succeeded');
        assert.deepEqual([answer.status, cancelled.json()['status']], [200, 'succeeded']);
        assert.equal((await get(result)).text, 'result');
      }
    }),
  );
  t.diagnostic(`${replied} of 200 races were won by the reply`);
});

test('purging forgets an ended operation with its key, and only an ended one', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const sent = { headers: { 'Idempotency-Key': 'k', 'Operation-Labels': 'a=b' } };
  const { id, status, result } = await submit(server.url, 'jobs', sent);
  assertProblem(await cancel(status, '?purge=true'), 409, 'not-finished');
  await reply(server.url, (await takeOne(server.url, 'jobs')).token, 'done');

  assert.equal((await cancel(status, '?purge=true')).status, 204);
  assertProblem(await get(status), 404, 'not-found');
  assertProblem(await get(result), 404, 'not-found');
  assertProblem(await cancel(status, '?purge=true'), 404, 'not-found');
  for (const query of ['', '?label.a=b'])
    assert.deepEqual((await get(`${server.url}/v1/operations${query}`)).json()['items'], []);
  const fresh = await submit(server.url, 'jobs', sent);
  assert.notEqual(fresh.id, id);
});

test('a cancel that meets an attempt being answered leaves one end and no second attempt', async (t) => {
  const answering = gate();
  const backend = await backendFor(t, async () => {
    await answering.opened;
    return { status: 500 };
  });
  const server = await serverFor(t, {
    services: { score: { target: { url: backend.url }, retry: { initialDelay: '1ms', maxDelay: '1ms' } } },
  });
  const accepted = await Promise.all(Array.from({ length: 10 }, () => submit(server.url, 'score')));
  await backend.received(10);
  answering.open();
  await Promise.all(accepted.map(({ status }) => cancel(status)));
  const states = await Promise.all(accepted.map(({ status }) => ended(status)));
  const counted = backend.requests.length;
  for (const { status } of states) assert.equal(status, 'cancelled');
  await ended((await submit(server.url, 'score', { headers: { 'Operation-Timeout': '300ms' } })).status);
  const own = backend.requests.slice(counted).map(({ headers }) => headers['operation-id']);
  for (const { id } of states) assert.ok(!own.includes(id), 'not asked again once it was cancelled');
});
