// What senders see of their deliveries: ids that nobody can guess, and a stranger's answer that can do nothing to who reads it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DeliveryRecord } from '../engine/deliveries.ts';
import { plainText, shownDelivery, shownWithAttempts } from './deliveries.ts';
import { Ids } from './ids.ts';

const ids = new Ids({ shard: 1, storeKey: 'a'.repeat(64) });
const record: DeliveryRecord = {
  number: 77,
  namespace: 'default',
  operation: { seq: 5, nonce: '0123456789abcdef0123456789abcdef' },
  version: 4,
  callback: {
    url: 'https://example.com/done?a=1',
    outlet: 'https://example.com/done',
    correlationId: null,
    progress: false,
    thin: true,
    base: 'http://elsewhere',
  },
  createdAt: 1_000,
  attempt: 1,
  failures: 1,
  state: 'waiting',
  nextAt: 6_000,
  endedAt: null,
  code: 'unexpected-status',
};

test('a delivery is told with the address under which its reader knows the server', () => {
  const operation = '0123456789abcdef0123456789abcdef015';
  const id = ids.deliveryId(77);
  assert.deepEqual(shownDelivery(record, { ids, base: 'http://here' }), {
    id,
    operation,
    eventId: `${operation}_4`,
    correlationId: operation,
    url: 'https://example.com/done?a=1',
    body: 'thin',
    status: 'waiting',
    attempt: 1,
    createdAt: '1970-01-01T00:00:01.000Z',
    nextAt: '1970-01-01T00:00:06.000Z',
    endedAt: null,
    code: 'unexpected-status',
    links: { self: `http://here/v1/deliveries/${id}`, operation: `http://here/v1/operations/${operation}` },
  });
  const tried = { attempt: 1, at: 1_000, durationMs: null, status: null, code: 'interrupted', detail: null };
  const { attempts } = shownWithAttempts(
    { delivery: record, attempts: [{ ...tried, answer: null, nextAt: 2_000 }] },
    { ids, base: 'http://here' },
  );
  assert.deepEqual(attempts, [
    { ...tried, at: '1970-01-01T00:00:01.000Z', answer: null, nextAt: '1970-01-01T00:00:02.000Z' },
  ]);
});

test('an answer is shown as text in which nothing acts: controls, what turns text, and what is no UTF-8', () => {
  for (const [bytes, text] of [
    ['plain, and <b>marks</b> too', 'plain, and <b>marks</b> too'],
    ['grüße 日本 🙂', 'grüße 日本 🙂'],
    ['a\r\n\tb', 'a\\r\\n\\tb'],
    ['\x1b[2J\x1b]0;title\x07', '\\x1b[2J\\x1b]0;title\\x07'],
    ['\0\x7f', '\\x00\\x7f'],
    ['\u009b31m', '\\x9b31m'],
    ['a\u202etxt.exe\u2066\u200b\ufeff', 'a\\u{202e}txt.exe\\u{2066}\\u{200b}\\u{feff}'],
    ['\u2028\u2029', '\\u{2028}\\u{2029}'],
    ['', ''],
  ] as const)
    assert.equal(plainText(Buffer.from(bytes)), text);
  assert.equal(plainText(Buffer.from([0x61, 0xff, 0xc3])), 'a\ufffd\ufffd');
});

test('delivery ids are for one store, have one spelling, and serve as nothing else', () => {
  const id = ids.deliveryId(77);
  assert.match(id, /^dlv_[0-9a-z]{34}$/);
  assert.equal(ids.deliveryNumber(id), 77);
  const other = new Ids({ shard: 1, storeKey: 'b'.repeat(64) });
  assert.equal(other.deliveryNumber(id), undefined);
  for (const wrong of [
    '',
    'dlv_',
    id.slice(4),
    `${id} `,
    id.toUpperCase(),
    `${id}0`,
    id.replace(/..$/, '026'),
    `dlv_${'0'.repeat(33)}`,
  ])
    assert.equal(ids.deliveryNumber(wrong), undefined, wrong);
  const cursor = ids.cursor({ namespace: 'a', seq: 9 }, 'deliveries');
  assert.equal(ids.cursorSeq(cursor, 'a', 'deliveries'), 9);
  assert.equal(ids.cursorSeq(cursor, 'a'), undefined);
  assert.equal(ids.cursorSeq(cursor, 'b', 'deliveries'), undefined);
  assert.equal(ids.cursorSeq(ids.cursor({ namespace: 'a', seq: 9 }), 'a', 'deliveries'), undefined);
});
