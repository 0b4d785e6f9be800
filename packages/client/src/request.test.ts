// Submit and await in one: what is repeated, with which key, when it ends, and what its errors carry.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient, OperationFailed, WaitlessError } from './index.ts';
import { json, problem, receipt, serve } from './support.test.ts';

const accepted = { 'Operation-Id': 'op1', 'Retry-After': '1', 'Cache-Status': 'waitless; fwd=miss' };
const pending = { ...receipt, status: 'running', version: 1, done: false };
const done = { 'Operation-Id': 'op1', 'Operation-Status': 'succeeded', 'Content-Type': 'application/json' };
/** Seams that never really pause; what they were asked for is in `pauses`. */
const unpaused = () => {
  const pauses: number[] = [];
  const sleep = (ms: number, signal?: AbortSignal): Promise<void> => {
    pauses.push(ms);
    return signal?.aborted ? Promise.reject(signal.reason as Error) : Promise.resolve();
  };
  return { pauses, seams: { random: () => 1, sleep } };
};

test('a submit whose connection broke is repeated with the same key of its own, and the result is waited for', async (t) => {
  let submits = 0;
  let looks = 0;
  const { url, seen } = await serve(t, ({ method }, response) => {
    if (method === 'POST') {
      if (++submits === 1) response.destroy();
      else if (submits === 2) problem(response, 503, 'shutting-down', {}, { 'Retry-After': '7' });
      else if (submits === 3) response.writeHead(502, { 'Content-Type': 'text/html' }).end('<h1>Bad gateway</h1>');
      else json(response, 202, receipt, accepted);
    } else if (++looks === 1) response.destroy();
    else if (looks < 4) json(response, 202, pending, { 'Retry-After': '3' });
    else json(response, 200, { score: 7 }, done);
  });
  const { pauses, seams } = unpaused();
  const told: string[] = [];
  const ids: string[] = [];
  const answer = await createClient({ url, seams }).request(
    'score',
    { customerId: '42' },
    { path: 'a', onRetry: (error) => told.push(error.code), onAccepted: ({ id }) => ids.push(id) },
  );
  assert.deepEqual(answer.json(), { score: 7 });
  assert.equal(answer.text(), '{"score":7}');
  assert.deepEqual([answer.status, answer.operationId, answer.age], [200, 'op1', undefined]);
  assert.equal(answer.cacheStatus, 'waitless; fwd=miss');
  assert.ok(!('kind' in answer));
  assert.deepEqual(ids, ['op1']);
  const posts = seen.filter(({ method }) => method === 'POST');
  const keys = new Set(posts.map(({ headers }) => headers['idempotency-key']));
  assert.equal(keys.size, 1);
  assert.match([...keys][0] as string, /^"[0-9a-f]{32}"$/);
  for (const { url: path, headers, body } of posts) {
    assert.equal(path, '/v1/call/score/a');
    assert.equal(headers['content-type'], 'application/json');
    assert.equal(headers.prefer, 'respond-async');
    assert.equal(body.toString(), '{"customerId":"42"}');
  }
  assert.deepEqual(told, ['unreachable', 'shutting-down', 'unexpected-answer', 'unreachable']);
  // 7 s and 3 s are what the server asked for; the first look that was not held is repeated sooner, since a server that stops lets go.
  assert.deepEqual(pauses, [200, 7_000, 800, 200, 200, 3_000]);
});

test("the caller's key is kept, and two requests never share one of their own", async (t) => {
  const { url, seen } = await serve(t, (_, response) =>
    json(response, 200, 1, { ...done, Age: '12', 'Cache-Status': 'waitless; hit; ttl=30' }),
  );
  const client = createClient({ url });
  const stored = await client.request('score', 'x', { idempotencyKey: 'mine' });
  assert.deepEqual([stored.age, stored.cacheStatus], [12, 'waitless; hit; ttl=30']);
  await client.request('score');
  await client.request('score');
  const keys = seen.map(({ headers }) => headers['idempotency-key']);
  assert.equal(keys[0], '"mine"');
  assert.notEqual(keys[1], keys[2]);
});

test('what cannot get better is not repeated; what stays bad ends with the last failure', async (t) => {
  const { url, seen } = await serve(t, ({ url: path }, response) => {
    if (path.includes('typo')) problem(response, 404, 'unknown-service', { detail: 'No typo.' });
    else problem(response, 429, 'queue-full', { detail: 'Full.' }, { 'Retry-After': '30' });
  });
  const { seams } = unpaused();
  const client = createClient({ url, seams });
  await assert.rejects(client.request('typo'), { code: 'unknown-service', message: 'No typo.' });
  assert.equal(seen.length, 1);
  await assert.rejects(client.request('score', undefined, { reconnectSeconds: 20 }), { code: 'queue-full' });
  assert.equal(seen.length, 2, 'a pause beyond the limit is not begun');
  await assert.rejects(client.request('score', undefined, { durability: 'none' as 'stored' }), {
    code: 'conflicting-headers',
  });
  assert.equal(seen.length, 2);
});

test('a failed operation throws the code of its status document, with the answer of the backend', async (t) => {
  const { url } = await serve(t, ({ method, url: path }, response) => {
    if (method === 'POST') json(response, 202, receipt, accepted);
    else if (path.endsWith('/result'))
      response.writeHead(404, { ...done, 'Operation-Status': 'failed' }).end('{"why":"no such customer"}');
    else
      json(response, 200, { ...pending, status: 'failed', error: { code: 'backend-error', message: 'answered 404' } });
  });
  const error = await createClient({ url })
    .request('score')
    .catch((reason: unknown) => reason);
  assert.ok(error instanceof OperationFailed && error instanceof WaitlessError);
  assert.deepEqual(
    [error.code, error.message, error.status, error.operationId, error.retry],
    ['backend-error', 'answered 404', 404, 'op1', false],
  );
  assert.deepEqual(error.result?.json(), { why: 'no such customer' });
  assert.equal(error.result.status, 404);
});

test('an operation that ended without an answer throws the code of the problem', async (t) => {
  const { url, seen } = await serve(t, ({ method }, response) => {
    if (method === 'POST') json(response, 202, receipt, accepted);
    else problem(response, 504, 'timed-out', { detail: 'Too late.' });
  });
  const error = await createClient({ url })
    .request('score')
    .catch((reason: unknown) => reason);
  assert.ok(error instanceof OperationFailed);
  assert.deepEqual([error.code, error.status, error.operationId, error.result], ['timed-out', 504, 'op1', undefined]);
  assert.equal(seen.length, 2, 'a 504 that says how it ended is not repeated');
});

test('abort stops the waiting with its reason, and cancels only when asked to', async (t) => {
  const reason = new Error('not wanted any more');
  for (const cancelOnGiveUp of [false, true]) {
    const controller = new AbortController();
    const { url, seen } = await serve(t, ({ method }, response) => {
      if (method === 'POST') json(response, 202, receipt, accepted);
      else if (method === 'DELETE') json(response, 200, { ...pending, status: 'cancelled' });
      // The poll is held when the caller gives up.
      else controller.abort(reason);
    });
    const request = createClient({ url }).request('score', 'x', { signal: controller.signal, cancelOnGiveUp });
    await assert.rejects(request, reason);
    assert.equal(
      seen.some(({ method, url: path }) => method === 'DELETE' && path === '/v1/operations/op1'),
      cancelOnGiveUp,
    );
  }
});

test('an abort in the middle of the submit still cancels what the submit made', async (t) => {
  const controller = new AbortController();
  const { url, seen } = await serve(t, ({ method }, response) => {
    if (method === 'DELETE') return json(response, 200, { ...pending, status: 'cancelled' });
    controller.abort(new Error('gone'));
    return json(response, 202, receipt, accepted);
  });
  const { signal } = controller;
  await assert.rejects(createClient({ url }).request('score', 'x', { signal, cancelOnGiveUp: true }), {
    message: 'gone',
  });
  assert.deepEqual(
    seen.map(({ method }) => method),
    ['POST', 'DELETE'],
  );
});

test('the time is up: not-finished, with the id in the sentence and the last trouble as its cause', async (t) => {
  const limitMs = 500;
  let timeIsUp = (): void => {};
  // The limit passes when a test says so, and pauses at once.
  const sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      if (ms === limitMs) timeIsUp = resolve;
      else resolve();
      signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    });
  const seams = { random: () => 1, sleep };
  const { url, seen } = await serve(t, ({ method }, response) => {
    if (method === 'POST') json(response, 202, receipt, accepted);
    else timeIsUp();
  });
  const client = createClient({ url, seams });
  const waitSeconds = limitMs / 1_000;
  await assert.rejects(client.wait('op1', { waitSeconds }), { code: 'not-finished', message: /op1 goes on/ });
  assert.equal(seen[0]?.headers.prefer, 'wait=1');
  await assert.rejects(client.request('score', 'x', { waitSeconds }), { code: 'not-finished' });
  await assert.rejects(client.wait('op1', { waitSeconds: -1 }), { code: 'invalid-parameter' });
  const nobody = createClient({ url: 'http://127.0.0.1:1', seams });
  const inVain = nobody.request('score', 'x', { waitSeconds, onRetry: () => timeIsUp() });
  await assert.rejects(inVain, (error: WaitlessError) => {
    assert.equal(error.code, 'not-finished');
    assert.match(error.message, /The last trouble: cannot reach/);
    return true;
  });
});

test('bodies: text and bytes as they are, plain values as JSON, anything else refused', async (t) => {
  const { url, seen } = await serve(t, (_, response) => json(response, 200, 1, done));
  const client = createClient({ url });
  const bytes = Uint8Array.from([0, 255, 1, 2]);
  await client.request('score', 'ü');
  await client.request('score', bytes.subarray(1, 3));
  await client.request('score', new DataView(bytes.buffer, 2));
  await client.request('score', [1, { a: null }], { headers: { 'Content-Type': 'application/vnd.mine+json' } });
  assert.deepEqual(
    seen.map(({ body, headers }) => [body.toString('hex'), headers['content-type']]),
    [
      ['c3bc', undefined],
      ['ff01', undefined],
      ['0102', undefined],
      [Buffer.from('[1,{"a":null}]').toString('hex'), 'application/vnd.mine+json'],
    ],
  );
  for (const body of [new Map(), new Blob(['x']), new Date(0)])
    await assert.rejects(client.request('score', body), { code: 'invalid-parameter' });
  const circular: Record<string, unknown> = {};
  circular['self'] = circular;
  await assert.rejects(client.request('score', circular), { code: 'invalid-parameter' });
});
