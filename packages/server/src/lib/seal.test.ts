// A seal opens with its key and for its subject alone, and with not one bit changed.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { seal, sealingKey, unseal } from './seal.ts';

const key = sealingKey(randomBytes(32));
const content = new TextEncoder().encode('whsec_ossifrage');
const about = ['callback secret', 'shop', 'cs_1'];
const sealed = seal({ key, content, about });

test('what was sealed is opened again, of any length, and never looks the same twice', () => {
  for (const one of [new Uint8Array(0), content, new Uint8Array(randomBytes(5000))])
    assert.deepEqual(unseal({ key, sealed: seal({ key, content: one, about }), about }), one);
  const many = new Set(Array.from({ length: 100 }, () => seal({ key, content, about }).slice(0, 20)));
  assert.equal(many.size, 100, 'nonces are random');
  assert.ok(!Buffer.from(sealed.slice(3), 'base64url').includes('ossifrage'));
});

test('another key does not open it, and its id says that it is another', () => {
  const other = sealingKey(randomBytes(32));
  assert.equal(unseal({ key: other, sealed, about }), undefined);
  assert.notEqual(other.id, key.id);
  assert.equal(sealingKey(key.bytes).id, key.id);
  assert.ok(!Buffer.from(key.bytes).toString('hex').includes(key.id));
});

test('for another namespace or id it does not open, also where the words joined are the same', () => {
  for (const wrong of [
    ['callback secret', 'shop2', 'cs_1'],
    ['callback secret', 'shop', 'cs_2'],
    ['callback secret', 'shopcs_1'],
    ['callback secretshop', 'cs_1'],
    ['callback secret', 'cs_1', 'shop'],
    [...about, ''],
    [],
  ])
    assert.equal(unseal({ key, sealed, about: wrong }), undefined, wrong.join(' '));
});

test('not one bit may change, and nothing may be missing or be added', () => {
  const bytes = Buffer.from(sealed.slice(3), 'base64url');
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = Buffer.from(bytes);
    changed[bit >> 3]! ^= 1 << (bit & 7);
    assert.equal(unseal({ key, sealed: `v1.${changed.toString('base64url')}`, about }), undefined, `bit ${bit}`);
  }
  for (let length = 0; length < sealed.length; length++)
    assert.equal(unseal({ key, sealed: sealed.slice(0, length), about }), undefined, `cut to ${length}`);
  for (const odd of [`${sealed}A`, `${sealed}=`, ` ${sealed}`, `${sealed}\n`, sealed.slice(3), `v2.${sealed.slice(3)}`])
    assert.equal(unseal({ key, sealed: odd, about }), undefined, odd);
});

test('a key has 256 bits', () => {
  for (const length of [0, 16, 31, 33]) assert.throws(() => sealingKey(new Uint8Array(length)), RangeError);
});
