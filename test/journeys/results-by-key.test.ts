// A result is found without its operation's id: by business key or by correlation id, purged and computed anew by them; and documents show keys and small results.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Operation, Page, Problem } from '@waitless/protocol';
import { type Backend, backendFor, gate } from '../support/backend.ts';
import { manualTime } from '../support/clock.ts';
import { get, post, type Received, send, type Sent } from '../support/http.ts';
import { assertProblem, ended, resultOf, statusOf, submit, waitersReach } from '../support/operations.ts';
import { serverFor, type ServerSettings, type TestServer } from '../support/server.ts';

type Test = Parameters<typeof serverFor>[0];

const fragile = '{"score": 7.40, "big": 9007199254740993, "huge": 1e999, "a":1, "a":2}';

interface Scores {
  server: TestServer;
  backend: Backend;
  /** Of the results of the service. */
  results: string;
  submitFor: (customer: string, sent?: Sent) => ReturnType<typeof submit>;
}

async function scores(
  t: Test,
  service: Record<string, unknown> = {},
  settings: Omit<ServerSettings, 'services'> = {},
): Promise<Scores> {
  const backend = await backendFor(t, (_, number) => ({
    headers: { 'Content-Type': 'application/json', 'Set-Cookie': 'a=b', 'X-Run': String(number) },
    body: fragile,
  }));
  const all = { target: { url: backend.url }, key: { body: '/customerId' }, validFor: '1h', ...service };
  // What a test sets to undefined the service does not say.
  const score = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  const server = await serverFor(t, { ...settings, services: { score } });
  return {
    server,
    backend,
    results: `${server.url}/v1/services/score/results`,
    submitFor: (customer, { headers, ...sent } = {}) =>
      submit(server.url, 'score', {
        body: JSON.stringify({ customerId: customer }),
        headers: { 'Content-Type': 'application/json', ...headers },
        ...sent,
      }),
  };
}

/** What two answers with the same result have in common. */
function replayed({ status, headers, body }: Received): unknown {
  const may = new Set(['date', 'request-id', 'age', 'cache-status', 'preference-applied', 'connection', 'keep-alive']);
  return [status, Object.entries(headers).filter(([name]) => !may.has(name)), body.toString('hex')];
}

test('S08: the result is the same by customer and by operation, byte for byte, with its age', async (t) => {
  const time = manualTime();
  const { results, submitFor } = await scores(t, {}, { extras: { clock: time.clock } });
  const { id, result, receipt } = await submitFor('42', { headers: { 'Correlation-Id': 'c-1' } });
  const byId = await resultOf(result);
  assert.deepEqual(
    [receipt.key, byId.text, byId.headers['x-run'], byId.headers['set-cookie']],
    ['42', fragile, '1', undefined],
  );

  time.advance(61_500);
  for (const url of [`${results}/42`, `${results}/%34%32`, `${results}?key=42`, `${results}?correlationId=c-1`]) {
    const found = await get(url);
    assert.deepEqual(replayed(found), replayed(byId), url);
    const headOnly = await send(url, { method: 'HEAD' });
    assert.deepEqual([headOnly.status, headOnly.headers['etag'], headOnly.body.length], [200, byId.headers['etag'], 0]);
  }
  const found = await get(`${results}/42`);
  assert.deepEqual([found.headers['age'], found.headers['cache-status']], ['61', 'waitless; hit; ttl=3538']);
  assert.deepEqual(
    [found.headers['operation-id'], found.headers['correlation-id'], found.headers['content-location']],
    [id, 'c-1', byId.headers['content-location']],
  );

  const unchanged = await get(`${results}/42`, { headers: { 'If-None-Match': byId.headers['etag']! } });
  assert.deepEqual([unchanged.status, unchanged.body.length, unchanged.headers['age']], [304, 0, '61']);

  const envelope = await get(`${results}/42?envelope=json`);
  assert.deepEqual([envelope.status, envelope.headers['age']], [200, '61']);
  const { status, headers, body } = envelope.json<{ status: number; headers: string[][]; body: string }>();
  assert.deepEqual([status, body], [200, fragile]);
  assert.ok(
    headers.some(([name]) => name === 'Set-Cookie'),
    'the envelope shows everything',
  );

  // Valid no more: gone by key, and still there by id until its retention ends.
  time.advance(3_600_000);
  assertProblem(await get(`${results}/42`), 404, 'not-found');
  assert.equal((await get(result)).text, fragile);
});

test('without a time of validity a result is found by key until its retention ends, and answers no new submit', async (t) => {
  const time = manualTime();
  const { results, submitFor, backend } = await scores(
    t,
    { validFor: undefined, retention: '2h' },
    { extras: { clock: time.clock } },
  );
  await resultOf((await submitFor('42')).result);
  time.advance(3_600_000);
  const found = await get(`${results}/42`);
  assert.deepEqual([found.text, found.headers['cache-status']], [fragile, 'waitless; hit']);
  await resultOf((await submitFor('42')).result);
  assert.equal(backend.requests.length, 2);
  assert.equal((await get(`${results}/42`)).headers['x-run'], '2', 'the newest one is found');
  time.advance(7_200_001);
  assertProblem(await get(`${results}/42`), 404, 'not-found');
});

test('while it is computed: 202 with the status, or a wait for the result', async (t) => {
  const { results, submitFor, backend, server } = await scores(t);
  const finish = gate();
  backend.behave(async () => {
    await finish.opened;
    return { headers: { 'Content-Type': 'application/json' }, body: fragile };
  });
  const { id } = await submitFor('42');
  const pending = await get(`${results}/42`);
  assert.equal(pending.status, 202);
  assert.deepEqual(
    [pending.json<Operation>().id, pending.json<Operation>().key, pending.headers['operation-id']],
    [id, '42', id],
  );
  assert.ok(Number(pending.headers['retry-after']) >= 1);
  const short = await get(`${results}?key=42`, { headers: { Prefer: 'wait=0' } });
  assert.deepEqual([short.status, short.headers['preference-applied']], [202, 'wait=0']);

  const waiting = ['/42', '?key=42'].map((place) => get(results + place, { headers: { Prefer: 'wait=20' } }));
  await waitersReach(server.url, (waiters) => waiters >= 2);
  finish.open();
  for (const found of await Promise.all(waiting))
    assert.deepEqual([found.status, found.text, found.headers['preference-applied']], [200, fragile, 'wait=20']);
});

test('nothing is found for a key that is unknown, failed, cancelled or purged, and a failure does not take the last result away', async (t) => {
  const { results, submitFor, backend } = await scores(t);
  assertProblem(await get(`${results}/42`), 404, 'not-found');
  backend.behave(() => ({ status: 422, body: 'no such customer' }));
  const failed = await submitFor('42');
  assert.equal((await ended(failed.status)).status, 'failed');
  assertProblem(await get(`${results}/42`), 404, 'not-found');

  const finish = gate();
  backend.behave(async (_, number) => {
    await finish.opened;
    return { headers: { 'X-Run': String(number) }, body: fragile };
  });
  const cancelled = await submitFor('42');
  assert.equal((await get(`${results}/42`)).status, 202);
  await send(cancelled.status, { method: 'DELETE' });
  assertProblem(await get(`${results}/42`), 404, 'not-found');
  finish.open();

  backend.behave((_, number) => ({ headers: { 'X-Run': String(number) }, body: fragile }));
  await resultOf((await submitFor('43')).result);
  backend.behave(() => ({ status: 500 }));
  const again = await submitFor('43', { headers: { 'Cache-Control': 'no-cache' } });
  await send(again.status, { method: 'DELETE' });
  assert.equal((await get(`${results}/43`)).text, fragile);
});

test('keys of several parts, and keys with every odd character', async (t) => {
  const { server, results } = await scores(t, { key: [{ query: 'branch' }, { body: '/customerId' }] });
  const submitAt = (branch: string, customer: string): ReturnType<typeof submit> =>
    submit(server.url, 'score', {
      path: `?branch=${encodeURIComponent(branch)}`,
      body: JSON.stringify({ customerId: customer }),
    });
  const { receipt, id, result } = await submitAt('a/b', '50%');
  assert.equal(receipt.key, 'a%2Fb/50%25');
  await resultOf(result);
  for (const place of [
    `?key=${encodeURIComponent('a/b')}&key=${encodeURIComponent('50%')}`,
    `?key=${encodeURIComponent('a%2Fb/50%25')}`,
    `/${encodeURIComponent('a%2Fb/50%25')}`,
  ])
    assert.equal((await get(results + place)).headers['operation-id'], id, place);
  for (const place of ['?key=a&key=b/50%25', '?key=50%25&key=a/b', '?key=a/b/50%25', '?key=a%2Fb&key=50%25&key='])
    assert.notEqual((await get(results + place)).status, 200, place);

  const plain = await serverFor(t, {
    services: { score: { target: { url: (await backendFor(t)).url }, key: { body: '/customerId' }, validFor: '1h' } },
  });
  const at = `${plain.url}/v1/services/score/results`;
  const odd = [
    'a/b',
    'a%2Fb',
    '..',
    '.',
    'ä',
    'a\u0308',
    '😀',
    'a b',
    'a+b',
    'a&b=c',
    ';x',
    'refresh',
    "'; drop table keyed",
    '\r\n',
    '__proto__',
    '"',
    'k'.repeat(512),
    'ä'.repeat(256),
  ];
  const stored = odd.map(async (key) => {
    await resultOf((await submit(plain.url, 'score', { body: JSON.stringify({ customerId: key }) })).result);
    const found = await get(`${at}?key=${encodeURIComponent(key)}`);
    assert.equal(found.status, 200, `${JSON.stringify(key)}: ${found.text}`);
    const owner = await statusOf(`${plain.url}/v1/operations/${found.headers['operation-id']}`);
    assert.equal(owner.key, key, 'of this very key and no other');
    // A dot segment is for the query: every proxy on the way would take it out of a path.
    if (!/^\.+$/.test(key))
      assert.equal(
        (await get(`${at}/${encodeURIComponent(key)}`)).headers['operation-id'],
        owner.id,
        `${JSON.stringify(key)} in the path`,
      );
  });
  await Promise.all(stored);
});

test('by correlation id: the newest operation of this service', async (t) => {
  const { server, results, submitFor, backend } = await scores(t, { key: undefined, validFor: undefined });
  const finish = gate();
  const first = await submitFor('1', { headers: { 'Correlation-Id': 'same' } });
  await resultOf(first.result);
  backend.behave(async () => {
    await finish.opened;
    return { status: 404, body: 'not here' };
  });
  const second = await submitFor('2', { headers: { 'Correlation-Id': 'same' } });
  const own = await submitFor('3');
  const at = (id: string): string => `${results}?correlationId=${id}`;
  const pending = await get(at('same'));
  assert.deepEqual([pending.status, pending.headers['operation-id']], [202, second.id]);
  const waiting = get(at('same'), { headers: { Prefer: 'wait=20' } });
  await waitersReach(server.url, (waiters) => waiters >= 1);
  finish.open();
  const found = await waiting;
  assert.deepEqual([found.status, found.text, found.headers['operation-id']], [404, 'not here', second.id]);
  assert.deepEqual([found.headers['operation-status'], found.headers['age']], ['failed', undefined]);
  assert.equal(
    (await resultOf(at(own.id))).headers['operation-id'],
    own.id,
    'an operation without one answers to its id',
  );
  assertProblem(await get(at('other')), 404, 'not-found');
  assertProblem(await get(`${at('same')}&key=1`), 400, 'invalid-parameter');
});

test('purged: forgotten at once, also what is being computed, in both forms', async (t) => {
  const { results, submitFor, backend } = await scores(t);
  const del = (place: string): Promise<Received> => send(results + place, { method: 'DELETE' });
  for (const [customer, place] of [
    ['1', '/1'],
    ['2', '?key=2'],
  ] as const) {
    const { result } = await submitFor(customer);
    await resultOf(result);
    const gone = await del(place);
    assert.deepEqual([gone.status, gone.body.length], [204, 0]);
    assertProblem(await get(results + place), 404, 'not-found');
    assertProblem(await del(place), 404, 'not-found');
    assert.equal((await get(result)).text, fragile, 'the operation keeps its result');
  }
  const before = backend.requests.length;
  assert.equal((await submitFor('1')).answer.headers['cache-status'], 'waitless; fwd=miss');

  const finish = gate();
  backend.behave(async () => {
    await finish.opened;
    return { body: 'of before the purge' };
  });
  const running = await submitFor('3');
  await backend.received(before + 2);
  assert.equal((await del('/3')).status, 204);
  assertProblem(await get(`${results}/3`), 404, 'not-found');
  const after = await submitFor('3');
  assert.notEqual(after.id, running.id, 'nobody joins what was purged');
  finish.open();
  assert.equal((await resultOf(running.result)).text, 'of before the purge');
  await resultOf(after.result);
  assert.equal((await get(`${results}/3`)).headers['operation-id'], after.id);
});

test('refreshed: the same request once more, while the old result answers; a second refresh joins', async (t) => {
  const { results, submitFor, backend } = await scores(t);
  const large = 'x'.repeat(300_000);
  const { result } = await submitFor('42', {
    body: JSON.stringify({ customerId: '42', large }),
    headers: { 'X-Note': 'kept', traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' },
  });
  await resultOf(result);
  const finish = gate();
  backend.behave(async () => {
    await finish.opened;
    return { body: 'newer' };
  });
  const refreshed = await post(`${results}/refresh?key=42`, { headers: { 'Correlation-Id': 'r-1' } });
  assert.deepEqual(
    [refreshed.status, refreshed.headers['cache-status'], refreshed.headers['correlation-id']],
    [202, 'waitless; fwd=request', 'r-1'],
  );
  assert.ok(Number(refreshed.headers['retry-after']) >= 1);
  assert.deepEqual(
    [refreshed.json<Operation>().key, refreshed.json<Operation>().id],
    ['42', refreshed.headers['operation-id']],
  );
  const [first, second] = await backend.received(2);
  assert.deepEqual(
    [
      second!.method,
      second!.target,
      second!.headers['x-note'],
      second!.headers['content-type'],
      second!.body.equals(first!.body),
    ],
    [first!.method, first!.target, 'kept', 'application/json', true],
  );
  assert.notEqual(second!.headers['operation-id'], first!.headers['operation-id']);
  assert.equal(second!.headers['traceparent'], undefined);

  assert.equal((await get(`${results}/42`)).text, fragile, 'the old result answers until the new one is there');
  const joined = await post(`${results}/refresh?key=42`);
  assert.deepEqual(
    [joined.headers['operation-id'], joined.headers['cache-status']],
    [refreshed.headers['operation-id'], 'waitless; fwd=request; collapsed'],
  );
  finish.open();
  await resultOf(refreshed.headers['location']!);
  assert.equal((await get(`${results}/42`)).text, 'newer');
  assert.equal(backend.requests.length, 2);
  assertProblem(await post(`${results}/refresh?key=43`), 404, 'not-found');
});

test("refreshed under a client's own key", async (t) => {
  const { server, backend, results } = await scores(t, { key: undefined });
  const { result, receipt } = await submit(server.url, 'score', {
    body: 'anything',
    headers: { 'Result-Key': '"große Straße/1"', 'Content-Type': 'text/plain' },
  });
  assert.equal(receipt.key, 'große Straße/1');
  await resultOf(result);
  const place = `key=${encodeURIComponent('große Straße/1')}`;
  const refreshed = await post(`${results}/refresh?${place}`);
  assert.equal(refreshed.status, 202, refreshed.text);
  await resultOf(refreshed.headers['location']!);
  assert.equal(backend.requests[1]!.body.toString(), 'anything');
  assert.equal((await get(`${results}?${place}`)).headers['operation-id'], refreshed.headers['operation-id']);
});

test('the credentials that a service passes on are part of the key', async (t) => {
  const { results, submitFor } = await scores(t, { forward: ['cookie'] });
  const mine = { headers: { Cookie: 'user=a' } };
  await resultOf((await submitFor('42', mine)).result);
  assert.equal((await get(`${results}/42`, mine)).text, fragile);
  for (const headers of [
    {},
    { Cookie: 'user=b' },
    { Cookie: ['user=a', 'user=a'] },
    { Cookie: 'user=a', Connection: 'cookie' },
  ]) {
    assertProblem(await get(`${results}/42`, { headers }), 404, 'not-found');
    assertProblem(await send(`${results}/42`, { method: 'DELETE', headers }), 404, 'not-found');
    assertProblem(await post(`${results}/refresh?key=42`, { headers }), 404, 'not-found');
  }
  assert.equal((await send(`${results}/42`, { method: 'DELETE', ...mine })).status, 204);
});

test('what cannot be asked is refused with a sentence that names it', async (t) => {
  const { results, server } = await scores(t);
  const table: readonly (readonly [method: string, place: string, status: number, code: string, words: RegExp])[] = [
    ['GET', '', 400, 'invalid-parameter', /either key or correlationId/],
    ['GET', '?key=', 400, 'invalid-parameter', /key is empty/],
    ['GET', '?key=a&key=', 400, 'invalid-parameter', /key is empty/],
    ['GET', '?key=a%00', 400, 'invalid-parameter', /NUL/],
    ['GET', `?key=${'k'.repeat(513)}`, 400, 'invalid-parameter', /512/],
    ['GET', `/${'k'.repeat(513)}`, 400, 'invalid-parameter', /512/],
    ['GET', '?key=%ff', 400, 'invalid-parameter', /UTF-8/],
    ['GET', '/%ff', 400, 'bad-path', /path/],
    ['GET', '/a%00', 400, 'bad-path', /NUL/],
    ['GET', '/..%2f..%2fetc', 400, 'bad-path', /path/],
    ['GET', '/a/b', 404, 'not-found', /path/],
    ['GET', '/42?key=42', 400, 'invalid-parameter', /"key" is no parameter/],
    ['GET', '?key=42&envelope=xml', 400, 'invalid-parameter', /envelope/],
    ['GET', '?key=42&limit=1', 400, 'invalid-parameter', /"limit"/],
    ['GET', '?key=42&token=a', 401, 'invalid-token', /token/],
    ['GET', '?correlationId=a&correlationId=b', 400, 'invalid-parameter', /twice/],
    ['DELETE', '', 400, 'invalid-parameter', /key is missing/],
    ['DELETE', '?correlationId=a', 400, 'invalid-parameter', /"correlationId"/],
    ['POST', '/refresh', 400, 'invalid-parameter', /key is missing/],
    ['POST', '?key=42', 405, 'method-not-allowed', /POST/],
    ['PUT', '/42', 405, 'method-not-allowed', /PUT/],
  ];
  for (const [method, place, status, code, words] of table) {
    const answer = await send(results + place, { method });
    assertProblem(answer, status, code);
    assert.match(answer.json<Problem>().detail!, words, `${method} ${place}`);
  }
  assertProblem(await get(`${server.url}/v1/services/scores/results/42`), 404, 'unknown-service');
  assertProblem(await get(`${server.url}/v1/services/_/results/42`), 400, 'invalid-name');
});

test('lists by key, and ?on-complete=303', async (t) => {
  const { server, submitFor, backend, results } = await scores(t);
  const finish = gate();
  backend.behave(async () => {
    await finish.opened;
    return { body: 'x' };
  });
  const { id, status, result } = await submitFor('42');
  await submitFor('43');
  const listed = async (query: string): Promise<(string | null)[]> =>
    (await get(`${server.url}/v1/operations?${query}`)).json<Page<Operation>>().items.map((each) => each.key);
  assert.deepEqual(await listed('key=42'), ['42']);
  assert.deepEqual(await listed('key=42&service=score&status=queued,running'), ['42']);
  assert.deepEqual(await listed('key=4'), []);
  assertProblem(await get(`${server.url}/v1/operations?key=`), 400, 'invalid-parameter');

  const before = await get(`${status}?on-complete=303`);
  assert.deepEqual([before.status, before.json<Operation>().id], [200, id]);
  const waiting = get(`${status}?on-complete=303`, {
    headers: { Prefer: 'wait=20', 'If-None-Match': before.headers['etag']! },
  });
  finish.open();
  await ended(status);
  await waiting;
  const after = await get(`${status}?on-complete=303`);
  assert.deepEqual(
    [after.status, after.headers['location'], after.headers['operation-id'], after.body.length],
    [303, result, id, 0],
  );
  assert.equal((await get(after.headers['location']!)).text, 'x');
  assert.equal((await get(status)).status, 200);
  assertProblem(await get(`${status}?on-complete=302`), 400, 'invalid-parameter');
  assert.equal((await get(`${results}/42`)).text, 'x');
});

test('?include=result embeds JSON as it came, text as a string and other bytes as base64, up to 64 KB', async (t) => {
  const backend = await backendFor(t);
  const server = await serverFor(t, {
    services: { score: { target: { url: backend.url }, retry: { maxAttempts: 1 } } },
  });
  const included = async (status: number, type: string | undefined, body: string | Uint8Array): Promise<string> => {
    backend.behave(() => ({ status, headers: type === undefined ? {} : { 'Content-Type': type, 'X-A': 'b' }, body }));
    const made = await submit(server.url, 'score');
    await ended(made.status);
    const answer = await get(`${made.status}?include=result`);
    assert.equal(answer.status, 200, answer.text.slice(0, 300));
    answer.json();
    return answer.text.slice(answer.text.lastIndexOf('"result":') + '"result":'.length, -1);
  };
  const json = await included(200, 'application/json', fragile);
  assert.ok(json.startsWith('{"status":200,"headers":[') && json.includes('["X-A","b"]'), json);
  assert.ok(json.endsWith(`,"body":${fragile}}`), json);
  assert.ok((await included(404, 'application/problem+json; charset=utf-8', ' [1] ')).endsWith('"body": [1] }'));
  assert.match(await included(404, 'application/problem+json', '[1]'), /^\{"status":404,/);
  // A string means the bytes of a text, so that JSON that is a string goes as one.
  assert.ok((await included(200, 'application/json', ' "a"')).endsWith('"body":" \\"a\\""}'));
  assert.ok(
    (await included(200, 'application/json', '{"a":1}]')).endsWith('"body":"{\\"a\\":1}]"}'),
    'what is no JSON goes as text',
  );
  assert.ok((await included(200, 'application/json', '')).endsWith('"body":""}'));
  assert.ok((await included(200, 'text/plain', 'ä\n')).endsWith('"body":"ä\\n"}'));
  assert.ok((await included(200, 'text/plain', '[1]')).endsWith('"body":"[1]"}'));
  assert.ok(
    (await included(200, 'application/json', Uint8Array.of(0x22, 0xff, 0x22))).endsWith('"bodyBase64":"Iv8i"}'),
  );
  assert.ok((await included(200, undefined, 'x'.repeat(65_536))).endsWith(`"body":"${'x'.repeat(65_536)}"}`));
  assert.equal(await included(200, undefined, 'x'.repeat(65_537)), 'null');
  assert.equal(await included(401, 'text/plain', 'log in').then((text) => text.includes('"status":401')), true);

  backend.behave(() => new Promise(() => undefined));
  const open = await submit(server.url, 'score');
  assert.equal((await get(`${open.status}?include=result`)).json<Operation>().result, null);
  await send(open.status, { method: 'DELETE' });
  const gone = (await get(`${open.status}?include=result`)).json<Operation>();
  assert.deepEqual([gone.status, gone.result], ['cancelled', null]);
  assert.equal('result' in (await statusOf(open.status)), false);
  assertProblem(await get(`${open.status}?include=everything`), 400, 'invalid-parameter');
});
