// The URL of a submit must be what the caller meant, or nothing is sent at all.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WaitlessError } from '@waitless/protocol';
import { baseUrl, callPath, queryText } from './address.ts';

const code = (expected: string) => (error: unknown) => error instanceof WaitlessError && error.code === expected;

test('a path and query reach the URL as they were written', () => {
  assert.equal(callPath('score', undefined, undefined), '/v1/call/score');
  assert.equal(callPath('score', '/', undefined), '/v1/call/score/');
  assert.equal(callPath('score', '/a/b%2Fc', 'x=1&x=2'), '/v1/call/score/a/b%2Fc?x=1&x=2');
  assert.equal(callPath('score', 'a?x=%20#1', undefined), '/v1/call/score/a?x=%20%231');
  assert.equal(callPath('score', '?x=1', undefined), '/v1/call/score?x=1');
  assert.equal(callPath('score', 'a#b', undefined), '/v1/call/score/a%23b');
});

test('paths that URL parsing would bend are refused before anything is sent', () => {
  for (const path of [
    '..',
    '../operations',
    'a/../../operations',
    'a/./b',
    '%2e%2E/x',
    'a/.%2e',
    'a//b',
    '//x',
    'a\\b',
    'a\tb',
    'a\nb',
  ]) {
    assert.throws(() => callPath('score', path, undefined), code('bad-path'), JSON.stringify(path));
  }
  for (const service of ['', 'a/b', '..', '-a', 'ä'])
    assert.throws(() => callPath(service, 'x', undefined), code('invalid-name'), service);
  assert.throws(() => callPath('score', 'a?b=1', 'c=2'), code('invalid-parameter'));
  assert.throws(() => callPath('score', 'a', 'c=\n2'), code('invalid-parameter'));
});

test('queries: raw text, pairs, objects with repeated names', () => {
  assert.equal(queryText('?a=1'), 'a=1');
  assert.equal(queryText(new URLSearchParams({ a: 'b c' })), 'a=b+c');
  assert.equal(queryText({ a: ['1', '2'], b: 3, c: true }), 'a=1&a=2&b=3&c=true');
});

test('the base URL may have a path, and nothing that would be lost or leaked', () => {
  assert.equal(baseUrl('http://127.0.0.1:7878/'), 'http://127.0.0.1:7878');
  assert.equal(baseUrl('https://example.com/waitless//'), 'https://example.com/waitless');
  for (const text of [
    '',
    '127.0.0.1:7878',
    'localhost:7878',
    'ftp://x',
    'http://u:p@x',
    'http://x/?a=1',
    'http://x/#a',
  ])
    assert.throws(() => baseUrl(text), code('invalid-parameter'), text);
});
