// Ids and tokens: round trips, one spelling each, and nothing that can be guessed or bent.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ids } from './ids.ts';

const ids = new Ids({ shard: 0, storeKey: 'a'.repeat(64) });
const key = { seq: 123_456_789, nonce: '0123456789abcdef0123456789abcdef' };

test('an id leads back to its key and has one spelling', () => {
  const id = ids.operationId(key);
  assert.match(id, /^[0-9a-z]{35,45}$/);
  assert.deepEqual(ids.operationKey(id), key);
  for (const other of [
    `${id}0`,
    id.toUpperCase(),
    ` ${id}`,
    id.slice(0, 34),
    `${id.slice(0, 34)}0${id.slice(34)}`,
    '',
    'x',
    `${id.slice(0, 34)}zzzzzzzzzzz`,
  ]) {
    assert.notDeepEqual(ids.operationKey(other), key, other);
  }
});

test('an id of another shard is not of this store', () => {
  assert.equal(ids.operationKey(new Ids({ shard: 7, storeKey: 'a' }).operationId(key)), undefined);
});

test('a token leads back to its lease, and any change of it to nothing', () => {
  const lease = { queue: 3, seq: 99, leaseNo: 2, attempt: 1 };
  const token = ids.leaseToken(lease);
  assert.deepEqual(ids.leaseName(token), lease);
  for (let i = 0; i < token.length; i++) {
    const changed = `${token.slice(0, i)}${token[i] === '1' ? '2' : '1'}${token.slice(i + 1)}`;
    assert.equal(ids.leaseName(changed), undefined, changed);
  }
  assert.equal(ids.leaseName(`${token}A`), undefined);
  assert.equal(new Ids({ shard: 0, storeKey: 'b'.repeat(64) }).leaseName(token), undefined);
});

test('a token of an event leads back to its lease alone, and none of one kind serves as the other', () => {
  const lease = { subscription: 3, position: 99, leaseNo: 2, attempt: 1 };
  const token = ids.eventToken(lease);
  assert.deepEqual(ids.eventLeaseName(token), lease);
  assert.equal(ids.leaseName(token), undefined);
  const operation = ids.leaseToken({ queue: 3, seq: 99, leaseNo: 2, attempt: 1 });
  assert.equal(ids.eventLeaseName(operation), undefined);
  assert.equal(ids.eventLeaseName(`ev-${operation}`), undefined, 'signed for another use');
  assert.equal(ids.leaseName(token.slice(3)), undefined);
  for (let i = 0; i < token.length; i++) {
    const changed = `${token.slice(0, i)}${token[i] === '1' ? '2' : '1'}${token.slice(i + 1)}`;
    assert.equal(ids.eventLeaseName(changed), undefined, changed);
  }
});

test('a cursor leads back to its place in its namespace alone, and any change of it to nothing', () => {
  const cursor = ids.cursor({ namespace: 'alice', seq: 99 });
  assert.equal(ids.cursorSeq(cursor, 'alice'), 99);
  assert.equal(ids.cursorSeq(cursor, 'bob'), undefined);
  assert.equal(ids.cursorSeq(cursor, 'alic'), undefined);
  assert.equal(new Ids({ shard: 0, storeKey: 'b'.repeat(64) }).cursorSeq(cursor, 'alice'), undefined);
  for (let i = 0; i < cursor.length; i++) {
    const changed = `${cursor.slice(0, i)}${cursor[i] === '1' ? '2' : '1'}${cursor.slice(i + 1)}`;
    assert.equal(ids.cursorSeq(changed, 'alice'), undefined, changed);
  }
  for (const other of ['', 'x', `${cursor}A`, ids.leaseToken({ queue: 1, seq: 99, leaseNo: 1, attempt: 1 })])
    assert.equal(ids.cursorSeq(other, 'alice'), undefined, other);
});

test('a place in a stream leads back to its versions for the same operations alone, and any change of it to nothing', () => {
  const operations = ['a1', 'b2', 'c3', 'd4'];
  const subjects = ids.streamSubjects(operations, 'alice');
  for (const versions of [
    [1, 2, 3, 4],
    [0, 127, 128, 16_384],
    [0, 0, 0, Number.MAX_SAFE_INTEGER],
  ])
    assert.deepEqual(ids.streamVersions(ids.streamCursor(versions, subjects), subjects), versions);
  const cursor = ids.streamCursor([5, 6, 7, 8], subjects);
  assert.match(cursor, /^[A-Za-z0-9_.-]+$/);
  for (const other of [
    ids.streamSubjects(operations, 'bob'),
    ids.streamSubjects(operations.slice(1), 'alice'),
    ids.streamSubjects([...operations, 'e5'], 'alice'),
    ids.streamSubjects(operations.toReversed(), 'alice'),
  ])
    assert.equal(ids.streamVersions(cursor, other), undefined);
  assert.equal(new Ids({ shard: 0, storeKey: 'b'.repeat(64) }).streamVersions(cursor, subjects), undefined);
  for (let i = 0; i < cursor.length; i++) {
    const changed = `${cursor.slice(0, i)}${cursor[i] === '1' ? '2' : '1'}${cursor.slice(i + 1)}`;
    assert.equal(ids.streamVersions(changed, subjects), undefined, changed);
  }
});
