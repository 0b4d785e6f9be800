// The scanner against tables of texts, hostile ones first of all, and against JSON.parse as the judge of the grammar.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { WaitlessError } from '@waitless/protocol';
import { type Pointed, pointerTokens, valueAt } from './json-pointer.ts';

const at = (text: string, pointer: string): Pointed => valueAt(Buffer.from(text), pointer, 512);
const string = (text: string): Pointed => ({ kind: 'string', text });
const number = (text: string): Pointed => ({ kind: 'number', text });
const missing: Pointed = { kind: 'missing' };

function refuses(body: string | Uint8Array, pointer: string, words?: RegExp): void {
  assert.throws(
    () => valueAt(Buffer.from(body as string), pointer, 512),
    (error: unknown) =>
      error instanceof WaitlessError && error.code === 'invalid-json' && (words?.test(error.message) ?? true),
    `${String(body).slice(0, 80)} is to be refused`,
  );
}

test('a pointer is taken apart as RFC 6901 says', () => {
  const table: [string, string[] | undefined][] = [
    ['', []],
    ['/', ['']],
    ['/a', ['a']],
    ['/a/b/0', ['a', 'b', '0']],
    ['/a~1b', ['a/b']],
    ['/m~0n', ['m~n']],
    ['/~01', ['~1']],
    ['/ ', [' ']],
    ['a', undefined],
    ['/~', undefined],
    ['/~2', undefined],
  ];
  for (const [pointer, tokens] of table) assert.deepEqual(pointerTokens(pointer), tokens, pointer);
  assert.throws(() => at('{}', 'a'), TypeError);
});

describe('what is found', () => {
  const table: [what: string, text: string, pointer: string, found: Pointed][] = [
    ['a string', '{"customerId":"42"}', '/customerId', string('42')],
    ['a number', '{"customerId":42}', '/customerId', number('42')],
    ['deeper', '{"a":{"b":[1,{"c":"x"}]}}', '/a/b/1/c', string('x')],
    ['among others of all kinds', ' {"z" : [{"id":1}], "o":{"id":2}, "id" : "3" , "t":true } ', '/id', string('3')],
    ['the whole text', ' "x" ', '', string('x')],
    ['the whole text, an object', '{}', '', { kind: 'object' }],
    ['a name with a slash', '{"a/b":"1","a":{"b":"2"}}', '/a~1b', string('1')],
    ['a name with a tilde', '{"m~n":"1"}', '/m~0n', string('1')],
    ['an empty name', '{"":"1"}', '/', string('1')],
    ['an escaped name', '{"customer\\u0049d":"1"}', '/customerId', string('1')],
    ['a name of escapes', '{"\\u0061\\/\\n":"1"}', '/a~1\n', string('1')],
    ['a name beyond ASCII', '{"größe":"1"}', '/größe', string('1')],
    ['a name beyond ASCII, escaped', '{"gr\\u00f6\\u00dfe":"1"}', '/größe', string('1')],
    ['a name of a pair', '{"\\ud83d\\ude00":"1"}', '/😀', string('1')],
    ['__proto__ is a name', '{"__proto__":"1"}', '/__proto__', string('1')],
    ['a name in other normal form is another', '{"e\u0301":"1"}', '/\u00e9', missing],
    ['a name in other case is another', '{"CUSTOMERID":"1"}', '/customerId', missing],
    ['an index', '["a","b","c"]', '/2', string('c')],
    ['an index of an array after another one', '[[0],["x"],["y"]]', '/1/0', string('x')],
    ['an index that is not there', '["a"]', '/1', missing],
    ['an index with a leading zero', '["a","b"]', '/01', missing],
    ['a negative index', '["a"]', '/-1', missing],
    ['the place after the last', '["a"]', '/-', missing],
    ['an index of exponent form', '["a","b"]', '/1e0', missing],
    ['digits name a member of an object', '{"0":"x"}', '/0', string('x')],
    ['a dash names a member of an object', '{"-":"x"}', '/-', string('x')],
    [
      'names that begin like it, and of which it is the beginning',
      '{"i":1,"id2":2,"i\\u00642":3,"id":"x","":4}',
      '/id',
      string('x'),
    ],
    [
      'names beyond ASCII beside it',
      '{"\u00efd":1,"i\u0111":2,"\ud83d\ude00":3,"\u212bd":4,"id":"x"}',
      '/id',
      string('x'),
    ],
    ['a name with a NUL', '{"id\\u0000":"1","id":"x"}', '/id', string('x')],
    ['nothing below a string', '{"a":"b"}', '/a/0', missing],
    ['nothing below an empty object', '{"a":{}}', '/a/b', missing],
    ['only on its own level', '{"a":{"id":"1"},"b":[{"id":"2"}]}', '/id', missing],
    ['not below a sibling', '{"b":{"c":"1"},"a":{}}', '/a/c', missing],
    ['null', '{"a":null}', '/a', { kind: 'null' }],
    ['an object', '{"a":{"b":1}}', '/a', { kind: 'object' }],
    ['an array', '{"a":[1]}', '/a', { kind: 'array' }],
    ['true', '{"a":true}', '/a', { kind: 'boolean', text: 'true' }],
    ['false', '{"a":false}', '/a', { kind: 'boolean', text: 'false' }],
    ['a number beyond doubles', '{"a":1e999}', '/a', number('1e999')],
    ['a number beyond safe integers', '{"a":9007199254740993}', '/a', number('9007199254740993')],
    ['a number as it is written', '{"a":-0.10E+01}', '/a', number('-0.10E+01')],
    ['escapes in a string', '{"a":"\\u0041\\n\\"\\\\\\/"}', '/a', string('A\n"\\/')],
    ['half of a pair is left to the caller', '{"a":"\\ud800"}', '/a', string('\ud800')],
    ['repeated members off the way', '{"x":1,"x":2,"a":"1","b":{"c":1,"c":2}}', '/a', string('1')],
    ['the same name on other levels', '{"a":{"a":{"a":"1"}}}', '/a/a/a', string('1')],
    ['a long string', `{"a":"${'x'.repeat(4000)}"}`, '/a', { kind: 'too-long' }],
    ['a long number', `{"a":${'1'.repeat(513)}}`, '/a', { kind: 'too-long' }],
  ];
  for (const [what, text, pointer, found] of table) test(what, () => assert.deepEqual(at(text, pointer), found));
});

describe('a member on the way that stands twice is refused', () => {
  const table: [text: string, pointer: string][] = [
    ['{"id":"1","id":"2"}', '/id'],
    ['{"id":"1","x":0,"id":"1"}', '/id'],
    ['{"id":"1","\\u0069d":"2"}', '/id'],
    ['{"id":"1","ID":"2"}', '/id'],
    ['{"Id":"1","id":"2"}', '/id'],
    ['{"key":"1","\u212aey":"2"}', '/key'],
    ['{"key":"1","\\u212aey":"2"}', '/key'],
    ['{"\u017fid":"1","sid":"2"}', '/sid'],
    ['{"id":"1","\u0131d":"2"}', '/id'],
    ['{"id":"1","\\u0049\\u0044":"2"}', '/id'],
    ['{"a/b":"1","A\\/B":"2"}', '/a~1b'],
    ['{"id":null,"id":"2"}', '/id'],
    ['{"a":{"id":"1"},"a":{"id":"2"}}', '/a/id'],
    ['{"a":{"id":"1"},"a":{}}', '/a/id'],
    ['{"a":{"id":"1","id":"2"}}', '/a/id'],
    ['{"a":7,"a":{"id":"2"}}', '/a/id'],
    ['[{"id":"1","id":"2"}]', '/0/id'],
    ['{"größe":"1","GRÖSSE":"2","GRÖßE":"3"}', '/größe'],
  ];
  for (const [text, pointer] of table) test(text, () => refuses(text, pointer, /stands twice/));
});

describe('what is no JSON is refused, wherever it goes wrong', () => {
  const hostile: (string | Uint8Array)[] = [
    '\ufeff{"a":"1"}',
    Buffer.from('{"a":"1"}', 'utf16le'),
    Buffer.from([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xff, 0x22, 0x7d]),
    Buffer.from([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xc0, 0xaf, 0x22, 0x7d]),
    Buffer.from([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x7d]),
  ];
  for (const body of hostile) test(String(body).slice(0, 30), () => refuses(body, '/a'));

  // The judge of these is JSON.parse, so that the table itself cannot be wrong.
  const texts = [
    '', ' ', '{', '}', '[', ']', '{"a"', '{"a":', '{"a":"1"', '{"a":"1",', '{"a":"1",}', '{"a":"1"}}', '{"a":"1"} {"a":"2"}', '{"a":"1"}x',
    '{"a":"1"}\0', '\f{"a":"1"}', '{"a":"1"}\u00a0', '{a:"1"}', "{'a':'1'}", '{"a":"1";"b":2}', '{"a" "1"}', '{"a"::"1"}', '{,"a":"1"}', '{"a":"1",,"b":1}',
    '{"a":"1"]', '["1"}', '[1,]', '[,1]', '[1 2]', '{"a":"1","b":[}', '{"a":"1","b":{]}', '{"a":"1"//\n}', '{"a":/**/"1"}', '{"a":01}', '{"a":+1}',
    '{"a":.5}', '{"a":5.}', '{"a":1e}', '{"a":1e+}', '{"a":-}', '{"a":--1}', '{"a":0x1}', '{"a":1_0}', '{"a":NaN}', '{"a":Infinity}', '{"a":-Infinity}',
    '{"a":tru}', '{"a":trueish}', '{"a":True}', '{"a":nul}', '{"a":undefined}', '{"a":"1\n"}', '{"a":"\t"}', '{"a":"\\x41"}', '{"a":"\\u12"}',
    '{"a":"\\u12g4"}', '{"a":"\\', '{"a":"\\"}', '{"a\n":"1"}', '{"a":"1","b":"\u0000"}', '{"a":"1" "b":2}', '{1:2}', '{null:1}', '{"a":"1"},', ',', ':', '"', '"a', '-',
    '[[[]]', '{"a":{"b":1}', 't', 'f', 'n', 'nullnull', '1 1', '1.2.3', '00', '-01',
    // And these are fine.
    '{}', '[]', '0', '-0', '-0.0e-0', '1E5', '"\u2028"', '[[],{},[{}]]', '\t\n\r {"a" :\r\n[ ] }\t', '{"a":"\\ud800"}', '"\u007f"', '[true,false,null]', '{"":{"":{}}}', '1e-7',
  ]; // prettier-ignore
  for (const text of texts) {
    test(JSON.stringify(text), () => {
      let parses = true;
      try {
        JSON.parse(text);
      } catch {
        parses = false;
      }
      if (parses) for (const pointer of ['/nowhere', '', '/a']) at(text, pointer);
      else for (const pointer of ['/nowhere', '', '/a']) refuses(text, pointer);
    });
  }
});

test('texts with a byte changed, left out or put in are refused where JSON.parse refuses them, and read as it reads them', () => {
  const seedText = '{"a":{"b":[1,-2.5e3,"x\\n",null,{"id":"k\\u0041"}],"c":true},"id":"42","d":[],"e":{}}';
  const bytes = '{}[]",:\\tfnu0123-+.eE \n\0x';
  let state = 42;
  const next = (below: number): number => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * below);
  };
  let accepted = 0;
  for (let round = 0; round < 5000; round++) {
    let text = seedText;
    for (let edits = 1 + next(2); edits > 0; edits--) {
      const place = next(text.length);
      text = text.slice(0, place) + ['', bytes[next(bytes.length)]][next(2)] + text.slice(place + next(2));
    }
    let expected: unknown;
    try {
      expected = JSON.parse(text);
    } catch {
      refuses(text, '/id');
      continue;
    }
    let found: Pointed;
    try {
      found = at(text, '/id');
    } catch (error) {
      assert.match((error as Error).message, /stands twice/, text);
      continue;
    }
    accepted++;
    const value =
      typeof expected === 'object' && expected !== null ? (expected as Record<string, unknown>)['id'] : undefined;
    if (found.kind === 'string') assert.equal(found.text, value, text);
    else if (found.kind === 'number') assert.equal(Number(found.text), value, text);
    else assert.equal(found.kind === 'missing', value === undefined, text);
  }
  assert.ok(accepted > 50, `${accepted} of the changed texts were JSON, too few to say anything`);
});

test('whatever is nested in whatever, the value is the one that a walk over the parsed document finds', () => {
  let state = 7;
  const next = (below: number): number => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * below);
  };
  const names = ['a', 'b', '0', '1', 'c/d', 'm~n', 'é', ''];
  let leaves = 0;
  const grow = (depth: number): unknown => {
    const kind = depth > 4 ? 2 : next(3);
    if (kind === 0) return Array.from({ length: next(4) }, () => grow(depth + 1));
    if (kind === 1) return Object.fromEntries(names.filter(() => next(2) === 0).map((name) => [name, grow(depth + 1)]));
    return `leaf ${++leaves}`;
  };
  let found = 0;
  for (let round = 0; round < 5000; round++) {
    const document = grow(0);
    const tokens = Array.from({ length: next(5) }, () => names[next(names.length)]!);
    const pointer = tokens.map((token) => `/${token.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
    let value = document;
    for (const token of tokens)
      value =
        typeof value === 'object' && value !== null && Object.hasOwn(value, token)
          ? (value as Record<string, unknown>)[token]
          : undefined;
    const expected: Pointed =
      typeof value === 'string'
        ? string(value)
        : value === undefined
          ? missing
          : { kind: Array.isArray(value) ? 'array' : 'object' };
    assert.deepEqual(at(JSON.stringify(document), pointer), expected, `${pointer} in ${JSON.stringify(document)}`);
    if (typeof value === 'string') found++;
  }
  assert.ok(found > 300, `only ${found} pointers led to a value`);
});

describe('size and depth', () => {
  const deep = 200_000;
  test('arrays 200,000 deep, beside the value and around it', () => {
    const nested = '['.repeat(deep) + ']'.repeat(deep);
    assert.deepEqual(at(`{"x":${nested},"id":"1"}`, '/id'), string('1'));
    assert.deepEqual(at('['.repeat(deep) + '"1"' + ']'.repeat(deep), '/0'.repeat(deep)), string('1'));
    refuses('['.repeat(deep), '/id');
    refuses('['.repeat(deep) + ']'.repeat(deep - 1), '/id');
  });
  test('objects 200,000 deep', () => {
    assert.deepEqual(
      at('{"a":'.repeat(deep) + '{"id":"1"}' + '}'.repeat(deep), '/a'.repeat(deep) + '/id'),
      string('1'),
    );
  });
  test('10 MB of elements, of members, of escapes, of one string', () => {
    const many = 10 * 1024 * 1024;
    assert.deepEqual(at(`{"x":[${'1,'.repeat(many / 2)}1],"id":"1"}`, '/id'), string('1'));
    assert.deepEqual(at(`{${'"xx":0,'.repeat(many / 7)}"id":"1"}`, '/id'), string('1'));
    assert.deepEqual(at(`{"x":"${'\\u0041'.repeat(many / 6)}","id":"1"}`, '/id'), string('1'));
    assert.deepEqual(at(`{"x":"${'x'.repeat(many)}","id":"1"}`, '/id'), string('1'));
    assert.deepEqual(at(`{"id":"${'x'.repeat(many)}"}`, '/id'), { kind: 'too-long' });
    refuses(`{"id":"1","x":[${'1,'.repeat(many / 2)}1]`, '/id');
  });
});
