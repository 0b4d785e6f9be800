// What reaches a backend and what comes back, as tables.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backendPath, endToEnd, outboundFields } from './http.ts';

test('path and query of the caller are put behind those of the service', () => {
  const table: [string, string, string, string][] = [
    ['http://h/score', '', '', '/score'],
    ['http://h/score', '/x/y', '', '/score/x/y'],
    ['http://h/score/', '/x', '', '/score/x'],
    ['http://h/score/', '', '', '/score/'],
    ['http://h', '', '', '/'],
    ['http://h', '/x', 'a=1&a=2', '/x?a=1&a=2'],
    ['http://h/s?fixed=1', '', '', '/s?fixed=1'],
    ['http://h/s?fixed=1', '/x', 'a=%20', '/s/x?fixed=1&a=%20'],
    ['http://h/s', '/a%2Fb', '', '/s/a%2Fb'],
  ];
  for (const [target, path, query, expected] of table)
    assert.equal(backendPath(new URL(target), path, query), expected);
});

test('hop-by-hop fields of an answer and those Connection names stay behind, all others keep their spelling and order', () => {
  const raw = [
    'X-A',
    '1',
    'Connection',
    'close, X-Secret-Hop',
    'x-secret-hop',
    'no',
    'Transfer-Encoding',
    'chunked',
    'Set-Cookie',
    'a=1',
    'Set-Cookie',
    'b=2',
  ];
  assert.deepEqual(endToEnd(raw.map((text) => Buffer.from(text))), [
    'X-A',
    '1',
    'Set-Cookie',
    'a=1',
    'Set-Cookie',
    'b=2',
  ]);
});

test("a field of the operator takes the place of the caller's, and ours the place of both", () => {
  const service = {
    target: { kind: 'http' as const, url: 'http://h', headers: { 'X-Api-Key': 'operator', 'operation-id': 'bent' } },
  };
  const fields = outboundFields(
    [
      ['x-api-key', 'caller'],
      ['X-Other', '1'],
      ['X-Other', '2'],
    ],
    service,
    [['Operation-Id', 'ours']],
  );
  assert.deepEqual(fields, [
    ['X-Other', '1'],
    ['X-Other', '2'],
    ['X-Api-Key', 'operator'],
    ['Operation-Id', 'ours'],
  ]);
});
