// A backend that answers 202 and replies later: the reply URL, progress, extension, release, and the second reply.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { TimelineEntry } from '@waitless/protocol';
import { type Backend, backendFor, type BackendRequest } from '../support/backend.ts';
import { everyByte } from '../support/fixtures.ts';
import { get, post } from '../support/http.ts';
import { type Accepted, assertProblem, ended, resultOf, statusOf, statusWhen, submit } from '../support/operations.ts';
import { serverFor, type TestServer } from '../support/server.ts';
import { clocksApartMs } from '../support/variant.ts';

const quickRetry = { maxAttempts: 3, initialDelay: '1ms', maxDelay: '2ms' };

interface Later {
  server: TestServer;
  backend: Backend;
  accepted: Accepted;
  /** The request of the first attempt. */
  request: BackendRequest;
  replyUrl: string;
  /** URL of another verb of the same lease. */
  verb: (name: string) => string;
}

/** One operation whose backend has said 202. */
async function acceptedLater(t: TestContext, settings: Record<string, unknown> = {}): Promise<Later> {
  const backend = await backendFor(t, () => ({
    status: 202,
    body: 'not the result',
    headers: { Location: '/jobs/7' },
  }));
  const server = await serverFor(t, {
    services: { score: { target: { url: backend.url }, retry: quickRetry, ...settings } },
    data: 'folder',
  });
  const accepted = await submit(server.url, 'score', { body: 'x' });
  const [request] = await backend.received(1);
  const replyUrl = request!.headers['operation-reply-url']!;
  assert.equal(request!.headers['operation-progress-url'], replyUrl.replace(/reply$/, 'progress'));
  return { server, backend, accepted, request: request!, replyUrl, verb: (name) => replyUrl.replace(/reply$/, name) };
}

test("a backend's final 202 is never a result", async (t) => {
  const { server, accepted, replyUrl } = await acceptedLater(t);
  const held = post(`${server.url}/v1/call/score`, { headers: { Prefer: 'wait=1' } });

  const operation = await statusOf(accepted.status);
  assert.deepEqual([operation.status, operation.done], ['running', false]);
  const pending = await get(accepted.result);
  assert.equal(pending.status, 202);
  assert.equal(pending.headers['operation-status'], undefined);
  assert.notEqual(pending.text, 'not the result');
  const waited = await held;
  assert.equal(waited.status, 202, 'a caller who waits gets our 202, not the backend’s');
  assert.equal(waited.json()['service'], 'score');

  assertProblem(await post(replyUrl, { body: 'x', headers: { 'Result-Status': '202' } }), 400, 'invalid-parameter');
  assert.equal((await statusOf(accepted.status)).done, false);
});

test('a reply to the reply URL is the result, byte for byte, with no other credential', async (t) => {
  const { accepted, replyUrl } = await acceptedLater(t);

  const answer = await post(replyUrl, {
    body: everyByte,
    headers: {
      'Content-Type': 'application/x-odd',
      'Content-Language': 'de',
      'Result-Status': '201',
      'X-Not-Kept': '1',
    },
  });
  const operation = await ended(accepted.status);
  const result = await get(accepted.result);

  assert.equal(answer.status, 200);
  assert.equal(operation.status, 'succeeded');
  assert.equal(result.status, 201);
  assert.deepEqual(result.body, Buffer.from(everyByte));
  assert.deepEqual([result.headers['content-type'], result.headers['content-language']], ['application/x-odd', 'de']);
  assert.equal(result.headers['x-not-kept'], undefined);
});

test('the same reply again is 200, a different one 409, and the result stays what it was', async (t) => {
  const { accepted, replyUrl, verb } = await acceptedLater(t);
  const sent = { body: 'first', headers: { 'Content-Type': 'text/plain' } };

  assert.equal((await post(replyUrl, sent)).status, 200);
  assert.equal((await post(replyUrl, sent)).status, 200);
  const version = (await statusOf(accepted.status)).version;
  assertProblem(await post(replyUrl, { ...sent, body: 'second' }), 409, 'result-already-recorded');
  assertProblem(
    await post(replyUrl, { body: 'first', headers: { 'Content-Type': 'text/html' } }),
    409,
    'result-already-recorded',
  );
  assertProblem(
    await post(replyUrl, { ...sent, headers: { ...sent.headers, 'Result-Status': '500' } }),
    409,
    'result-already-recorded',
  );
  assertProblem(await post(verb('fail'), { body: { code: 'x', message: 'y' } }), 409, 'result-already-recorded');

  assert.equal((await get(accepted.result)).text, 'first');
  assert.equal((await statusOf(accepted.status)).version, version, 'nothing was written by a repeat or a refusal');
});

test('progress is seen by those who wait, raises the version, and its data stays as it was written', async (t) => {
  const { accepted, replyUrl, verb } = await acceptedLater(t);
  // That the backend said 202 is a change of its own.
  await statusWhen(accepted.status, ({ version }) => version >= 3);
  const before = await get(accepted.status);
  const waiting = get(accepted.status, { headers: { Prefer: 'wait=20', 'If-None-Match': before.headers['etag']! } });

  const first = await post(verb('progress'), {
    body: '{"stage":"ask","percent":12.5,"message":"one of three","data":{"n":1e999,"n":9007199254740993}}',
    headers: { 'Content-Type': 'application/json' },
  });
  assert.equal(first.status, 200, first.text);
  const seen = await waiting;
  assert.equal(seen.status, 200);
  assert.ok(seen.json<{ version: number }>().version > before.json<{ version: number }>().version);
  assert.ok(seen.text.includes('"data":{"n":1e999,"n":9007199254740993}'), seen.text);

  await post(verb('progress'), { body: { percent: 50 } });
  const { progress, eventId, version, id } = await statusWhen(
    accepted.status,
    (operation) => operation.progress?.percent === 50,
  );
  assert.deepEqual([progress!.sequence, progress!.percent], [2, 50]);
  assert.equal(eventId, `${id}_${version}`);

  await post(replyUrl, { body: 'end' });
  await ended(accepted.status);
  assertProblem(await post(verb('progress'), { body: { percent: 60 } }), 409, 'already-terminal');
  const { items } = (await get(`${accepted.status}/timeline`)).json<{ items: TimelineEntry[] }>();
  assert.deepEqual(
    items.map((entry) => entry.type),
    ['accepted', 'attempt', 'progress', 'progress', 'finished'],
  );
});

test('an operation that is answered later survives a restart with its reply URL', async (t) => {
  const { server, backend, accepted, replyUrl } = await acceptedLater(t);
  await statusOf(accepted.status);

  await server.restart();

  assert.equal((await statusOf(accepted.status)).status, 'running');
  assert.equal((await post(replyUrl, { body: 'after the restart' })).status, 200);
  assert.equal((await resultOf(accepted.result)).text, 'after the restart');
  assert.equal(backend.requests.length, 1, 'the backend was not asked a second time');
});

test('no reply within the reply timeout is a failed attempt: the next one starts and the late reply is refused', async (t) => {
  const { backend, accepted, replyUrl } = await acceptedLater(t, { replyTimeout: '50ms' });

  const [, second] = await backend.received(2);
  assert.equal(second!.headers['operation-attempt'], '2');
  assert.notEqual(second!.headers['operation-reply-url'], replyUrl);
  assertProblem(await post(replyUrl, { body: 'late' }), 409, 'lease-lost');
  const operation = await ended(accepted.status);
  assert.deepEqual([operation.status, operation.error!.code, operation.attempt], ['failed', 'attempts-exhausted', 3]);
  assertProblem(await post(replyUrl, { body: 'late' }), 409, 'lease-lost');
});

test('extending keeps the promise of an answer later beyond its reply timeout', async (t) => {
  const { server, backend, accepted, verb, replyUrl } = await acceptedLater(t, { replyTimeout: '2s' });

  const extended = await post(verb('extend'), { body: { leaseSeconds: 3600 } });
  assert.equal(extended.status, 200, extended.text);
  const { expiresAt } = extended.json<{ expiresAt: string }>();
  const { createdAt } = await statusOf(accepted.status);
  assert.ok(Date.parse(expiresAt) - Date.parse(createdAt) >= 3_600_000 - clocksApartMs(), expiresAt);

  // As long holds what a backend asks for before it has said 202.
  backend.behave(async ({ body, headers }) => {
    if (body.toString() === 'early') {
      const early = headers['operation-reply-url']!.replace(/reply$/, 'extend');
      assert.equal((await post(early, { body: { leaseSeconds: 3600 } })).status, 200);
    }
    return { status: 202 };
  });
  const early = await submit(server.url, 'score', { body: 'early' });

  // Another operation of the same service, not extended, shows that the reply timeout has run out meanwhile.
  const other = await submit(server.url, 'score', { body: 'y' });
  await statusWhen(other.status, ({ attempt }) => attempt === 2);
  assert.deepEqual(
    ['x', 'early', 'y'].map((of) => backend.requests.filter(({ body }) => body.toString() === of).length),
    [1, 1, 2],
  );
  assert.equal((await statusOf(early.status)).attempt, 1);
  assert.equal((await post(replyUrl, { body: 'long after' })).status, 200);
  assert.equal((await resultOf(accepted.result)).text, 'long after');
});

test('a release gives the operation back without using an attempt', async (t) => {
  const { backend, accepted, verb, replyUrl } = await acceptedLater(t);
  backend.behave(() => ({ body: 'second time' }));

  assert.equal((await post(verb('release'))).status, 200);
  const [, second] = await backend.received(2);
  assert.equal(second!.headers['operation-attempt'], '1');
  assert.equal((await resultOf(accepted.result)).text, 'second time');
  assertProblem(await post(replyUrl, { body: 'late' }), 409, 'lease-lost');
});

test('a fail ends or retries as it says', async (t) => {
  const { backend, accepted, verb } = await acceptedLater(t);

  assert.equal((await post(verb('fail'), { body: { code: 'bureau-down', message: 'no answer' } })).status, 200);
  const [, second] = await backend.received(2);
  assert.equal(second!.headers['operation-attempt'], '2');
  const lastWord = second!.headers['operation-reply-url']!.replace(/reply$/, 'fail');
  assert.equal(
    (await post(lastWord, { body: { code: 'no-such-person', message: 'unknown', retry: false } })).status,
    200,
  );
  const operation = await ended(accepted.status);
  assert.deepEqual(
    [operation.status, operation.error!.code, operation.error!.message],
    ['failed', 'no-such-person', 'unknown'],
  );
  assert.equal(backend.requests.length, 2);
});
