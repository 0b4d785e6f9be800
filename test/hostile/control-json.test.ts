// The JSON that the server itself reads: whatever is not plain, small and exactly as documented is refused, and a refused envelope changes nothing.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { gzipSync } from 'node:zlib';
import { assertProblem, underAttack, type Victim } from '../support/victim.ts';
import { leaseOne, postJson } from '../support/worker.ts';

type Endpoint = 'leases' | 'fail' | 'extend' | 'progress' | 'release';
const endpoints: readonly Endpoint[] = ['leases', 'fail', 'extend', 'progress', 'release'];

/** A member that the endpoint takes with any text, to carry what must be refused for its form alone. */
const carrier: Readonly<Record<Exclude<Endpoint, 'release'>, (text: string) => string>> = {
  leases: (text) => `{"worker":${text}}`,
  fail: (text) => `{"code":"broken","message":${text}}`,
  extend: (text) => `{"leaseSeconds":${text}}`,
  progress: (text) => `{"message":${text}}`,
};

interface Victims {
  victim: Victim;
  token: string;
}

const pathOf = (endpoint: Endpoint, token: string): string =>
  endpoint === 'leases' ? '/v1/services/work/leases' : `/v1/leases/${token}/${endpoint}`;

/** A server with one operation under a lease; every refusal must leave both as they are. */
async function withLease(t: TestContext, run: (victims: Victims) => Promise<void>): Promise<void> {
  await underAttack(t, { services: { work: { target: { pull: true } } } }, async (victim) => {
    const { token } = await leaseOne(victim, 'work');
    await run({ victim, token });
    const answer = await victim.ask({ method: 'POST', path: `/v1/leases/${token}/reply`, body: 'done' });
    assert.equal(answer.status, 200, `the lease has outlived every refusal: ${answer.text}`);
  });
}

const utf16 = (text: string): Buffer => Buffer.from(`\ufeff${text}`, 'utf16le');

const notJson: readonly (readonly [what: string, body: string | Uint8Array])[] = [
  ['an object that does not end', '{'],
  ['garbage behind the value', '{} x'],
  ['two values', '{}{}'],
  ['a byte order mark', '\ufeff{}'],
  ['UTF-16', utf16('{}')],
  ['UTF-32', Buffer.from('{\0\0\0}\0\0\0', 'latin1')],
  ['invalid UTF-8', Buffer.from('{"a":"\xff"}', 'latin1')],
  ['overlong UTF-8', Buffer.from('{"a":"\xc0\xaf"}', 'latin1')],
  ['a surrogate in UTF-8', Buffer.from('{"a":"\xed\xa0\x80"}', 'latin1')],
  ['single quotes', "{'a':1}"],
  ['a key without quotes', '{a:1}'],
  ['a trailing comma', '{"a":1,}'],
  ['a comment', '{/* */}'],
  ['NaN', '{"a":NaN}'],
  ['a number with a leading zero', '{"a":01}'],
  ['a raw line break in a string', '{"a":"\n"}'],
  ['a broken escape', '{"a":"\\x41"}'],
  ['a lone high surrogate', '{"a":"\\ud800"}'],
  ['a lone low surrogate', '{"a":"\\udc00 "}'],
  ['a lone surrogate in a key', '{"\\ud800":1}'],
  ['a key that stands twice', '{"a":1,"a":2}'],
  ['a key that stands twice, once in escapes', '{"a":1,"\\u0061":2}'],
];

test('T23, T27: what is not JSON in UTF-8, or JSON with two readings, gets 400 invalid-json', (t) =>
  withLease(t, async ({ victim, token }) => {
    for (const endpoint of endpoints) {
      for (const [what, body] of notJson) {
        await t.test(`T23: ${endpoint}: ${what}`, () =>
          victim.untouchedBy(async () =>
            assertProblem(await postJson(victim, pathOf(endpoint, token), body), 400, 'invalid-json'),
          ),
        );
      }
    }
  }));

test('T24-T26: JSON that is too deep, too wide, too large or reaches for a prototype', (t) =>
  withLease(t, async ({ victim, token }) => {
    const deep = (depth: number): string => `${'['.repeat(depth)}${']'.repeat(depth)}`;
    const deepObject = (depth: number): string => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;
    const rows: readonly (readonly [row: string, what: string, body: string, status: number, code: string])[] = [
      ['T24', '65 levels of arrays', `{"a":${deep(64)}}`, 400, 'payload-too-complex'],
      ['T24', '100,000 levels of arrays', deep(100_000), 400, 'payload-too-complex'],
      ['T24', '40,000 levels of objects', deepObject(40_000), 400, 'payload-too-complex'],
      ['T24', '100,000 brackets that never close', '['.repeat(100_000), 400, 'payload-too-complex'],
      [
        'T24',
        '10,001 keys',
        `{${Array.from({ length: 10_001 }, (_, i) => `"k${i}":0`).join(',')}}`,
        400,
        'payload-too-complex',
      ],
      ['T26', 'the key __proto__', '{"__proto__":{"x":1}}', 400, 'forbidden-key'],
      ['T26', 'the key __proto__ in escapes', '{"\\u005f_proto\\u005f_":{"x":1}}', 400, 'forbidden-key'],
      ['T26', 'constructor.prototype', '{"constructor":{"prototype":{"x":1}}}', 400, 'forbidden-key'],
      ['T26', '__proto__ in the depth', '{"a":[{"b":{"__proto__":{"x":1}}}]}', 400, 'forbidden-key'],
      ['T28', 'tenantId', '{"tenantId":"other"}', 400, 'unknown-field'],
      ['T28', 'namespace', '{"namespace":"other"}', 400, 'unknown-field'],
      ['T28', 'state', '{"state":"succeeded"}', 400, 'unknown-field'],
      ['T28', 'status', '{"status":"succeeded"}', 400, 'unknown-field'],
      ['T28', 'attempt', '{"attempt":0}', 400, 'unknown-field'],
      ['T28', 'leaseToken', '{"leaseToken":"x"}', 400, 'unknown-field'],
      ['T28', 'createdAt', '{"createdAt":"2020-01-01T00:00:00Z"}', 400, 'unknown-field'],
      ['T28', 'toString, a name every object inherits', '{"toString":1}', 400, 'unknown-field'],
      ['T23', 'an array', '[]', 400, 'invalid-parameter'],
      ['T23', 'a string', '"x"', 400, 'invalid-parameter'],
      ['T23', 'null', 'null', 400, 'invalid-parameter'],
    ];
    for (const endpoint of endpoints) {
      for (const [row, what, body, status, code] of rows) {
        await t.test(`${row}: ${endpoint}: ${what} gets ${status} ${code}`, () =>
          victim.untouchedBy(async () =>
            assertProblem(await postJson(victim, pathOf(endpoint, token), body), status, code),
          ),
        );
      }
    }

    for (const endpoint of ['fail', 'extend', 'progress', 'release'] as const) {
      await t.test(`T25: ${endpoint}: a body over 256 kB gets 413`, () =>
        victim.untouchedBy(async () => {
          const body = `[${'0,'.repeat(5_000_000)}0]`;
          assertProblem(await postJson(victim, pathOf(endpoint, token), body), 413, 'payload-too-large');
        }),
      );
    }
    await t.test('T24: leases: 200,000 levels, and the server is not even slowed down', () =>
      victim.untouchedBy(async () =>
        assertProblem(await postJson(victim, pathOf('leases', token), deep(200_000)), 400, 'payload-too-complex'),
      ),
    );
    await t.test('T25: leases: an envelope over 16 MB gets 413', () =>
      victim.untouchedBy(async () => {
        const body = `{"settle":[${'0,'.repeat(8_500_000)}0]}`;
        assertProblem(await postJson(victim, pathOf('leases', token), body), 413, 'payload-too-large');
      }),
    );
    await t.test('T25: leases: a flat array of 10 MB is refused before it is parsed', () =>
      victim.untouchedBy(async () => {
        const body = `{"settle":[${'0,'.repeat(5_000_000)}0]}`;
        assertProblem(await postJson(victim, pathOf('leases', token), body), 400, 'payload-too-complex');
      }),
    );
  }));

test('T18, T23: bodies in another coding or media type', (t) =>
  withLease(t, async ({ victim, token }) => {
    const rows: readonly (readonly [what: string, headers: [string, string][], status: number, code: string])[] = [
      [
        'gzip',
        [
          ['Content-Type', 'application/json'],
          ['Content-Encoding', 'gzip'],
        ],
        415,
        'unsupported-content-encoding',
      ],
      [
        'brotli',
        [
          ['Content-Type', 'application/json'],
          ['Content-Encoding', 'br'],
        ],
        415,
        'unsupported-content-encoding',
      ],
      [
        'gzip twice',
        [
          ['Content-Type', 'application/json'],
          ['Content-Encoding', 'gzip, gzip'],
        ],
        415,
        'unsupported-content-encoding',
      ],
      [
        'a coding nobody knows',
        [
          ['Content-Type', 'application/json'],
          ['Content-Encoding', 'x'],
        ],
        415,
        'unsupported-content-encoding',
      ],
      ['a form', [['Content-Type', 'application/x-www-form-urlencoded']], 415, 'unsupported-media-type'],
      [
        'plain text, as a form of a web page may send it',
        [['Content-Type', 'text/plain']],
        415,
        'unsupported-media-type',
      ],
      ['XML', [['Content-Type', 'application/xml']], 415, 'unsupported-media-type'],
      ['no media type', [], 415, 'unsupported-media-type'],
    ];
    for (const endpoint of endpoints) {
      for (const [what, headers, status, code] of rows) {
        await t.test(`T18: ${endpoint}: ${what} gets ${status} ${code}`, () =>
          victim.untouchedBy(async () =>
            assertProblem(
              await victim.ask({ method: 'POST', path: pathOf(endpoint, token), headers, body: gzipSync('{}') }),
              status,
              code,
            ),
          ),
        );
      }
    }
  }));

test('T27, T33: numbers and texts out of bounds', (t) =>
  withLease(t, async ({ victim, token }) => {
    const wrong: Readonly<Partial<Record<Endpoint, readonly string[]>>> = {
      leases: [
        ...['0', '-1', '1.5', '1001', '"5"', 'null', 'true', '1e999', '-1e999', '9007199254740993', '[]'].map(
          (v) => `{"max":${v}}`,
        ),
        ...['-1', '"5"', 'null', '1e999', '9007199254740993'].map((v) => `{"waitSeconds":${v}}`),
        ...['0', '-1', '86401', '"30s"', 'null', '1e999'].map((v) => `{"leaseSeconds":${v}}`),
        ...['""', '5', 'null', `"${'a'.repeat(129)}"`].map((v) => `{"worker":${v}}`),
        ...['{}', 'null', '"x"', '0', `[${'{},'.repeat(1000)}{}]`, '[0]', '[null]', '[[]]'].map(
          (v) => `{"settle":${v}}`,
        ),
      ],
      fail: [
        '{}',
        '{"code":"x"}',
        '{"message":"x"}',
        '{"code":"","message":"x"}',
        '{"code":5,"message":"x"}',
        `{"code":"${'c'.repeat(129)}","message":"x"}`,
        `{"code":"c","message":"${'m'.repeat(2001)}"}`,
        '{"code":"c","message":"m","retry":"yes"}',
        ...['-1', '"soon"', '"-1s"', '1e999', '1e300', '"9007199254740993s"', 'null', '[]'].map(
          (v) => `{"code":"c","message":"m","retryAfter":${v}}`,
        ),
      ],
      extend: ['0', '-1', '86401', '"30s"', 'null', '1e999', '9007199254740993'].map((v) => `{"leaseSeconds":${v}}`),
      progress: [
        ...['-1', '101', '1e999', '"5"', 'null'].map((v) => `{"percent":${v}}`),
        ...['5', 'null', `"${'s'.repeat(129)}"`].map((v) => `{"stage":${v}}`),
        ...['5', `"${'m'.repeat(2001)}"`].map((v) => `{"message":${v}}`),
      ],
    };
    for (const [endpoint, bodies] of Object.entries(wrong) as [Endpoint, readonly string[]][]) {
      for (const body of bodies) {
        await t.test(
          `T33: ${endpoint}: ${body.length > 60 ? `${body.slice(0, 60)}…` : body} gets 400 invalid-parameter`,
          () =>
            victim.untouchedBy(async () => {
              const answer = await postJson(victim, pathOf(endpoint, token), body);
              assertProblem(answer, 400, 'invalid-parameter');
              assert.ok(
                answer.json<{ errors: { pointer: string }[] }>().errors[0]!.pointer !== undefined,
                'the field is named',
              );
            }),
        );
      }
    }
    await t.test('progress data over 16 kB gets 413', () =>
      victim.untouchedBy(async () =>
        assertProblem(
          await postJson(victim, pathOf('progress', token), `{"data":"${'d'.repeat(16_384)}"}`),
          413,
          'payload-too-large',
        ),
      ),
    );
    for (const name of [
      '../../etc',
      'a/b',
      '.',
      '..',
      '-a',
      '_a',
      'a b',
      'a.b',
      'a>b',
      'a*',
      '$SYS',
      "'; drop table",
      'é',
      '\\u202eabc',
      'a\\u200bb',
      '\\u0000',
    ]) {
      await t.test(`T30: a worker called ${name} gets 400 invalid-name`, () =>
        victim.untouchedBy(async () =>
          assertProblem(
            await postJson(victim, pathOf('leases', token), carrier.leases(`"${name}"`)),
            400,
            'invalid-name',
          ),
        ),
      );
    }
  }));

test('settle: an envelope with one wrong item records none of its answers', (t) =>
  withLease(t, async ({ victim, token }) => {
    const good = `{"token":"${token}","reply":{"body":"good"}}`;
    const items: readonly (readonly [what: string, item: string, status: number, code: string])[] = [
      ['no token', '{"reply":{}}', 400, 'invalid-parameter'],
      ['a token that is no text', '{"token":5,"reply":{}}', 400, 'invalid-parameter'],
      ['a token of 257 characters', `{"token":"${'t'.repeat(257)}","reply":{}}`, 400, 'invalid-parameter'],
      ['no answer', '{"token":"x"}', 400, 'invalid-parameter'],
      ['two answers', '{"token":"x","reply":{},"release":true}', 400, 'invalid-parameter'],
      ['release: false', '{"token":"x","release":false}', 400, 'invalid-parameter'],
      ['an unknown answer', '{"token":"x","succeed":{}}', 400, 'unknown-field'],
      ['a field beside it', '{"token":"x","reply":{},"state":"succeeded"}', 400, 'unknown-field'],
      ['an unknown field of the reply', '{"token":"x","reply":{"result":1}}', 400, 'unknown-field'],
      ...['99', '199', '600', '200.5', '"200"', 'null', '1e999', '202'].map(
        (status) =>
          [`status ${status}`, `{"token":"x","reply":{"status":${status}}}`, 400, 'invalid-parameter'] as const,
      ),
      ['body and bodyBase64', '{"token":"x","reply":{"body":"a","bodyBase64":"YQ=="}}', 400, 'invalid-parameter'],
      ...['YQ', 'YQ=', 'Y Q==', 'YQ==\\n', '-_-_', '====', 'é==='].map(
        (text) =>
          [`bodyBase64 ${text}`, `{"token":"x","reply":{"bodyBase64":"${text}"}}`, 400, 'invalid-parameter'] as const,
      ),
      ['headers that are text', '{"token":"x","reply":{"headers":"a: b"}}', 400, 'invalid-parameter'],
      [
        'CR LF in a header value',
        '{"token":"x","reply":{"headers":{"X-A":"a\\r\\nSet-Cookie: b"}}}',
        400,
        'invalid-parameter',
      ],
      ['NUL in a header value', '{"token":"x","reply":{"headers":{"X-A":"a\\u0000"}}}', 400, 'invalid-parameter'],
      ['a header value beyond latin1', '{"token":"x","reply":{"headers":{"X-A":"€"}}}', 400, 'invalid-parameter'],
      ['a header name with a space', '{"token":"x","reply":{"headers":{"X A":"a"}}}', 400, 'invalid-parameter'],
      ['a header name with CR LF', '{"token":"x","reply":{"headers":{"X\\r\\nA":"a"}}}', 400, 'invalid-parameter'],
      ['an empty header name', '{"token":"x","reply":{"headers":{"":"a"}}}', 400, 'invalid-parameter'],
      ['a header that is a number', '{"token":"x","reply":{"headers":{"X-A":5}}}', 400, 'invalid-parameter'],
      ['a header pair of three', '{"token":"x","reply":{"headers":[["a","b","c"]]}}', 400, 'invalid-parameter'],
      [
        '101 headers',
        `{"token":"x","reply":{"headers":[${Array(101).fill('["a","b"]').join(',')}]}}`,
        400,
        'invalid-parameter',
      ],
      ['a lone surrogate in a body of text', '{"token":"x","reply":{"body":"\\ud800"}}', 400, 'invalid-json'],
      ['__proto__ among the headers', '{"token":"x","reply":{"headers":{"__proto__":"a"}}}', 400, 'forbidden-key'],
      ['fail without a code', '{"token":"x","fail":{"message":"m"}}', 400, 'invalid-parameter'],
      [
        'a wrong retryAfter',
        '{"token":"x","fail":{"code":"c","message":"m","retryAfter":-1}}',
        400,
        'invalid-parameter',
      ],
    ];
    for (const [what, item, status, code] of items) {
      await t.test(`${what} gets ${status} ${code}`, () =>
        victim.untouchedBy(async () =>
          assertProblem(await postJson(victim, pathOf('leases', token), `{"settle":[${good},${item}]}`), status, code),
        ),
      );
    }
    for (const [what, other] of [
      ['nothing', ''],
      ['junk', 'junk'],
      ['another signature', `${token.slice(0, -4)}AAAA`],
      ['another attempt', token.replace(/-1-1-/, '-1-2-')],
    ] as const) {
      await t.test(`T41: a settlement whose token is ${what} is 404 in its place, and nothing changes`, () =>
        victim.untouchedBy(async () => {
          const answer = await postJson(
            victim,
            pathOf('leases', token),
            `{"settle":[{"token":"${other}","reply":{}}]}`,
          );
          assert.equal(answer.status, 200, answer.text);
          const [outcome] = answer.json<{ settled: { status: number; code: string }[] }>().settled;
          assert.deepEqual([outcome!.status, outcome!.code], [404, 'not-found']);
        }),
      );
    }
  }));

test('T33: the Result-Status of a reply is a final status or it is refused', (t) =>
  withLease(t, async ({ victim, token }) => {
    for (const status of ['99', '100', '199', '202', '600', '999', '200.5', '2e2', 'abc', '0x200', '-200', '']) {
      await t.test(`Result-Status: ${status} gets 400 invalid-parameter`, () =>
        victim.untouchedBy(async () =>
          assertProblem(
            await victim.ask({
              method: 'POST',
              path: `/v1/leases/${token}/reply`,
              headers: [['Result-Status', status]],
              body: 'x',
            }),
            400,
            'invalid-parameter',
          ),
        ),
      );
    }
  }));
