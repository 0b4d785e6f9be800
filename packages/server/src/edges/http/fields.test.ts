// The fields of a submit as tables: what each takes, and the sentence that names it when it does not.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ServiceConfig } from '../../config/config-shape.ts';
import type { CacheWish } from '../../core/shared-request.ts';
import type { FieldLookup } from './exchange.ts';
import {
  cacheWish,
  correlationId,
  durability,
  durationField,
  forwarded,
  idempotencyKey,
  isTraceparent,
  labels,
  priority,
  resultKey,
  waiting,
  withoutStreamWish,
} from './fields.ts';

const one =
  (name: string, value: string | undefined): FieldLookup =>
  (asked) =>
    asked === name ? value : undefined;

interface Field {
  read: (headers: FieldLookup) => unknown;
  absent: unknown;
  code: string;
  good: readonly (readonly [value: string, result: unknown])[];
  bad: readonly string[];
}

const fields: Readonly<Record<string, Field>> = {
  'operation-timeout': {
    read: (headers) => durationField(headers, 'Operation-Timeout'),
    absent: undefined,
    code: 'invalid-parameter',
    good: [
      ['250ms', 250],
      ['1.5s', 1500],
      [' 10m ', 600_000],
      ['2h', 7_200_000],
      ['366d', 31_622_400_000],
      ['0s', 0],
    ],
    bad: ['', '5', '-1s', '367d', '1e3s', '5 s', 'S', '1s,2s', '9'.repeat(400)],
  },
  'idempotency-key': {
    read: idempotencyKey,
    absent: null,
    code: 'idempotency-key-invalid',
    good: [
      ['k', 'k'],
      ['"k"', 'k'],
      [' "k" ', 'k'],
      ['"a b, c; d"', 'a b, c; d'],
      ['"a\\"b\\\\c"', 'a"b\\c'],
      ["it's", "it's"],
      ['a\\b', 'a\\b'],
      ['9e107d9d-372b', '9e107d9d-372b'],
      ['k'.repeat(255), 'k'.repeat(255)],
      [`"${'\\"'.repeat(255)}"`, '"'.repeat(255)],
    ],
    bad: [
      '',
      '""',
      ' ',
      'a b',
      'a,b',
      'a;b',
      '"a',
      'a"',
      '"a"b',
      '"a"; p',
      '"\\a"',
      '"\\"',
      '"é"',
      'é',
      '"\t"',
      'k'.repeat(256),
    ],
  },
  'correlation-id': {
    read: correlationId,
    absent: null,
    code: 'invalid-parameter',
    good: [
      ['order 42', 'order 42'],
      ['c'.repeat(255), 'c'.repeat(255)],
    ],
    bad: ['', 'c'.repeat(256), 'é', 'a\tb', 'a\x7f'],
  },
  'operation-priority': {
    read: priority,
    absent: undefined,
    code: 'invalid-parameter',
    good: [
      ['0', 0],
      [' 9 ', 9],
    ],
    bad: ['', '10', '-1', '5.0', '05', 'high', '٣'],
  },
  'operation-labels': {
    read: labels,
    absent: null,
    code: 'invalid-parameter',
    good: [
      ['a=b', { a: 'b' }],
      [' a = b c , d=e=f ', { a: 'b c', d: 'e=f' }],
      ['constructor=x', { constructor: 'x' }],
      [`a=${'b'.repeat(255)}`, { a: 'b'.repeat(255) }],
      [
        Array.from({ length: 16 }, (_, i) => `l${i}=${i}`).join(),
        Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`l${i}`, String(i)])),
      ],
    ],
    bad: [
      '',
      'a',
      '=',
      '=b',
      'a=',
      'a= ',
      'a=b,',
      'a=b,a=b',
      'a b=c',
      '__proto__=x',
      'é=x',
      'a=é',
      `a=${'b'.repeat(256)}`,
      Array.from({ length: 17 }, (_, i) => `l${i}=${i}`).join(),
    ],
  },
  'operation-durability': {
    read: durability,
    absent: 'stored',
    code: 'invalid-parameter',
    good: [
      ['stored', 'stored'],
      [' memory ', 'memory'],
      ['none', 'none'],
    ],
    bad: ['', 'Stored', 'disk', 'stored,none', 'constructor'],
  },
};

for (const [name, { read, absent, code, good, bad }] of Object.entries(fields)) {
  describe(name, () => {
    test('absent', () => assert.deepEqual(read(one(name, undefined)), absent));
    for (const [value, result] of good)
      test(`takes ${JSON.stringify(value.slice(0, 40))}`, () => assert.deepEqual(read(one(name, value)), result));
    for (const value of bad)
      test(`refuses ${JSON.stringify(value.slice(0, 40))}`, () => {
        assert.throws(
          () => read(one(name, value)),
          (error: Error & { code?: string }) => {
            assert.equal(error.code, code);
            assert.ok(error.message.toLowerCase().startsWith(name), error.message);
            assert.ok(error.message.length < 300, 'a long value is not echoed');
            return true;
          },
        );
      });
  });
}

// Each of these took half a second when a pattern went back and forth over the spaces: 500 of them would meet the limit.
test('T29: long runs of spaces are read once', { timeout: 60_000 }, () => {
  const spaces = ' '.repeat(15_000);
  for (let i = 0; i < 500; i++) {
    for (const value of [`a=x${spaces}y`, `a=x${spaces}\x80`, `${spaces}=`, `a${spaces}=b${spaces}`]) {
      try {
        labels(one('operation-labels', value));
      } catch {
        // Whether it is taken is not the question here.
      }
    }
    waiting(one('prefer', `wait${spaces}=${spaces}`), { mode: 'async', syncWaitMs: 0 }, 1000);
    cacheWish(one('cache-control', `no-cache${spaces}`));
    cacheWish(one('cache-control', `x=${spaces}y,${spaces}`));
  }
});

describe('how long to hold', () => {
  const rows: readonly (readonly [prefer: string | undefined, mode: ServiceConfig['mode'], waitMs: number])[] = [
    [undefined, 'async', 0],
    [undefined, 'sync', 30_000],
    ['respond-async', 'sync', 0],
    ['wait=5', 'async', 5000],
    ['wait=0', 'sync', 0],
    ['respond-async, wait=5', 'async', 5000],
    ['wait="7"', 'async', 7000],
    ['WAIT = 5; foo=bar', 'async', 5000],
    ['wait=5, wait=50', 'async', 5000],
    ['wait=9999999999', 'async', 50_000],
    ['wait=99999999999', 'async', 0],
    ['wait=-1', 'sync', 30_000],
    ['wait=1e9', 'async', 0],
    ['wait=NaN', 'async', 0],
    ['handling=strict', 'async', 0],
  ];
  for (const [prefer, mode, waitMs] of rows)
    test(`${prefer} where the service is ${mode}: ${waitMs} ms`, () =>
      assert.equal(waiting(one('prefer', prefer), { mode, syncWaitMs: 30_000 }, 50_000).waitMs, waitMs));
});

describe('Cache-Control', () => {
  const nothing: CacheWish = { noStore: false, noCache: false, maxAgeMs: null, onlyIfCached: false };
  const good: readonly (readonly [value: string | undefined, wish: Partial<CacheWish>])[] = [
    [undefined, {}],
    ['', {}],
    ['no-cache', { noCache: true }],
    ['No-Store, max-age=0', { noStore: true, maxAgeMs: 0 }],
    ['max-age="5"', { maxAgeMs: 5000 }],
    ['max-age=60, MAX-AGE=5, max-age=7', { maxAgeMs: 5000 }],
    ['max-age=99999999999999999999', { maxAgeMs: 365 * 86_400_000 }],
    ['immutable, max-stale, min-fresh=x', {}],
    ['x="no-store, only-if-cached", no-cache', { noCache: true }],
    ['no-cache, Only-If-Cached', { noCache: true, onlyIfCached: true }],
  ];
  for (const [value, wish] of good)
    test(`${value}: ${JSON.stringify(wish)}`, () =>
      assert.deepEqual(cacheWish(one('cache-control', value)), { ...nothing, ...wish }));
  for (const value of [
    'max-age',
    'max-age=',
    'max-age =5',
    'max-age= 5',
    'max-age=-1',
    'max-age=1e9',
    'max-age=1.5',
    'max-age=1s',
    'max-age=1, max-age=x',
  ])
    test(`${value}: refused`, () =>
      assert.throws(() => cacheWish(one('cache-control', value)), {
        code: 'invalid-parameter',
        message: /Cache-Control max-age must be whole seconds/,
      }));
});

describe('Result-Key', () => {
  const latin1 = (text: string): string => Buffer.from(text).toString('latin1');
  const good: readonly (readonly [value: string | undefined, key: string | null])[] = [
    [undefined, null],
    ['42', '42'],
    ['"42"', '42'],
    ['a b/c%2F', 'a b/c%2F'],
    ['it\'s "so"', 'it\'s "so"'],
    ['"a\\"b\\\\c"', 'a"b\\c'],
    ['a\\"', 'a\\"'],
    [latin1('größe'), 'größe'],
    [latin1('"größe à"'), 'größe à'],
    // Its last byte is what a careless trim takes for a space.
    [latin1('à'), 'à'],
    // That it is empty is said where all keys are judged.
    ['', ''],
    ['""', ''],
  ];
  for (const [value, key] of good)
    test(`${JSON.stringify(value)} is ${JSON.stringify(key)}`, () =>
      assert.equal(resultKey(one('result-key', value)), key));
  for (const value of ['"', '"a', '"a"b', '"a";p=1', '"a", "b"', '"\\a"', '"a\\"', '\xff', 'a\xe4b', '\xed\xa0\x80'])
    test(`${JSON.stringify(value)} is refused`, () =>
      assert.throws(() => resultKey(one('result-key', value)), { code: 'invalid-parameter', message: /^Result-Key / }));
});

test('the wish for a stream is ours; what else a client takes goes on to the backend', () => {
  for (const [accept, kept] of [
    ['text/event-stream', undefined],
    [' Text/Event-Stream ; q=1', undefined],
    ['text/event-stream, application/json;q=0.5', 'application/json;q=0.5'],
    ['application/json;q=0.5,text/event-stream', 'application/json;q=0.5'],
    ['text/event-streams, */*', 'text/event-streams, */*'],
  ] as const)
    assert.deepEqual(
      withoutStreamWish([
        ['X-A', '1'],
        ['aCCept', accept],
      ]),
      [['X-A', '1'], ...(kept === undefined ? [] : [['aCCept', kept]])],
      accept,
    );
});

describe('what goes on to the backend', () => {
  const rows: readonly (readonly [
    what: string,
    raw: readonly string[],
    optedIn: readonly string[],
    kept: readonly (readonly string[])[],
  ])[] = [
    [
      'order, spelling and repeats stay',
      ['X-B', '1', 'x-a', '2', 'X-B', '3'],
      [],
      [
        ['X-B', '1'],
        ['x-a', '2'],
        ['X-B', '3'],
      ],
    ],
    [
      'ours do not go on',
      [
        'Host',
        'h',
        'Prefer',
        'p',
        'Operation-Id',
        'o',
        'Idempotency-Key',
        'k',
        'Content-Length',
        '1',
        'Result-Key',
        'r',
      ],
      [],
      [],
    ],
    ['credentials do not go on', ['Authorization', 'a', 'COOKIE', 'c', 'Proxy-Authorization', 'p'], [], []],
    [
      'but where the service asks for them',
      ['Authorization', 'a', 'Cookie', 'c'],
      ['authorization'],
      [['Authorization', 'a']],
    ],
    [
      'trace context does',
      ['traceparent', 't', 'TraceState', 's'],
      [],
      [
        ['traceparent', 't'],
        ['TraceState', 's'],
      ],
    ],
    [
      'fields of this hop do not',
      ['Connection', 'close', 'TE', 'trailers', 'Upgrade', 'h2c', 'Keep-Alive', '5'],
      [],
      [],
    ],
    [
      'nor those that Connection names, before or after it',
      ['X-A', '1', 'Connection', 'X-a, keep-alive , x-B', 'x-b', '2', 'X-C', '3'],
      [],
      [['X-C', '3']],
    ],
    ['nor one of two Connections', ['Connection', 'close', 'Connection', 'X-A', 'X-A', '1'], [], []],
    [
      'not even where the service asks for it',
      ['Connection', 'authorization', 'Authorization', 'a'],
      ['authorization'],
      [],
    ],
    [
      'prototypes are no lists',
      ['constructor', 'a', '__proto__', 'b'],
      [],
      [
        ['constructor', 'a'],
        ['__proto__', 'b'],
      ],
    ],
  ];
  for (const [what, raw, optedIn, kept] of rows) test(what, () => assert.deepEqual(forwarded(raw, optedIn), kept));
});

describe('trace context', () => {
  const good = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
  for (const value of [good, good.replace(/^00/, 'fe')])
    test(`${value} is one`, () => assert.equal(isTraceparent(value), true));
  for (const value of [
    '',
    good.toUpperCase(),
    `${good}-x`,
    good.replace(/^00/, 'ff'),
    `00-${'0'.repeat(32)}-${'b'.repeat(16)}-01`,
    `00-${'a'.repeat(32)}-${'0'.repeat(16)}-01`,
  ])
    test(`${value} is none`, () => assert.equal(isTraceparent(value), false));
});
