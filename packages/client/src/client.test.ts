// The client against a real socket: looking up, cancelling, and everything that can go wrong on the way.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { createClient, WaitlessError } from './index.ts';
import { json, problem, receipt, serve } from './support.test.ts';

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
    [client.get('x'), 502],
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
  const first = await client.get('op1');
  assert.equal(first.operation.version, 2);
  assert.equal(first.retryAfterSeconds, 4);
  assert.equal(await client.get('op1', { etag: first.etag, waitSeconds: 1 }), undefined);
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
    key: 'a/b&c',
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
    key: 'a/b&c',
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
