// What may be published, in every mode, and what is refused with the name of what is wrong.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WaitlessError } from '@waitless/protocol';
import { binaryFields, structuredJson } from '../../core/event-words.ts';
import { type Naming, type ReadEvent, readEvents } from './cloud-event.ts';

const naming: Naming = {
  id: () => 'made',
  source: '/v1/topics/orders',
  type: 'orders',
  time: () => '2026-01-01T00:00:00.000Z',
};

function read(body: string | Buffer, headers: Record<string, string> = {}): ReadEvent[] {
  const rawHeaders = Object.entries(headers).flat();
  const lookup = (name: string): string | undefined =>
    Object.entries(headers).find(([own]) => own.toLowerCase() === name)?.[1];
  return readEvents({ body: Buffer.from(body as string), headers: lookup, rawHeaders }, naming);
}

const structured = (text: string): ReadEvent[] => read(text, { 'Content-Type': 'application/cloudevents+json' });
const batched = (text: string): ReadEvent[] =>
  read(text, { 'Content-Type': 'application/cloudevents-batch+json; charset=utf-8' });
const event = '"specversion":"1.0","id":"1","source":"/shop","type":"order.placed"';
const logged = ({ attributes, data }: ReadEvent) => ({
  position: 1,
  topic: 'orders',
  head: JSON.stringify(attributes),
  body: data,
  orderingKey: null,
  appendedAt: 0,
});

test('structured mode keeps the attributes and the source text of the data', () => {
  const [one] = structured(
    `{${event}, "subject":"Ä 7", "priority":3, "vip":true, "gone":null,\n "data": {"n":1e999, "n":9007199254740993} }`,
  );
  assert.deepEqual(one!.attributes, {
    specversion: '1.0',
    id: '1',
    source: '/shop',
    type: 'order.placed',
    subject: 'Ä 7',
    priority: 3,
    vip: true,
  });
  assert.equal(one!.data.toString(), '{"n":1e999, "n":9007199254740993}');
});

const dataRows: [name: string, members: string, data: string | Buffer][] = [
  ['an object', '"data":{"a":1}', '{"a":1}'],
  ['a string of JSON keeps its quotes', '"data":"text\\n"', '"text\\n"'],
  ['a null is a value', '"data":null', 'null'],
  ['a number', '"data": 12.50 ', '12.50'],
  ['text of another type loses them', '"datacontenttype":"text/plain","data":"two\\nlines \\u00e4"', 'two\nlines ä'],
  ['text before its type', '"data":"<a/>","datacontenttype":"application/xml"', '<a/>'],
  ['base64', '"datacontenttype":"image/png","data_base64":"AP8B"', Buffer.from([0, 255, 1])],
  ['base64 of JSON', '"data_base64":"eyJhIjoxfQ=="', '{"a":1}'],
  ['none', '"x":"y"', ''],
];

for (const [name, members, data] of dataRows)
  test(`structured data: ${name}`, () => {
    const [one] = structured(`{${event},${members}}`);
    assert.deepEqual(one!.data, Buffer.from(data as string));
  });

test('a batch is read in its order, and an empty one is none', () => {
  const events = batched(`[{${event},"data":1},{${event.replace('"1"', '"2"')},"data":2}]`);
  assert.deepEqual(
    events.map(({ attributes, data }) => [attributes['id'], data.toString()]),
    [
      ['1', '1'],
      ['2', '2'],
    ],
  );
  assert.deepEqual(batched(' [ ] '), []);
});

test('binary mode reads the fields, undoes their percent-encoding, and takes the body as it is', () => {
  const bytes = Buffer.from([0, 1, 255]);
  const [one] = read(bytes, {
    'ce-specversion': '1.0',
    'CE-Id': 'a%20b',
    'ce-source': '/shop',
    'ce-type': 'order.placed',
    'ce-subject': 'Z%C3%BCrich 100%',
    'Content-Type': 'image/png',
  });
  assert.deepEqual(one!.attributes, {
    specversion: '1.0',
    id: 'a b',
    source: '/shop',
    type: 'order.placed',
    subject: 'Zürich 100%',
    datacontenttype: 'image/png',
  });
  assert.deepEqual(one!.data, bytes);
});

test('any other body is wrapped, its media type kept', () => {
  const base = {
    specversion: '1.0',
    id: 'made',
    source: '/v1/topics/orders',
    type: 'orders',
    time: '2026-01-01T00:00:00.000Z',
  };
  const cases: [body: string, type: string | undefined, more: object][] = [
    ['{"a":1}', 'application/json', { datacontenttype: 'application/json' }],
    ['a,b', 'text/csv; charset=utf-8', { datacontenttype: 'text/csv; charset=utf-8' }],
    ['raw', undefined, { datacontenttype: 'application/octet-stream' }],
    ['', undefined, {}],
  ];
  for (const [body, type, more] of cases) {
    const [one] = read(body, type === undefined ? {} : { 'Content-Type': type });
    assert.deepEqual(one!.attributes, { ...base, ...more });
    assert.equal(one!.data.toString(), body);
  }
});

const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
const wrongStructured: [name: string, body: string, told: RegExp, code?: string][] = [
  ['no id', '{"specversion":"1.0","source":"/s","type":"t"}', /^id is missing/],
  ['no source', '{"specversion":"1.0","id":"1","type":"t"}', /^source is missing/],
  ['no type', '{"specversion":"1.0","id":"1","source":"/s"}', /^type is missing/],
  ['an empty id', '{"specversion":"1.0","id":"","source":"/s","type":"t"}', /^id must be a string/],
  ['an id that is a number', '{"specversion":"1.0","id":7,"source":"/s","type":"t"}', /^id must be a string/],
  ['no specversion', '{"id":"1","source":"/s","type":"t"}', /^specversion is missing/],
  ['an older specversion', '{"specversion":"0.3","id":"1","source":"/s","type":"t"}', /^specversion must be "1\.0"/],
  ['an attribute of a megabyte', `{${event},"big":"${'x'.repeat(1_000_000)}"}`, /^big has more than/],
  ['an attribute that is an object', `{${event},"ext":{"a":1}}`, /^\/ext must be a string/],
  ['an attribute name with a capital', `{${event},"Ext":"a"}`, /Ext is no attribute name/],
  ['an attribute name with a dash', `{${event},"my-ext":"a"}`, /my-ext is no attribute name/],
  ['a key for careless readers', `{${event},"constructor":"a"}`, /constructor is no attribute name/],
  ['an attribute twice', `{${event},"id":"2"}`, /\/id stands twice/],
  ['a fraction', `{${event},"ext":1.5}`, /^ext must be a whole number/],
  ['a number beyond 32 bits', `{${event},"ext":4294967296}`, /^ext must be a whole number/],
  ['a control character', `{${event},"ext":"a\\u0007"}`, /^ext has a control character/],
  ['half of a surrogate pair', `{${event},"ext":"\\ud800"}`, /surrogate/, 'invalid-json'],
  ['a time that is none', `{${event},"time":"yesterday"}`, /^time must be/],
  ['a media type that is none', `{${event},"datacontenttype":"json"}`, /^datacontenttype must be/],
  ['data twice', `{${event},"data":1,"data_base64":"AA=="}`, /one of data and data_base64/],
  ['base64 that is none', `{${event},"data_base64":"*"}`, /not valid base64/],
  ['base64 that is a number', `{${event},"data_base64":1}`, /must be a string/],
  ['base64 of something that is not JSON', `{${event},"data_base64":"AP8B"}`, /is not the JSON/],
  ['an array', `[{${event}}]`, /must be a JSON object/],
  ['broken JSON', `{${event},`, /not valid JSON/, 'invalid-json'],
  ['something after it', `{${event}} {}`, /something stands after it/, 'invalid-json'],
  [
    'attributes without end',
    `{${event},${Array.from({ length: 100 }, (_, i) => `"a${i}":1`).join(',')}}`,
    /more than 64 attributes/,
  ],
  ['a deep attribute', `{${event},"ext":${deep}}`, /must be a string/],
];

for (const [name, body, told, code = 'invalid-cloudevent'] of wrongStructured)
  test(`refused in structured mode: ${name}`, () => {
    assert.throws(
      () => structured(body),
      (error) => error instanceof WaitlessError && error.code === code && told.test(error.message),
    );
  });

test('data of any depth is data', () => {
  const [one] = structured(`{${event},"data":${deep}}`);
  assert.equal(one!.data.length, deep.length);
});

test('a wrong event refuses its batch and is named by its place, and too many are too many', () => {
  assert.throws(
    () => batched(`[{${event}},{"specversion":"1.0","id":"1","type":"t"}]`),
    /^WaitlessError: \/1\/source is missing/,
  );
  assert.throws(
    () => batched(`[${Array.from({ length: 1001 }, () => `{${event}}`).join(',')}]`),
    (error) => error instanceof WaitlessError && error.code === 'payload-too-large',
  );
  assert.throws(() => batched(`{${event}}`), /a batch is a JSON array/);
});

test('refused in binary mode and in a mixture of modes', () => {
  const fields = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/s', 'ce-type': 't' };
  assert.throws(() => read('', { ...fields, 'ce-specversion': '0.3' }), /specversion must be/);
  assert.throws(() => read('', { 'ce-id': '1' }), /specversion is missing/);
  assert.throws(() => read('{"a":', { ...fields, 'Content-Type': 'application/json' }), /is not the JSON/);
  assert.throws(() => read('', { ...fields, 'ce-datacontenttype': 'text/plain' }), /has no meaning/);
  assert.throws(() => read('', { ...fields, 'ce-ext': '%ff' }), /not UTF-8/);
  assert.throws(() => read('', { ...fields, 'ce-': 'x' }), /no attribute name/);
  assert.throws(
    () => read(`{${event}}`, { ...fields, 'Content-Type': 'application/cloudevents+json' }),
    /mixes two modes/,
  );
  assert.throws(() => read('x', { 'Content-Type': 'application/cloudevents+avro' }), /is not read here/);
});

test('an event goes out as it came in, structured and binary', () => {
  for (const [, members] of dataRows) {
    const [one] = structured(`{${event},"subject":"Ä \\"7\\"",${members}}`);
    const [again] = structured(structuredJson(logged(one!)));
    assert.deepEqual(again, one);
    const fields = Object.fromEntries(binaryFields(logged(one!)));
    assert.equal(fields['ce-subject'], '%C3%84%20%227%22');
    const [back] = read(one!.data, fields);
    const type =
      one!.data.length > 0 && !('datacontenttype' in one!.attributes) ? { datacontenttype: 'application/json' } : {};
    assert.deepEqual(back, {
      ...one,
      attributes: { ...one!.attributes, ...type, ...('x' in one!.attributes ? { x: 'y' } : {}) },
    });
  }
});
