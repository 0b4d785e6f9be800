// Read-only tokens: what they say comes back, every changed character is refused, and no other name of ours serves for one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ids } from './ids.ts';
import { fitsToken, mostReadOperations, packGrant, type ReadGrant, unpackGrant } from './read-token.ts';

const ids = new Ids({ shard: 0, storeKey: 'a'.repeat(64) });
const operation = (seq: number) => ({ seq, nonce: seq.toString(16).padStart(32, '0123456789abcdef') });
const grant: ReadGrant = {
  namespace: 'alice',
  operations: [operation(7), operation(123_456_789)],
  topics: [],
  expiresAt: 1_800_000_000_000,
};
const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

test('a token says what was put into it', () => {
  for (const said of [
    grant,
    { ...grant, operations: [] },
    { namespace: 'n'.repeat(128), operations: [operation(Number.MAX_SAFE_INTEGER)], topics: [], expiresAt: 0 },
    { namespace: 'default', operations: [{ seq: 1, nonce: 'f'.repeat(32) }], topics: [], expiresAt: 2 ** 47 },
    { ...grant, topics: ['orders.*', 'a.b_c-d.**'] },
    { ...grant, operations: [], topics: ['**'] },
  ])
    assert.deepEqual(ids.readGrant(ids.readToken(said)), said);
});

test('its letters go into a URL and a subprotocol as they are, and the longest fits into both', () => {
  const one = ids.readToken({ ...grant, namespace: 'default', operations: [operation(1)] });
  assert.match(one, /^[A-Za-z0-9_.-]{80}$/);
  const most = Array.from({ length: mostReadOperations }, (_, i) => operation(Number.MAX_SAFE_INTEGER - i));
  const longest = ids.readToken({ namespace: 'n'.repeat(128), operations: most, topics: [], expiresAt: 2 ** 47 });
  assert.ok(longest.length < 4096, `${longest.length} characters`);
  assert.equal(ids.readGrant(longest)?.operations.length, mostReadOperations);
  const wide = {
    operations: most.slice(0, 57),
    topics: ['a'.repeat(255), 'b'.repeat(255), 'c'.repeat(255), 'd'.repeat(255)],
  };
  assert.equal(fitsToken(wide), true);
  const both = { ...wide, namespace: 'n'.repeat(128), expiresAt: 2 ** 47 };
  assert.deepEqual(ids.readGrant(ids.readToken(both)), both);
  assert.equal(fitsToken({ ...wide, operations: most.slice(0, 58) }), false);
  assert.equal(fitsToken({ operations: [], topics: [...wide.topics, 'eeee'] }), false);
});

test('every changed, added or missing character makes it none', () => {
  const token = ids.readToken(grant);
  for (let at = 0; at < token.length; at++)
    for (const letter of `${letters}.= %\n`)
      if (letter !== token[at])
        assert.equal(ids.readGrant(token.slice(0, at) + letter + token.slice(at + 1)), undefined, `${at} ${letter}`);
  for (let at = 0; at < token.length; at++) {
    assert.equal(ids.readGrant(token.slice(0, at)), undefined);
    assert.equal(ids.readGrant(token.slice(0, at) + token.slice(at + 1)), undefined);
  }
  for (const other of ['', '.', ` ${token}`, `${token} `, `${token}\n`, `${token}A`, `A${token}`, `${token}=`])
    assert.equal(ids.readGrant(other), undefined, other);
  assert.equal(new Ids({ shard: 0, storeKey: 'b'.repeat(64) }).readGrant(token), undefined, 'another store');
});

test('a lease token, a cursor and an id are no token, and a token is none of them, nor are their parts', () => {
  const token = ids.readToken(grant);
  const others = [
    ids.leaseToken({ queue: 3, seq: 99, leaseNo: 2, attempt: 1 }),
    ids.cursor({ namespace: 'alice', seq: 7 }),
    ids.operationId(operation(7)),
  ];
  const mac = token.slice(-27);
  const said = token.slice(0, -28);
  for (const other of others) {
    assert.equal(ids.readGrant(other), undefined);
    assert.equal(ids.readGrant(`${said}.${other.slice(-27)}`), undefined, 'their signature under what it says');
    assert.equal(ids.readGrant(`${other.slice(0, -28)}.${other.slice(-27)}`), undefined, 'spelled as one');
    assert.equal(ids.leaseName(other.slice(0, -27) + mac), undefined);
    assert.equal(ids.cursorSeq(other.slice(0, -27) + mac, 'alice'), undefined);
  }
  for (const spelling of [token, said, `${said}-${mac}`, `7-${mac}`]) {
    assert.equal(ids.leaseName(spelling), undefined);
    assert.equal(ids.cursorSeq(spelling, 'alice'), undefined);
    assert.equal(ids.operationKey(spelling), undefined);
  }
});

test('what says something else is nothing', () => {
  const bytes = Buffer.from(packGrant(grant), 'base64url');
  const changed = (at: number, value: number): string =>
    Buffer.from(bytes.map((byte, i) => (i === at ? value : byte))).toString('base64url');
  assert.deepEqual(unpackGrant(changed(0, 1)), grant);
  for (const text of ['', 'AQ', changed(0, 0), changed(0, 2), changed(7, 4), changed(7, 255)])
    assert.equal(unpackGrant(text), undefined, text);
  assert.equal(unpackGrant(bytes.subarray(0, -1).toString('base64url')), undefined);
});
