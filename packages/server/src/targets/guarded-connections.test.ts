// What guarded services connect to, with resolvers that lie: canaries on loopback count who comes, and nobody may.
import assert from 'node:assert/strict';
import type { LookupAddress } from 'node:dns';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { ServiceConfig } from '../config/config-shape.ts';
import { type AddressGuard, addressGuard } from './address.ts';
import { httpTarget, type HttpTargetOptions } from './http.ts';

const address = (text: string): LookupAddress => ({ address: text, family: text.includes(':') ? 6 : 4 });
const addresses = (...texts: string[]): Promise<LookupAddress[]> => Promise.resolve(texts.map(address));
const unknown = (): Promise<never> =>
  Promise.reject(Object.assign(new Error('getaddrinfo ENOTFOUND'), { code: 'ENOTFOUND' }));

interface Canary {
  port: number;
  connections: number;
  requests: number;
  /** Ends the connections there are. */
  cut(): void;
}

async function canaryFor(
  t: TestContext,
  {
    host = '127.0.0.1',
    port = 0,
    answer = (_: IncomingMessage, response: ServerResponse): unknown => response.end('reached'),
  } = {},
): Promise<Canary> {
  const server = createServer((request, response) => {
    canary.requests++;
    answer(request, response);
  });
  const canary: Canary = { port: 0, connections: 0, requests: 0, cut: () => server.closeAllConnections() };
  server.on('connection', () => canary.connections++);
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, host, resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  canary.port = (server.address() as AddressInfo).port;
  return canary;
}

/** A way out with one service, whose name leads where `resolve` says. */
function wayOut(
  t: TestContext,
  {
    guard,
    port,
    guarded = true,
    ...options
  }: Partial<HttpTargetOptions> & { guard: AddressGuard; port: number; guarded?: boolean },
) {
  const target = httpTarget({ isGuarded: () => guarded, guard, ...options });
  t.after(() => target.close());
  return async (url = `http://rebind.example:${port}/`) => {
    const sent = await target.send({
      service: {
        name: 'score',
        target: { kind: 'http', url, headers: {} },
        maxBodyBytes: 1000,
      } as unknown as ServiceConfig,
      head: { method: 'GET', path: '', query: '', headers: [] },
      headers: [],
      messageId: 'm',
      body: new Uint8Array(0),
      bodyBytes: 0,
      timeoutMs: 5000,
      signal: new AbortController().signal,
    });
    return sent.kind === 'response' ? sent.response.status : [sent.code, sent.retry, sent.message];
  };
}

const refused = [
  'target-forbidden',
  false,
  'the target may not be used: its host is not public, or its port is not one for HTTP; nothing was sent',
];
const unreached = ['connection-failed', true, 'the backend could not be reached'];

/** Only there are two loopback addresses without asking for them. */
const twoAddresses = process.platform === 'linux' ? {} : { skip: 'skipped: only Linux has 127.0.0.2 by itself' };

test('S41: 1,000 tries of rebinding, and nobody comes', async (t) => {
  const canary = await canaryFor(t);
  let answers: (() => Promise<LookupAddress[]>)[] = [];
  const guard = addressGuard({
    isAllowed: () => false,
    resolve: () => (answers.length > 1 ? answers.shift()! : answers[0]!)(),
  });
  const send = wayOut(t, { guard, port: canary.port });
  const here = () => addresses('127.0.0.1');
  /** What the resolver says one time after the other, the last one for ever; and what then becomes of a request. */
  const tricks: [name: string, answers: (() => Promise<LookupAddress[]>)[], first: boolean, outcome: unknown][] = [
    ['first public, then private, with no time to live', [() => addresses('1.1.1.1'), here], true, refused],
    ['two A records, the last one private', [() => addresses('1.1.1.1', '127.0.0.1')], false, refused],
    ['two A records, the first one private', [() => addresses('127.0.0.1', '1.1.1.1')], false, refused],
    ['AAAA private and A public', [() => addresses('::1', '1.1.1.1')], false, refused],
    [
      'A public and AAAA that is the private one mapped',
      [() => addresses('1.1.1.1', '::ffff:127.0.0.1')],
      false,
      refused,
    ],
    ['a CNAME to the metadata of a cloud', [() => addresses('169.254.169.254')], false, refused],
    ['the address that means this machine', [() => addresses('0.0.0.0')], false, refused],
    ['an error, then private', [unknown, here], false, refused],
    ['public, an error, then private', [() => addresses('1.1.1.1'), unknown, here], true, unreached],
    ['no address at all', [() => addresses()], false, refused],
  ];
  for (let i = 0; i < 1000; i++) {
    const [name, told, first, outcome] = tricks[i % tricks.length]!;
    answers = [...told];
    const looked = await guard.check(`http://rebind.example:${canary.port}/`).then(
      () => true,
      () => false,
    );
    assert.equal(looked, first, name);
    assert.deepEqual(await send(), outcome, name);
    if (outcome === unreached) assert.deepEqual(await send(), refused, `${name}, the next attempt`);
  }
  assert.deepEqual(
    await send(`http://127.0.0.1:${canary.port}/`),
    refused,
    'a literal is never looked up, so it is judged before',
  );
  assert.equal(canary.connections, 0);
  // The control: without the guard the same request arrives.
  assert.equal(await wayOut(t, { guard, port: canary.port, guarded: false })(`http://127.0.0.1:${canary.port}/`), 200);
  assert.equal(canary.connections, 1);
});

test(
  'S42, S45: a connection stays where it was led to, a new one is judged anew, and an allowed address opens no other',
  twoAddresses,
  async (t) => {
    const friend = await canaryFor(t, { host: '127.0.0.2' });
    const canary = await canaryFor(t, { port: friend.port });
    let told = '127.0.0.2';
    const guard = addressGuard({ isAllowed: (one) => one === '127.0.0.2', resolve: () => addresses(told) });
    const send = wayOut(t, { guard, port: friend.port });
    assert.equal(await send(), 200);
    // The connection is free for the next request when the library has had its turn.
    await new Promise((resolve) => setImmediate(resolve));
    told = '127.0.0.1';
    assert.equal(await send(), 200);
    assert.deepEqual([friend.connections, friend.requests], [1, 2], 'the same connection');
    friend.cut();
    // One that notices the cut only when it writes says so once.
    let outcome = await send();
    if (Array.isArray(outcome) && outcome[0] === 'connection-failed') outcome = await send();
    assert.deepEqual(outcome, refused);
    assert.equal(canary.connections, 0);
  },
);

test('a resolver that was got around: the connection is looked at before anything is sent', async (t) => {
  const canary = await canaryFor(t);
  const guard = addressGuard({ isAllowed: () => false, resolve: () => addresses('1.1.1.1') });
  const bent: AddressGuard = {
    ...guard,
    lookup: (_, { all }, done) => (all ? done(null, [address('127.0.0.1')]) : done(null, '127.0.0.1', 4)),
  };
  assert.deepEqual(await wayOut(t, { guard: bent, port: canary.port })(), refused);
  assert.deepEqual([canary.connections, canary.requests], [1, 0]);
});

test('S44: a name that leads back to the server itself sends it nothing', async (t) => {
  const canary = await canaryFor(t);
  const guard = addressGuard({
    isAllowed: () => true,
    isOwn: (host, port) => host === '127.0.0.1' && port === canary.port,
    resolve: () => addresses('127.0.0.1'),
  });
  assert.deepEqual(await wayOut(t, { guard, port: canary.port })(), refused);
  assert.equal(canary.requests, 0);
});

test('S43: no redirect is followed, whatever its status and wherever it leads', twoAddresses, async (t) => {
  const canary = await canaryFor(t);
  const places = [`http://127.0.0.1:${canary.port}/`, 'file:///etc/passwd', '/again', 'http://169.254.169.254/latest'];
  const statuses = [300, 301, 302, 303, 307, 308];
  let [status, location] = [300, ''];
  const friend = await canaryFor(t, {
    host: '127.0.0.2',
    answer: (_, response) => response.writeHead(status, { Location: location, Refresh: `0; url=${location}` }).end(),
  });
  const guard = addressGuard({ isAllowed: (one) => one === '127.0.0.2', resolve: () => addresses('127.0.0.2') });
  const send = wayOut(t, { guard, port: friend.port });
  for (status of [...statuses, 200])
    for (location of places) assert.equal(await send(), status, `${status} ${location}`);
  assert.equal(
    friend.requests,
    (statuses.length + 1) * places.length,
    'one request each: also nothing on the same host',
  );
  assert.equal(canary.connections, 0);
});

test('S46: proxies of the environment are not used', twoAddresses, async (t) => {
  const proxy = await canaryFor(t);
  const friend = await canaryFor(t, { host: '127.0.0.2' });
  const names = ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'NODE_USE_ENV_PROXY'].flatMap((name) => [
    name,
    name.toLowerCase(),
  ]);
  const before = names.map((name) => process.env[name]);
  t.after(() => {
    for (const [i, name] of names.entries())
      if (before[i] === undefined) delete process.env[name];
      else process.env[name] = before[i];
  });
  for (const name of names) process.env[name] = /use/i.test(name) ? '1' : `http://127.0.0.1:${proxy.port}`;
  const guard = addressGuard({ isAllowed: (one) => one === '127.0.0.2', resolve: () => addresses('127.0.0.2') });
  for (const guarded of [true, false])
    assert.equal(await wayOut(t, { guard, port: friend.port, guarded })(`http://127.0.0.2:${friend.port}/`), 200);
  assert.deepEqual([friend.requests, proxy.connections], [2, 0]);
});

test('why a guarded service could not be reached stands in the log alone, so that nobody scans ports by it', async (t) => {
  const canary = await canaryFor(t, { answer: (request) => request.socket.resetAndDestroy() });
  const gone = await new Promise<number>((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
  const lines: unknown[] = [];
  const guard = addressGuard({
    isAllowed: () => true,
    resolve: (name) => (name === 'unknown.example' ? unknown() : addresses('127.0.0.1')),
  });
  const log = {
    info: (event: string, fields?: Record<string, unknown>) => void lines.push([event, fields?.['detail']]),
  };
  const send = wayOut(t, { guard, port: canary.port, log });
  for (const url of [
    `http://127.0.0.1:${gone}/`,
    'http://unknown.example/',
    `http://rebind.example:${canary.port}/`,
    `https://rebind.example:${canary.port}/`,
  ])
    assert.deepEqual(await send(url), unreached, url);
  assert.equal(lines.length, 4);
  assert.match(JSON.stringify(lines), /ECONNREFUSED.*ENOTFOUND/);
  // The operator's own services say it to everybody who may see them.
  const open = await wayOut(t, { guard, port: gone, guarded: false })(`http://127.0.0.1:${gone}/`);
  assert.match(String(open), /ECONNREFUSED/);
});
