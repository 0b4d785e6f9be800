// A lease of an event as JSON: its own members in front, and the event's text as it was published.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TakenEvent } from '../../core/event-taking.ts';
import type { EventTokens } from '../../core/event-tokens.ts';
import { eventLeaseMembers, nackFields, readNack } from './event-lease.ts';
import { Shape } from './shape.ts';

test('the data of the event stands there byte for byte', () => {
  const taken = {
    lease: { subscription: 1, position: 17, leaseNo: 2, attempt: 3, leaseUntil: 0 },
    event: {
      topic: 'orders.placed',
      head: '{"specversion":"1.0","id":"a","source":"/s","type":"t"}',
      body: Buffer.from('{"n":1.50, "x":12345678901234567890}'),
    },
  } as unknown as TakenEvent;
  const tokens = { tokenOf: () => 'ev-1', isLastAttempt: () => true } as unknown as EventTokens;
  assert.equal(
    eventLeaseMembers(taken, tokens),
    '"token":"ev-1","position":17,"topic":"orders.placed","attempt":3,"lastAttempt":true,"expiresAt":"1970-01-01T00:00:00.000Z",' +
      '"event":{"specversion":"1.0","id":"a","source":"/s","type":"t","data":{"n":1.50, "x":12345678901234567890}}',
  );
});

test('a nack may say when and why', () => {
  const read = (value: unknown) => readNack(new Shape(value, '', nackFields));
  assert.deepEqual(read({}), { kind: 'nack', retryAfterMs: undefined, message: null });
  assert.deepEqual(read({ retryAfter: '10s', message: 'x' }), { kind: 'nack', retryAfterMs: 10_000, message: 'x' });
  assert.throws(() => read({ retryAfter: 'soon' }), /\/retryAfter must be a duration/);
  assert.throws(() => read({ message: 'x'.repeat(2001) }), /\/message must be a string/);
});
