// The readers of single values at their edges, and the words nearest to a mistyped one.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { addressMatcher, isLoopback, parseRange } from './addresses.ts';
import { editDistance, nearest } from './nearest.ts';
import { formatSize, hostValue, integerValue, originValue, parseSize, show, targetUrlValue } from './values.ts';

describe('values', () => {
  test('what is shown is short and has no password of an address, also not the first half of a long one', () => {
    assert.equal(show('postgres://u:hunter2@h/d'), '"postgres://u:***@h/d"');
    assert.equal(show(`postgres://u:${'hunter2'.repeat(20)}@h/d`), '"postgres://u:***@h/d"');
    assert.equal(show('http://127.0.0.1:1/x'), '"http://127.0.0.1:1/x"');
    assert.equal(show('x'.repeat(99)).length, 58);
  });

  test('sizes', () => {
    assert.deepEqual(
      ['0b', '512b', '1kb', '1.5kb', '10mb', '10MB', '2gb'].map(parseSize),
      [0, 512, 1024, 1536, 10_485_760, 10_485_760, 2_147_483_648],
    );
    for (const text of ['', '10', 'mb', '-1mb', '1e3mb', '10 mb', '10mib', '1.2345mb', '9999999999999gb'])
      assert.equal(parseSize(text), undefined, text);
    assert.deepEqual([0, 1023, 1024, 1536, 10_485_760, 2_147_483_648].map(formatSize), [
      '0b',
      '1023b',
      '1kb',
      '1536b',
      '10mb',
      '2gb',
    ]);
  });

  test('whole numbers', () => {
    const read = (value: unknown) => integerValue(value, { min: -5, max: 10 });
    assert.deepEqual([read(3), read('10'), read('-5')], [3, 10, -5]);
    for (const value of ['11', '1.5', '1e1', '0x1', '', ' 1', true, null, undefined, Number.NaN, [1]])
      assert.throws(() => read(value), { name: 'WrongValue' });
  });

  test('addresses to listen on', () => {
    assert.deepEqual(['0.0.0.0', '[::1]', '::', 'localhost', 'my-host.internal'].map(hostValue), [
      '0.0.0.0',
      '::1',
      '::',
      'localhost',
      'my-host.internal',
    ]);
    for (const value of ['', '*', 'a:80', '256.0.0.1', '127.1', '-a', 'a b', '[a]', 7])
      assert.throws(() => hostValue(value), { name: 'WrongValue' }, String(value));
  });

  test('target URLs stay as written', () => {
    for (const url of ['http://127.0.0.1:9001', 'https://api.example.com/a/b/', 'HTTP://[::1]:80/x%20y'])
      assert.equal(targetUrlValue(url), url);
    for (const url of ['http:/x', 'http:x', 'http://x y', 'http://x\\y', ' http://x', 'javascript:alert(1)', 1]) {
      assert.throws(() => targetUrlValue(url), { name: 'WrongValue' }, String(url));
    }
  });

  test('origins exactly as browsers send them', () => {
    assert.equal(originValue('https://app.example.com:8443'), 'https://app.example.com:8443');
    for (const value of [
      'https://app.example.com:443',
      'https://App.example.com',
      'null',
      'app.example.com',
      'https://u:hunter2@a.example.com',
      'file://',
    ]) {
      assert.throws(
        () => originValue(value),
        (error: Error) => error.name === 'WrongValue' && !error.message.includes('hunter2'),
      );
    }
  });
});

describe('address ranges', () => {
  test('parsed', () => {
    assert.deepEqual(parseRange('10.0.0.0/8'), { address: '10.0.0.0', prefix: 8, family: 'ipv4' });
    assert.deepEqual(parseRange('::1'), { address: '::1', prefix: 128, family: 'ipv6' });
    for (const text of [
      '',
      '/8',
      '10.0.0.0/',
      '10.0.0.0/33',
      '::/129',
      '10.0.0.0/8/8',
      '10.0.0/8',
      '10.0.0.0/-1',
      '10.0.0.0/8.5',
      'fe80::1%lo/64',
    ])
      assert.equal(parseRange(text), undefined, text);
  });

  test('matched, also where IPv4 is written as IPv6', () => {
    const matches = addressMatcher(['10.0.0.0/8', 'fd00::/8', '192.168.1.7']);
    assert.deepEqual(
      ['10.255.0.1', '11.0.0.1', '::ffff:10.1.1.1', 'fd12::1', 'fe80::1', '192.168.1.7', '192.168.1.8', 'x', ''].map(
        matches,
      ),
      [true, false, true, true, false, true, false, false, false],
    );
    assert.equal(addressMatcher([])('127.0.0.1'), false);
  });

  test('loopback', () => {
    for (const host of [
      '127.0.0.1',
      '127.255.255.254',
      '::1',
      '0:0:0:0:0:0:0:1',
      '::ffff:127.0.0.1',
      'localhost',
      'LOCALHOST',
    ])
      assert.equal(isLoopback(host), true, host);
    for (const host of ['0.0.0.0', '::', '128.0.0.1', 'localhost.example.com', '', '127.1', '::1%lo'])
      assert.equal(isLoopback(host), false, host);
  });
});

describe('did you mean', () => {
  test('edits', () =>
    assert.deepEqual(
      [
        editDistance('', 'abc'),
        editDistance('host', 'hots'),
        editDistance('port', 'port'),
        editDistance('kitten', 'sitting'),
      ],
      [3, 1, 0, 3],
    ));
  test('near words, and none where nothing is near', () => {
    const known = ['host', 'port', 'publicUrl', 'maxWait'];
    assert.deepEqual(
      ['hots', 'publicURL', 'maxwiat', 'prot', 'x', 'colour', 'x'.repeat(1000)].map((word) => nearest(word, known)),
      ['host', 'publicUrl', 'maxWait', 'port', undefined, undefined, undefined],
    );
  });
});
