// The guard of outbound requests: what is connected to counts, at the moment of connecting.
import assert from 'node:assert/strict';
import type { LookupAddress } from 'node:dns';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import type { ServiceConfig } from '../config/config-shape.ts';
import { addressGuard, isPublicAddress } from './address.ts';
import { httpTarget } from './http.ts';

const address = (text: string): LookupAddress => ({ address: text, family: text.includes(':') ? 6 : 4 });

test('public addresses are public in every spelling, and their neighbours are not', () => {
  for (const one of [
    '1.1.1.1',
    '172.15.255.255',
    '172.32.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '223.255.255.255',
    '2606:4700::1111',
    '2a00::1',
    '64:ff9b::101:101',
    '::ffff:8.8.8.8',
    '2002:101:101::1',
  ])
    assert.equal(isPublicAddress(one), true, one);
  for (const one of [
    '172.31.255.255',
    '100.127.255.255',
    '::',
    '::1',
    'fe80::1%eth0',
    '::ffff:10.0.0.1',
    '2002:a00:1::',
    '2001::1',
    '2001:2::1',
    '4000::1',
    'nonsense',
    '',
  ])
    assert.equal(isPublicAddress(one), false, one);
});

test('a name is as good as the worst of its addresses, and local names need an allowed range', async () => {
  let found: string[] = [];
  const guard = addressGuard({
    isAllowed: (one) => one.startsWith('10.1.'),
    resolve: () => Promise.resolve(found.map(address)),
  });
  const verdict = (url: string, ...addresses: string[]): Promise<string> => {
    found = addresses;
    return guard.check(url).then(
      () => 'fits',
      (error: { code: string }) => error.code,
    );
  };
  assert.equal(await verdict('http://example.com/', '1.1.1.1', '2606:4700::1111'), 'fits');
  assert.equal(await verdict('http://example.com/', '1.1.1.1', '127.0.0.1'), 'target-forbidden');
  assert.equal(await verdict('http://example.com/', '1.1.1.1', '::ffff:10.0.0.1'), 'target-forbidden');
  assert.equal(await verdict('http://example.com/'), 'target-forbidden');
  assert.equal(await verdict('http://example.com/', '10.1.2.3'), 'fits');
  for (const host of ['db', 'api.internal', 'localhost', 'a.localhost', 'printer.local', 'api.internal.']) {
    assert.equal(await verdict(`http://${host}/`, '1.1.1.1'), 'target-forbidden', host);
    assert.equal(await verdict(`http://${host}/`, '10.1.2.3'), 'fits', host);
  }
});

test('a name that changes its address between the look and the connection connects to nobody', async (t) => {
  let connections = 0;
  const server = createServer((_, response) => response.end('private'));
  server.on('connection', () => connections++);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  let answers: string[] = [];
  const guard = addressGuard({
    isAllowed: () => false,
    resolve: () => Promise.resolve([address(answers.shift() ?? '127.0.0.1')]),
  });
  const service = {
    name: 'score',
    target: { kind: 'http', url: `http://rebind.example:${port}/`, headers: {} },
    maxBodyBytes: 1000,
  } as unknown as ServiceConfig;
  const target = httpTarget({ isGuarded: () => true, guard });
  t.after(() => target.close());
  answers = ['1.1.1.1'];
  await guard.check(`http://rebind.example:${port}/`);
  const send = (of: ServiceConfig, url?: string) =>
    target.send({
      service: of,
      ...(url === undefined ? {} : { url }),
      head: { method: 'GET', path: '', query: '', headers: [] },
      headers: [],
      body: new Uint8Array(0),
      bodyBytes: 0,
      timeoutMs: 5000,
      signal: new AbortController().signal,
    });
  for (let i = 0; i < 20; i++) {
    const sent = await send(service);
    assert.deepEqual(
      [sent.kind, 'code' in sent && sent.code, 'retry' in sent && sent.retry],
      ['failure', 'target-forbidden', false],
    );
  }
  // A literal is never looked up, so it is judged before.
  const literal = {
    ...service,
    target: { kind: 'http', url: `http://127.0.0.1:${port}/`, headers: {} },
  } as ServiceConfig;
  assert.equal((await send(literal)).kind, 'failure');
  assert.equal(connections, 0, 'nothing was connected to');
  // The control: without the guard the same request arrives.
  const open = httpTarget({ isGuarded: () => false, guard });
  t.after(() => open.close());
  const arrived = await open.send({
    service: literal,
    head: { method: 'GET', path: '', query: '', headers: [] },
    headers: [],
    body: new Uint8Array(0),
    bodyBytes: 0,
    timeoutMs: 5000,
    signal: new AbortController().signal,
  });
  assert.equal(arrived.kind, 'response');
  assert.equal(connections, 1);
});
