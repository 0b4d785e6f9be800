// What a push backend's answer does to the operation, and that it reaches the caller byte for byte.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callMethods, type Page, type TimelineEntry } from '@waitless/protocol';
import { backendFor, gate, never } from '../support/backend.ts';
import { everyByte } from '../support/fixtures.ts';
import { get, until } from '../support/http.ts';
import { assertProblem, ended, submit } from '../support/operations.ts';
import { serverFor } from '../support/server.ts';
import { variant } from '../support/variant.ts';

const quickRetry = { maxAttempts: 3, initialDelay: '1ms', maxDelay: '2ms' };

test('the request reaches the backend as it came: method, path, query, headers and bytes', async (t) => {
  const backend = await backendFor(t);
  const server = await serverFor(t, {
    services: { score: { target: { url: `${backend.url}/base` }, forward: ['cookie'] } },
  });

  const accepted = await submit(server.url, 'score', {
    method: 'PATCH',
    path: '/a%20b/%C3%A4;v=1?q=%2F&q=2&empty',
    body: everyByte,
    headers: {
      'Content-Type': 'Application/X-Odd; q="a,b"',
      'X-Twice': ['one', 'two'],
      'x-lower': 'kept',
      Cookie: 'kept=1',
      Authorization: 'Bearer secret',
      'Accept-Encoding': 'br',
      Range: 'bytes=0-1',
      'If-Match': '"x"',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    },
  });
  await ended(accepted.status);

  const [request] = await backend.received(1);
  assert.equal(request!.method, 'PATCH');
  assert.equal(request!.target, '/base/a%20b/%C3%A4;v=1?q=%2F&q=2&empty');
  assert.deepEqual(request!.body, Buffer.from(everyByte));
  assert.equal(request!.headers['content-type'], 'Application/X-Odd; q="a,b"');
  assert.equal(request!.headers['x-twice'], 'one, two');
  assert.equal(request!.rawHeaders.filter((name) => name === 'X-Twice').length, 2, 'two lines stay two lines');
  assert.ok(request!.rawHeaders.includes('x-lower'), 'names keep their case');
  assert.equal(request!.headers['cookie'], 'kept=1', 'a header that the service opted in');
  assert.equal(request!.headers['traceparent'], '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
  assert.match(request!.headers['operation-deadline']!, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  for (const name of ['authorization', 'accept-encoding', 'range', 'if-match'])
    assert.equal(request!.headers[name], undefined, name);
});

test('every method reaches the backend, with and without a body', async (t) => {
  const backend = await backendFor(t);
  const server = await serverFor(t, { services: { score: { target: { url: backend.url }, concurrency: 1 } } });

  for (const method of [...callMethods, 'PROPFIND', 'REPORT', 'PURGE']) {
    for (const body of [undefined, 'bytes']) {
      const accepted = await submit(server.url, 'score', {
        method,
        path: '/x',
        ...(body === undefined ? {} : { body }),
      });
      await ended(accepted.status);
      const request = backend.requests.at(-1)!;
      assert.deepEqual([request.method, request.body.toString()], [method, body ?? '']);
    }
  }
});

test("a backend's 404 is the result of a failed operation, byte for byte", async (t) => {
  const body = Buffer.concat([Buffer.from('{"type":"about:blank","n":1e999,'), everyByte]);
  const backend = await backendFor(t, () => ({
    status: 404,
    headers: {
      'Content-Type': 'application/problem+json',
      'X-Backend': 'yes',
      'Set-Cookie': 'a=b',
      'Cache-Control': 'max-age=60',
    },
    body,
  }));
  const server = await serverFor(t, { services: { score: { target: { url: backend.url }, retry: quickRetry } } });

  const accepted = await submit(server.url, 'score');
  const operation = await ended(accepted.status);
  const result = await get(accepted.result);

  assert.equal(operation.status, 'failed');
  assert.ok(operation.error!.code && operation.error!.message, 'both are set when failed');
  assert.equal(result.status, 404);
  assert.deepEqual(result.body, body);
  assert.equal(result.headers['content-type'], 'application/problem+json');
  assert.equal(result.headers['x-backend'], 'yes');
  assert.equal(result.headers['operation-status'], 'failed', "so that it is the backend's 404 and not ours");
  assert.equal(result.headers['set-cookie'], undefined);
  assert.equal(result.headers['cache-control'], 'private, no-cache');
  assert.equal(result.headers['x-content-type-options'], 'nosniff');
  assert.equal(result.headers['content-security-policy'], 'sandbox');
  assert.equal(backend.requests.length, 1, 'a 4xx is final');

  const again = await get(accepted.result, { headers: { 'If-None-Match': result.headers['etag']! } });
  assert.equal(again.status, 404, 'a failure is never turned into 304');
});

test('503 and 429 are not an attempt used: the operation waits and succeeds beyond maxAttempts', async (t) => {
  const backend = await backendFor(t, (_, number) => ({ status: number > 6 ? 200 : number % 2 === 0 ? 503 : 429 }));
  const server = await serverFor(t, {
    services: { score: { target: { url: backend.url }, retry: { ...quickRetry, maxAttempts: 2 } } },
  });

  const accepted = await submit(server.url, 'score');
  const operation = await ended(accepted.status);

  assert.equal(operation.status, 'succeeded');
  assert.equal(operation.attempt, 1);
  assert.equal(backend.requests.length, 7);
  for (const { headers } of backend.requests) assert.equal(headers['operation-attempt'], '1');
});

test('408, 425, 5xx, a cut connection and a silent backend are failed attempts; the last answer is the result', async (t) => {
  const answers = [
    { status: 408 },
    { status: 425 },
    { reset: true },
    { status: 500 },
    null,
    { status: 502, body: 'the last one' },
  ];
  const backend = await backendFor(t, (_, number) => answers[number - 1] ?? never());
  const server = await serverFor(t, {
    services: {
      score: { target: { url: backend.url }, attemptTimeout: '300ms', retry: { ...quickRetry, maxAttempts: 6 } },
    },
  });

  const accepted = await submit(server.url, 'score');
  const operation = await ended(accepted.status);
  const result = await get(accepted.result);
  const { items } = (await get(`${accepted.status}/timeline`)).json<{ items: TimelineEntry[] }>();

  assert.deepEqual([operation.status, operation.error!.code, operation.attempt], ['failed', 'attempts-exhausted', 6]);
  assert.deepEqual([result.status, result.text, result.headers['operation-status']], [502, 'the last one', 'failed']);
  const attempts = items.filter((entry) => entry.type === 'attempt');
  assert.deepEqual(
    attempts.map((entry) => entry.attempt),
    [1, 2, 3, 4, 5, 6],
  );
  assert.deepEqual(
    attempts.map((entry) => entry.backendStatus ?? null),
    [408, 425, null, 500, null, 502],
  );
  assert.equal(items[0]!.type, 'accepted');
  assert.equal(items.at(-1)!.type, 'finished');
});

test('a backend that cannot be reached ends in 502 attempts-exhausted, a problem of ours', async (t) => {
  const backend = await backendFor(t);
  await backend.close();
  const server = await serverFor(t, { services: { score: { target: { url: backend.url }, retry: quickRetry } } });

  const accepted = await submit(server.url, 'score');
  assert.equal((await ended(accepted.status)).error!.code, 'attempts-exhausted');
  assertProblem(await get(accepted.result), 502, 'attempts-exhausted');
});

test('a service is never given more requests at once than its concurrency', async (t) => {
  // Each node keeps the limit for itself.
  const limit = 3 * variant.nodes;
  const held = gate();
  let running = 0;
  let most = 0;
  const backend = await backendFor(t, async (_, number) => {
    most = Math.max(most, ++running);
    if (number <= limit) await held.opened;
    running--;
    return {};
  });
  const server = await serverFor(t, { services: { score: { target: { url: backend.url }, concurrency: 3 } } });

  const accepted = await Promise.all(Array.from({ length: 4 * limit }, () => submit(server.url, 'score')));
  await backend.received(limit);
  const runningNow = async (): Promise<number> =>
    (await get(`${server.url}/v1/operations?status=running`)).json<Page<unknown>>().items.length;
  await until(async () => ((await runningNow()) === limit ? true : undefined));
  assert.equal(backend.requests.length, limit, 'the next one waits while these are held');
  held.open();
  for (const { status } of accepted) assert.equal((await ended(status)).status, 'succeeded');
  assert.equal(most, limit);
});
