// Who a bearer key belongs to, and that nearly right keys belong to nobody.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { bearerKey, createKeyLookup } from './api-keys.ts';

const hash = (key: string): Uint8Array => new Uint8Array(createHash('sha256').update(key).digest());

describe('API keys', () => {
  const lookup = createKeyLookup([
    { name: 'ops', namespace: 'default', hash: hash('wl_one') },
    { name: 'ci', namespace: 'team-a', hash: hash('wl_two') },
    { name: 'ops', namespace: 'default', hash: hash('wl_three') },
  ]);

  test('a key has the name and namespace of its line, and nothing else is handed out', () => {
    assert.deepEqual(lookup('wl_one'), { name: 'ops', namespace: 'default' });
    assert.deepEqual(lookup('wl_two'), { name: 'ci', namespace: 'team-a' });
    assert.deepEqual(lookup('wl_three'), { name: 'ops', namespace: 'default' });
  });

  test('other keys have no owner', () => {
    for (const key of [
      '',
      'wl_on',
      'wl_one ',
      'WL_ONE',
      Buffer.from(hash('wl_one')).toString('hex'),
      'x'.repeat(10_000),
      '\u0000',
    ])
      assert.equal(lookup(key), undefined);
    assert.equal(createKeyLookup([])('wl_one'), undefined);
  });

  test('a digest that shares only its first four bytes is not the key', () => {
    const near = hash('wl_one');
    near[31]! ^= 1;
    const both = createKeyLookup([
      { name: 'near', namespace: 'n', hash: near },
      { name: 'ops', namespace: 'default', hash: hash('wl_one') },
    ]);
    assert.deepEqual(both('wl_one'), { name: 'ops', namespace: 'default' });
    assert.equal(createKeyLookup([{ name: 'near', namespace: 'n', hash: near }])('wl_one'), undefined);
  });

  test('hashes of another length are refused at start', () => {
    assert.throws(() => createKeyLookup([{ name: 'ops', namespace: 'default', hash: new Uint8Array(20) }]), TypeError);
  });

  test('the bearer key of an Authorization field', () => {
    assert.equal(bearerKey('Bearer wl_one'), 'wl_one');
    assert.equal(bearerKey('bearer   abc.DEF~+/-_=='), 'abc.DEF~+/-_==');
    for (const field of [
      undefined,
      '',
      'Bearer',
      'Bearer ',
      'Basic d2w6',
      'Bearer a b',
      'Bearer a,Bearer b',
      'xBearer a',
    ])
      assert.equal(bearerKey(field), undefined);
  });
});
