// Which request targets and header lists have one reading only, as tables.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { WaitlessError } from '@waitless/protocol';
import { badPath, checkHeaders, checkTarget } from './raw-checks.ts';

const codeOf = (act: () => unknown): string => {
  try {
    act();
    return 'accepted';
  } catch (error) {
    return error instanceof WaitlessError ? error.code : String(error);
  }
};

describe('paths', () => {
  const good = [
    '/',
    '/v1/call/score',
    '/v1/call/score/',
    '/v1/call/score/a.b/..c/...',
    '/v1/call/score/.well-known/x',
    '/v1/call/score/a%20b%2Fc%252e',
    '/v1/call/score/%E2%82%AC',
    '/v1/call/score/%F0%9F%98%80',
    "/v1/call/score/;v=1,$&'()*+@:!~",
    '/v1/call/score/%2e%2e%2e',
    '/v1/call/score/a%2e%2e',
    '/v1/call/score/%25%30%30',
  ];
  const bad = [
    '//',
    '/a//b',
    '/a/./b',
    '/a/../b',
    '/.',
    '/..',
    '/a/..',
    '/a/%2e/b',
    '/a/%2E%2e/b',
    '/a/.%2e',
    '/a/%2e%2e%2fb',
    '/a%2f..%2fb',
    '/a%2F%2e%2e',
    '/a\\b',
    '/a%5cb',
    '/a%00b',
    '/a#b',
    '/a b',
    '/a\x7f',
    '/é',
    '/a%',
    '/a%2',
    '/a%zz',
    '/%c0%ae',
    '/%e0%80%af',
    '/%ed%a0%80',
    '/%ff',
    '/%f5%80%80%80',
    '/%80',
  ];
  for (const path of good) test(`good: ${path}`, () => assert.equal(badPath(path), false));
  for (const path of bad) test(`bad: ${path}`, () => assert.equal(badPath(path), true));
});

describe('targets', () => {
  test('path and query are split at the first question mark and left as they are', () => {
    assert.deepEqual(checkTarget('GET', '/a?b?c=%00//..'), { path: '/a', query: 'b?c=%00//..' });
    assert.deepEqual(checkTarget('GET', '/a?'), { path: '/a', query: '' });
    assert.deepEqual(checkTarget('GET', '/a'), { path: '/a', query: '' });
  });
  const rows: readonly (readonly [method: string, url: string, code: string])[] = [
    ['GET', '*', 'bad-request-target'],
    ['GET', 'http://x/', 'bad-request-target'],
    ['GET', 'x:80', 'bad-request-target'],
    ['GET', '', 'bad-request-target'],
    ['GET', '?a', 'bad-request-target'],
    ['TRACE', '/', 'method-not-allowed'],
    ['CONNECT', 'x:80', 'method-not-allowed'],
    ['GET', '/a/../b?c', 'bad-path'],
    ['OPTIONS', '/a', 'accepted'],
    ['GET', `/${'a'.repeat(8191)}`, 'accepted'],
    ['GET', `/${'a'.repeat(8192)}`, 'uri-too-long'],
    ['GET', `/?${'a'.repeat(8192)}`, 'uri-too-long'],
  ];
  for (const [method, url, code] of rows)
    test(`${method} ${url.slice(0, 40)}: ${code}`, () =>
      assert.equal(
        codeOf(() => checkTarget(method, url)),
        code,
      ));
});

describe('header lists', () => {
  const host = ['Host', 'localhost'];
  const rows: readonly (readonly [what: string, headers: readonly string[], code: string])[] = [
    ['one Host', host, 'accepted'],
    ['no Host', ['X-A', 'b'], 'bad-host'],
    ['two Hosts', [...host, 'hOsT', 'localhost'], 'bad-host'],
    ['100 fields', [...host, ...Array<string>(198).fill('x')], 'accepted'],
    ['101 fields', [...host, ...Array<string>(200).fill('x')], 'too-many-headers'],
    ['Accept twice', [...host, 'Accept', 'a', 'Accept', 'b'], 'accepted'],
    ['Prefer twice', [...host, 'Prefer', 'wait=1', 'Prefer', 'respond-async'], 'accepted'],
    ['Authorization twice', [...host, 'Authorization', 'a', 'authorization', 'a'], 'duplicate-header'],
    ['Content-Type twice', [...host, 'Content-Type', 'a', 'CONTENT-TYPE', 'b'], 'duplicate-header'],
    ['two singletons once each', [...host, 'Content-Type', 'a', 'Idempotency-Key', 'b'], 'accepted'],
    ['chunked', [...host, 'Transfer-Encoding', ' Chunked '], 'accepted'],
    ['gzip, chunked', [...host, 'Transfer-Encoding', 'gzip, chunked'], 'bad-request'],
    ['identity', [...host, 'transfer-encoding', 'identity'], 'bad-request'],
  ];
  for (const [what, headers, code] of rows)
    test(`${what}: ${code}`, () =>
      assert.equal(
        codeOf(() => checkHeaders(headers)),
        code,
      ));
});
