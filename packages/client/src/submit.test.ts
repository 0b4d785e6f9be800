// What a submit sends over a real socket, and what it makes of every kind of answer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient, type WaitlessError } from './index.ts';
import { json, receipt, serve } from './support.test.ts';

test('submit sends method, path, query, headers and body as given, with the options as headers', async (t) => {
  const { url, seen } = await serve(t, (_, response) =>
    json(response, 202, receipt, { 'Operation-Id': 'op1', 'Retry-After': '3', 'Idempotent-Replayed': 'true' }),
  );
  const body = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  const outcome = await createClient({ url, apiKey: 'secret' }).submit('score', {
    method: 'put',
    path: 'a/b%2Fc',
    query: 'x=1&x=2',
    headers: [
      ['X-One', '1'],
      ['Content-Type', 'image/png'],
    ],
    body,
    waitSeconds: 1.2,
    respondAsync: true,
    idempotencyKey: 'a "b" \\',
    correlationId: 'c-1',
    timeout: '10m',
    delay: '1s',
    startBy: '2m',
    priority: 0,
    labels: { customer: '42', tier: 'gold' },
    durability: 'memory',
  });
  assert.deepEqual(outcome, {
    kind: 'accepted',
    operation: receipt,
    retryAfterSeconds: 3,
    replayed: true,
    cacheStatus: undefined,
  });
  const [request] = seen;
  assert.equal(request?.method, 'PUT');
  assert.equal(request.url, '/v1/call/score/a/b%2Fc?x=1&x=2');
  assert.deepEqual(new Uint8Array(request.body), body);
  const expected = {
    authorization: 'Bearer secret',
    'x-one': '1',
    'content-type': 'image/png',
    prefer: 'respond-async, wait=2',
    'idempotency-key': '"a \\"b\\" \\\\"',
    'correlation-id': 'c-1',
    'operation-timeout': '10m',
    'operation-delay': '1s',
    'operation-start-by': '2m',
    'operation-priority': '0',
    'operation-labels': 'customer=42, tier=gold',
    'operation-durability': 'memory',
  };
  for (const [name, value] of Object.entries(expected)) assert.equal(request.headers[name], value, name);
});

test('a text body gets no invented Content-Type, and a call without one sends none of our headers', async (t) => {
  const { url, seen } = await serve(t, (_, response) => json(response, 202, receipt, { 'Operation-Id': 'op1' }));
  await createClient({ url }).submit('score', { body: '{"n":1e999}' });
  assert.equal(seen[0]?.body.toString(), '{"n":1e999}');
  assert.equal(seen[0].headers['content-type'], undefined);
  assert.deepEqual(
    Object.keys(seen[0].headers).filter((name) =>
      /^(prefer|operation-|idempotency|correlation|authorization)/.test(name),
    ),
    [],
  );
});

test("a backend's 404 waited for is a result, byte for byte, not an error", async (t) => {
  const bytes = Buffer.from([0xff, 0x00, 0x0a]);
  const { url } = await serve(t, (_, response) => {
    response.writeHead(404, { 'Operation-Status': 'failed', 'Operation-Id': 'op1', 'X-Why': 'gone' });
    response.end(bytes);
  });
  const outcome = await createClient({ url }).submit('score', { waitSeconds: 5 });
  assert.equal(outcome.kind, 'result');
  assert.equal(outcome.response.status, 404);
  assert.equal(outcome.response.operationStatus, 'failed');
  assert.equal(outcome.response.headers.get('x-why'), 'gone');
  assert.deepEqual(Buffer.from(outcome.response.bytes), bytes);
});

test('a HEAD submit, whose answer has no body, comes back with its receipt all the same', async (t) => {
  const { url, seen } = await serve(t, ({ method }, response) =>
    json(
      response,
      method === 'HEAD' ? 202 : 200,
      { ...receipt, status: 'queued', version: 1 },
      { 'Operation-Id': 'op1' },
    ),
  );
  const outcome = await createClient({ url }).submit('score', { method: 'head' });
  assert.deepEqual(outcome, {
    kind: 'accepted',
    operation: receipt,
    retryAfterSeconds: undefined,
    replayed: false,
    cacheStatus: undefined,
  });
  assert.deepEqual(
    seen.map((one) => `${one.method} ${one.url}`),
    ['HEAD /v1/call/score', 'GET /v1/operations/op1'],
  );
});

test('durability none is accepted without an operation', async (t) => {
  const { url } = await serve(t, (_, response) => response.writeHead(202).end());
  const outcome = await createClient({ url }).submit('score', { durability: 'none' });
  assert.deepEqual(outcome, {
    kind: 'accepted',
    operation: undefined,
    retryAfterSeconds: undefined,
    replayed: false,
    cacheStatus: undefined,
  });
});

test('a connection lost after the submit was sent leaves it in doubt, and the message says so', async (t) => {
  const { url } = await serve(t, (_, response) => response.destroy());
  await assert.rejects(createClient({ url }).submit('score', { idempotencyKey: 'k' }), (error: WaitlessError) => {
    assert.equal(error.code, 'unreachable');
    assert.equal(error.members?.['accepted'], undefined);
    assert.match(error.message, /not known; repeat it with the same idempotency key/);
    return true;
  });
});

test('wrong arguments are refused before anything is sent', async (t) => {
  const { url, seen } = await serve(t, (_, response) => response.end());
  const client = createClient({ url, apiKey: 'k' });
  const wrong = [
    [{ method: 'TRACE' }, 'invalid-parameter'],
    [{ method: 'GET', body: 'x' }, 'invalid-parameter'],
    [{ correlationId: 'a\nb' }, 'invalid-parameter'],
    [{ headers: { 'X-Ä': '1' } }, 'invalid-parameter'],
    [{ idempotencyKey: '' }, 'idempotency-key-invalid'],
    [{ idempotencyKey: 'ü' }, 'idempotency-key-invalid'],
    [{ waitSeconds: -1 }, 'invalid-parameter'],
    [{ waitSeconds: Number.NaN }, 'invalid-parameter'],
    [{ labels: { a: '1,2' } }, 'invalid-parameter'],
    [{ headers: { Authorization: 'Basic x' } }, 'conflicting-headers'],
    [{ path: '../operations' }, 'bad-path'],
  ] as const;
  for (const [options, code] of wrong)
    await assert.rejects(
      client.submit('score', options),
      (error: WaitlessError) => error.code === code,
      JSON.stringify(options),
    );
  assert.equal(seen.length, 0);
});
