// Reading messages: what a frame keeps as it came, what ends the whole message and what one frame alone.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { WaitlessError } from '@waitless/protocol';
import { type Frame, readFrames } from './read-frames.ts';

const read = (text: string) => readFrames(Buffer.from(text));

function one(text: string): Frame {
  const [frame, ...more] = read(text);
  assert.equal(more.length, 0);
  assert.ok(frame && !('error' in frame), text);
  return frame;
}

describe('a body is the bytes that stand there', () => {
  const rows: [string, string][] = [
    ['"text"', 'text'],
    ['"a\\n\\u00e9\\ud83d\\ude00"', 'a\né😀'],
    ['12345678901234567890.0', '12345678901234567890.0'],
    ['1e999', '1e999'],
    ['{ "n" : 1, "n" : 2, "__proto__" : [ ] }', '{ "n" : 1, "n" : 2, "__proto__" : [ ] }'],
    ['[ [ ] ,null]', '[ [ ] ,null]'],
    ['null', 'null'],
    [`${'['.repeat(5000)}${']'.repeat(5000)}`, `${'['.repeat(5000)}${']'.repeat(5000)}`],
  ];
  for (const [json, bytes] of rows)
    test(json.slice(0, 40), () => {
      const frame = one(`{"type":"reply","body": ${json} ,"token":"t"}`);
      assert.equal(frame.body!.toString('utf8'), bytes);
      assert.deepEqual(frame.value, { body: true, token: 't' });
    });
});

test('type and ref are taken out, data and headers stay as source text, all else is its value', () => {
  const frame = one(
    ' {"ref":"r\\u0031","type":"progress","percent":5,"data": {"x": 1.0} ,"headers":{"a":"b"},"after":{"x":"y"},"list":[1,"2"]} ',
  );
  assert.equal(frame.type, 'progress');
  assert.equal(frame.ref, 'r1');
  assert.equal(frame.data, '{"x": 1.0}');
  assert.equal(frame.headers!.toString(), '{"a":"b"}');
  assert.deepEqual(frame.value, { percent: 5, data: true, headers: true, after: { x: 'y' }, list: [1, '2'] });
});

test('a string of data keeps its quotes', () => assert.equal(one('{"type":"progress","data":"x"}').data, '"x"'));

test('an array has its frames in order, and one that is none is an error in its place', () => {
  const [first, second, third, fourth] = read('[{"type":"a"}, 5, {"ref":"x"}, {"type":"b","ref":"y"}]');
  assert.deepEqual([(first as Frame).type, (fourth as Frame).type, (fourth as Frame).at], ['a', 'b', '/3']);
  assert.ok(second && 'error' in second && second.error.message.startsWith('/1 '));
  assert.ok(third && 'error' in third && third.ref === 'x' && third.error.message.startsWith('/2/type'));
  assert.deepEqual(read('[]'), []);
});

describe('a message that is none is refused as a whole', () => {
  const rows: [string, string][] = [
    ['', 'invalid-json'],
    ['{"type":"ping"}x', 'invalid-json'],
    ['[{"type":"ping"},]', 'invalid-json'],
    ['{"type":"ping",}', 'invalid-json'],
    ["{'type':'ping'}", 'invalid-json'],
    ['{"a":"\\ud800"}', 'invalid-json'],
    ['{"a":1,"a":2}', 'invalid-json'],
    ['{"constructor":1}', 'forbidden-key'],
    [`{"a":${'['.repeat(100)}${']'.repeat(100)}}`, 'payload-too-complex'],
    [`[${'{},'.repeat(1000)}{}]`, 'payload-too-large'],
  ];
  for (const [text, code] of rows)
    test(`${code}: ${text.slice(0, 40)}`, () =>
      assert.throws(
        () => read(text),
        (error) => error instanceof WaitlessError && error.code === code,
      ));
});
