// Every kind of member with its bounds, as a table; each refusal names the member by its JSON pointer.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { WaitlessError } from '@waitless/protocol';
import { Shape } from './shape.ts';

type Read = (shape: Shape) => unknown;

const reads: Readonly<Record<string, Read>> = {
  text: (shape) => shape.text('m', { most: 3, least: 1 }),
  needText: (shape) => shape.needText('m'),
  whole: (shape) => shape.number('m', { least: 1, most: 10, whole: true }),
  above: (shape) => shape.number('m', { above: 0, most: 10 }),
  boolean: (shape) => shape.boolean('m'),
  pause: (shape) => shape.pauseMs('m'),
  list: (shape) => shape.list('m', 2),
};

const accepted: readonly (readonly [read: string, value: unknown, result: unknown])[] = [
  ['text', 'abc', 'abc'],
  ['needText', '', ''],
  ['whole', 1, 1],
  ['whole', 10, 10],
  ['above', 0.001, 0.001],
  ['above', 10, 10],
  ['boolean', false, false],
  ['pause', 0, 0],
  ['pause', 1.5, 1500],
  ['pause', '250ms', 250],
  ['pause', 31_622_400, 31_622_400_000],
  ['list', [], []],
  ['list', [null, 1], [null, 1]],
];
const refused: Readonly<Record<string, readonly unknown[]>> = {
  text: ['', 'abcd', 5, null, true, ['a'], {}],
  needText: [5, null],
  whole: [0, 11, 1.5, -1, Number.POSITIVE_INFINITY, Number.NaN, '5', null, true, [5]],
  above: [0, -1, 10.1, Number.NEGATIVE_INFINITY, '1', null],
  boolean: [0, 1, 'true', null],
  pause: [-1, 31_622_401, Number.POSITIVE_INFINITY, Number.NaN, '', 'soon', '-1s', '367d', null, true, ['1s']],
  list: [[1, 2, 3], {}, 'ab', null, { length: 1 }],
};

describe('members', () => {
  for (const [read, value, result] of accepted)
    test(`${read} takes ${JSON.stringify(value)}`, () =>
      assert.deepEqual(reads[read]!(new Shape({ m: value }, '', ['m'])), result));
  for (const [read, values] of Object.entries(refused)) {
    for (const value of values)
      test(`${read} refuses ${String(JSON.stringify(value))} and points at it`, () =>
        assert.throws(
          () => reads[read]!(new Shape({ m: value }, '/settle/3', ['m'])),
          (error) => {
            assert.ok(error instanceof WaitlessError);
            assert.equal(error.code, 'invalid-parameter');
            assert.deepEqual((error.members!['errors'] as { pointer: string }[])[0]!.pointer, '/settle/3/m');
            return true;
          },
        ));
  }
  test('what is absent is undefined, or refused where it is needed', () => {
    const shape = new Shape({}, '', ['m']);
    for (const name of ['text', 'whole', 'above', 'boolean', 'pause', 'list'])
      assert.equal(reads[name]!(shape), undefined);
    assert.equal(shape.has('toString'), false);
    assert.equal(shape.any('constructor'), undefined);
    assert.throws(() => shape.needText('m'), { code: 'invalid-parameter', message: '/m is missing' });
  });
});

describe('objects', () => {
  for (const value of [null, undefined, 5, 'text', [], true])
    test(`${String(JSON.stringify(value))} is no object`, () =>
      assert.throws(() => new Shape(value, '', ['m']), { code: 'invalid-parameter' }));
  for (const name of ['n', 'M', 'toString', 'constructor', '', 'x'.repeat(1000)])
    test(`the field ${JSON.stringify(name.slice(0, 20))} is not known`, () =>
      assert.throws(
        () => new Shape({ m: 1, [name]: 1 }, '/a', ['m']),
        (error) => {
          assert.ok(error instanceof WaitlessError && error.code === 'unknown-field');
          assert.ok(error.message.length < 200);
          return true;
        },
      ));
});
