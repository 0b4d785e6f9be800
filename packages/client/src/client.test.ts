// The client against a real socket: what it sends, and what it makes of every kind of answer.
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { createClient, WaitlessError } from './index.ts';

interface Seen {
  method: string;
  url: string;
  headers: IncomingMessage['headers'];
  body: Buffer;
}

/** A server that answers with `answer`; what it saw is in `seen`. It ends with the test. */
async function serve(
  t: TestContext,
  answer: (seen: Seen, response: ServerResponse) => void,
): Promise<{ url: string; seen: Seen[] }> {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const one = { method: request.method!, url: request.url!, headers: request.headers, body: Buffer.concat(chunks) };
      seen.push(one);
      answer(one, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

const json = (response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void => {
  response.writeHead(status, { 'Content-Type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
};

const problem = (
  response: ServerResponse,
  status: number,
  code: string,
  more: Record<string, unknown> = {},
  headers: Record<string, string> = {},
): void => {
  response.writeHead(status, { 'Content-Type': 'application/problem+json', ...headers });
  response.end(JSON.stringify({ type: `http://x/problems/${code}`, title: 'A title', status, code, ...more }));
};

const receipt = {
  id: 'op1',
  service: 'score',
  correlationId: 'op1',
  key: null,
  labels: {},
  createdAt: '2026-01-01T00:00:00Z',
  resourceLocation: 'x',
  links: {},
};

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
  assert.deepEqual(outcome, { kind: 'accepted', operation: receipt, retryAfterSeconds: 3, replayed: true });
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

test('durability none is accepted without an operation', async (t) => {
  const { url } = await serve(t, (_, response) => response.writeHead(202).end());
  const outcome = await createClient({ url }).submit('score', { durability: 'none' });
  assert.deepEqual(outcome, { kind: 'accepted', operation: undefined, retryAfterSeconds: undefined, replayed: false });
});

test('a problem becomes a WaitlessError with its code, status, members and Retry-After', async (t) => {
  const { url } = await serve(t, (_, response) =>
    problem(response, 503, 'overloaded', { detail: 'Full.', accepted: false, instance: 'r1' }, { 'Retry-After': '9' }),
  );
  await assert.rejects(createClient({ url }).submit('score'), (error: WaitlessError) => {
    assert.ok(error instanceof WaitlessError);
    assert.deepEqual(
      {
        code: error.code,
        status: error.status,
        message: error.message,
        retry: error.retry,
        after: error.retryAfterSeconds,
        accepted: error.members?.['accepted'],
        instance: error.members?.['instance'],
      },
      { code: 'overloaded', status: 503, message: 'Full.', retry: true, after: 9, accepted: false, instance: 'r1' },
    );
    return true;
  });
});

test('something that is not Waitless is said to be so', async (t) => {
  const { url } = await serve(t, ({ url: path }, response) => {
    if (path.startsWith('/v1/services')) json(response, 200, { hello: 1 });
    else if (path.startsWith('/v1/call')) response.writeHead(200).end('<html>');
    else response.writeHead(502, { 'Content-Type': 'text/html' }).end('<h1>Bad gateway</h1>');
  });
  const client = createClient({ url });
  for (const [what, status] of [
    [client.operation('x'), 502],
    [client.services(), 200],
    [client.submit('score'), 200],
  ] as const)
    await assert.rejects(
      what,
      (error: WaitlessError) =>
        error.code === 'unexpected-answer' && error.status === status && error.message.includes(url),
    );
});

test('nobody listening: unreachable, names the URL, says what to try, and that nothing was accepted', async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await new Promise((resolve) => server.close(resolve));
  t.diagnostic(`closed port ${url}`);
  await assert.rejects(createClient({ url }).submit('score'), (error: WaitlessError) => {
    assert.equal(error.code, 'unreachable');
    assert.equal(error.retry, true);
    assert.equal(error.members?.['accepted'], false);
    assert.match(error.message, /connection refused/);
    assert.ok(error.message.includes(url) && error.message.includes('npx waitless dev'));
    assert.ok(error.cause instanceof Error);
    return true;
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

test('an answer that breaks off is unreachable, never a short result', async (t) => {
  const { url } = await serve(t, (_, response) => {
    response.writeHead(200, { 'Operation-Status': 'succeeded', 'Content-Length': '100' });
    response.write('half', () => response.destroy());
  });
  await assert.rejects(
    createClient({ url }).result('op1'),
    (error: WaitlessError) => error.code === 'unreachable' && error.message.includes('broke off'),
  );
});

test('an aborted signal throws its reason, not a network error', async (t) => {
  const controller = new AbortController();
  const reason = new Error('not wanted any more');
  const { url } = await serve(t, () => controller.abort(reason));
  await assert.rejects(createClient({ url }).result('op1', { waitSeconds: 50, signal: controller.signal }), reason);
  await assert.rejects(createClient({ url }).services({ signal: controller.signal }), reason);
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

test('result: pending, then the bytes; an ended operation without an answer throws its code', async (t) => {
  const { url, seen } = await serve(t, ({ url: path }, response) => {
    if (path.includes('pending')) json(response, 202, { ...receipt, status: 'running' }, { 'Retry-After': '2' });
    else if (path.includes('late')) problem(response, 504, 'timed-out', { detail: 'Too late.' });
    else response.writeHead(200, { 'Operation-Status': 'succeeded', 'Operation-Id': 'op1' }).end('ok');
  });
  const client = createClient({ url: `${url}/` });
  const pending = await client.result('pending', { waitSeconds: 7 });
  assert.equal(pending.kind, 'pending');
  assert.equal(pending.operation.status, 'running');
  assert.equal(pending.retryAfterSeconds, 2);
  assert.equal(seen[0]?.headers['prefer'], 'wait=7');
  const done = await client.result('op/1');
  assert.equal(seen[1]?.url, '/v1/operations/op%2F1/result');
  assert.equal(done.kind, 'result');
  assert.equal(Buffer.from(done.bytes).toString(), 'ok');
  await assert.rejects(
    client.result('late'),
    (error: WaitlessError) => error.code === 'timed-out' && error.status === 504,
  );
});

test('bytes with a Content-Encoding, a 401 and a 303 are taken from the envelope, unchanged and not acted upon', async (t) => {
  const packed = gzipSync('hello');
  const { url, seen } = await serve(t, ({ url: path }, response) => {
    const status = path.includes('zip') ? 200 : path.includes('moved') ? 303 : 401;
    if (path.endsWith('?envelope=json'))
      json(
        response,
        200,
        {
          status,
          headers: [
            ['Content-Encoding', 'gzip'],
            ['X-Two', 'a'],
            ['X-Two', 'b'],
          ],
          ...(status === 200 ? { bodyBase64: packed.toString('base64') } : { body: 'grüße' }),
        },
        { 'Operation-Status': 'succeeded' },
      );
    else if (status === 200)
      response
        .writeHead(200, { 'Operation-Status': 'succeeded', 'Operation-Id': 'zip', 'Content-Encoding': 'gzip' })
        .end(packed);
    else problem(response, 502, 'bad-backend-response', {}, { 'Operation-Id': 'denied' });
  });
  const zipped = await createClient({ url }).result('zip');
  assert.equal(zipped.kind, 'result');
  assert.deepEqual(Buffer.from(zipped.bytes), packed);
  assert.equal(zipped.headers.get('x-two'), 'a, b');
  const denied = await createClient({ url }).result('denied');
  assert.equal(denied.kind, 'result');
  assert.equal(denied.status, 401);
  assert.equal(Buffer.from(denied.bytes).toString(), 'grüße');
  const waited = await createClient({ url }).submit('denied', { waitSeconds: 5 });
  assert.equal(waited.kind, 'result');
  assert.equal(waited.response.status, 401);
  assert.equal(seen.length, 6);
});

test('operation: snapshot with etag, undefined when unchanged', async (t) => {
  const { url, seen } = await serve(t, ({ headers }, response) => {
    if (headers['if-none-match'] === 'W/"2"') response.writeHead(304, { ETag: 'W/"2"' }).end();
    else json(response, 200, { ...receipt, status: 'queued', version: 2 }, { ETag: 'W/"2"', 'Retry-After': '4' });
  });
  const client = createClient({ url });
  const first = await client.operation('op1');
  assert.equal(first.operation.version, 2);
  assert.equal(first.retryAfterSeconds, 4);
  assert.equal(await client.operation('op1', { etag: first.etag, waitSeconds: 1 }), undefined);
  assert.equal(seen[1]?.headers['prefer'], 'wait=1');
});

test('list sends every filter; listAll follows the cursors to the end', async (t) => {
  const { url, seen } = await serve(t, ({ url: path }, response) => {
    const cursor = new URL(path, 'http://x').searchParams.get('cursor');
    json(
      response,
      200,
      cursor === null ? { items: [{ id: 'a' }, { id: 'b' }], next: 'two&' } : { items: [{ id: 'c' }], next: null },
    );
  });
  const client = createClient({ url });
  const page = await client.list({
    service: 's',
    status: ['queued', 'running'],
    correlationId: 'c d',
    labels: { customer: '42' },
    createdAfter: new Date(0),
    createdBefore: '2026-01-01T00:00:00Z',
    limit: 2,
  });
  assert.equal(page.next, 'two&');
  assert.deepEqual(Object.fromEntries(new URL(seen[0]!.url, url).searchParams), {
    service: 's',
    status: 'queued,running',
    correlationId: 'c d',
    'label.customer': '42',
    createdAfter: '1970-01-01T00:00:00.000Z',
    createdBefore: '2026-01-01T00:00:00Z',
    limit: '2',
  });
  const ids: string[] = [];
  for await (const operation of client.listAll({ service: 's' })) ids.push(operation.id);
  assert.deepEqual(ids, ['a', 'b', 'c']);
  assert.equal(new URL(seen[2]!.url, url).searchParams.get('service'), 's');
});

test('cancel, purge, timeline and services', async (t) => {
  const { url, seen } = await serve(t, ({ method, url: path }, response) => {
    if (method === 'DELETE' && path.endsWith('?purge=true')) response.writeHead(204).end();
    else if (method === 'DELETE') json(response, 200, { ...receipt, status: 'cancelled' });
    else json(response, 200, { items: [{ name: path }], next: null });
  });
  const client = createClient({ url });
  assert.equal((await client.cancel('op1'))?.status, 'cancelled');
  assert.equal(await client.cancel('op1', { purge: true }), undefined);
  assert.equal((await client.timeline('op1')).length, 1);
  assert.equal((await client.services()).length, 1);
  assert.deepEqual(
    seen.map((one) => `${one.method} ${one.url}`),
    [
      'DELETE /v1/operations/op1',
      'DELETE /v1/operations/op1?purge=true',
      'GET /v1/operations/op1/timeline',
      'GET /v1/services',
    ],
  );
});
