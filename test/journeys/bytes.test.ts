// Bodies are opaque: what a client sends reaches the backend or worker unchanged, and what comes back reaches the client unchanged.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backendFor } from '../support/backend.ts';
import { fragileJson, noise, otherBytes, sha256 } from '../support/fixtures.ts';
import { get, post } from '../support/http.ts';
import { resultOf, submit } from '../support/operations.ts';
import { serverFor } from '../support/server.ts';
import { leaseCall, leasedBody, reply, takeOne } from '../support/pull-worker.ts';

const bodies = Object.entries({ ...fragileJson, ...otherBytes });

test('1e999, 2^53+1, duplicate keys, binary and the like survive a push backend unchanged, both ways', async (t) => {
  const backend = await backendFor(t, ({ body, headers }) => ({
    headers: { 'Content-Type': headers['content-type']! },
    body,
  }));
  const server = await serverFor(t, { services: { echo: { target: { url: backend.url } } }, data: 'folder' });

  for (const [name, body] of bodies) {
    const headers = { 'Content-Type': 'application/json' };
    const waited = await post(`${server.url}/v1/call/echo`, { body, headers: { ...headers, Prefer: 'wait=30' } });
    assert.equal(waited.status, 200, name);
    assert.deepEqual(waited.body, Buffer.from(body), `${name}, waited for`);
    const { result } = await submit(server.url, 'echo', { body, headers });
    const looked = await resultOf(result);
    assert.deepEqual(looked.body, Buffer.from(body), `${name}, looked up`);
    assert.equal(looked.headers['content-length'], String(body.length));
    assert.equal(looked.headers['content-type'], 'application/json');
    assert.deepEqual(backend.requests.at(-1)!.body, Buffer.from(body), `${name}, at the backend`);
  }
});

test('the same bytes survive a pull worker, answered one by one', async (t) => {
  const server = await serverFor(t, { services: { echo: { target: { pull: true } } }, data: 'folder' });

  for (const [name, body] of bodies) {
    const { result } = await submit(server.url, 'echo', { body });
    const lease = await takeOne(server.url, 'echo');
    assert.deepEqual(leasedBody(lease), Buffer.from(body), `${name}, at the worker`);
    assert.equal((await reply(server.url, lease.token, body, { 'Content-Type': 'application/json' })).status, 200);
    assert.deepEqual((await get(result)).body, Buffer.from(body), name);
  }
});

test('in a settle envelope a JSON value is its source text, a string its UTF-8 bytes, and base64 anything else', async (t) => {
  const server = await serverFor(t, { services: { echo: { target: { pull: true } } } });
  const cases: [name: string, member: string, expected: Uint8Array][] = [
    ...Object.entries(fragileJson).map(([name, body]): [string, string, Uint8Array] => {
      const source = Buffer.from(body).toString('utf8').trim();
      return [name, `"body":${source}`, Buffer.from(source)];
    }),
    ['a string', '"body":"\\u00e4 \\"q\\" \\n"', Buffer.from('ä "q" \n')],
    ['an empty string', '"body":""', Buffer.alloc(0)],
    ['null', '"body":null', Buffer.from('null')],
    ['spaces around the value', '"body" :  {"a" : [1 ,2 ] }  ', Buffer.from('{"a" : [1 ,2 ] }')],
    ...Object.entries(otherBytes).map(([name, body]): [string, string, Uint8Array] => [
      name,
      `"bodyBase64":"${Buffer.from(body).toString('base64')}"`,
      body,
    ]),
    ['no body at all', '"status":200', Buffer.alloc(0)],
  ];
  const results = await Promise.all(cases.map(() => submit(server.url, 'echo', { body: 'x' })));
  const { leases } = await leaseCall(server.url, 'echo', { max: 100 });
  assert.equal(leases.length, cases.length);

  const items = leases.map(({ token }, index) => `{"token":"${token}","reply":{${cases[index]![1]}}}`);
  const answer = await post(`${server.url}/v1/services/echo/leases`, {
    body: `{"settle":[${items.join(',')}]}`,
    headers: { 'Content-Type': 'application/json' },
  });
  assert.deepEqual(
    answer.json<{ settled: { status: number }[] }>().settled.map(({ status }) => status),
    cases.map(() => 200),
    answer.text,
  );
  for (const [index, [name, , expected]] of cases.entries()) {
    const { result } = results.find(({ id }) => id === leases[index]!.operation.id)!;
    assert.deepEqual((await get(result)).body, Buffer.from(expected), name);
  }
});

/** At and around the size from which bodies are kept in pieces, and far beyond it. */
const sizes = [131_071, 131_072, 131_073, 262_144, 1_000_000, 9_000_000];

test('large bodies reach backend and client intact, 1 MB and 9 MB among them', async (t) => {
  const backend = await backendFor(t, ({ body }) => ({ body: Buffer.from(body).reverse() }));
  const server = await serverFor(t, { services: { mirror: { target: { url: backend.url } } }, data: 'folder' });

  for (const [index, size] of sizes.entries()) {
    const body = noise(size, index + 1);
    const { result } = await submit(server.url, 'mirror', { body });
    const answer = await resultOf(result);
    assert.equal(sha256(backend.requests[index]!.body), sha256(body), `${size} bytes at the backend`);
    assert.equal(sha256(Buffer.from(answer.body).reverse()), sha256(body), `${size} bytes at the client`);
    assert.equal(answer.headers['content-length'], String(size));
  }
});

test('large bodies reach a pull worker and come back intact, and survive a restart in between', async (t) => {
  const server = await serverFor(t, { services: { mirror: { target: { pull: true } } }, data: 'folder' });
  const accepted = [];
  for (const [index, size] of sizes.entries())
    accepted.push(await submit(server.url, 'mirror', { body: noise(size, index + 1) }));

  await server.restart();

  for (const _ of sizes) {
    const lease = await takeOne(server.url, 'mirror');
    const index = accepted.findIndex(({ id }) => id === lease.operation.id);
    const body = noise(sizes[index]!, index + 1);
    assert.equal(sha256(leasedBody(lease)), sha256(body), `${body.length} bytes at the worker`);
    assert.equal((await reply(server.url, lease.token, Buffer.from(body).reverse())).status, 200);
  }
  await server.restart();
  for (const [index, { result }] of accepted.entries())
    assert.equal(sha256(Buffer.from((await get(result)).body).reverse()), sha256(noise(sizes[index]!, index + 1)));
});

test('a body of unknown length, sent in chunks, is kept whole', async (t) => {
  const backend = await backendFor(t, ({ body }) => ({ body }));
  const server = await serverFor(t, { services: { echo: { target: { url: backend.url } } } });
  const body = noise(700_001, 5);
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < body.length; at += 50_000) yield body.subarray(at, at + 50_000);
  }

  const answer = await fetch(`${server.url}/v1/call/echo`, {
    method: 'POST',
    body: pieces(),
    duplex: 'half',
    headers: { Prefer: 'wait=30' },
  } as RequestInit);

  assert.equal(answer.status, 200);
  assert.equal(sha256(new Uint8Array(await answer.arrayBuffer())), sha256(body));
  assert.equal(backend.requests[0]!.headers['content-length'], String(body.length));
});

test('an encoded body is passed on still encoded, in both directions', async (t) => {
  const backend = await backendFor(t, ({ body }) => ({ headers: { 'Content-Encoding': 'br' }, body }));
  const server = await serverFor(t, { services: { echo: { target: { url: backend.url } } } });
  // Not even valid in its encoding: nobody on the way may look.
  const body = noise(300, 9);

  const { result } = await submit(server.url, 'echo', { body, headers: { 'Content-Encoding': 'gzip, br' } });
  const answer = await resultOf(result);

  assert.equal(backend.requests[0]!.headers['content-encoding'], 'gzip, br');
  assert.deepEqual(backend.requests[0]!.body, body);
  assert.equal(answer.headers['content-encoding'], 'br');
  assert.deepEqual(answer.body, body);
});
