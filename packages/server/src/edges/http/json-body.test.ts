// The strict reader: which texts it takes, why it refuses the others, and that opaque members keep their source text.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readJson, type Verbatim } from './json-body.ts';

describe('what is read', () => {
  const texts = [
    '{}',
    '[]',
    ' null ',
    '0',
    '-0',
    '1e5',
    '"\\ud83d\\ude00"',
    '{"a":{"b":[1,{"c":"}]"}]}}',
    '{"a\\"b":1}',
    '{"":1}',
    '["a","a"]',
    '[{"a":1},{"a":2}]',
    '"\u2028"',
    '{"a":"\\u0000"}',
  ];
  for (const text of texts) test(text, () => assert.deepEqual(readJson(text).value, JSON.parse(text)));
  test('64 levels', () => assert.ok(readJson(`${'['.repeat(64)}${']'.repeat(64)}`)));
  test('10,000 keys', () => assert.ok(readJson(`{${Array.from({ length: 10_000 }, (_, i) => `"${i}":0`).join(',')}}`)));
  test('brackets inside strings are no levels', () => assert.ok(readJson(JSON.stringify('['.repeat(1000)))));
});

describe('what is refused', () => {
  const rows: readonly (readonly [text: string, code: string])[] = [
    ['', 'invalid-json'],
    ['{', 'invalid-json'],
    ['}', 'invalid-json'],
    ['{}}', 'invalid-json'],
    ['{"a"}', 'invalid-json'],
    ['{"a":}', 'invalid-json'],
    ['{,}', 'invalid-json'],
    ['[1,]', 'invalid-json'],
    ['"', 'invalid-json'],
    ['"\\', 'invalid-json'],
    ['"\\"', 'invalid-json'],
    ['\ufeff{}', 'invalid-json'],
    ['{"a":1,"a":1}', 'invalid-json'],
    ['{"a":1,"b":{},"\\u0061":1}', 'invalid-json'],
    ['{"a":[{"b":1,"b":2}]}', 'invalid-json'],
    ['"\\ud800"', 'invalid-json'],
    ['["\\udc00\\ud800"]', 'invalid-json'],
    ['{"\\ud800":1}', 'invalid-json'],
    ['"\\u12"', 'invalid-json'],
    ['{"__proto__":1}', 'forbidden-key'],
    ['{"a":{"\\u005f_proto__":1}}', 'forbidden-key'],
    ['{"constructor":1}', 'forbidden-key'],
    ['{"prototype":1}', 'forbidden-key'],
    [`${'['.repeat(65)}${']'.repeat(65)}`, 'payload-too-complex'],
    ['['.repeat(1_000_000), 'payload-too-complex'],
    ['{"a":'.repeat(1_000_000), 'payload-too-complex'],
    [`{${Array.from({ length: 10_001 }, (_, i) => `"${i}":0`).join(',')}}`, 'payload-too-complex'],
    [`[${'0,'.repeat(200_001)}0]`, 'payload-too-complex'],
  ];
  for (const [text, code] of rows)
    test(`${text.length > 50 ? `${text.slice(0, 50)}…` : text}: ${code}`, () =>
      assert.throws(() => readJson(text), { code }));
});

describe('opaque members', () => {
  const rows: readonly (readonly [text: string, verbatim: Verbatim, found: readonly string[]])[] = [
    ['{"data":1e999}', { key: 'data', depth: 1 }, ['1e999']],
    ['{"data" : \t[ 1 , 2 ]\n ,"x":1}', { key: 'data', depth: 1 }, ['[ 1 , 2 ]']],
    ['{"data": 9007199254740993  }', { key: 'data', depth: 1 }, ['9007199254740993']],
    ['{"data": null , "x":2}', { key: 'data', depth: 1 }, ['null']],
    ['{"data":{"a":1,"a":2,"__proto__":{}}}', { key: 'data', depth: 1 }, ['{"a":1,"a":2,"__proto__":{}}']],
    ['{"data":"a\\"}]"}', { key: 'data', depth: 1 }, ['"a\\"}]"']],
    ['{"d\\u0061ta":1}', { key: 'data', depth: 1 }, ['1']],
    ['{"data":{"x":"\\ud800"}}', { key: 'data', depth: 1 }, ['{"x":"\\ud800"}']],
    ['{"x":{"data":1},"data":2}', { key: 'data', depth: 1 }, ['2']],
    ['{"x":["data",{"data":1}]}', { key: 'data', depth: 1 }, []],
    ['[{"body":1},{"x":2},{"body":[3]}]', { key: 'body', depth: 2 }, ['1', '[3]']],
    ['{"x":"data"}', { key: 'data', depth: 1 }, []],
    [
      `{"data":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
      { key: 'data', depth: 1 },
      [`${'['.repeat(100_000)}${']'.repeat(100_000)}`],
    ],
  ];
  for (const [text, verbatim, found] of rows)
    test(text.length > 60 ? `${text.slice(0, 60)}…` : text, () =>
      assert.deepEqual(readJson(text, verbatim).verbatim, found),
    );

  for (const text of [
    '{"data":}',
    '{"data"',
    '{"data" 1}',
    '{"data":1,"data":2}',
    '{"data":"\\ud800"}',
    '{"data":tru}',
    '{"data":[}',
    '{"data":"a}',
  ])
    test(`${text} is refused`, () =>
      assert.throws(() => readJson(text, { key: 'data', depth: 1 }), { code: 'invalid-json' }));
});
