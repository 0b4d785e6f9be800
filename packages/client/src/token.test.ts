// Tokens in the client: made with a key, used without one, and sent nowhere but where they open something.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient, WaitlessError } from './index.ts';
import { json, receipt, serve } from './support.test.ts';

const made = { token: 'AQ-_.mac', expiresAt: '2026-01-01T00:15:00.000Z' };

test('token() asks for one as the wire has it, with the key', async (t) => {
  const { url, seen } = await serve(t, (_, response) => json(response, 200, made));
  const client = createClient({ url, apiKey: 'k' });
  assert.deepEqual(await client.token({ operations: ['a', 'b'], expiresIn: '5m' }), made);
  assert.deepEqual(await client.token({ operations: ['a'] }), made);
  assert.deepEqual(await client.token({ topics: ['orders.*'] }), made);
  assert.deepEqual(
    seen.map(({ method, url: path, headers }) => [method, path, headers['content-type'], headers.authorization]),
    Array.from({ length: 3 }, () => ['POST', '/v1/tokens', 'application/json', 'Bearer k']),
  );
  assert.deepEqual(
    seen.map(({ body }) => JSON.parse(body.toString()) as unknown),
    [{ operations: ['a', 'b'], expiresIn: '5m' }, { operations: ['a'] }, { topics: ['orders.*'] }],
  );
});

test('an answer without a token is said to be none of ours', async (t) => {
  const { url } = await serve(t, (_, response) => json(response, 200, { hello: 1 }));
  await assert.rejects(createClient({ url }).token({ operations: ['a'] }), { code: 'unexpected-answer' });
});

test('a client with a token looks with it, and sends it and anything else nowhere', async (t) => {
  const { url, seen } = await serve(t, ({ url: path }, response) => {
    if (path.includes('/result'))
      response.writeHead(200, { 'Operation-Id': 'op1', 'Operation-Status': 'succeeded' }).end('done');
    else if (path.includes('/topics/')) json(response, 200, { items: [], next: null, cursor: '1-h' });
    else if (path.includes('/timeline')) json(response, 200, { items: [], next: null });
    else json(response, 200, { ...receipt, status: 'succeeded', done: true, version: 2 });
  });
  const client = createClient({ url, token: made.token });
  assert.equal((await client.get('op1')).operation.status, 'succeeded');
  assert.equal((await client.wait('op1')).text(), 'done');
  assert.deepEqual(await client.timeline('op1'), []);
  for await (const { status } of client.watch('op1')) assert.equal(status, 'succeeded');
  assert.deepEqual((await client.topics.history('orders.*')).items, []);
  const looks = seen.length;
  for (const { url: path, headers } of seen) {
    assert.match(path, /^\/v1\/(?:operations\/op1(?:\/[a-z]+)?|topics\/orders\.\*\/events)\?token=AQ-_\.mac$/);
    assert.equal(headers.authorization, undefined);
  }
  for (const act of [
    () => client.submit('score'),
    () => client.request('score', 'x'),
    () => client.batch([{ service: 'score' }]),
    () => client.cancel('op1'),
    () => client.list(),
    () => client.services(),
    () => client.token({ operations: ['op1'] }),
    () => client.resultByKey('score', '42'),
    () => client.purgeKey('score', '42'),
    () => client.publish('orders', 'x'),
    () => client.topics.list(),
    () => client.subscriptions.list(),
    () => client.consume('orders', () => {}).done,
  ])
    await assert.rejects(
      act,
      (error: unknown) =>
        error instanceof WaitlessError && error.code === 'insufficient-scope' && !error.message.includes(made.token),
    );
  assert.equal(seen.length, looks, 'nothing more was sent');
});

test('a key and a token are one too much', () => {
  assert.throws(() => createClient({ url: 'http://127.0.0.1:1', apiKey: 'k', token: 't' }), {
    code: 'invalid-parameter',
  });
});
