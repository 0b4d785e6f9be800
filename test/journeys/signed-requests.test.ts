// Backends that believe nobody but this server: with a secret every request is signed over the bytes that were sent, and whoever gets it can check that.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { type VerifiedWebhook, verifyWebhook } from '@waitless/client';
import { type Backend, backendFor, type BackendRequest } from '../support/backend.ts';
import { fragileJson, noise, otherBytes } from '../support/fixtures.ts';
import { get, post, until } from '../support/http.ts';
import { ended, resultOf, submit } from '../support/operations.ts';
import { serverFor } from '../support/server.ts';

const newSecret = (): string => `whsec_${randomBytes(32).toString('base64')}`;

/** As a receiver does it, with the fields as they stood on the wire: one that came twice would be refused. */
function verify({ rawHeaders, body }: BackendRequest, secrets: string | string[]): Promise<VerifiedWebhook> {
  const headers = rawHeaders.flatMap((name, i): [string, string][] =>
    i % 2 === 0 ? [[name, rawHeaders[i + 1]!]] : [],
  );
  return verifyWebhook({ headers, body, secrets });
}

const last = ({ requests }: Backend): BackendRequest => requests.at(-1)!;

test('every kind of body is signed over its exact bytes, short, of many megabytes and none at all', async (t) => {
  const secret = newSecret();
  const backend = await backendFor(t);
  const target = { url: backend.url, secret };
  const server = await serverFor(t, { services: { score: { target } }, data: 'folder' });
  const large = { '1 MB': noise(1024 ** 2), '5 MB and a bit': noise(5 * 1024 ** 2 + 7) };
  for (const [name, body] of Object.entries({ ...fragileJson, ...otherBytes, ...large, none: new Uint8Array(0) })) {
    const { id, result } = await submit(server.url, 'score', { body });
    assert.equal((await resultOf(result)).text, 'done', name);
    const request = last(backend);
    assert.ok(request.body.equals(Buffer.from(body)), `${name}, at the backend`);
    const { id: signedId, sentAt } = await verify(request, secret);
    assert.equal(signedId, id, name);
    assert.ok(sentAt.getTime() > 0);
    await assert.rejects(verify(request, newSecret()), { reason: 'no-match' }, `${name}, another secret`);
    await assert.rejects(
      verify({ ...request, body: Buffer.concat([request.body, Buffer.from(' ')]) }, secret),
      { reason: 'no-match' },
      `${name}, another body`,
    );
  }
  for (const method of ['GET', 'HEAD', 'DELETE', 'PUT']) {
    const { id, result } = await submit(server.url, 'score', { method, path: '/some?x=1' });
    await resultOf(result);
    assert.equal(last(backend).method, method);
    assert.equal((await verify(last(backend), secret)).id, id, method);
  }
});

test('every attempt has the same id and a signature of its own, and so has a request of durability none', async (t) => {
  const secret = newSecret();
  const backend = await backendFor(t, (_, number) => (number < 3 ? { status: 500 } : { body: 'at last' }));
  const retry = { maxAttempts: 3, initialDelay: '0s', maxDelay: '0s' };
  const server = await serverFor(t, { services: { score: { target: { url: backend.url, secret }, retry } } });
  const body = noise(1024 ** 2);
  const { id, result } = await submit(server.url, 'score', { body });
  assert.equal((await resultOf(result)).text, 'at last');
  assert.equal(backend.requests.length, 3);
  for (const request of backend.requests) assert.equal((await verify(request, secret)).id, id);

  for (const _ of ['one', 'two'])
    assert.equal(
      (await post(`${server.url}/v1/call/score`, { body: 'gone', headers: { 'Operation-Durability': 'none' } })).status,
      202,
    );
  const forgotten = (await backend.received(5)).slice(3);
  const ids = await Promise.all(forgotten.map(async (request) => (await verify(request, secret)).id));
  assert.equal(new Set([id, ...ids]).size, 3, 'each has an id of its own');
});

test('a new secret and the one it replaces sign together, so that the receiver can change in between', async (t) => {
  const [fresh, old] = [newSecret(), newSecret()];
  const backend = await backendFor(t);
  const target = { url: backend.url, secret: [fresh, old] };
  const server = await serverFor(t, { services: { score: { target } } });
  await resultOf((await submit(server.url, 'score', { body: 'x' })).result);
  assert.equal(last(backend).headers['webhook-signature']!.split(' ').length, 2);
  for (const secrets of [fresh, old, [old, newSecret()]]) await verify(last(backend), secrets);
  await assert.rejects(verify(last(backend), newSecret()), { reason: 'no-match' });
});

test("a caller's own signature never reaches a backend that trusts ours, and reaches any other as it came", async (t) => {
  const secret = newSecret();
  const backend = await backendFor(t);
  const server = await serverFor(t, {
    services: { signed: { target: { url: backend.url, secret } }, plain: { target: { url: backend.url } } },
  });
  const forged = {
    'Webhook-Id': 'forged',
    'Webhook-Timestamp': '1',
    'WEBHOOK-SIGNATURE': 'v1,forged',
    'Webhook-X': '1',
  };
  const { id, result } = await submit(server.url, 'signed', { body: 'x', headers: forged });
  await resultOf(result);
  assert.equal((await verify(last(backend), secret)).id, id);
  const names = last(backend)
    .rawHeaders.filter((_, i) => i % 2 === 0)
    .map((name) => name.toLowerCase());
  assert.deepEqual(names.filter((name) => name.startsWith('webhook-')).toSorted(), [
    'webhook-id',
    'webhook-signature',
    'webhook-timestamp',
  ]);

  await resultOf((await submit(server.url, 'plain', { body: 'x', headers: forged })).result);
  const { headers } = last(backend);
  assert.deepEqual([headers['webhook-id'], headers['webhook-signature']], ['forged', 'v1,forged']);
});

test('a backend that is polled can check each look, which has no body', async (t) => {
  const secret = newSecret();
  const backend = await backendFor(t, ({ method }, number) =>
    method === 'POST'
      ? { status: 202, headers: { 'Retry-After': '1', Location: '/jobs/7' } }
      : number < 3
        ? { status: 202, headers: { 'Retry-After': '1' } }
        : { body: 'the report' },
  );
  const target = { url: backend.url, secret };
  const server = await serverFor(t, { services: { reports: { target, poll: true } } });
  const forged = { 'webhook-id': 'forged', traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' };
  const { id, status, result } = await submit(server.url, 'reports', { body: 'year=2026', headers: forged });
  assert.equal((await ended(status)).status, 'succeeded');
  assert.equal((await resultOf(result)).text, 'the report');
  assert.deepEqual(
    backend.requests.map(({ method }) => method),
    ['POST', 'GET', 'GET'],
  );
  for (const request of backend.requests) assert.equal((await verify(request, secret)).id, id);
});

test('a service shows that it has a secret, and nothing else does', async (t) => {
  const [fresh, old] = [newSecret(), newSecret()];
  const backend = await backendFor(t);
  const target = (secret: string | string[]) => ({ target: { url: backend.url, secret } });
  const server = await serverFor(t, { services: { one: target(fresh), two: target([fresh, old]) } });
  for (const [name, shown] of [
    ['one', '***'],
    ['two', ['***', '***']],
  ] as const) {
    const answer = await get(`${server.url}/v1/services/${name}`);
    const { document } = answer.json<{ document: { target: unknown } }>();
    assert.deepEqual(document.target, { url: backend.url, secret: shown });
  }
  const { id } = await submit(server.url, 'one', { body: 'x' });
  await until(async () => (backend.answered > 0 ? true : undefined));
  for (const path of [
    '/v1/services',
    '/v1/services/one',
    '/v1/services/two',
    '/',
    '/metrics',
    `/v1/operations/${id}/timeline`,
  ]) {
    const { text } = await get(`${server.url}${path}`);
    for (const secret of [fresh, old]) assert.ok(!text.includes(secret.slice(6, 20)), path);
  }
});
