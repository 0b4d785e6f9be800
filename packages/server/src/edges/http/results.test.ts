// What of a stored result reaches a client, and in which form.
import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import { bodyMember } from '../json/body-member.ts';
import { envelopeAnswer, matchesEtag, replayAnswer, type Replayed } from './results.ts';

const replayed = (
  status: number,
  headers: string[] = [],
  body: Replayed['replay']['body'] = Buffer.from('body'),
): Replayed => ({
  id: 'op',
  status: 'succeeded',
  replay: { status, headers, hash: 'h', bodyBytes: body instanceof Uint8Array ? body.length : 4, body },
});
const exchange = (ifNoneMatch?: string) => ({
  base: 'http://here',
  headers: (name: string) => (name === 'if-none-match' ? ifNoneMatch : undefined),
});
const pairs = (headers: readonly string[]): Record<string, string> =>
  Object.fromEntries(headers.flatMap((name, i) => (i % 2 === 0 ? [[name, headers[i + 1]!]] : [])));

describe('a bare replay', () => {
  for (const status of [200, 201, 203, 226, 303, 400, 404, 418, 499, 500, 503, 599])
    test(`${status} is replayed`, () => assert.equal(replayAnswer(exchange(), replayed(status)).status, status));
  for (const status of [300, 301, 302, 304, 307, 308, 399, 401, 407])
    test(`${status} would act on the client and is not`, () =>
      assert.throws(() => replayAnswer(exchange(), replayed(status)), { code: 'bad-backend-response', status: 502 }));
  for (const status of [204, 205])
    test(`${status} has no body`, () => assert.equal(replayAnswer(exchange(), replayed(status)).body, undefined));

  test('fields that are ours or act on our origin are left out in any spelling, ours come once', () => {
    const answer = replayAnswer(
      exchange(),
      replayed(
        200,
        [
          ['SET-COOKIE', 'a=b'],
          ['access-control-allow-origin', '*'],
          ['ACCESS-CONTROL-ANYTHING', '*'],
          ['Strict-Transport-Security', 'max-age=1'],
          ['Operation-Status', 'failed'],
          ['Transfer-Encoding', 'chunked'],
          ['Content-Length', '99'],
          ['Cache-Control', 'public'],
          ['X-Kept', '1'],
          ['X-Kept', '2'],
        ].flat(),
      ),
    );
    const names = answer.headers.filter((_, i) => i % 2 === 0);
    assert.deepEqual(names, [
      'X-Kept',
      'X-Kept',
      'Operation-Id',
      'Operation-Status',
      'Content-Location',
      'ETag',
      'Cache-Control',
      'X-Content-Type-Options',
      'Content-Security-Policy',
    ]);
    assert.equal(pairs(answer.headers)['Operation-Status'], 'succeeded');
  });

  test('the same ETag gets 304 without the fields of a body, a failure never does', () => {
    const answer = replayAnswer(
      exchange('"h"'),
      replayed(200, ['Content-Type', 'a/b', 'Content-Encoding', 'gzip', 'X-A', '1']),
    );
    assert.equal(answer.status, 304);
    assert.equal(answer.body, undefined);
    assert.deepEqual(Object.keys(pairs(answer.headers)).slice(0, 2), ['X-A', 'Operation-Id']);
    assert.equal(replayAnswer(exchange('"h"'), replayed(404)).status, 404);
  });
});

describe('If-None-Match', () => {
  const rows: readonly (readonly [field: string | undefined, etag: string, matches: boolean])[] = [
    [undefined, '"a"', false],
    ['"a"', '"a"', true],
    ['W/"a"', '"a"', true],
    ['"a"', 'W/"a"', true],
    ['"b", W/"a" , "c"', '"a"', true],
    ['*', '"a"', true],
    ['a', '"a"', false],
    ['"A"', '"a"', false],
    ['', '"a"', false],
    [','.repeat(10_000), '"a"', false],
  ];
  for (const [field, etag, matches] of rows)
    test(`${field?.slice(0, 30)} against ${etag}: ${matches}`, () => assert.equal(matchesEtag(field, etag), matches));
});

describe('bodies in JSON', () => {
  const rows: readonly (readonly [bytes: Uint8Array, member: string])[] = [
    [Buffer.from(''), '"body":""'],
    [Buffer.from('a"\\\n\u2028€😀\0'), `"body":${JSON.stringify('a"\\\n\u2028€😀\0')}`],
    [Buffer.from('\ufeffa'), '"body":"\ufeffa"'],
    [Buffer.from([0xff]), '"bodyBase64":"/w=="'],
    [Buffer.from([0xed, 0xa0, 0x80]), '"bodyBase64":"7aCA"'],
    [Buffer.from([0xc0, 0xaf]), '"bodyBase64":"wK8="'],
    [Buffer.from('xabcx').subarray(1, 4), '"body":"abc"'],
  ];
  for (const [bytes, member] of rows) test(member, () => assert.equal(bodyMember(bytes), member));
});

describe('the envelope', () => {
  test('shows the fields that a bare replay leaves out', () => {
    const { body } = envelopeAnswer(replayed(301, ['Set-Cookie', 'a', 'Set-Cookie', 'b']));
    assert.deepEqual(JSON.parse(body as string), {
      status: 301,
      headers: [
        ['Set-Cookie', 'a'],
        ['Set-Cookie', 'b'],
      ],
      body: 'body',
    });
  });
  for (const sizes of [[], [1], [2], [3], [1, 1, 1, 1], [2, 2], [3, 3], [1000, 1, 65_535], [5, 7, 11, 13]]) {
    test(`streams pieces of ${sizes.join(', ') || 'nothing'} bytes as base64, as long as it says`, async () => {
      const whole = Buffer.from(Array.from({ length: sizes.reduce((a, b) => a + b, 0) }, (_, i) => i % 251));
      async function* pieces(): AsyncGenerator<Uint8Array> {
        let at = 0;
        for (const size of sizes) yield whole.subarray(at, (at += size));
      }
      const from = replayed(200, ['X-A', 'é'], pieces());
      from.replay.bodyBytes = whole.length;
      const answer = envelopeAnswer(from);
      const text = await buffer(answer.body as AsyncIterable<Uint8Array>);
      assert.equal(text.length, answer.bodyBytes);
      const parsed = JSON.parse(text.toString('utf8')) as { bodyBase64: string };
      assert.ok(Buffer.from(parsed.bodyBase64, 'base64').equals(whole));
    });
  }
});
