// Subscriptions from somebody who means harm: names, documents and filters that are wrong, targets nobody may be led to, and tokens and cursors of others.
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { get, post, type Received, send } from '../support/http.ts';
import { assertProblem as problemOf } from '../support/operations.ts';
import { answerLease, takeOne } from '../support/pull-worker.ts';
import { type RequestParts } from '../support/raw-http.ts';
import { callbackFields } from '../support/receiver.ts';
import { serverFor } from '../support/server.ts';
import { pullEvents, putSubscription, subscriptionAt, subscriptionUrl } from '../support/subscribers.ts';
import { cloudEvent, publish, structured } from '../support/topics.ts';
import { assertProblem, underAttack, type Victim } from '../support/victim.ts';

const json = [['Content-Type', 'application/json']] as const;
const target = { pull: true };
const nested = (depth: number): unknown => (depth === 0 ? { exact: { type: 'x' } } : { not: nested(depth - 1) });
const of = (n: number): unknown => ({ any: Array.from({ length: n }, (_, i) => ({ exact: { type: `t${i}` } })) });

const put = (victim: Victim, name: string, document: unknown): ReturnType<Victim['ask']> =>
  victim.ask({
    method: 'PUT',
    path: `/v1/subscriptions/${name}`,
    headers: json,
    body: typeof document === 'string' ? document : JSON.stringify(document),
  });

/** What is wrong, and where. */
const documents: readonly (readonly [document: unknown, status: number, code: string, pointer: string | undefined])[] =
  [
    ['', 400, 'invalid-parameter', '/target'],
    ['[]', 400, 'invalid-parameter', ''],
    ['null', 400, 'invalid-parameter', ''],
    ['{"topic":"a","target":{"pull":true}', 400, 'invalid-json', undefined],
    ['{"topic":"a","topic":"b","target":{"pull":true}}', 400, 'invalid-json', undefined],
    ['{"__proto__":{},"topic":"a","target":{"pull":true}}', 400, 'forbidden-key', undefined],
    [`{"topic":"a","filter":${'['.repeat(5000)}}`, 400, 'payload-too-complex', undefined],
    [{ target }, 400, 'invalid-parameter', '/topic'],
    [{ topic: 'a' }, 400, 'invalid-parameter', '/target'],
    [{ topic: 'a', topics: ['b'], target }, 400, 'invalid-parameter', '/topics'],
    [{ topics: [], target }, 400, 'invalid-parameter', '/topics'],
    [{ topics: Array.from({ length: 33 }, (_, i) => `t${i}`), target }, 400, 'invalid-parameter', '/topics'],
    [{ topics: ['a', 'b..c'], target }, 400, 'invalid-filter', '/topics/1'],
    ...[
      '',
      '.',
      'a.',
      '.a',
      'a b',
      '../../etc',
      'a/b',
      'a*',
      '*a.b',
      '>',
      '$SYS',
      'a\0b',
      'а',
      'x'.repeat(256),
      7,
      null,
    ].map((topic) => [{ topic, target }, 400, 'invalid-filter', '/topic'] as const),
    [{ topic: '**.a.**.b.**.c.**.d.**', target }, 400, 'invalid-filter', '/topic'],
    [{ topic: 'a', filter: 'type', target }, 400, 'invalid-filter', '/filter'],
    [{ topic: 'a', filter: { sql: 'x' }, target }, 400, 'invalid-filter', '/filter'],
    [{ topic: 'a', filter: { exact: {}, not: {} }, target }, 400, 'invalid-filter', '/filter'],
    [{ topic: 'a', filter: { exact: { Type: 'x' } }, target }, 400, 'invalid-filter', '/filter/exact'],
    [{ topic: 'a', filter: { exact: { type: /x/ } }, target }, 400, 'invalid-filter', '/filter/exact/type'],
    [{ topic: 'a', filter: nested(9), target }, 400, 'invalid-filter', undefined],
    [{ topic: 'a', filter: of(65), target }, 400, 'invalid-filter', '/filter'],
    [{ topic: 'a', target: { pull: false } }, 400, 'invalid-parameter', '/target/pull'],
    [{ topic: 'a', target: { pull: true, url: 'https://example.com' } }, 400, 'invalid-parameter', '/target'],
    [{ topic: 'a', target: { pull: true, secret: 'x' } }, 400, 'invalid-parameter', '/target/secret'],
    [{ topic: 'a', target: { amqp: 'x' } }, 400, 'unknown-field', '/target/amqp'],
    [{ topic: 'a', target: { service: 'nobody' } }, 422, 'unknown-target', '/target/service'],
    [{ topic: 'a', target: { service: '../x' } }, 400, 'invalid-parameter', '/target/service'],
    [{ topic: 'a', target, from: 'later' }, 400, 'invalid-parameter', '/from'],
    [{ topic: 'a', target, from: -1 }, 400, 'invalid-parameter', '/from'],
    [{ topic: 'a', target, from: 1.5 }, 400, 'invalid-parameter', '/from'],
    [{ topic: 'a', target, maxInFlight: 0 }, 400, 'invalid-parameter', '/maxInFlight'],
    [{ topic: 'a', target, ordered: 'yes' }, 400, 'invalid-parameter', '/ordered'],
    [{ topic: 'a', target, lease: 30 }, 400, 'invalid-parameter', '/lease'],
    [{ topic: 'a', target, retry: { attempts: 3 } }, 400, 'unknown-field', '/retry/attempts'],
    [{ topic: 'a', target, retry: { maxAttempts: 0 } }, 400, 'invalid-parameter', '/retry/maxAttempts'],
    [
      { topic: 'a', target, retry: { initialDelay: '1m', maxDelay: '1s' } },
      400,
      'invalid-parameter',
      '/retry/maxDelay',
    ],
    [{ topic: 'a', target, deadLetters: true }, 400, 'unknown-field', '/deadLetters'],
    ...[
      'http://127.0.0.1/',
      'http://localhost/x',
      'http://[::ffff:7f00:1]/',
      'http://169.254.169.254/latest',
      'http://10.0.0.1:22/',
    ].map((url) => [{ topic: 'a', target: { url } }, 422, 'callback-url-forbidden', '/target/url'] as const),
    ...[
      'ftp://example.com/',
      'http://user@example.com/',
      'http:example.com',
      'http:/x',
      'example.com',
      '',
      7,
      'http://a%2eb/',
    ].map((url) => [{ topic: 'a', target: { url } }, 400, 'invalid-parameter', '/target/url'] as const),
    ...['short', 'whsec_x', '***', [], ['whsec_a', 'whsec_b', 'whsec_c'], null].map(
      (secret) =>
        [
          { topic: 'a', target: { url: 'https://example.com/', secret } },
          400,
          'invalid-parameter',
          '/target/secret',
        ] as const,
    ),
    ...['Host', 'Content-Length', 'webhook-id', 'a b', 'Content-Type'].map(
      (name) =>
        [
          { topic: 'a', target: { url: 'https://example.com/', headers: { [name]: 'x' } } },
          400,
          'invalid-parameter',
          `/target/headers/${name}`,
        ] as const,
    ),
  ];

test('wrong documents are refused by the field that is wrong, and leave no subscription behind', async (t) => {
  await underAttack(t, {}, async (victim) => {
    await victim.untouchedBy(async () => {
      for (const [document, status, code, pointer] of documents) {
        const said = JSON.stringify(document).slice(0, 120);
        const answer = await put(victim, 's', document);
        assert.deepEqual([said, answer.status, answer.json<{ code: string }>().code], [said, status, code]);
        assertProblem(answer, status, code);
        if (pointer !== undefined)
          assert.equal(answer.json<{ errors: { pointer: string }[] }>().errors[0]?.pointer, pointer, said);
      }
      const large = await put(victim, 's', { topic: 'a', target, filter: 'x'.repeat(300_000) });
      assertProblem(large, 413, 'payload-too-large');
      assert.deepEqual((await victim.ask({ path: '/v1/subscriptions' })).json(), { items: [], next: null });
    });
  });
});

test('impossible names are told from unknown ones, on every route', async (t) => {
  const ask = (method: string, name: string, more: string): RequestParts => ({
    method,
    path: `/v1/subscriptions/${name}${more}`,
    ...(method === 'GET' || method === 'DELETE' ? {} : { headers: json, body: '{"topic":"a","target":{"pull":true}}' }),
  });
  const routes = [
    ['GET', ''],
    ['DELETE', ''],
    ['GET', '/deliveries'],
    ['GET', '/dead-letters'],
    ['DELETE', '/dead-letters'],
  ] as const;
  const posts = ['/pause', '/resume', '/redrive', '/leases'];
  await underAttack(t, {}, async (victim) => {
    await victim.untouchedBy(async () => {
      for (const name of ['a%2fb', 'a.b', '-a', "'%3b%20drop", 'x'.repeat(200), '%E2%80%AEx']) {
        assertProblem(await victim.ask(ask('PUT', name, '')), 400, 'invalid-name');
        for (const [method, more] of routes)
          assertProblem(await victim.ask(ask(method, name, more)), 400, 'invalid-name');
        for (const more of posts) assertProblem(await victim.ask(ask('POST', name, more)), 400, 'invalid-name');
      }
      for (const name of ['%2e%2e', '%00', 'a%'])
        assertProblem(await victim.ask(ask('PUT', name, '')), 400, 'bad-path');
      for (const [method, more] of routes)
        assertProblem(await victim.ask(ask(method, 'nobody', more)), 404, 'unknown-subscription');
      for (const more of posts) {
        const empty = { method: 'POST', path: `/v1/subscriptions/nobody${more}`, headers: json, body: '{}' };
        assertProblem(await victim.ask(empty), 404, 'unknown-subscription');
        assertProblem(await victim.ask({ ...empty, body: '{"x":1}' }), 400, 'unknown-field');
      }
    });
  });
});

test('wrong lease calls are refused whole, and nothing of them is recorded', async (t) => {
  const { url } = await serverFor(t);
  await putSubscription(url, 's', { topic: 'a', target });
  await publish(url, 'a', { headers: structured, body: cloudEvent('1') });
  const { leases } = await pullEvents(url, 's', { waitSeconds: 10, leaseSeconds: 600 });
  const { token } = leases[0]!;
  const refused: readonly (readonly [body: Readonly<Record<string, unknown>>, code: string])[] = [
    [{ max: 0 }, 'invalid-parameter'],
    [{ max: 1001 }, 'invalid-parameter'],
    [{ worker: 'a b' }, 'invalid-name'],
    [{ waitSeconds: -1 }, 'invalid-parameter'],
    [{ leaseSeconds: 0 }, 'invalid-parameter'],
    [{ leaseSeconds: 1e9 }, 'invalid-parameter'],
    [{ settle: {} }, 'invalid-parameter'],
    [{ settle: [{ token, ack: true }, { token }] }, 'invalid-parameter'],
    [{ settle: [{ token, ack: true, nack: {} }] }, 'invalid-parameter'],
    [{ settle: [{ token, ack: false }] }, 'invalid-parameter'],
    [{ settle: [{ token, nack: { retryAfter: 'soon' } }] }, 'invalid-parameter'],
    [{ settle: [{ token, nack: { message: 'x'.repeat(2001) } }] }, 'invalid-parameter'],
    [{ settle: [{ token, nack: { why: 1 } }] }, 'unknown-field'],
    [{ settle: [{ token, reply: {} }] }, 'unknown-field'],
    [{ settle: Array.from({ length: 1001 }, () => ({ token, ack: true })) }, 'invalid-parameter'],
  ];
  for (const [body, code] of refused) problemOf(await post(subscriptionUrl(url, 's', '/leases'), { body }), 400, code);
  for (const [verb, body] of [
    ['ack', { done: true }],
    ['nack', { retryAfter: -1 }],
    ['extend', { leaseSeconds: 'x' }],
    ['release', { x: 1 }],
  ] as const)
    assert.equal((await answerLease(url, token, verb, { body })).status, 400, verb);
  assert.deepEqual((await subscriptionAt(url, 's')).open, { waiting: 0, sending: 1, held: 0, dead: 0 });
});

test('tokens of the other kind, forged and foreign ones answer nothing', async (t) => {
  const server = await serverFor(t, { namespaces: ['alice', 'bob'], services: { jobs: { target: { pull: true } } } });
  const { url } = server;
  const [alice, bob] = [{ key: server.key('alice') }, { key: server.key('bob') }];
  for (const own of [alice, bob])
    assert.equal(
      (await send(subscriptionUrl(url, 's'), { method: 'PUT', ...own, body: { topic: 'a', target } })).status,
      201,
    );
  for (const own of [alice, bob])
    assert.equal(
      (await post(`${url}/v1/topics/a/events`, { ...own, headers: structured, body: cloudEvent('1') })).status,
      202,
    );
  const lease = async (own: { key: string }): Promise<string> =>
    (await post(subscriptionUrl(url, 's', '/leases'), { ...own, body: { waitSeconds: 10, leaseSeconds: 600 } })).json<{
      leases: { token: string }[];
    }>().leases[0]!.token;
  const [own, other] = [await lease(alice), await lease(bob)];
  assert.equal((await post(`${url}/v1/call/jobs`, { ...alice, body: 'x' })).status, 202);
  const operation = (await takeOne(url, 'jobs', alice)).token;

  const is404 = (answer: Received, detail: RegExp): void => {
    problemOf(answer, 404, 'not-found');
    assert.match(answer.json<{ detail: string }>().detail, detail);
  };
  for (const verb of ['reply', 'fail', 'progress'])
    is404(await answerLease(url, own, verb, { body: {} }), /token of an event.*ack, nack/);
  for (const verb of ['ack', 'nack']) is404(await answerLease(url, operation, verb), /token of an operation.*reply/);
  const parts = own.split('-');
  const forged = [
    own.replace(/^ev-/, ''),
    `ev-${operation}`,
    ...[1, 2, 3, 4].map((i) => parts.with(i, 'zz').join('-')),
    `${own}A`,
    own.slice(0, -1),
    own.toUpperCase(),
    'ev-1-1-1-1-AAAAAAAAAAAAAAAAAAAAAAAAAAA',
  ];
  for (const token of forged)
    for (const verb of ['ack', 'nack', 'extend', 'release'])
      is404(await answerLease(url, token, verb), /no lease has this token|token of/);
  // With a key of another namespace, and in the envelope of another one.
  for (const verb of ['ack', 'nack', 'extend', 'release'])
    is404(await answerLease(url, other, verb, alice), /no lease/);
  const settle = [
    { token: other, ack: true },
    { token: operation, ack: true },
    { token: 'x', release: true },
  ];
  const { settled } = (await post(subscriptionUrl(url, 's', '/leases'), { ...alice, body: { settle } })).json<{
    settled: { status: number }[];
  }>();
  assert.deepEqual(
    settled.map(({ status }) => status),
    [404, 404, 404],
  );
  for (const one of [alice, bob])
    assert.equal((await subscriptionAt(url, 's', one)).open.sending, 1, 'nothing of it was recorded');
  assert.equal((await answerLease(url, own, 'ack', alice)).status, 200);
  assert.equal((await answerLease(url, other, 'ack')).status, 200, 'the token alone is enough');
});

test('cursors of other lists, other namespaces and none at all are refused', async (t) => {
  const server = await serverFor(t, { namespaces: ['alice', 'bob'] });
  const { url } = server;
  const [alice, bob] = [{ key: server.key('alice') }, { key: server.key('bob') }];
  for (const [own, name] of [
    [alice, 's'],
    [alice, 'other'],
    [bob, 's'],
  ] as const) {
    const body = { topic: 'a', target, retry: { maxAttempts: 1 } };
    assert.equal((await send(subscriptionUrl(url, name), { method: 'PUT', ...own, body })).status, 201);
  }
  for (const id of ['1', '2', '3'])
    assert.equal(
      (await post(`${url}/v1/topics/a/events`, { ...alice, headers: structured, body: cloudEvent(id) })).status,
      202,
    );
  const lease = { max: 10, waitSeconds: 10, leaseSeconds: 600 };
  const { leases } = (await post(subscriptionUrl(url, 's', '/leases'), { ...alice, body: lease })).json<{
    leases: { token: string }[];
  }>();
  for (const { token } of leases) assert.equal((await answerLease(url, token, 'nack')).status, 200);
  const letters = (name: string, query: string, own: { key: string }): Promise<Received> =>
    get(subscriptionUrl(url, name, `/dead-letters${query}`), own);
  const { next } = (await letters('s', '?limit=1', alice)).json<{ next: string }>();
  assert.equal((await letters('s', `?cursor=${next}`, alice)).json<{ items: unknown[] }>().items.length, 2);
  problemOf(await letters('s', `?cursor=${next}`, bob), 400, 'invalid-cursor');
  problemOf(await letters('other', `?cursor=${next}`, alice), 400, 'invalid-cursor');
  for (const cursor of ['', '1', `${next}A`, `z${next}`, '%00', '-1'])
    problemOf(await letters('s', `?cursor=${cursor}`, alice), 400, 'invalid-cursor');
  for (const query of ['?limit=0', '?limit=1001', '?limit=x', '?state=dead', '?x=1'])
    problemOf(await letters('s', query, alice), 400, 'invalid-parameter');
  problemOf(await get(subscriptionUrl(url, 's', '/deliveries?state=dead'), alice), 400, 'invalid-parameter');
  for (const positions of ['', 'x', '-1', '1,,2', '1e3']) {
    const gone = send(subscriptionUrl(url, 's', `/dead-letters?positions=${positions}`), {
      method: 'DELETE',
      ...alice,
    });
    problemOf(await gone, 400, 'invalid-parameter');
  }
  for (const positions of [['1'], [0], [1.5], 'all', Array.from({ length: 1001 }, (_, i) => i + 1)])
    problemOf(
      await post(subscriptionUrl(url, 's', '/redrive'), { ...alice, body: { positions } }),
      400,
      'invalid-parameter',
    );
  assert.equal((await subscriptionAt(url, 's', alice)).open.dead, 3);
});

test('a secret is never shown, and stands in no list and no file of the store', async (t) => {
  const server = await serverFor(t, { data: 'folder', fields: await callbackFields(t) });
  const { url } = server;
  const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
  const document = { topic: 'a', target: { url: 'https://93.184.215.14/in', secret, headers: { 'X-Key': 'hush' } } };
  const answers = [
    await send(subscriptionUrl(url, 's'), { method: 'PUT', body: document }),
    await get(subscriptionUrl(url, 's')),
    await get(`${url}/v1/subscriptions`),
  ];
  for (const answer of answers) {
    assert.ok(answer.status < 300, answer.text);
    assert.ok(!answer.text.includes(secret) && !answer.text.includes('hush'));
  }
  const shown = answers[1]!.json<{ document: { target: unknown } }>().document;
  assert.deepEqual(shown.target, { url: 'https://93.184.215.14/in', headers: { 'X-Key': '***' }, secret: '***' });
  problemOf(await send(subscriptionUrl(url, 's'), { method: 'PUT', body: shown }), 400, 'invalid-parameter');

  await server.stop();
  const files = await readdir(server.config.data, { recursive: true, withFileTypes: true });
  const texts = files
    .filter((file) => file.isFile())
    .map((file) => readFile(join(file.parentPath, file.name), 'latin1'));
  const stored = (await Promise.all(texts)).join('');
  assert.ok(stored.includes('93.184.215.14'), 'its document is there');
  assert.ok(!stored.includes(secret.slice(6)));
});
