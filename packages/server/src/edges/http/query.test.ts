// Queries have one reading or are refused.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseQuery } from './query.ts';

const good: readonly (readonly [text: string, values: Record<string, string>])[] = [
  ['', {}],
  ['a=1&b=2', { a: '1', b: '2' }],
  ['a', { a: '' }],
  ['a=', { a: '' }],
  ['a=b=c', { a: 'b=c' }],
  ['a=%E2%82%AC+%2B', { a: '€ +' }],
  ['label.a%20b=c', { 'label.a b': 'c' }],
  ['__proto__=x', { ['__proto__']: 'x' }],
];
for (const [text, values] of good) {
  test(`?${text} is read`, () => {
    const query = parseQuery(text);
    assert.deepEqual([...query.names()], Object.keys(values));
    for (const [name, value] of Object.entries(values)) assert.equal(query.get(name), value);
    assert.equal(query.get('not there'), undefined);
    assert.equal(query.get('constructor'), undefined);
  });
}

test('the one name that may stand more than once is read whole, and no other', () => {
  const query = parseQuery('key=a%2Fb&x=1&key=', { repeated: 'key' });
  assert.deepEqual(query.all('key'), ['a/b', '']);
  assert.deepEqual(query.all('x'), ['1']);
  assert.deepEqual(query.all('y'), []);
  assert.throws(() => parseQuery('key=a&x=1&x=2', { repeated: 'key' }), { code: 'invalid-parameter' });
});

for (const text of ['a=1&a=2', 'a=1&%61=2', 'a=%', 'a=%f', 'a=%zz', 'a=%ff', '%ff=a', 'a=%c0%ae', 'a=%ed%a0%80']) {
  test(`?${text} is refused`, () => assert.throws(() => parseQuery(text), { code: 'invalid-parameter' }));
}
