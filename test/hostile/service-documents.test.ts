// Services over the API from somebody who means harm: wrong documents, impossible names, and targets that lead where callers may not send anybody.
import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { test } from 'node:test';
import { backendFor } from '../support/backend.ts';
import { get, post, send } from '../support/http.ts';
import { resultOf, submit } from '../support/operations.ts';
import { serverFor } from '../support/server.ts';
import { assertProblem, underAttack, type Victim } from '../support/victim.ts';

const json = [['Content-Type', 'application/json']] as const;
const pull = { target: { pull: true } };

/** Private, local and reserved addresses in every spelling that a URL parser takes (guard rows S1 to S35). */
const hosts: readonly string[] = `
  127.1 0177.0.0.1 0x7f.1 2130706433 017700000001 0x7f000001 127.0.0.1. 0 0.0.0.0 [::] [::1] [::ffff:127.0.0.1]
  [::ffff:7f00:1] [0:0:0:0:0:ffff:127.0.0.1] [::127.0.0.1] [::ffff:0:127.0.0.1] [64:ff9b::7f00:1]
  [64:ff9b::a9fe:a9fe] [64:ff9b:1::a00:1] [2002:7f00:1::] [2002:a9fe:a9fe::1] [2001:0:53aa:64c::1] [5f00::1]
  [100::1] [3fff::1] [2001:db8::1] [fe80::1] [fd00:ec2::254] [fc00::1] [ff02::1] 169.254.169.254 2852039166
  [::ffff:a9fe:a9fe] 100.100.100.200 192.0.0.192 10.0.0.1 172.16.0.1 192.168.0.1 100.64.0.1 198.18.0.1 192.0.2.1
  192.88.99.1 198.51.100.1 203.0.113.9 224.0.0.1 240.0.0.1 255.255.255.255 ①②⑦.⓪.⓪.① 127。0。0。1 ⓛⓞⓒⓐⓛⓗⓞⓢⓣ
  LOCALHOST localhost. localhost unix metadata.google.internal`
  .trim()
  .split(/\s+/);

/** Ports that are not for HTTP, whatever is behind them (S39). */
const ports = ['0', '1', '22', '25', '81', '110', '1023', '2375', '3306', '5432', '6379', '11211', '27017'];

/** What a parser takes for a URL and a person may take for another one (S33 to S35, S38). */
const disguises: readonly string[] = [
  'http://foo@127.0.0.1/',
  'http://example.com@127.0.0.1/',
  'http://1.1.1.1&@127.0.0.1/',
  'http://127.0.0.1#@example.com/',
  'http://example.com\\@127.0.0.1/',
  'http:127.0.0.1/',
  'http:\\\\127.0.0.1/',
  'http:/127.0.0.1',
  ' http://127.0.0.1',
  'gopher://example.com/',
  'file:///etc/passwd',
  'data:text/plain,x',
  'unix:/var/run/docker.sock',
  'ws://example.com/',
  'localhost:8080',
];

/** What is no URL at all (S20, S36, S37, S39). */
const urls: readonly string[] = [
  'http://exa\tmple.com/',
  'http://exa\nmple.com/',
  'http://[fe80::1%25eth0]/',
  'http://a%2eb/',
  'http://127.0.0.1%2f.example.com/',
  'http://127.0.0.1%00.example.com/',
  'http://example.com:99999/',
  'http://127.0.0.1#frag',
  'http://127.0.0.1?query',
  '/score',
  'http://',
  '',
];

const put = (victim: Victim, name: string, document: unknown): ReturnType<Victim['ask']> =>
  victim.ask({
    method: 'PUT',
    path: `/v1/services/${name}`,
    headers: json,
    body: typeof document === 'string' ? document : JSON.stringify(document),
  });

/** The services there are, by name: none but the two of the configuration. */
async function assertNothingKept(victim: Victim): Promise<void> {
  const { items } = (await victim.ask({ path: '/v1/services' })).json<{ items: { name: string }[] }>();
  assert.deepEqual(items.map(({ name }) => name).toSorted(), ['bystander', 'work']);
}

test('targets over the API that are not public are refused with 422, and nothing is kept', async (t) => {
  await underAttack(t, { services: { work: pull } }, async (victim) => {
    const refusedTarget = async (url: string): Promise<string> => {
      const answer = await put(victim, 'mine', { target: { url } });
      assert.equal(answer.status, 422, `${url}: ${answer.text}`);
      assertProblem(answer, 422, 'target-forbidden');
      const { detail, errors } = answer.json<{ detail: string; errors: { pointer: string }[] }>();
      assert.equal(errors[0]!.pointer, '/target/url');
      return detail;
    };
    await victim.untouchedBy(async () => {
      for (const host of hosts) await refusedTarget(`http://${host}:8080/x`);
      const texts = new Set<string>();
      for (const url of [...ports.map((port) => `http://1.1.1.1:${port}/`), 'http://unix:/var/run/docker.sock:/x'])
        texts.add(await refusedTarget(url));
      for (const url of ['http://10.0.0.1/', 'http://no-such-name.invalid/', 'http://metadata.google.internal/'])
        texts.add(await refusedTarget(url));
      assert.equal(texts.size, 2, 'a port is told from a host, and nothing of what is behind a host');
      for (const url of disguises) await refusedTarget(url);
      for (const url of urls) {
        const answer = await put(victim, 'mine', { target: { url } });
        assert.equal(answer.status, 400, `${url}: ${answer.text}`);
        assertProblem(answer, 400, 'invalid-parameter');
      }
      await assertNothingKept(victim);
    });
  });
});

test('documents that are wrong name the field by its pointer, and nothing is kept', async (t) => {
  const url = 'https://score.example.com';
  const rows: readonly (readonly [document: unknown, status: number, code: string, pointer?: string])[] = [
    ['', 400, 'invalid-parameter', '/target'],
    ['{', 400, 'invalid-json'],
    ['null', 400, 'invalid-parameter', ''],
    ['[]', 400, 'invalid-parameter', ''],
    ['"x"', 400, 'invalid-parameter', ''],
    ['{"target":{"pull":true},"target":{"pull":true}}', 400, 'invalid-json'],
    ['{"__proto__":{"x":1}}', 400, 'forbidden-key'],
    ['{"target":{"pull":true,"__proto__":{"x":1}}}', 400, 'forbidden-key'],
    [{ ...pull, constructor: { prototype: { x: 1 } } }, 400, 'forbidden-key'],
    [`{"target":${'['.repeat(100)}${']'.repeat(100)}}`, 400, 'payload-too-complex'],
    [{ ...pull, padding: 'x'.repeat(300_000) }, 413, 'payload-too-large'],
    [{}, 400, 'invalid-parameter', '/target'],
    [{ target: {} }, 400, 'invalid-parameter', '/target'],
    [{ target: { pull: false } }, 400, 'invalid-parameter', '/target/pull'],
    [{ target: { url, pull: true } }, 400, 'invalid-parameter', '/target'],
    [{ target: { url: 7 } }, 400, 'invalid-parameter', '/target/url'],
    [{ target: { url: '${env:HOME}' } }, 400, 'invalid-parameter', '/target/url'],
    [{ target: { url, headers: { 'X-Key': '${env:PATH}' } } }, 400, 'invalid-parameter', '/target/headers/X-Key'],
    [{ target: { url, headers: { 'X-Key': '***' } } }, 400, 'invalid-parameter', '/target/headers/X-Key'],
    [{ target: { url, headers: { 'X-Key': 'a\r\nHost: b' } } }, 400, 'invalid-parameter', '/target/headers/X-Key'],
    [{ target: { url, headers: { 'Transfer-Encoding': 'chunked' } } }, 400, 'invalid-parameter'],
    [{ target: { url, headers: { ['n'.repeat(10_000)]: 'x' } } }, 400, 'invalid-parameter'],
    [{ target: { url, secret: `whsec_${'A'.repeat(43)}=` } }, 501, 'not-implemented', '/target/secret'],
    [{ ...pull, schema: {} }, 501, 'not-implemented', '/schema'],
    [{ ...pull, timeuot: '5s' }, 400, 'unknown-field', '/timeuot'],
    [{ ...pull, ['f'.repeat(10_000)]: 1 }, 400, 'unknown-field'],
    [{ ...pull, timeout: -1 }, 400, 'invalid-parameter', '/timeout'],
    [{ ...pull, timeout: '9e999s' }, 400, 'invalid-parameter', '/timeout'],
    ['{"target":{"pull":true},"priority":1e999}', 400, 'invalid-parameter', '/priority'],
    [{ ...pull, maxBody: '600mb' }, 400, 'invalid-parameter', '/maxBody'],
    [{ ...pull, syncWait: '1h' }, 400, 'invalid-parameter', '/syncWait'],
    [{ target: { url }, concurrency: 0 }, 400, 'invalid-parameter', '/concurrency'],
    [{ target: { url }, retry: { maxAttempts: 0 } }, 400, 'invalid-parameter', '/retry/maxAttempts'],
    [{ target: { url }, forward: ['host'] }, 400, 'invalid-parameter', '/forward/0'],
    [{ ...pull, name: 'other' }, 400, 'unknown-field', '/name'],
  ];
  await underAttack(t, { services: { work: pull } }, async (victim) => {
    await victim.untouchedBy(async () => {
      for (const [document, status, code, pointer] of rows) {
        const answer = await put(victim, 'mine', document);
        const what = `${JSON.stringify(document).slice(0, 80)}: ${answer.text.slice(0, 300)}`;
        assert.equal(answer.status, status, what);
        assertProblem(answer, status, code);
        if (pointer !== undefined)
          assert.equal(answer.json<{ errors: { pointer: string }[] }>().errors[0]!.pointer, pointer, what);
        assert.ok(answer.text.length < 2000, `short: ${answer.text.length}`);
      }
      assertProblem(
        await victim.ask({ method: 'PUT', path: '/v1/services/mine', body: JSON.stringify(pull) }),
        415,
        'unsupported-media-type',
      );
      await assertNothingKept(victim);
    });
  });
});

test('names that are none are refused on every method, and a method that is not there says so', async (t) => {
  await underAttack(t, { services: { work: pull } }, async (victim) => {
    await victim.untouchedBy(async () => {
      for (const name of [
        '__proto__',
        '-a',
        '_a',
        'a.b',
        'a%2Fb',
        '%77ork',
        'n'.repeat(129),
        'n'.repeat(8000),
        '$SYS',
        '*',
      ]) {
        for (const method of ['PUT', 'GET', 'DELETE']) {
          const parts = { method, path: `/v1/services/${name}`, headers: json };
          const answer = await victim.ask(method === 'PUT' ? { ...parts, body: JSON.stringify(pull) } : parts);
          assertProblem(answer, 400, 'invalid-name');
        }
      }
      assertProblem(
        await victim.ask({ method: 'PUT', path: `/v1/services/${'n'.repeat(10_000)}`, body: '{}' }),
        414,
        'uri-too-long',
      );
      for (const name of ['constructor', 'hasOwnProperty', 'toString'])
        assertProblem(await victim.ask({ path: `/v1/services/${name}` }), 404, 'unknown-service');
      assertProblem(
        await victim.ask({ method: 'POST', path: '/v1/services/mine', headers: json, body: '{}' }),
        405,
        'method-not-allowed',
      );
      await assertNothingKept(victim);
    });
    // Names that an object would stumble over are names like others.
    assert.equal((await put(victim, 'constructor', pull)).status, 201);
    assert.equal((await victim.ask({ method: 'DELETE', path: '/v1/services/constructor' })).status, 204);
  });
});

test('a named host is judged by where it leads at the moment of connecting, and an allowed range opens no other', async (t) => {
  const backend = await backendFor(t, () => ({ body: 'reached' }));
  const local = backend.url.replace('127.0.0.1', 'localhost');
  const server = await serverFor(t, { fields: { allowNetwork: ['127.0.0.0/8', '::1/128'] }, data: 'folder' });
  const document = (url: string) => ({ method: 'PUT', body: { target: { url }, retry: { maxAttempts: 1 } } });
  assert.equal((await send(`${server.url}/v1/services/near`, document(local))).status, 201);
  assert.equal((await resultOf((await submit(server.url, 'near')).result)).text, 'reached');
  const refused = await send(`${server.url}/v1/services/far`, document('http://10.0.0.1/'));
  assert.equal(refused.status, 422, 'S45: one range that is allowed does not open the others');
  assert.equal((await get(`${server.url}/v1/services/far`)).status, 404);
  assert.equal((await post(`${server.url}/v1/call/far`)).status, 404);
});

test('S44: a server is no target of itself, at its listener and as it is known outside, also where its network is allowed', async (t) => {
  const fields = { allowNetwork: ['127.0.0.0/8', '::1/128'], publicUrl: 'https://jobs.example.com' };
  const server = await serverFor(t, { fields });
  const { port } = new URL(server.url);
  const made = (url: string) => send(`${server.url}/v1/services/loop`, { method: 'PUT', body: { target: { url } } });
  for (const url of [
    server.url,
    `http://127.1:${port}/v1/call/loop`,
    `http://[::ffff:127.0.0.1]:${port}`,
    `http://localhost:${port}`,
    'https://jobs.example.com/v1/call/loop',
    'https://JOBS.example.com.:443',
  ]) {
    const answer = await made(url);
    assert.equal(answer.status, 422, `${url}: ${answer.text}`);
    assert.equal(answer.json()['code'], 'target-forbidden');
  }
  const backend = await backendFor(t);
  assert.equal((await made(backend.url)).status, 201, 'its neighbour is one');
});

test('S44: a server that listens on every address is no target of itself on any of them', async (t) => {
  const server = await serverFor(t, {
    fields: { host: '0.0.0.0', allowNetwork: ['0.0.0.0/0', '::/0'] },
    namespaces: ['default'],
  });
  const { port } = new URL(server.url);
  const own = Object.values(networkInterfaces()).flatMap((all) =>
    all!.map(({ address, family }) => ({ address, family })),
  );
  assert.ok(own.length > 0);
  for (const host of [
    '127.0.0.1',
    '127.9.9.9',
    '0.0.0.0',
    ...own.map(({ address, family }) => (family === 'IPv6' ? `[${address}]` : address)),
  ]) {
    const answer = await send(`http://127.0.0.1:${port}/v1/services/loop`, {
      method: 'PUT',
      body: { target: { url: `http://${host}:${port}/` } },
      key: server.key('default'),
    });
    assert.equal(answer.status, 422, `${host}: ${answer.text}`);
  }
});
