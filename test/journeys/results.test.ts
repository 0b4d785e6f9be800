// How a stored result is given back: its ETag, by reference, and whole in an envelope where a bare replay would be dangerous.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backendFor } from '../support/backend.ts';
import { everyByte } from '../support/fixtures.ts';
import { get, send } from '../support/http.ts';
import { assertProblem, ended, resultOf, submit } from '../support/operations.ts';
import { serverFor } from '../support/server.ts';

test("the result's strong ETag answers 304 to who has it, and HEAD answers the same headers without a body", async (t) => {
  const backend = await backendFor(t, () => ({ headers: { 'Content-Type': 'text/plain' }, body: 'seven' }));
  const server = await serverFor(t, { services: { score: { target: { url: backend.url } } } });
  const accepted = await submit(server.url, 'score');

  const result = await resultOf(accepted.result);
  assert.match(result.headers['etag']!, /^"[^"]+"$/);
  const unchanged = await get(accepted.result, { headers: { 'If-None-Match': `"other", ${result.headers['etag']}` } });
  assert.deepEqual([unchanged.status, unchanged.body.length], [304, 0]);
  const head = await send(accepted.result, { method: 'HEAD' });
  assert.deepEqual([head.status, head.headers['content-length'], head.body.length], [200, '5', 0]);
});

test('303 with a Location is success by reference: told, never followed', async (t) => {
  const elsewhere = await backendFor(t);
  const backend = await backendFor(t, () => ({ status: 303, headers: { Location: `${elsewhere.url}/made/7` } }));
  const server = await serverFor(t, { services: { score: { target: { url: backend.url } } } });

  const accepted = await submit(server.url, 'score');
  const operation = await ended(accepted.status);
  const result = await get(accepted.result);

  assert.equal(operation.status, 'succeeded');
  assert.equal(operation.resourceLocation, `${elsewhere.url}/made/7`);
  assert.deepEqual([result.status, result.headers['location']], [303, `${elsewhere.url}/made/7`]);
  assert.equal(elsewhere.requests.length, 0);
});

test('redirects and logins of the backend are final, never followed, and replayed in the envelope alone', async (t) => {
  const elsewhere = await backendFor(t);
  for (const status of [301, 302, 307, 308, 401, 407]) {
    const backend = await backendFor(t, () => ({
      status,
      headers: { Location: elsewhere.url, 'WWW-Authenticate': 'Basic' },
      body: 'look there',
    }));
    const server = await serverFor(t, { services: { score: { target: { url: backend.url } } } });
    const accepted = await submit(server.url, 'score');

    assert.equal((await ended(accepted.status)).status, 'failed');
    assertProblem(await get(accepted.result), 502, 'bad-backend-response');
    const envelope = await get(`${accepted.result}?envelope=json`);
    assert.equal(envelope.status, 200);
    assert.deepEqual([envelope.json()['status'], envelope.json()['body']], [status, 'look there']);
  }
  assert.equal(elsewhere.requests.length, 0);
});

test('the JSON envelope shows the whole answer, bytes that are no text as base64', async (t) => {
  const headers = ['X-One', 'a', 'x-one', 'b', 'Set-Cookie', 'c=d', 'Content-Type', 'text/plain'];
  const backend = await backendFor(t, ({ target }) => ({
    status: 404,
    headers,
    body: target === '/text' ? 'ä\n' : everyByte,
  }));
  const server = await serverFor(t, { services: { score: { target: { url: backend.url } } } });

  for (const path of ['/text', '/bytes']) {
    const accepted = await submit(server.url, 'score', { path });
    await ended(accepted.status);
    const envelope = await get(`${accepted.result}?envelope=json`);
    assert.equal(envelope.status, 200);
    assert.equal(envelope.headers['operation-status'], 'failed');
    const {
      status,
      body,
      bodyBase64,
      headers: pairs,
    } = envelope.json<{ status: number; body?: string; bodyBase64?: string; headers: [string, string][] }>();
    assert.equal(status, 404);
    assert.deepEqual(
      pairs.filter(([name]) => /^(x-one|set-cookie)$/i.test(name)),
      [
        ['X-One', 'a'],
        ['x-one', 'b'],
        ['Set-Cookie', 'c=d'],
      ],
    );
    if (path === '/text') assert.deepEqual([body, bodyBase64], ['ä\n', undefined]);
    else assert.deepEqual([body, Buffer.from(bodyBase64!, 'base64')], [undefined, Buffer.from(everyByte)]);
  }
});
