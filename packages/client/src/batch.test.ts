// What a batch sends over a real socket, and what it makes of each outcome.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient, type WaitlessError } from './index.ts';
import { json, problem, receipt, serve } from './support.test.ts';

test('batch sends each request as an item, with its options as headers', async (t) => {
  const { url, seen } = await serve(t, (_, response) =>
    json(
      response,
      200,
      Array.from({ length: 5 }, () => ({ status: 202 })),
    ),
  );
  await createClient({ url, apiKey: 'secret' }).batch([
    { service: 'score', body: { customerId: 42 }, idempotencyKey: 'order 17', labels: { a: 'b' } },
    {
      service: 'score',
      method: 'put',
      path: 'customers/4%2F3?full=1',
      headers: [['X-A', '1']],
      body: 'text \ud800 \ufeff',
    },
    { service: 'scan', body: Uint8Array.from([0, 255]), headers: { 'Content-Type': 'image/png' } },
    { service: 'scan', method: 'DELETE', path: '/', query: { a: ['1', '2'] } },
    { service: 'scan', resultKey: 'Zoë', fresh: true, durability: 'memory' },
  ]);
  assert.equal(seen.length, 1);
  assert.deepEqual([seen[0]!.method, seen[0]!.url], ['POST', '/v1/batch']);
  assert.equal(seen[0]!.headers['content-type'], 'application/json');
  assert.equal(seen[0]!.headers['authorization'], 'Bearer secret');
  assert.deepEqual(JSON.parse(seen[0]!.body.toString()), [
    {
      service: 'score',
      headers: [
        ['content-type', 'application/json'],
        ['idempotency-key', '"order 17"'],
        ['operation-labels', 'a=b'],
      ],
      body: '{"customerId":42}',
    },
    {
      service: 'score',
      method: 'PUT',
      path: '/customers/4%2F3',
      query: 'full=1',
      headers: [['x-a', '1']],
      body: 'text \ufffd \ufeff',
    },
    { service: 'scan', headers: [['content-type', 'image/png']], bodyBase64: 'AP8=' },
    { service: 'scan', method: 'DELETE', path: '/', query: 'a=1&a=2', headers: [] },
    {
      service: 'scan',
      headers: [
        ['cache-control', 'no-cache'],
        ['operation-durability', 'memory'],
        ['result-key', '"Zo\u00c3\u00ab"'],
      ],
    },
  ]);
});

test('batch gives an outcome for each: accepted, repeated, stored, refused, and nothing to look up', async (t) => {
  const refusal = {
    type: 'http://x/problems/queue-full',
    title: 'Full',
    status: 429,
    code: 'queue-full',
    accepted: false,
  };
  const { url } = await serve(t, (_, response) =>
    json(response, 200, [
      { status: 202, operation: receipt, retryAfter: 3 },
      { status: 202, operation: receipt, retryAfter: 1, replayed: true, cacheStatus: 'waitless; fwd=miss' },
      { status: 200, operation: receipt, stored: true, age: 7, cacheStatus: 'waitless; hit; ttl=5' },
      { status: 429, problem: refusal, retryAfter: 9 },
      { status: 202 },
    ]),
  );
  const outcomes = await createClient({ url }).batch(Array.from({ length: 5 }, () => ({ service: 'score' })));
  const accepted = { kind: 'accepted', operation: receipt, replayed: false, cacheStatus: undefined };
  assert.deepEqual(outcomes[0], { ...accepted, retryAfterSeconds: 3 });
  assert.deepEqual(outcomes[1], {
    ...accepted,
    retryAfterSeconds: 1,
    replayed: true,
    cacheStatus: 'waitless; fwd=miss',
  });
  assert.deepEqual(outcomes[2], {
    kind: 'stored',
    operation: receipt,
    ageSeconds: 7,
    cacheStatus: 'waitless; hit; ttl=5',
  });
  assert.equal(outcomes[3]!.kind, 'refused');
  const { error } = outcomes[3] as { error: WaitlessError };
  assert.deepEqual(
    [error.code, error.status, error.message, error.retryAfterSeconds, error.members?.['accepted']],
    ['queue-full', 429, 'Full', 9, false],
  );
  assert.deepEqual(outcomes[4], { ...accepted, operation: undefined, retryAfterSeconds: undefined });
});

test('batch throws where it failed as a whole, and where something else answers', async (t) => {
  const { url } = await serve(t, ({ body }, response) =>
    body.length > 100
      ? problem(response, 413, 'payload-too-large', { detail: 'a batch takes at most 1000 items' })
      : json(response, 200, [{ status: 202 }]),
  );
  const client = createClient({ url });
  await assert.rejects(client.batch(Array.from({ length: 9 }, () => ({ service: 'score' }))), {
    code: 'payload-too-large',
    status: 413,
  });
  await assert.rejects(client.batch([{ service: 'a' }, { service: 'b' }]), { code: 'unexpected-answer' });
  await assert.rejects(client.batch([{ service: 'a', method: 'TRACE' }]), { code: 'invalid-parameter' });
  await assert.rejects(client.batch([{ service: 'a', path: '../b' }]), { code: 'bad-path' });
});
