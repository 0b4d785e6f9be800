// Where keys are read from and what is refused there, as tables; and that digests differ wherever the requests do.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { WaitlessError } from '@waitless/protocol';
import type { KeyRule } from '../config/config-shape.ts';
import {
  businessKey,
  forwardedValues,
  identityOf,
  joinKey,
  type KeySource,
  sharingDigests,
  utf8OfField,
} from './business-key.ts';

const source = (parts: Partial<Omit<KeySource, 'body'>> & { body?: string | Uint8Array }): KeySource => ({
  rules: [],
  method: 'POST',
  path: '',
  query: '',
  headers: [],
  contentEncoding: undefined,
  given: null,
  ...parts,
  body: Buffer.from((parts.body ?? '') as string),
});

const latin1 = (text: string): string => Buffer.from(text).toString('latin1');

const customer: KeyRule = { from: 'body', pointer: '/customerId' };
const query: KeyRule = { from: 'query', name: 'customer' };
const header: KeyRule = { from: 'header', name: 'X-Customer' };
const second: KeyRule = { from: 'path', segment: 2 };

describe('a key is found', () => {
  const table: [what: string, request: Parameters<typeof source>[0], key: string | null][] = [
    ['nowhere, without a rule', { body: '{"customerId":"42"}' }, null],
    ["in the client's own word", { given: 'c/42' }, 'c/42'],
    ['of 512 bytes', { given: 'ä'.repeat(256) }, 'ä'.repeat(256)],
    ['in a string', { rules: [customer], body: '{"customerId":"42"}' }, '42'],
    ['in a number, as it is written', { rules: [customer], body: '{"customerId":4.20}' }, '4.20'],
    ['in a number that no double holds', { rules: [customer], body: '{"customerId":9007199254740993}' }, '9007199254740993'],
    ['in a boolean', { rules: [customer], body: '{"customerId":true}' }, 'true'],
    ['with a slash, as it is', { rules: [customer], body: '{"customerId":"a/b%2Fc"}' }, 'a/b%2Fc'],
    ['of dots', { rules: [customer], body: '{"customerId":".."}' }, '..'],
    ['with a line break', { rules: [customer], body: '{"customerId":"a\\r\\nb"}' }, 'a\r\nb'],
    ['with spaces around it', { rules: [customer], body: '{"customerId":" 42 "}' }, ' 42 '],
    ['of 512 escaped bytes', { rules: [customer], body: `{"customerId":"${'\\u0041'.repeat(512)}"}` }, 'A'.repeat(512)],
    ['under identity', { rules: [customer], body: '{"customerId":"42"}', contentEncoding: 'identity' }, '42'],
    ['where the client says the same', { rules: [customer], body: '{"customerId":"42"}', given: '42' }, '42'],
    ['in the query', { rules: [query], query: 'a=1&customer=42&b' }, '42'],
    ['in the query, decoded once', { rules: [query], query: 'customer=a%2Fb%2525%2B%3B%20%C3%A4' }, 'a/b%25+; ä'],
    ['in the query, with an equals sign', { rules: [query], query: 'customer=a=b' }, 'a=b'],
    ['in the query under an encoded name', { rules: [query], query: 'c%75stomer=42' }, '42'],
    ['in the query beside what cannot be read', { rules: [query], query: '%ff=1&%=2&customer=42' }, '42'],
    ['in a header', { rules: [header], headers: [['Accept', '*/*'], ['x-customer', '42']] }, '42'],
    ['in a header, a list as it stands', { rules: [header], headers: [['X-Customer', '42, 43']] }, '42, 43'],
    ['in a header, as UTF-8', { rules: [header], headers: [['X-Customer', latin1('größe')]] }, 'größe'],
    ['in the path', { rules: [second], path: '/customers/42/score' }, '42'],
    ['in the path, decoded once', { rules: [second], path: '/customers/a%252Fb%20+' }, 'a%2Fb +'],
    ['in the path with a slash', { rules: [second], path: '/customers/a%2Fb' }, 'a/b'],
    ['of parts', { rules: [query, customer], query: 'customer=a/b', body: '{"customerId":"c%/d"}' }, 'a%2Fb/c%25%2Fd'],
    ['of parts, said by the client too', { rules: [query, customer], query: 'customer=a', body: '{"customerId":1}', given: 'a/1' }, 'a/1'],
  ]; // prettier-ignore
  for (const [what, request, key] of table) test(what, () => assert.equal(businessKey(source(request)), key));
});

describe('a key is refused', () => {
  const table: [what: string, request: Parameters<typeof source>[0], code: string, words: RegExp][] = [
    ['empty body', { rules: [customer] }, 'invalid-parameter', /"\/customerId" in the body is missing/],
    ['member missing', { rules: [customer], body: '{}' }, 'invalid-parameter', /"\/customerId" in the body is missing/],
    ['null', { rules: [customer], body: '{"customerId":null}' }, 'invalid-parameter', /"\/customerId" in the body is null/],
    ['object', { rules: [customer], body: '{"customerId":{}}' }, 'invalid-parameter', /is an object/],
    ['array', { rules: [customer], body: '{"customerId":["42"]}' }, 'invalid-parameter', /is an array/],
    ['empty string', { rules: [customer], body: '{"customerId":""}' }, 'invalid-parameter', /"\/customerId" in the body is empty/],
    ['NUL', { rules: [customer], body: '{"customerId":"a\\u0000"}' }, 'invalid-parameter', /NUL/],
    ['lone surrogate', { rules: [customer], body: '{"customerId":"\\ud800"}' }, 'invalid-parameter', /surrogate/],
    ['513 bytes', { rules: [customer], body: `{"customerId":"${'a'.repeat(513)}"}` }, 'invalid-parameter', /512/],
    ['257 letters of two bytes', { rules: [customer], body: `{"customerId":"${'ä'.repeat(257)}"}` }, 'invalid-parameter', /512/],
    ['a megabyte', { rules: [customer], body: `{"customerId":"${'a'.repeat(1e6)}"}` }, 'invalid-parameter', /512/],
    ['no JSON', { rules: [customer], body: 'customerId=42' }, 'invalid-json', /not valid JSON/],
    ['garbage behind', { rules: [customer], body: '{"customerId":"42"}}' }, 'invalid-json', /byte 19/],
    ['member twice', { rules: [customer], body: '{"customerId":"42","customerId":"43"}' }, 'invalid-json', /"customerId" stands twice/],
    ['gzip', { rules: [customer], body: '{"customerId":"42"}', contentEncoding: 'gzip' }, 'unsupported-content-encoding', /"\/customerId".*"gzip"/],
    ['identity and more', { rules: [customer], body: '{"customerId":"42"}', contentEncoding: 'identity, br' }, 'unsupported-content-encoding', /br/],
    ['another word of the client', { rules: [customer], body: '{"customerId":"42"}', given: '43' }, 'conflicting-headers', /Result-Key.*"\/customerId" in the body/],
    ['another case', { rules: [customer], body: '{"customerId":"ab"}', given: 'AB' }, 'conflicting-headers', /Result-Key/],
    ['another normal form', { rules: [customer], body: '{"customerId":"\u00e9"}', given: 'e\u0301' }, 'conflicting-headers', /Result-Key/],
    ['empty word of the client', { given: '' }, 'invalid-parameter', /Result-Key is empty/],
    ['long word of the client', { given: 'a'.repeat(513) }, 'invalid-parameter', /Result-Key is longer than the 512 bytes/],
    ['NUL of the client', { given: 'a\0' }, 'invalid-parameter', /Result-Key has a NUL/],
    ['parameter missing', { rules: [query], query: 'customers=42' }, 'invalid-parameter', /query parameter "customer" is missing/],
    ['parameter empty', { rules: [query], query: 'customer' }, 'invalid-parameter', /query parameter "customer" is empty/],
    ['parameter twice', { rules: [query], query: 'customer=42&customer=42' }, 'invalid-parameter', /"customer" stands twice/],
    ['parameter twice, encoded', { rules: [query], query: 'customer=42&%63ustomer=43' }, 'invalid-parameter', /stands twice/],
    ['parameter twice, in other case', { rules: [query], query: 'Customer=43&customer=42' }, 'invalid-parameter', /stands twice/],
    ['parameter twice, as a list', { rules: [query], query: 'customer=42&customer[]=43' }, 'invalid-parameter', /stands twice/],
    ['parameter twice, as an encoded list', { rules: [query], query: 'customer=42&customer%5B0%5D=43' }, 'invalid-parameter', /stands twice/],
    ['parameter twice, behind a semicolon', { rules: [query], query: 'x=1;customer=43&customer=42' }, 'invalid-parameter', /stands twice/],
    ['parameter behind a semicolon alone', { rules: [query], query: 'x=1;customer=43' }, 'invalid-parameter', /missing/],
    ['bare semicolon', { rules: [query], query: 'customer=42;x=1' }, 'invalid-parameter', /%3B/],
    ['bare plus', { rules: [query], query: 'customer=a+b' }, 'invalid-parameter', /%20.*%2B/],
    ['broken percent-encoding', { rules: [query], query: 'customer=%4' }, 'invalid-parameter', /not UTF-8/],
    ['encoded bytes that are no UTF-8', { rules: [query], query: 'customer=%ff' }, 'invalid-parameter', /not UTF-8/],
    ['encoded half of a pair', { rules: [query], query: 'customer=%ED%A0%80' }, 'invalid-parameter', /not UTF-8/],
    ['encoded NUL', { rules: [query], query: 'customer=a%00' }, 'invalid-parameter', /NUL/],
    ['header missing', { rules: [header], headers: [['X-Customers', '1']] }, 'invalid-parameter', /header X-Customer is missing/],
    ['header empty', { rules: [header], headers: [['X-Customer', '']] }, 'invalid-parameter', /header X-Customer is empty/],
    ['header twice', { rules: [header], headers: [['X-Customer', '1'], ['x-customer', '1']] }, 'duplicate-header', /header X-Customer stands twice/],
    ['header twice, with an underscore', { rules: [header], headers: [['X-Customer', '1'], ['X_Customer', '2']] }, 'duplicate-header', /twice/],
    ['header with an underscore alone', { rules: [header], headers: [['X_Customer', '2']] }, 'invalid-parameter', /missing/],
    ['header that is no UTF-8', { rules: [header], headers: [['X-Customer', '\xff']] }, 'invalid-parameter', /not UTF-8/],
    ['segment missing', { rules: [second], path: '/customers' }, 'invalid-parameter', /segment 2 of the path is missing/],
    ['no path', { rules: [second] }, 'invalid-parameter', /segment 2 of the path is missing/],
    ['segment empty', { rules: [second], path: '/customers/' }, 'invalid-parameter', /segment 2 of the path is missing/],
    ['segments that can be counted in two ways', { rules: [second], path: '/customers%2f41/42' }, 'invalid-parameter', /encoded slash before segment 2/],
    ['segment with a semicolon', { rules: [second], path: '/customers/42;v=1' }, 'invalid-parameter', /%3B/],
    ['segment that is no UTF-8', { rules: [second], path: '/customers/%ff' }, 'invalid-parameter', /not UTF-8/],
    ['one part of two', { rules: [query, customer], query: 'customer=1', body: '{}' }, 'invalid-parameter', /customerId/],
    ['parts that are too long together', { rules: [query, customer], query: `customer=${'a'.repeat(256)}`, body: `{"customerId":"${'/'.repeat(90)}"}` }, 'invalid-parameter', /made of the query parameter "customer" and "\/customerId" in the body/],
    ['one part in the place of the whole', { rules: [query, customer], query: 'customer=a', body: '{"customerId":"b"}', given: 'b' }, 'conflicting-headers', /Result-Key/],
  ]; // prettier-ignore
  for (const [what, request, code, words] of table)
    test(what, () =>
      assert.throws(
        () => businessKey(source(request)),
        (error: unknown) => {
          assert.ok(error instanceof WaitlessError);
          assert.equal(error.code, code, error.message);
          assert.match(error.message, words);
          assert.equal(error.members?.['accepted'], false);
          // What the rule yields is not told to whoever only guesses at it.
          if (code === 'conflicting-headers') assert.doesNotMatch(error.message, /42|\u00e9/);
          return true;
        },
      ),
    );
});

test('no two lists of parts make one key', () => {
  const lists = [
    ['a', 'b'],
    ['a/b'],
    ['a%2Fb'],
    ['a', 'b', ''],
    ['a/', 'b'],
    ['a', '/b'],
    ['a%2F', 'b'],
    ['a', 'b/'],
    ['a%', 'b'],
    ['a%25', 'b'],
  ];
  // A single part stays as it is, so that it may look like several: a service has one number of parts.
  const joined = lists.filter((list) => list.length > 1).map(joinKey);
  assert.equal(new Set(joined).size, joined.length);
  assert.equal(joinKey(['a/b%']), 'a/b%');
  for (const list of lists)
    if (list.length > 1) assert.deepEqual(joinKey(list).split('/').map(decodeURIComponent), list);
});

test('fields are read as UTF-8 or not at all', () => {
  assert.equal(utf8OfField('plain'), 'plain');
  assert.equal(utf8OfField(latin1('\ufeffä😀')), '\ufeffä😀');
  for (const bad of ['\xff', '\xc3', '\xc0\xaf', '\xed\xa0\x80', 'a\xe4b']) assert.equal(utf8OfField(bad), undefined);
});

test('credentials are those that the service opts in, each with its name, in one order', () => {
  const headers: [string, string][] = [['Accept', '*/*'], ['COOKIE', 'b'], ['Authorization', 'x'], ['cookie', 'a']]; // prettier-ignore
  assert.deepEqual(forwardedValues(headers, []), []);
  assert.deepEqual(forwardedValues(headers, ['authorization']), ['authorization', 'x']);
  assert.deepEqual(forwardedValues(headers, ['cookie', 'authorization']), [
    'authorization',
    'x',
    'cookie',
    'b',
    'cookie',
    'a',
  ]);
  assert.deepEqual(forwardedValues(headers, ['x-other']), []);
});

describe('digests', () => {
  type Digested = Parameters<typeof sharingDigests>[0];
  const base: Digested = {
    key: '42',
    service: 'score',
    head: { method: 'POST', path: '/a', query: 'q=1' },
    contentType: 'text/plain',
    body: Buffer.from('body'),
    forwardedValues: ['authorization', 'x'],
    ruled: false,
  };
  const digest = (more: Partial<Digested>): ReturnType<typeof sharingDigests> => sharingDigests({ ...base, ...more });

  test('are SHA-256, and equal for equal requests', () => {
    assert.deepEqual(digest({}), digest({ body: Buffer.from('body') }));
    for (const value of Object.values(digest({}))) assert.match(value, /^[\w-]{43}$/);
    assert.equal(digest({}).identity, identityOf(base));
    assert.notEqual(digest({}).identity, digest({}).share);
  });

  test('another key, service or credential is another identity and share', () => {
    const others: Partial<Digested>[] = [
      { key: '43' }, { key: '42 ' }, { service: 'scor' }, { service: 'score4', key: '2' }, { forwardedValues: [] }, { forwardedValues: ['authorization', 'y'] },
      { forwardedValues: ['cookie', 'x'] }, { forwardedValues: ['authorization', 'x', 'cookie', ''] }, { forwardedValues: ['authorization', 'x', 'authorization', 'x'] },
      { key: '42', forwardedValues: ['13:authorization', 'x'] }, { key: '4213:authorization1:x', forwardedValues: [] },
    ]; // prettier-ignore
    const seen = [base, ...others].map((more) => digest(more));
    assert.equal(new Set(seen.map((each) => each.identity)).size, seen.length);
    assert.equal(new Set(seen.map((each) => each.share)).size, seen.length);
  });

  const others: Partial<Digested>[] = [
    { head: { method: 'GET', path: '/a', query: 'q=1' } },
    { head: { method: 'POST', path: '/b', query: 'q=1' } },
    { head: { method: 'POST', path: '/aq', query: '=1' } },
    { head: { method: 'POST', path: '/a', query: '' } },
    { contentType: 'text/html' },
    { contentType: '' },
    { contentType: undefined },
    { contentType: undefined, body: Buffer.from('10:text/plain!body') },
    { body: Buffer.from('bodz') },
    { body: Buffer.alloc(0) },
  ];
  test("under a client's own key every part of the request counts for the share", () => {
    const seen = [base, ...others].map((more) => digest(more));
    assert.equal(new Set(seen.map((each) => each.identity)).size, 1);
    assert.equal(new Set(seen.map((each) => each.share)).size, seen.length);
  });

  test('under a rule only method and path do', () => {
    const [mine, ...seen] = [base, ...others].map((more) => digest({ ...more, ruled: true }));
    assert.equal(new Set(seen.slice(0, 3).map((each) => each.share)).size, 3);
    for (const each of seen.slice(0, 3)) assert.notEqual(each.share, mine!.share);
    for (const each of seen.slice(3)) assert.deepEqual(each, mine);
    assert.notEqual(mine!.share, digest({}).share);
  });
});
