// Stored results: how they are asked for, looked up by key, forgotten and made anew.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient } from './index.ts';
import { json, problem, receipt, serve } from './support.test.ts';

const pending = { ...receipt, status: 'running', version: 1, done: false };

test('key and freshness travel as headers, and answers tell of the store', async (t) => {
  const { url, seen } = await serve(t, (_, response) =>
    json(response, 202, receipt, { 'Operation-Id': 'op1', 'Cache-Status': 'waitless; fwd=miss; collapsed' }),
  );
  const client = createClient({ url });
  const outcome = await client.submit('score', { resultKey: ' Müller "42" \\', maxAge: 90.7, onlyStored: true });
  assert.equal(outcome.kind, 'accepted');
  assert.equal(outcome.cacheStatus, 'waitless; fwd=miss; collapsed');
  await client.submit('score', { fresh: true });
  assert.equal(
    Buffer.from(seen[0]!.headers['result-key'] as string, 'latin1').toString('utf8'),
    '" Müller \\"42\\" \\\\"',
  );
  assert.equal(seen[0]!.headers['cache-control'], 'max-age=90, only-if-cached');
  assert.equal(seen[1]!.headers['cache-control'], 'no-cache');
  assert.equal(seen[1]!.headers['result-key'], undefined);

  const wrong = [
    [{ resultKey: '' }, 'invalid-parameter'],
    [{ resultKey: 'ü'.repeat(257) }, 'invalid-parameter'],
    [{ resultKey: 'a\u0000b' }, 'invalid-parameter'],
    [{ maxAge: -1 }, 'invalid-parameter'],
    [{ fresh: true, onlyStored: true }, 'conflicting-headers'],
    [{ fresh: true, maxAge: 1 }, 'conflicting-headers'],
    [{ fresh: true, headers: { 'Cache-Control': 'no-store' } }, 'conflicting-headers'],
  ] as const;
  for (const [options, code] of wrong) await assert.rejects(client.submit('score', options), { code });
  assert.equal(seen.length, 2);
});

test('look-up by key: there, being computed, or not at all', async (t) => {
  const { url, seen } = await serve(t, ({ url: path }, response) => {
    if (path.includes('there'))
      response
        .writeHead(200, { 'Operation-Id': 'op1', 'Operation-Status': 'succeeded', Age: '5' })
        .end(Buffer.from([0, 255]));
    else if (path.includes('soon')) json(response, 202, pending, { 'Retry-After': '4' });
    else problem(response, 404, 'not-found');
  });
  const client = createClient({ url });
  const there = await client.resultByKey('score', 'there/?&=#ü', { waitSeconds: 3 });
  assert.equal(there.kind, 'result');
  assert.deepEqual([there.operationId, there.age, [...there.bytes]], ['op1', 5, [0, 255]]);
  assert.equal(seen[0]?.headers.prefer, 'wait=3');
  assert.equal(seen[0].url, '/v1/services/score/results?key=there%2F%3F%26%3D%23%C3%BC');
  const soon = await client.resultByKey('score', ['soon', 'b']);
  assert.equal(seen[1]?.url, '/v1/services/score/results?key=soon&key=b');
  assert.deepEqual(soon, { kind: 'pending', operation: pending, retryAfterSeconds: 4 });
  const byCorrelation = await client.resultByCorrelationId('score', 'soon &c');
  assert.equal(byCorrelation.kind, 'pending');
  assert.equal(seen[2]?.url, '/v1/services/score/results?correlationId=soon%20%26c');
  await assert.rejects(client.resultByKey('score', 'never'), { code: 'not-found', status: 404 });
  await assert.rejects(client.resultByKey('../x', 'k'), { code: 'invalid-name' });
  await assert.rejects(client.resultByKey('score', []), { code: 'invalid-parameter' });
});

test('an answer that is never replayed bare is taken from the envelope of the same look-up', async (t) => {
  const { url, seen } = await serve(t, ({ url: path }, response) => {
    if (path.endsWith('&envelope=json'))
      json(
        response,
        200,
        { status: 401, headers: [['X-Why', 'login']], body: 'no' },
        { 'Operation-Id': 'op1', Age: '3' },
      );
    else problem(response, 502, 'bad-backend-response');
  });
  const found = await createClient({ url }).resultByKey('score', '42');
  assert.equal(found.kind, 'result');
  assert.deepEqual(
    [found.status, found.headers.get('x-why'), found.text(), found.operationId, found.age],
    [401, 'login', 'no', 'op1', 3],
  );
  assert.equal(seen[1]?.url, '/v1/services/score/results?key=42&envelope=json');
});

test('purge and refresh', async (t) => {
  const { url, seen } = await serve(t, ({ method }, response) => {
    if (method === 'DELETE') response.writeHead(204).end();
    else json(response, 202, receipt, { 'Operation-Id': 'op1', 'Cache-Status': 'waitless; fwd=request' });
  });
  const client = createClient({ url, apiKey: 'k' });
  assert.equal(await client.purgeKey('score', 'a b'), undefined);
  const refreshed = await client.refreshKey('score', 'a b');
  assert.equal(refreshed.kind, 'accepted');
  assert.deepEqual([refreshed.operation?.id, refreshed.cacheStatus], ['op1', 'waitless; fwd=request']);
  assert.deepEqual(
    seen.map(({ method, url: path, headers }) => `${method} ${path} ${headers.authorization}`),
    [
      'DELETE /v1/services/score/results?key=a%20b Bearer k',
      'POST /v1/services/score/results/refresh?key=a%20b Bearer k',
    ],
  );
});
