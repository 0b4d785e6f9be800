// What belongs to another namespace does not exist: the same 404 as for what never was.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { get, post, type Received, send } from '../support/http.ts';
import { assertProblem, submit } from '../support/operations.ts';
import { serverFor, type TestServer } from '../support/server.ts';
import { leaseCall, reply, takeOne } from '../support/pull-worker.ts';

const jobs = { jobs: { target: { pull: true } } };
const together = (t: Parameters<typeof serverFor>[0]): Promise<TestServer> =>
  serverFor(t, { services: jobs, namespaces: ['red', 'blue'] });

/** The whole answer but for what names this very request. */
function comparable({ status, rawHeaders, body }: Received): unknown {
  const fields = [];
  for (let at = 0; at < rawHeaders.length; at += 2)
    if (!/^(date|request-id)$/i.test(rawHeaders[at]!)) fields.push([rawHeaders[at]!.toLowerCase(), rawHeaders[at + 1]]);
  const problem = body.toString('utf8').replace(/"instance":"[^"]*"/, '"instance":""');
  return { status, fields: fields.filter(([name]) => name !== 'content-length'), problem };
}

test("unknown ids and other namespaces' ids are the same 404, byte for byte but for the instance", async (t) => {
  const server = await together(t);
  const key = server.key('blue');
  const pending = await submit(server.url, 'jobs', { body: 'x', key: server.key('red') });
  const done = await submit(server.url, 'jobs', { body: 'y', key: server.key('red') });
  const leases = (await leaseCall(server.url, 'jobs', { key: server.key('red'), max: 2 })).leases;
  const { token } = leases.find(({ operation }) => operation.id === done.id)!;
  assert.equal((await reply(server.url, token, 'secret')).status, 200);

  const other = pending.id.replace(/^./, (digit) => (digit === '0' ? '1' : '0'));
  const looks: ((id: string) => Promise<Received>)[] = [
    (id) => get(`${server.url}/v1/operations/${id}`, { key }),
    (id) => get(`${server.url}/v1/operations/${id}`, { key, headers: { Prefer: 'wait=1', 'If-None-Match': 'W/"1"' } }),
    (id) => get(`${server.url}/v1/operations/${id}/result`, { key }),
    (id) => get(`${server.url}/v1/operations/${id}/result?envelope=json`, { key }),
    (id) => get(`${server.url}/v1/operations/${id}/timeline`, { key }),
    (id) => send(`${server.url}/v1/operations/${id}`, { key, method: 'DELETE' }),
    (id) => send(`${server.url}/v1/operations/${id}?purge=true`, { key, method: 'DELETE' }),
    (id) => send(`${server.url}/v1/operations/${id}`, { key, method: 'HEAD' }),
  ];
  for (const [index, look] of looks.entries()) {
    const unknown = comparable(await look(other));
    for (const id of [pending.id, done.id, `${'f'.repeat(32)}001`, 'x', pending.id.toUpperCase(), `${pending.id}0`])
      assert.deepEqual(comparable(await look(id)), unknown, `look ${index} at ${id}`);
  }
  assertProblem(await get(`${server.url}/v1/operations/${other}`, { key }), 404, 'not-found');

  // None of it did anything to the operations of the other namespace.
  const red = { key: server.key('red') };
  assert.equal((await get(pending.status, red)).json()['status'], 'running');
  assert.equal((await get(done.result, red)).text, 'secret');
});

test('a namespace sees its own operations in lists, whatever it filters by, and its own work in leases', async (t) => {
  const server = await together(t);
  const red = server.key('red');
  const blue = server.key('blue');
  const mine = await submit(server.url, 'jobs', {
    body: 'mine',
    key: red,
    headers: { 'Correlation-Id': 'shared', 'Operation-Labels': 'a=b' },
  });

  const queries = [
    '',
    '?service=jobs',
    '?correlationId=shared',
    '?label.a=b',
    '?status=queued',
    `?correlationId=${mine.id}`,
  ];
  for (const query of queries) {
    const items = async (key: string): Promise<string[]> =>
      (await get(`${server.url}/v1/operations${query}`, { key }))
        .json<{ items: { id: string }[] }>()
        .items.map(({ id }) => id);
    assert.deepEqual(await items(blue), [], `blue, ${query}`);
    if (!query.includes(mine.id)) assert.deepEqual(await items(red), [mine.id], `red, ${query}`);
  }
  assert.deepEqual((await leaseCall(server.url, 'jobs', { key: blue, max: 10 })).leases, []);
  assert.equal((await takeOne(server.url, 'jobs', { key: red })).operation.id, mine.id);
});

test('work that nobody keeps stays in its namespace too', async (t) => {
  const server = await together(t);
  const forgotten = await post(`${server.url}/v1/call/jobs`, {
    body: 'secret of red',
    key: server.key('red'),
    headers: { 'Operation-Durability': 'none' },
  });
  assert.equal(forgotten.status, 202);

  assert.deepEqual((await leaseCall(server.url, 'jobs', { key: server.key('blue'), max: 10 })).leases, []);
  const { leases } = await leaseCall(server.url, 'jobs', { key: server.key('red'), max: 10 });
  assert.deepEqual(
    leases.map(({ request }) => request.body),
    ['secret of red'],
  );
});

test('a lease token of another namespace is the same 404 as one that was never issued, in a URL and in an envelope', async (t) => {
  const server = await together(t);
  const blue = server.key('blue');
  await submit(server.url, 'jobs', { body: 'x', key: server.key('red') });
  const { token } = await takeOne(server.url, 'jobs', { key: server.key('red') });
  const forged = token.replace(/.$/, (digit) => (digit === 'A' ? 'B' : 'A'));

  const answers = [];
  for (const one of [forged, token])
    answers.push(comparable(await post(`${server.url}/v1/leases/${one}/reply`, { body: 'theft', key: blue })));
  assert.deepEqual(answers[1], answers[0]);
  const { settled } = await leaseCall(server.url, 'jobs', {
    key: blue,
    settle: [forged, token].map((one) => ({ token: one, reply: { body: 'theft' } })),
  });
  assert.deepEqual(settled[1], settled[0]);
  assert.deepEqual([settled[0]!.status, settled[0]!.code], [404, 'not-found']);
});

test('a flood of one namespace does not hold up the work of another', async (t) => {
  const server = await together(t);
  await Promise.all(
    Array.from({ length: 60 }, () => submit(server.url, 'jobs', { body: 'flood', key: server.key('red') })),
  );
  await Promise.all(
    Array.from({ length: 3 }, () => submit(server.url, 'jobs', { body: 'few', key: server.key('blue') })),
  );

  const few = await leaseCall(server.url, 'jobs', { key: server.key('blue'), max: 5 });
  assert.deepEqual(
    few.leases.map(({ request }) => request.body),
    ['few', 'few', 'few'],
  );
});

test('a missing, malformed and unknown key get one and the same 401', async (t) => {
  const server = await together(t);
  const answers = [];
  for (const authorization of [
    undefined,
    'Bearer',
    'Bearer ',
    'Basic eDp5',
    `Bearer ${'x'.repeat(32)}`,
    `bearer${server.key('red')}`,
  ]) {
    const headers = authorization === undefined ? {} : { Authorization: authorization };
    answers.push(await get(`${server.url}/v1/operations`, { headers }));
  }
  assertProblem(answers[0]!, 401, 'unauthenticated');
  assert.match(answers[0]!.headers['www-authenticate']!, /^Bearer/);
  for (const answer of answers) assert.deepEqual(comparable(answer), comparable(answers[0]!));
});
