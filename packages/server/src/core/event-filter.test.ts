// What a filter lets through, as a table, and what is no filter.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WaitlessError } from '@waitless/protocol';
import { readFilter } from './event-filter.ts';

const event = { specversion: '1.0', type: 'order.placed', source: '/shop/eu', id: '7', priority: 3, vip: true };

const rows: [filter: unknown, passes: boolean][] = [
  [undefined, true],
  [null, true],
  [[], true],
  [{ exact: { type: 'order.placed' } }, true],
  [{ exact: { type: 'order.Placed' } }, false],
  [{ exact: { type: 'order.placed', source: '/shop/us' } }, false],
  [{ exact: { type: 'order.placed', source: '/shop/eu' } }, true],
  [{ exact: { subject: 'x' } }, false],
  [{ exact: { priority: '3' } }, true],
  [{ exact: { vip: 'true' } }, true],
  [{ prefix: { type: 'order.' } }, true],
  [{ prefix: { type: 'orders' } }, false],
  [{ suffix: { source: '/eu' } }, true],
  [{ suffix: { source: '/us' } }, false],
  [{ not: { exact: { type: 'order.placed' } } }, false],
  [{ not: { exact: { subject: 'x' } } }, true],
  [{ all: [{ prefix: { type: 'order' } }, { suffix: { type: 'placed' } }] }, true],
  [{ all: [{ prefix: { type: 'order' } }, { suffix: { type: 'paid' } }] }, false],
  [{ any: [{ exact: { type: 'a' } }, { exact: { type: 'order.placed' } }] }, true],
  [{ any: [{ exact: { type: 'a' } }, { exact: { type: 'b' } }] }, false],
  [[{ prefix: { type: 'order' } }, { not: { suffix: { type: 'placed' } } }], false],
  [{ not: { any: [{ exact: { type: 'a' } }, { all: [{ exact: { type: 'b' } }] }] } }, true],
];

for (const [filter, passes] of rows)
  test(`${JSON.stringify(filter)} ${passes ? 'lets it through' : 'leaves it out'}`, () => {
    assert.equal(readFilter(filter)(event), passes);
  });

const deep = (levels: number): unknown => (levels === 0 ? { exact: { type: 'a' } } : { not: deep(levels - 1) });
const wrong: [filter: unknown, pointer: string][] = [
  ['type', '/filter'],
  [7, '/filter'],
  [{}, '/filter'],
  [{ sql: "type = 'a'" }, '/filter'],
  [{ exact: { type: 'a' }, prefix: { type: 'a' } }, '/filter'],
  [{ exact: {} }, '/filter/exact'],
  [{ exact: 'a' }, '/filter/exact'],
  [{ exact: { type: 7 } }, '/filter/exact/type'],
  [{ exact: { type: '' } }, '/filter/exact/type'],
  [{ exact: { 'no name': 'a' } }, '/filter/exact'],
  [{ exact: { Type: 'a' } }, '/filter/exact'],
  [{ all: [] }, '/filter/all'],
  [{ any: {} }, '/filter/any'],
  [{ any: [{ exact: { type: 'a' } }, 7] }, '/filter/any/1'],
  [{ not: null }, '/filter/not'],
  [deep(9), `/filter${'/not'.repeat(8)}`],
  [{ any: Array.from({ length: 65 }, () => ({ exact: { type: 'a' } })) }, '/filter'],
];

for (const [filter, pointer] of wrong)
  test(`${JSON.stringify(filter).slice(0, 80)} is refused at ${pointer}`, () => {
    assert.throws(
      () => readFilter(filter),
      (error) =>
        error instanceof WaitlessError &&
        error.code === 'invalid-filter' &&
        (error.members as { errors: { pointer: string }[] }).errors[0]!.pointer === pointer,
    );
  });

test('a name that every object has is no attribute of an event', () => {
  assert.equal(readFilter({ not: { exact: { constructor: 'x' } } })(event), true);
  assert.equal(readFilter({ prefix: { constructor: 'f' } })(event), false);
});
