// The reader of batches: what it takes, what it refuses of the whole and what of one item, and that bodies are the bytes that stand there.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { WaitlessError } from '@waitless/protocol';
import type { CallItem } from '../json/call-item.ts';
import { readArray, readLines } from './batch-items.ts';
import { JsonScan } from '../json/scan.ts';

const bytes = (text: string): Buffer => Buffer.from(text, 'utf8');
const one = (text: string): CallItem => {
  const [item, ...more] = readArray(bytes(`[${text}]`));
  assert.equal(more.length, 0);
  if (item instanceof WaitlessError) throw item;
  return item!;
};
const errorOf = (run: () => unknown): WaitlessError => {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof WaitlessError, String(error));
    return error;
  }
  throw new Error('nothing was refused');
};
const shown = (text: string): string => (text.length > 60 ? `${text.slice(0, 60)}…` : text);

describe('an item', () => {
  test('what is not said has its default', () => {
    const item = one('{"service":"jobs"}');
    const { body, ...head } = item;
    assert.deepEqual(head, { service: 'jobs', method: 'POST', path: '', query: '', rawHeaders: [] });
    assert.equal(body.length, 0);
  });

  test('every field, in any order and with white space between', () => {
    const item = one(
      ' { "body" : "x" ,\n"headers":{"A":"1","a":" 2\\t"},"query":"b=c&d=%20","path":"/p/q","method":"PUT","service":"jobs" } ',
    );
    assert.deepEqual(
      { ...item, body: String(item.body) },
      {
        service: 'jobs',
        method: 'PUT',
        path: '/p/q',
        query: 'b=c&d=%20',
        rawHeaders: ['A', '1', 'a', '2'],
        body: 'x',
      },
    );
  });

  test('headers as pairs keep their order and may repeat a name', () =>
    assert.deepEqual(one('{"service":"jobs","headers":[["X","1"],["Y",""],["X","2"]]}').rawHeaders, [
      'X',
      '1',
      'Y',
      '',
      'X',
      '2',
    ]));

  test('a key in escapes is the key', () => assert.equal(one('{"\\u0073ervice":"jobs"}').service, 'jobs'));

  const bodies: readonly (readonly [source: string, body: string | Buffer])[] = [
    ['"plain"', 'plain'],
    ['""', ''],
    ['"a\\"b\\\\c\\n\\u20ac\\ud83d\\ude00"', 'a"b\\c\n€😀'],
    ['"€"', '€'],
    ['{"a": 1e999,  "a":[9007199254740993] }', '{"a": 1e999,  "a":[9007199254740993] }'],
    ['{"__proto__":{"x":1},"a":"\\ud800"}', '{"__proto__":{"x":1},"a":"\\ud800"}'],
    ['-0.0', '-0.0'],
    ['null', 'null'],
    ['true', 'true'],
    ['[ ]', '[ ]'],
    [`${'['.repeat(200_000)}${']'.repeat(200_000)}`, `${'['.repeat(200_000)}${']'.repeat(200_000)}`],
    [`${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`, `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`],
  ];
  for (const [source, body] of bodies) {
    test(`body ${shown(source)}`, () => {
      assert.ok(one(`{"service":"jobs","body": ${source} }`).body.equals(Buffer.from(body as string)));
      assert.ok(one(`{"body":${source},"service":"jobs"}`).body.equals(Buffer.from(body as string)));
    });
  }

  test('bodyBase64 is its bytes', () => {
    const every = Buffer.from(Uint8Array.from({ length: 256 }, (_, value) => value));
    assert.ok(one(`{"service":"jobs","bodyBase64":"${every.toString('base64')}"}`).body.equals(every));
    assert.equal(one('{"service":"jobs","bodyBase64":""}').body.length, 0);
  });

  test('a plain body is no copy', () => {
    const source = bytes('[{"service":"jobs","body":{"a":1}}]');
    const [item] = readArray(source);
    assert.ok(!(item instanceof WaitlessError));
    assert.equal(item!.body.buffer, source.buffer);
  });
});

describe('an item that is wrong spoils no other', () => {
  const rows: readonly (readonly [item: string, pointer: string])[] = [
    ['5', '/1'],
    ['null', '/1'],
    ['"jobs"', '/1'],
    ['[]', '/1'],
    ['{}', '/1/service'],
    ['{"service":5}', '/1/service'],
    ['{"service":null}', '/1/service'],
    ['{"service":"jobs","method":["POST"]}', '/1/method'],
    ['{"service":"jobs","method":"post"}', '/1/method'],
    ['{"service":"jobs","method":""}', '/1/method'],
    ['{"service":"jobs","method":"POST "}', '/1/method'],
    ['{"service":"jobs","path":"a"}', '/1/path'],
    ['{"service":"jobs","path":"/a?b"}', '/1/path'],
    ['{"service":"jobs","path":{}}', '/1/path'],
    ['{"service":"jobs","query":"a b"}', '/1/query'],
    ['{"service":"jobs","query":"é"}', '/1/query'],
    ['{"service":"jobs","query":true}', '/1/query'],
    ['{"service":"jobs","headers":"a: b"}', '/1/headers'],
    ['{"service":"jobs","headers":5}', '/1/headers'],
    ['{"service":"jobs","headers":{"a":5}}', '/1/headers'],
    ['{"service":"jobs","headers":{"a":{"b":[1]}}}', '/1/headers'],
    ['{"service":"jobs","headers":{"a b":"c"}}', '/1/headers'],
    ['{"service":"jobs","headers":{"":"c"}}', '/1/headers'],
    ['{"service":"jobs","headers":{"a":"b\\r\\nc: d"}}', '/1/headers'],
    ['{"service":"jobs","headers":{"a":"\\u0000"}}', '/1/headers'],
    ['{"service":"jobs","headers":{"a":"€"}}', '/1/headers'],
    ['{"service":"jobs","headers":[["a"]]}', '/1/headers'],
    ['{"service":"jobs","headers":[["a","b","c"]]}', '/1/headers'],
    ['{"service":"jobs","headers":[["a",5]]}', '/1/headers'],
    ['{"service":"jobs","headers":[[5,"a"]]}', '/1/headers'],
    ['{"service":"jobs","headers":[[]]}', '/1/headers'],
    ['{"service":"jobs","headers":["a"]}', '/1/headers'],
    ['{"service":"jobs","body":"a","bodyBase64":"YQ=="}', '/1'],
    ['{"service":"jobs","body":null,"bodyBase64":""}', '/1'],
    ['{"service":"jobs","bodyBase64":5}', '/1/bodyBase64'],
    ...['YQ', 'YQ=', 'Y Q==', 'YQ==\\n', '-_-_', '====', 'é===', 'A==='].map(
      (text) => [`{"service":"jobs","bodyBase64":"${text}"}`, '/1/bodyBase64'] as const,
    ),
  ];
  for (const [item, pointer] of rows) {
    test(shown(item), () => {
      const read = readArray(bytes(`[{"service":"jobs"},${item},{"service":"other"}]`));
      assert.equal(read.length, 3);
      const [, wrong] = read;
      assert.ok(wrong instanceof WaitlessError);
      assert.deepEqual([wrong.status, wrong.code], [400, 'invalid-parameter']);
      assert.equal((wrong.members!['errors'] as { pointer: string }[])[0]!.pointer, pointer);
      assert.equal((read[2] as CallItem).service, 'other');
      // In lines the same item is as wrong, and its line is named.
      const lines = readLines(bytes(`{"service":"jobs"}\n\n${item}\n{"service":"other"}`));
      assert.ok(lines[1] instanceof WaitlessError);
      assert.equal(lines[1].members!['line'], 3);
      assert.match(lines[1].message, /^line 3: /);
    });
  }

  test('more headers than a request may have are kept up to one more, for the check that says so', () => {
    const pairs = Array.from({ length: 5000 }, (_, i) => `["h${i}","v"]`).join(',');
    assert.equal(one(`{"service":"jobs","headers":[${pairs}]}`).rawHeaders.length, 202);
  });

  test('headers larger than a request may have are 431', () => {
    const [item] = readArray(bytes(`[{"service":"jobs","headers":{"a":"${'b'.repeat(16_384)}"}}]`));
    assert.ok(item instanceof WaitlessError);
    assert.equal(item.code, 'too-many-headers');
  });
});

describe('what is refused as a whole', () => {
  const rows: readonly (readonly [text: string, code: string])[] = [
    ...[
      '',
      ' ',
      '[',
      '[{',
      '[{"service"',
      '[{"service":"jobs"',
      '[{"service":"jobs"}',
      '[{"service":"jobs"},]',
      '[,]',
      '[{"service":"jobs"}] x',
      '[{"service":"jobs"}]]',
      '[{"service":"jobs",}]',
      '[{"service":jobs}]',
      '[{service:"jobs"}]',
      "[{'service':'jobs'}]",
      '\ufeff[]',
      '[{"service":"jobs","service":"jobs"}]',
      '[{"service":"jobs","body":1,"body":2}]',
      '[{"service":"jobs","headers":{"a":"1","a":"2"}}]',
      '[{"service":"jobs","body":"\\ud800"}]',
      '[{"service":"\\udc00"}]',
      '[{"service":"jobs","body":"\n"}]',
      '[{"service":"jobs","body":"\\x41"}]',
      '[{"service":"jobs","body":"\\u12g4"}]',
      '[{"service":"jobs","body":01}]',
      '[{"service":"jobs","body":1.}]',
      '[{"service":"jobs","body":.5}]',
      '[{"service":"jobs","body":1e}]',
      '[{"service":"jobs","body":NaN}]',
      '[{"service":"jobs","body":{"a":}}]',
      '[{"service":"jobs","body":{"a"}}]',
      '[{"service":"jobs","body":[1,]}]',
      '[{"service":"jobs","body":[1}]}]',
      '[{"service":"jobs","body":tru}]',
      '[{"service":"jobs","body":}]',
      'null x',
    ].map((text) => [text, 'invalid-json'] as const),
    ['{}', 'invalid-parameter'],
    ['"x"', 'invalid-parameter'],
    ['null', 'invalid-parameter'],
    ['[{"service":"jobs","state":"succeeded"}]', 'unknown-field'],
    ['[{"service":"jobs","namespace":"other"}]', 'unknown-field'],
    ['[{"service":"jobs","toString":1}]', 'unknown-field'],
    ['[{"service":"jobs","Body":1}]', 'unknown-field'],
    ['[{"__proto__":{"x":1}}]', 'forbidden-key'],
    ['[{"\\u005f_proto__":{"x":1}}]', 'forbidden-key'],
    ['[{"service":"jobs","headers":{"__proto__":"x"}}]', 'forbidden-key'],
    ['[{"service":"jobs","headers":{"constructor":"x"}}]', 'forbidden-key'],
    ['['.repeat(200_000), 'payload-too-complex'],
    [`${'['.repeat(65)}${']'.repeat(65)}`, 'payload-too-complex'],
    [`[{"service":${'['.repeat(63)}${']'.repeat(63)}}]`, 'payload-too-complex'],
    [`[{"service":"jobs","headers":[["a",${'['.repeat(61)}${']'.repeat(61)}]]}]`, 'payload-too-complex'],
    [`[${'{"service":"jobs"},'.repeat(1000)}{"service":"jobs"}]`, 'payload-too-large'],
  ];
  for (const [text, code] of rows)
    test(`${code}: ${shown(text)}`, () => assert.equal(errorOf(() => readArray(bytes(text))).code, code));

  test('invalid UTF-8', () => {
    const text = Buffer.concat([bytes('[{"service":"jobs","body":"'), Buffer.from([0xff]), bytes('"}]')]);
    assert.equal(errorOf(() => readArray(text)).code, 'invalid-json');
  });

  test('no more than a thousand items, and the limit is named', () => {
    const thousand = `[${Array.from({ length: 1000 }, () => '{"service":"jobs"}').join(',')}]`;
    assert.equal(readArray(bytes(thousand)).length, 1000);
    const error = errorOf(() => readLines(bytes('{"service":"jobs"}\n'.repeat(1001))));
    assert.deepEqual([error.status, error.members!['limitItems']], [413, 1000]);
    assert.match(error.message, /1000/);
    assert.equal(readLines(bytes(`${'{"service":"jobs"}\n'.repeat(1000)}\n \n`)).length, 1000);
  });

  test('64 levels of the envelope are read', () => {
    const [item] = readArray(bytes(`[{"service":${'['.repeat(62)}${']'.repeat(62)}}]`));
    assert.ok(item instanceof WaitlessError && item.code === 'invalid-parameter');
  });

  test('nothing is an empty batch', () => {
    assert.deepEqual(readArray(bytes(' [ ] ')), []);
    assert.deepEqual(readLines(bytes('')), []);
    assert.deepEqual(readLines(bytes('\n \r\n\t')), []);
  });
});

describe('lines', () => {
  const broken: readonly (readonly [line: string | Buffer, code: string])[] = [
    ['{"service":"jobs"', 'invalid-json'],
    ['{"service":"jobs"} {"service":"jobs"}', 'invalid-json'],
    ['{"service":"jobs"},', 'invalid-json'],
    ['[{"service":"jobs"}]', 'invalid-parameter'],
    ['\ufeff{"service":"jobs"}', 'invalid-json'],
    ['{"service":"jobs","service":"jobs"}', 'invalid-json'],
    ['{"service":"jobs","state":1}', 'unknown-field'],
    ['{"__proto__":1}', 'forbidden-key'],
    [`{"service":${'['.repeat(64)}`, 'payload-too-complex'],
    [Buffer.from([0x22, 0xff, 0x22]), 'invalid-json'],
  ];
  for (const [line, code] of broken) {
    test(`${code} in its place: ${shown(String(line))}`, () => {
      const read = readLines(
        Buffer.concat([bytes('{"service":"a"}\r\n\n'), Buffer.from(line as string), bytes('\n{"service":"b"}\n')]),
      );
      assert.equal(read.length, 3);
      assert.equal((read[0] as CallItem).service, 'a');
      assert.ok(read[1] instanceof WaitlessError);
      assert.deepEqual([read[1].code, read[1].members!['line']], [code, 3]);
      assert.match(read[1].message, /^line 3: /);
      assert.equal((read[2] as CallItem).service, 'b');
    });
  }

  test('a line is read to its own end: a string that is open there takes nothing of the next', () => {
    const read = readLines(bytes('{"service":"a","body":"\n"}\n{"service":"b"}'));
    assert.deepEqual(
      read.map((item) => (item instanceof WaitlessError ? item.code : item.service)),
      ['invalid-json', 'invalid-json', 'b'],
    );
  });
});

test('the scanner takes exactly what JSON.parse takes, tried on 20,000 texts that were broken at random', () => {
  const samples = [
    '{"a":[1,-2.5e+3,true,false,null,"x\\u00e9\\n\\"",{"b":{}}],"c":[[],[{}]]}',
    '[0,-0,10,0.1,1E5,1e-7,"",{"":[""]}]',
    '"\\\\\\/\\b\\f\\n\\r\\t\\ud83d\\ude00"',
    ' { "k" : [ 1 , 2 ] , "l" : "m" } ',
  ];
  const pieces = [
    ...'{}[]",:\\0123456789.eE+-tfnu \n\t/x'.split(''),
    'true',
    'null',
    '\\u12',
    '""',
    '{}',
    '1e5',
    '\u00e9',
  ];
  let state = 20_261_121;
  const random = (below: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >>> 8) % below;
  };
  const parses = (text: string): boolean => {
    try {
      JSON.parse(text);
      return true;
    } catch {
      return false;
    }
  };
  const scans = (text: string): boolean => {
    const scan = new JsonScan(bytes(text));
    try {
      scan.value();
    } catch (error) {
      assert.ok(error instanceof WaitlessError, `${text}: ${String(error)}`);
      return false;
    }
    return scan.next() === undefined;
  };
  let good = 0;
  for (let round = 0; round < 20_000; round++) {
    let text = samples[random(samples.length)]!;
    for (let changes = random(4); changes > 0; changes--) {
      const at = random(text.length + 1);
      text = text.slice(0, at) + (random(3) === 0 ? '' : pieces[random(pieces.length)]) + text.slice(at + random(3));
    }
    const expected = parses(text);
    if (expected) good++;
    assert.equal(scans(text), expected, JSON.stringify(text));
  }
  assert.ok(good > 2000 && good < 18_000, `${good} of the texts are JSON`);
});
