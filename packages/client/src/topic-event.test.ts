// What an event of a topic is read to, and what is written for one: the data stays what it was, byte for byte.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventJson } from './cloud-event.ts';
import { elementTexts, memberText, topicEventOf } from './topic-event.ts';

const naming = { topic: 'orders.placed', id: 'made', time: '2026-01-01T00:00:00.000Z' };
const placed = { topic: 'orders.placed', position: 7 };
const there = (json: string) => topicEventOf(json, placed);

test('JSON keeps its source text, whatever stands around and in it', () => {
  const nasty = '{"a" : 1e999, "b":9007199254740993, "a":"\\"},]{\\\\", "data":[1,{"x":"]"}]}';
  const event = there(`{"specversion":"1.0", "id":"1","source":"s\\"}","type":"t", "data" : ${nasty} , "subject":"x"}`);
  assert.equal(event.text(), nasty);
  assert.deepEqual([event.id, event.source, event.subject, event.contentType], ['1', 's"}', 'x', 'application/json']);
  assert.deepEqual([event.topic, event.position], ['orders.placed', 7]);
  assert.equal(memberText('{"a":{"data":1},"data":2}', 'data'), '2');
  assert.equal(memberText('{"a":{"data":1}}', 'data'), undefined);
  assert.deepEqual(elementTexts(' [ {"a":[1,2]} , "x]," ,3]'), ['{"a":[1,2]}', '"x],"', '3']);
  assert.deepEqual(elementTexts('[]'), []);
});

test('what is written is read as it was given: values, text, JSON that is text already, bytes, nothing', () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  for (const [data, given, type, text] of [
    [{ pizza: 'funghi' }, undefined, 'application/json', '{"pizza":"funghi"}'],
    [[1, 2], undefined, 'application/json', '[1,2]'],
    [0, undefined, 'application/json', '0'],
    [null, undefined, 'application/json', 'null'],
    ['héllo "you"', undefined, 'text/plain; charset=utf-8', 'héllo "you"'],
    ['{"a": 9007199254740993}', 'application/json', 'application/json', '{"a": 9007199254740993}'],
    [new TextEncoder().encode('{"a": 1e999}'), 'application/vnd.x+json', 'application/vnd.x+json', '{"a": 1e999}'],
    ['<a/>', 'application/xml', 'application/xml', '<a/>'],
    ['\ud800', undefined, 'text/plain; charset=utf-8', '\ufffd'],
    [undefined, undefined, 'application/json', ''],
  ] as const) {
    const event = there(eventJson({ data, dataContentType: given }, naming).json);
    assert.deepEqual([event.contentType, event.text()], [type, text]);
  }
  for (const data of [bytes, bytes.buffer]) {
    const event = there(eventJson({ data }, naming).json);
    assert.equal(event.contentType, 'application/octet-stream');
    assert.deepEqual(event.bytes, bytes);
  }
});

test('attributes have defaults, extensions keep their types, and what cannot be written is said', () => {
  const event = there(eventJson({}, naming).json);
  assert.deepEqual(event.attributes, {
    specversion: '1.0',
    id: 'made',
    source: '/waitless-client',
    type: 'orders.placed',
    time: naming.time,
  });
  const full = {
    id: 'i',
    source: 's',
    type: 't',
    subject: 'x',
    time: new Date(0),
    orderingKey: 'alice',
    extensions: { tenant: 'a', tries: 3, urgent: true },
  };
  assert.deepEqual(there(eventJson(full, naming).json).attributes, {
    tenant: 'a',
    tries: 3,
    urgent: true,
    specversion: '1.0',
    id: 'i',
    source: 's',
    type: 't',
    subject: 'x',
    time: '1970-01-01T00:00:00.000Z',
    partitionkey: 'alice',
  });
  const whole = '{"specversion":"1.0", "id":"own","data":1e999}';
  assert.deepEqual(eventJson({ cloudEvent: whole }, naming), { id: 'own', json: whole });
  for (const wrong of [
    { cloudEvent: '{' },
    { data: '{', dataContentType: 'application/json' },
    { data: new Uint8Array([0xff]), dataContentType: 'application/json' },
    { data: { n: 1n } },
    { data: new Date(0) },
    { time: new Date(Number.NaN) },
  ])
    assert.throws(() => eventJson(wrong, naming), { code: 'invalid-parameter' });
});
