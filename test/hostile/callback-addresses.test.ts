// Callback URLs from somebody who wants our server to call where they cannot: every spelling of what is closed, resolvers that change their mind, and
// receivers that answer with harm. Canaries on this machine count who comes.
import assert from 'node:assert/strict';
import type { LookupAddress } from 'node:dns';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { test, type TestContext } from 'node:test';
import { createLog } from '../../packages/server/src/lib/log.ts';
import { backendFor } from '../support/backend.ts';
import { cleanUp } from '../support/cleanup.ts';
import { get, post, until } from '../support/http.ts';
import { submit } from '../support/operations.ts';
import { leaseCall, reply, takeOne } from '../support/pull-worker.ts';
import { calledBack, callbackFields, deliveriesAt, deliveryWhen, rotated } from '../support/receiver.ts';
import { type ServerSettings, serverFor } from '../support/server.ts';
import { assertProblem, underAttack, type Victim } from '../support/victim.ts';

const services = { jobs: { target: { pull: true } } };

interface Canary {
  port: number;
  connections: number;
}

/** Counts connections to every address of this machine, so that none of its spellings leads past it. */
async function canaryFor(t: TestContext, host = '::'): Promise<Canary> {
  const canary: Canary = { port: 0, connections: 0 };
  const server = createServer((_, response) => response.end('reached'));
  server.on('connection', () => canary.connections++);
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, host, resolve));
  cleanUp(t, () => {
    server.closeAllConnections();
    server.close();
  });
  canary.port = (server.address() as AddressInfo).port;
  return canary;
}
const canaryHere = (t: TestContext): Promise<Canary> => canaryFor(t).catch(() => canaryFor(t, '0.0.0.0'));

/** The table of the threat model: what must be answered to each spelling. PORT is that of the canary. */
const spellings: readonly (readonly [row: string, status: number, code: string, urls: readonly string[]])[] = [
  [
    'S1-S6',
    422,
    'callback-url-forbidden',
    ['127.1', '0177.0.0.1', '0x7f.1', '2130706433', '017700000001', '0x7f000001'].map((host) => `http://${host}:PORT/`),
  ],
  ['S7', 422, 'callback-url-forbidden', ['http://127.0.0.1.:PORT/']],
  ['S8-S9', 422, 'callback-url-forbidden', ['http://0:PORT/', 'http://0.0.0.0:PORT/']],
  ['S10-S11', 422, 'callback-url-forbidden', ['http://[::]:PORT/', 'http://[::1]:PORT/']],
  [
    'S12-S14',
    422,
    'callback-url-forbidden',
    ['[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[0:0:0:0:0:ffff:127.0.0.1]'].map((host) => `http://${host}:PORT/`),
  ],
  ['S15', 422, 'callback-url-forbidden', ['http://[::127.0.0.1]:PORT/']],
  ['S16', 422, 'callback-url-forbidden', ['http://[::ffff:0:127.0.0.1]:PORT/']],
  [
    'S17',
    422,
    'callback-url-forbidden',
    ['http://[64:ff9b::7f00:1]:PORT/', 'http://[64:ff9b::a9fe:a9fe]/', 'http://[64:ff9b:1::7f00:1]:PORT/'],
  ],
  ['S18', 422, 'callback-url-forbidden', ['http://[2002:7f00:1::]:PORT/', 'http://[2002:a9fe:a9fe::1]/']],
  [
    'S19',
    422,
    'callback-url-forbidden',
    ['[2001:0:53aa:64c::1]', '[5f00::1]', '[100::1]', '[3fff::1]', '[2001:db8::1]'].map((host) => `http://${host}/`),
  ],
  ['S20', 400, 'invalid-url', ['http://[fe80::1%25eth0]/']],
  ['S21', 422, 'callback-url-forbidden', ['http://[fd00:ec2::254]/', 'http://[fc00::1]/', 'http://[fe80::1]/']],
  [
    'S22-S24',
    422,
    'callback-url-forbidden',
    ['http://169.254.169.254/latest/meta-data/', 'http://2852039166/', 'http://[::ffff:a9fe:a9fe]/'],
  ],
  [
    'S25',
    422,
    'callback-url-forbidden',
    ['http://100.100.100.200/', 'http://192.0.0.192/', 'http://metadata.google.internal/'],
  ],
  [
    'S26-S29',
    422,
    'callback-url-forbidden',
    ['http://10.0.0.1/', 'http://172.16.0.1/', 'http://192.168.0.1/', 'http://100.64.0.1/'],
  ],
  [
    'S30',
    422,
    'callback-url-forbidden',
    ['198.18.0.1', '192.0.2.1', '192.88.99.1', '224.0.0.1', '240.0.0.1', '255.255.255.255'].map(
      (host) => `http://${host}/`,
    ),
  ],
  ['S31', 422, 'callback-url-forbidden', ['http://①②⑦.⓪.⓪.①:PORT/', 'http://127。0。0。1:PORT/']],
  [
    'S32',
    422,
    'callback-url-forbidden',
    ['http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:PORT/', 'http://LOCALHOST:PORT/', 'http://localhost.:PORT/', 'http://a.localhost:PORT/'],
  ],
  [
    'S33',
    422,
    'callback-url-forbidden',
    [
      'http://foo@127.0.0.1:PORT/',
      'http://example.com@127.0.0.1:PORT/',
      'http://1.1.1.1&@127.0.0.1:PORT/',
      'https://user:word@example.com/',
    ],
  ],
  ['S34', 422, 'callback-url-forbidden', ['http://127.0.0.1:PORT#@example.com/']],
  [
    'S35',
    422,
    'callback-url-forbidden',
    ['http:127.0.0.1:PORT/', 'http:\\\\127.0.0.1:PORT/', 'http:/127.0.0.1:PORT', '  http://127.0.0.1:PORT/'],
  ],
  ['S36', 400, 'invalid-url', ['http://exa\tmple.com/', 'http://127.0.\t0.1:PORT/']],
  ['S37', 400, 'invalid-url', ['http://a%2eb/', 'http://127.0.0.1%2f.example.com/', 'http://%00/']],
  [
    'S38',
    422,
    'unsupported-scheme',
    [
      'gopher://127.0.0.1:PORT/',
      'file:///etc/passwd',
      'data:text/plain,x',
      'unix:/var/run/docker.sock',
      'ws://example.com/',
      'javascript:alert(1)',
    ],
  ],
  ['S38', 422, 'callback-url-forbidden', ['http://unix:/var/run/docker.sock:/x', 'http://backend/', 'http://db/']],
  [
    'S39',
    422,
    'callback-url-forbidden',
    ['http://example.com:0/', 'http://example.com:25/', 'https://example.com:22/', 'http://1.1.1.1:6379/'],
  ],
  ['S39', 400, 'invalid-url', ['http://example.com:99999/', 'http://example.com:-1/']],
  [
    'no URL',
    400,
    'invalid-url',
    ['', 'nonsense', '/done', '//example.com/', 'http://', `http://a.example/${'a'.repeat(2048)}`],
  ],
];

/** As the bytes of a header: a test of letters that are no ASCII must not be tidied up by a client. */
const wire = (text: string): string => Buffer.from(text).toString('latin1');

const withCallback = (victim: Victim, url: string, more: readonly (readonly [string, string])[] = []) =>
  victim.ask({
    method: 'POST',
    path: '/v1/call/jobs',
    headers: [['Callback-Url', wire(url)], ...more],
    body: 'x',
  });

/** A resolver that knows every name, and finds a public address behind it. */
const publicResolver = (): Promise<LookupAddress[]> => Promise.resolve([{ address: '1.1.1.1', family: 4 }]);

test('S1-S39: every spelling of what is closed is refused at the submit, nothing is kept, and nobody comes', async (t) => {
  const canary = await canaryHere(t);
  const settings: ServerSettings = { services, extras: { resolve: publicResolver } };
  await underAttack(t, settings, async (victim) => {
    for (const [row, status, code, urls] of spellings) {
      await t.test(`${row}: ${status} ${code}`, () =>
        victim.untouchedBy(async () => {
          for (const url of urls) {
            const answer = await withCallback(victim, url.replace('PORT', String(canary.port)));
            assert.equal(answer.status, status, `${url}: ${answer.status} ${answer.text}`);
            assertProblem(answer, status, code);
            const { accepted, detail } = answer.json<{ accepted: boolean; detail: string }>();
            assert.equal(accepted, false, url);
            assert.match(detail, /Callback-Url/);
            assert.doesNotMatch(detail, /127\.0\.0\.1|1\.1\.1\.1|word/, 'nothing of what was found, and no password');
          }
        }),
      );
    }
    await t.test('in a batch too, each in its place', () =>
      victim.untouchedBy(async () => {
        const urls = spellings.flatMap(([, status, code, some]) => some.map((url) => ({ url, status, code })));
        const items = urls.map(({ url }) => ({
          service: 'jobs',
          headers: { 'Callback-Url': wire(url.replace('PORT', String(canary.port))) },
          body: 'x',
        }));
        const answer = await victim.ask({
          method: 'POST',
          path: '/v1/batch',
          headers: [['Content-Type', 'application/json']],
          body: JSON.stringify(items),
        });
        const outcomes = answer.json<{ status: number; problem: { code: string } }[]>();
        assert.deepEqual(
          outcomes.map((one, at) => [urls[at]!.url, one.status, one.problem.code]),
          urls.map(({ url, status, code }) => [url, status, code]),
        );
      }),
    );
  });
  assert.equal(canary.connections, 0);
  await get(`http://127.0.0.1:${canary.port}/`);
  assert.equal(canary.connections, 1, 'the canary is awake');
});

test('S34, S40: what only looks odd is taken as the parser reads it, and shown so', async (t) => {
  const server = await serverFor(t, { services, extras: { resolve: publicResolver }, fields: await callbackFields(t) });
  for (const [url, shown] of [
    ['http://example.com\\@127.0.0.1/', 'http://example.com/@127.0.0.1/'],
    ['http://faß.de/', 'http://xn--fa-hia.de/'],
    ['https://1.1.1.1./x', 'https://1.1.1.1/x'],
    ['https://example.com:8443/?a=b#c', 'https://example.com:8443/?a=b'],
  ] as const) {
    const { id, status } = await submit(server.url, 'jobs', { headers: { 'Callback-Url': wire(url) } });
    // Ended and looked at in one go: nothing on this machine may lead to an address outside, so the sending is not waited for.
    await post(`${server.url}/v1/operations/${id}`, { method: 'DELETE' });
    assert.equal((await deliveriesAt(`${status}/deliveries`)).items[0]!.url, shown);
  }
});

test('S41: 1,000 tries of rebinding: each name was public when it was judged, and nobody comes', async (t) => {
  const canary = await canaryFor(t, '127.0.0.1');
  const looked = new Map<string, number>();
  /** What a resolver says the second time that it is asked, and from then on. */
  const later: readonly (readonly string[] | undefined)[] = [
    ['127.0.0.1'],
    ['1.1.1.1', '127.0.0.1'],
    ['127.0.0.1', '1.1.1.1'],
    ['::1', '1.1.1.1'],
    ['1.1.1.1', '::ffff:127.0.0.1'],
    ['169.254.169.254'],
    ['0.0.0.0'],
    ['64:ff9b::7f00:1'],
    ['::ffff:7f00:1'],
    [],
  ];
  const resolve = (name: string): Promise<LookupAddress[]> => {
    const times = (looked.get(name) ?? 0) + 1;
    looked.set(name, times);
    const found = times === 1 ? ['1.1.1.1'] : later[Number(/\d+/.exec(name)![0]) % later.length]!;
    return Promise.resolve(found.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })));
  };
  const server = await serverFor(t, {
    services,
    extras: { resolve },
    fields: { ...(await callbackFields(t)), allowNetwork: [] },
  });
  const count = 1000;
  const items = Array.from({ length: count }, (_, i) => ({
    service: 'jobs',
    headers: { 'Callback-Url': `http://rebind${i}.example:${canary.port}/` },
    body: 'x',
  }));
  const outcomes = (await post(`${server.url}/v1/batch`, { body: items })).json<{ status: number }[]>();
  assert.ok(outcomes.every(({ status }) => status === 202));
  assert.deepEqual([...new Set(looked.values())], [1]);
  const { leases } = await leaseCall(server.url, 'jobs', { max: count });
  await leaseCall(server.url, 'jobs', { settle: leases.map(({ token }) => ({ token, reply: { body: 'done' } })) });
  const dead = await until(async () => {
    const { items: some } = await deliveriesAt(`${server.url}/v1/deliveries?status=dead&limit=1000`);
    return some.length === count ? some : undefined;
  }, 500);
  assert.deepEqual(
    [...new Set(dead.map(({ code, attempt }) => `${code} ${attempt}`))],
    ['blocked 1'],
    'final, at once',
  );
  assert.equal(looked.size, count);
  assert.ok(
    [...looked.values()].every((times) => times === 2),
    'judged at the submit and at the connection',
  );
  assert.equal(canary.connections, 0);
});

test('S44: the server itself, by every name that it has, is no receiver', async (t) => {
  const server = await serverFor(t, {
    services,
    fields: {
      ...(await callbackFields(t)),
      publicUrl: 'https://jobs.example.com',
      backendUrl: 'http://inside.example.com:9000',
    },
    extras: { resolve: publicResolver },
  });
  const port = new URL(server.url).port;
  const own = [
    server.url,
    `http://127.1:${port}/v1/call/jobs`,
    `http://[::ffff:7f00:1]:${port}/`,
    'https://jobs.example.com/v1/call/jobs',
    'https://jobs.example.com./',
    'http://inside.example.com:9000/',
  ];
  for (const url of own) {
    const answer = await post(`${server.url}/v1/call/jobs`, { headers: { 'Callback-Url': url }, body: 'x' });
    assert.deepEqual([answer.status, answer.json()['code']], [422, 'callback-url-forbidden'], url);
  }
  const elsewhere = await backendFor(t);
  assert.equal(
    (await post(`${server.url}/v1/call/jobs`, { headers: { 'Callback-Url': elsewhere.url }, body: 'x' })).status,
    202,
    'another port of this machine is somebody else',
  );
});

test('S45: a range that is allowed opens no other', async (t) => {
  const [outside] = Object.values(networkInterfaces())
    .flatMap((all) => all ?? [])
    .filter(({ internal, family }) => !internal && family === 'IPv4');
  await underAttack(t, { services, fields: { allowNetwork: ['127.0.0.1/32'] } }, async (victim) => {
    for (const host of ['127.0.0.2', '10.0.0.1', '[::1]', '169.254.169.254', ...(outside ? [outside.address] : [])])
      assertProblem(await withCallback(victim, `http://${host}/`), 422, 'callback-url-forbidden');
    for (const port of [22, 6379])
      assertProblem(await withCallback(victim, `http://127.0.0.1:${port}/`), 422, 'callback-url-forbidden');
  });
});

test('S46: a proxy in the environment is not asked', async (t) => {
  const proxy = await canaryFor(t, '127.0.0.1');
  const names = ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'ALL_PROXY', 'NODE_USE_ENV_PROXY'];
  const before = names.map((name) => process.env[name]);
  for (const name of names) process.env[name] = name === 'NODE_USE_ENV_PROXY' ? '1' : `http://127.0.0.1:${proxy.port}`;
  cleanUp(t, () => {
    for (const [index, name] of names.entries()) {
      if (before[index] === undefined) delete process.env[name];
      else process.env[name] = before[index];
    }
  });
  const { server, receiver } = await calledBack(t, { services });
  const { status } = await submit(server.url, 'jobs', { headers: { 'Callback-Url': receiver.url } });
  await reply(server.url, (await takeOne(server.url, 'jobs')).token, 'done');
  await deliveryWhen(status, 'delivered');
  assert.equal(proxy.connections, 0);
});

test('a resolver that hangs or fails: one text for both, and it holds up no other submit', async (t) => {
  const hung = Promise.withResolvers<LookupAddress[]>();
  const resolve = (name: string): Promise<LookupAddress[]> =>
    name === 'hangs.example' ? hung.promise : Promise.reject(new Error('SERVFAIL'));
  await underAttack(t, { services, extras: { resolve } }, async (victim) => {
    await victim.untouchedBy(async () => {
      const held = withCallback(victim, 'http://hangs.example/');
      const failed = await withCallback(victim, 'http://fails.example/');
      assertProblem(failed, 422, 'callback-url-forbidden');
      // `untouchedBy` submits meanwhile; this one ends as soon as the resolver gives up.
      hung.reject(new Error('the lookup took too long'));
      const slow = await held;
      assertProblem(slow, 422, 'callback-url-forbidden');
      assert.equal(slow.json()['detail'], failed.json()['detail']);
    });
  });
});

test('malformed fields around a callback name themselves, and nothing is kept', async (t) => {
  const url = 'https://example.com/done';
  const rows: readonly (readonly [
    headers: readonly (readonly [string, string])[],
    status: number,
    code: string,
    words: RegExp,
  ])[] = [
    [[['Callback-Events', 'progress']], 400, 'invalid-parameter', /Callback-Events says/],
    [[['Callback-Body', 'thin']], 400, 'invalid-parameter', /Callback-Body says/],
    [
      [
        ['Callback-Url', url],
        ['Callback-Events', 'all'],
      ],
      400,
      'invalid-parameter',
      /Callback-Events takes progress/,
    ],
    [
      [
        ['Callback-Url', url],
        ['Callback-Events', ''],
      ],
      400,
      'invalid-parameter',
      /Callback-Events takes progress/,
    ],
    [
      [
        ['Callback-Url', url],
        ['Callback-Body', 'json'],
      ],
      400,
      'invalid-parameter',
      /Callback-Body takes full or thin/,
    ],
    [
      [
        ['Callback-Url', url],
        ['Callback-Url', url],
      ],
      400,
      'duplicate-header',
      /callback-url/i,
    ],
    [
      [
        ['Callback-Url', url],
        ['Callback-Body', 'thin'],
        ['Callback-Body', 'full'],
      ],
      400,
      'duplicate-header',
      /callback-body/i,
    ],
    [
      [
        ['Callback-Url', url],
        ['Callback-Events', 'progress'],
        ['callback-events', 'x'],
      ],
      400,
      'duplicate-header',
      /callback-events/i,
    ],
    [
      [
        ['Callback-Url', url],
        ['Operation-Durability', 'none'],
      ],
      400,
      'conflicting-headers',
      /Callback-Url/,
    ],
    [
      [
        ['Callback-Url', `${url}, ${url}`],
        ['Operation-Priority', '77'],
      ],
      400,
      'invalid-parameter',
      /Operation-Priority/,
    ],
    [[['Callback-Url', 'http://caf\xe9.example/']], 400, 'invalid-url', /Callback-Url/],
  ];
  await underAttack(t, { services, extras: { resolve: publicResolver } }, async (victim) => {
    for (const [headers, status, code, words] of rows)
      await victim.untouchedBy(async () => {
        const answer = await victim.ask({ method: 'POST', path: '/v1/call/jobs', headers, body: 'x' });
        assertProblem(answer, status, code);
        assert.match(answer.text, words);
      });
  });
});

test('T60, T65: what a receiver answers is kept short and as harmless text; the log and every answer are without a secret', async (t) => {
  const lines: string[] = [];
  const log = createLog('debug', { write: (line) => void lines.push(line) });
  const harm = `<script>alert(1)</script>\u001b]0;owned\u0007\r\n{"level":"error","msg":"fake"}\n\u202e`;
  const { server, receiver, secret } = await calledBack(t, { services, extras: { log } }, (_, number) =>
    number === 1
      ? {
          status: 418,
          headers: { 'X-Harm': 'a'.repeat(8000), 'Content-Encoding': 'gzip' },
          body: harm + 'x'.repeat(100_000),
        }
      : { status: 204 },
  );
  const query = 'token=receivers-own-secret';
  const { status } = await submit(server.url, 'jobs', { headers: { 'Callback-Url': `${receiver.url}/?${query}` } });
  await reply(server.url, (await takeOne(server.url, 'jobs')).token, 'done');
  const { attempts, links } = await deliveryWhen(status, 'waiting', { attempt: 1 });
  const { answer } = attempts[0]!;
  assert.ok(
    answer!.startsWith('<script>alert(1)</script>\\x1b]0;owned\\x07\\r\\n{"level":"error","msg":"fake"}\\n\\u{202e}x'),
  );
  assert.equal(answer!.replace(/^.*\\u\{202e\}/s, '').length, 4096 - Buffer.byteLength(harm));
  assert.equal((await get(links.self)).headers['content-type'], 'application/json; charset=utf-8');
  const more = await rotated(server.url);
  await post(`${links.self}/retry`);
  await deliveryWhen(status, 'delivered', { attempt: 2 });
  const shown: string[] = [];
  for (const path of [
    status,
    `${status}/deliveries`,
    `${status}/timeline`,
    `${status}/events`,
    links.self,
    `${server.url}/v1/deliveries`,
    `${server.url}/v1/callback-secrets`,
    `${server.url}/metrics`,
    `${server.url}/`,
  ])
    shown.push((await get(path)).text);
  await server.stop();
  assert.ok(
    lines.some((line) => line.includes('delivery.attempted')),
    'deliveries stand in the log',
  );
  const signatures = receiver.requests.flatMap(({ headers }) => headers['webhook-signature']!.split(' '));
  assert.equal(signatures.length, 3, 'one for each secret in use');
  for (const text of [...lines, ...shown]) {
    for (const hidden of [secret, more]) assert.ok(!text.includes(hidden.slice(6)), 'no secret');
    for (const signature of signatures) assert.ok(!text.includes(signature.slice(3)), 'no signature');
  }
  for (const line of lines) {
    assert.ok(!line.includes('receivers-own-secret'), 'the query of a receiver is no business of our log');
    for (const character of ['\r', '\n', '\u001b', '\u202e']) assert.ok(!line.trimEnd().includes(character));
    assert.ok(!line.includes('alert(1)'), 'nor is its answer');
  }
});
