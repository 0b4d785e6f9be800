// Where a request comes from and which name it calls the server by: web pages that must not reach it, proxies that are believed and others that are not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RawResponse } from '../support/raw-http.ts';
import { assertProblem, underAttack, type Victim } from '../support/victim.ts';

const services = { work: { target: { pull: true } } };
const submit = (victim: Victim, headers: readonly (readonly [string, string])[], host?: string): Promise<RawResponse> =>
  victim.ask({ method: 'POST', path: '/v1/call/work', headers, body: 'x', ...(host === undefined ? {} : { host }) });
const cors = (answer: RawResponse): string[] =>
  answer.fields.map(([name]) => name).filter((name) => name.startsWith('access-control-'));

test('without a key: a Host that is not of this machine gets 400, against names made to resolve here', async (t) => {
  await underAttack(t, { services, fields: { publicUrl: 'https://queue.example.com/base' } }, async (victim) => {
    for (const host of [
      'evil.example',
      'evil.example:7878',
      '169.254.169.254',
      '192.168.0.1',
      '0.0.0.0',
      '127.0.0.2',
      '127.1',
      '2130706433',
      '0x7f000001',
      '[::]',
      '[::ffff:127.0.0.1]',
      'localhost.evil.example',
      'evil.example#localhost',
      'localhost@evil.example',
      'localhost,evil.example',
      'localhost evil.example',
      'localhost:80:80',
      'localhost.',
      'evil.queue.example.com',
      'queue.example.com.evil.example',
      'h'.repeat(5000),
    ]) {
      await t.test(`Host: ${host.slice(0, 40)}`, () =>
        victim.untouchedBy(async () => {
          assertProblem(await submit(victim, [], host), 400, 'bad-host');
          assertProblem(await victim.ask({ path: '/', host }), 400, 'bad-host');
        }),
      );
    }
    for (const host of [
      'localhost',
      'LocalHost:1',
      '127.0.0.1',
      `127.0.0.1:${victim.port}`,
      '[::1]',
      '[::1]:80',
      'queue.example.com',
      'Queue.Example.Com:443',
    ]) {
      await t.test(`Host: ${host} is served`, async () => assert.equal((await submit(victim, [], host)).status, 202));
    }
  });
});

test('without a key: a foreign Origin gets 403, on reads, submits and preflights alike', async (t) => {
  await underAttack(t, { services, fields: { corsOrigin: ['https://app.example.com'] } }, async (victim) => {
    for (const origin of [
      'https://evil.example',
      'http://evil.example',
      'null',
      'file://',
      'http://localhost:1',
      'https://app.example.com.evil.example',
      'https://evil-app.example.com',
      'http://app.example.com',
      'https://app.example.com:444',
      'https://APP.example.com',
      'https://app.example.com/',
      'https://app.example.com, https://evil.example',
      '',
      '*',
    ]) {
      await t.test(`Origin: ${origin}`, () =>
        victim.untouchedBy(async () => {
          for (const answer of [
            await submit(victim, [['Origin', origin]]),
            await submit(victim, [
              ['Origin', origin],
              ['Content-Type', 'text/plain'],
            ]),
            await victim.ask({ path: '/v1/operations', headers: [['Origin', origin]] }),
            await victim.ask({ path: '/', headers: [['Origin', origin]] }),
            await victim.ask({
              method: 'OPTIONS',
              path: '/v1/call/work',
              headers: [
                ['Origin', origin],
                ['Access-Control-Request-Method', 'POST'],
              ],
            }),
          ]) {
            assertProblem(answer, 403, 'origin-not-allowed');
            assert.deepEqual(cors(answer), []);
          }
        }),
      );
    }

    await t.test('the page of the server itself may call it', async () => {
      const answer = await submit(victim, [['Origin', `http://127.0.0.1:${victim.port}`]], `127.0.0.1:${victim.port}`);
      assert.equal(answer.status, 202);
      assert.deepEqual(cors(answer), []);
    });

    await t.test('a configured origin may call, and reads our fields', async () => {
      const origin = 'https://app.example.com';
      const answer = await submit(victim, [['Origin', origin]]);
      assert.equal(answer.status, 202);
      assert.equal(answer.header('access-control-allow-origin'), origin);
      assert.equal(answer.header('access-control-allow-credentials'), undefined);
      assert.match(answer.header('vary') ?? '', /\borigin\b/i);
      for (const name of [
        'Operation-Id',
        'Operation-Location',
        'Location',
        'Retry-After',
        'Correlation-Id',
        'Operation-Status',
      ])
        assert.ok(answer.header('access-control-expose-headers')!.split(', ').includes(name), name);
      const problem = await victim.ask({ path: '/v1/operations/nothing', headers: [['Origin', origin]] });
      assert.equal(problem.header('access-control-allow-origin'), origin, 'problems can be read as well');
    });

    await t.test('a preflight of a configured origin is answered without a submit', () =>
      victim.untouchedBy(async () => {
        const answer = await victim.ask({
          method: 'OPTIONS',
          path: '/v1/call/work',
          headers: [
            ['Origin', 'https://app.example.com'],
            ['Access-Control-Request-Method', 'POST'],
            ['Access-Control-Request-Headers', 'content-type,idempotency-key'],
          ],
        });
        assert.equal(answer.status, 204);
        assert.equal(answer.header('access-control-allow-origin'), 'https://app.example.com');
        assert.match(answer.header('access-control-allow-methods')!, /\bPOST\b/);
        assert.equal(answer.header('access-control-allow-headers'), 'content-type,idempotency-key');
      }),
    );

    await t.test('OPTIONS that is no preflight is a submit like any other method', async () => {
      const answer = await victim.ask({ method: 'OPTIONS', path: '/v1/call/work' });
      assert.equal(answer.status, 202);
    });
  });
});

test('with keys: any Host and Origin may ask, the key decides, and a page without a configured origin cannot read the answer', async (t) => {
  const settings = { services, namespaces: ['alice'], fields: { corsOrigin: ['https://app.example.com'] } };
  await underAttack(t, settings, async (victim) => {
    const answer = await victim.askAs('alice', {
      path: '/v1/operations',
      host: 'anything.example',
      headers: [['Origin', 'https://other.example']],
    });
    assert.equal(answer.status, 200);
    assert.deepEqual(cors(answer), []);
    const preflight = await victim.ask({
      method: 'OPTIONS',
      path: '/v1/call/work',
      headers: [
        ['Origin', 'https://app.example.com'],
        ['Access-Control-Request-Method', 'POST'],
        ['Access-Control-Request-Headers', 'authorization'],
      ],
    });
    assert.equal(preflight.status, 204, 'a browser sends no key with it');
    assert.equal(preflight.header('access-control-allow-headers'), 'authorization');
    const foreign = await victim.ask({
      method: 'OPTIONS',
      path: '/v1/call/work',
      headers: [
        ['Origin', 'https://other.example'],
        ['Access-Control-Request-Method', 'POST'],
      ],
    });
    assertProblem(foreign, 401, 'unauthenticated');
    assert.deepEqual(cors(foreign), []);
  });
});

const spoofs: readonly (readonly (readonly [string, string])[])[] = [
  [['X-Forwarded-Host', 'evil.example']],
  [
    ['X-Forwarded-Host', 'evil.example'],
    ['X-Forwarded-Proto', 'https'],
    ['X-Forwarded-For', '8.8.8.8'],
  ],
  [['Forwarded', 'for=8.8.8.8;host=evil.example;proto=https']],
  [
    ['X-Forwarded-Prefix', '/evil'],
    ['X-Original-URL', '/v1/services'],
    ['X-Rewrite-URL', '/v1/services'],
  ],
  [
    ['X-HTTP-Method-Override', 'DELETE'],
    ['X-Original-Host', 'evil.example'],
    ['X-Host', 'evil.example'],
  ],
];

const locationsOf = (answer: RawResponse): string[] => [
  answer.header('location')!,
  answer.header('operation-location')!,
  answer.json<{ resourceLocation: string }>().resourceLocation,
];

test('T21: X-Forwarded-* and Forwarded of a peer that is not trusted change nothing', async (t) => {
  for (const [name, fields, base] of [
    ['by default', {}, undefined],
    ['with another proxy trusted', { trustProxy: ['10.0.0.0/8', '192.0.2.1/32'] }, undefined],
    ['with a public URL', { publicUrl: 'https://queue.example.com/base' }, 'https://queue.example.com/base'],
  ] as const) {
    await underAttack(t, { services, fields }, async (victim) => {
      for (const headers of spoofs) {
        await t.test(`${name}: ${headers.map(([field]) => field).join(', ')}`, async () => {
          const answer = await submit(victim, headers);
          assert.equal(answer.status, 202);
          for (const location of locationsOf(answer))
            assert.ok(location.startsWith(`${base ?? victim.server.url}/v1/operations/`), location);
          const problem = await victim.ask({ path: '/v1/operations/nothing', headers });
          assert.equal(problem.json()['type'], `${base ?? victim.server.url}/problems/not-found`);
        });
      }
      await t.test(`${name}: a spoofed address does not help against the check of the Host`, () =>
        victim.untouchedBy(async () =>
          assertProblem(await submit(victim, [['X-Forwarded-Host', 'localhost']], 'evil.example'), 400, 'bad-host'),
        ),
      );
    });
  }
});

test('T21: a trusted proxy is believed, as far as what it says is a host', async (t) => {
  await underAttack(t, { services, fields: { trustProxy: ['127.0.0.0/8'] } }, async (victim) => {
    const rows: readonly (readonly [headers: readonly (readonly [string, string])[], base: string | undefined])[] = [
      [
        [
          ['X-Forwarded-Host', 'queue.example.com'],
          ['X-Forwarded-Proto', 'https'],
        ],
        'https://queue.example.com',
      ],
      [
        [
          ['X-Forwarded-Host', 'queue.example.com:8443, inner'],
          ['X-Forwarded-Proto', 'HTTPS,http'],
        ],
        'https://queue.example.com:8443',
      ],
      [[['X-Forwarded-Host', '[2001:db8::1]:80']], 'http://[2001:db8::1]:80'],
      [[['Forwarded', 'for=1.2.3.4;host="queue.example.com";proto=https, for=10.0.0.1']], 'https://queue.example.com'],
      [[['X-Forwarded-Host', 'evil.example/path?']], undefined],
      [[['X-Forwarded-Host', 'user@evil.example']], undefined],
      [[['X-Forwarded-Host', 'evil.example"><script>']], undefined],
      [[['X-Forwarded-Host', '']], undefined],
      [
        [
          ['X-Forwarded-Host', 'queue.example.com'],
          ['X-Forwarded-Proto', 'javascript'],
        ],
        undefined,
      ],
      [[['X-Forwarded-Host', `${'h'.repeat(300)}.example`]], undefined],
      [[['Forwarded', ';'.repeat(4000)]], undefined],
      [[['Forwarded', `host${' '.repeat(4000)}=x`]], undefined],
    ];
    for (const [headers, base] of rows) {
      await t.test(`${headers.map(([name, value]) => `${name}: ${value.slice(0, 40)}`).join(', ')}`, async () => {
        const answer = await submit(victim, headers);
        assert.equal(answer.status, 202);
        for (const location of locationsOf(answer))
          assert.ok(location.startsWith(`${base ?? victim.server.url}/v1/operations/`), location);
      });
    }
  });
});
