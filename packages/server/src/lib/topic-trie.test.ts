// What matches what, as a table and against a plain reading of the rules.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { isTopicName, isTopicPattern, TopicNames, TopicPatterns } from './topic-trie.ts';

const rows: [pattern: string, matches: string[], others: string[]][] = [
  ['orders', ['orders'], ['orders.placed', 'order']],
  ['orders.placed', ['orders.placed'], ['orders', 'orders.placed.eu', 'Orders.placed']],
  ['orders.*', ['orders.placed', 'orders.gone'], ['orders', 'orders.placed.eu']],
  ['*.placed', ['orders.placed', 'returns.placed'], ['placed', 'a.b.placed']],
  ['**', ['a', 'a.b', 'a.b.c'], []],
  ['#', ['a', 'a.b', 'a.b.c'], []],
  ['orders.**', ['orders', 'orders.placed', 'orders.placed.eu'], ['order.placed']],
  ['**.eu', ['eu', 'a.eu', 'a.b.eu'], ['eu.a', 'a.eu.b']],
  ['a.**.z', ['a.z', 'a.b.z', 'a.b.c.z', 'a.z.z'], ['a', 'z', 'a.b']],
  ['a.*.**.z', ['a.b.z', 'a.b.c.z'], ['a.z']],
  ['**.a.**.b', ['a.b', 'x.a.y.b', 'a.a.b.b'], ['b.a', 'a']],
];

for (const [pattern, matches, others] of rows) {
  test(`${pattern} matches ${matches.join(', ')} and not ${others.join(', ')}`, () => {
    const names = new TopicNames<string>();
    const patterns = new TopicPatterns<string>();
    for (const name of [...matches, ...others]) names.add(name, name);
    patterns.add(pattern, 'it');
    patterns.add('never.asked.for', 'other');
    assert.deepEqual(names.matching(pattern).toSorted(), matches.toSorted());
    for (const name of matches) assert.deepEqual([...patterns.matching(name)], ['it']);
    for (const name of others) assert.deepEqual([...patterns.matching(name)], []);
  });
}

test('what is taken out matches no more, and leaves the others', () => {
  const patterns = new TopicPatterns<number>();
  patterns.add('a.*', 1);
  patterns.add('a.*', 2);
  patterns.add('a.**', 3);
  patterns.delete('a.*', 1);
  assert.deepEqual(
    [...patterns.matching('a.b')].toSorted((a, b) => a - b),
    [2, 3],
  );
  patterns.delete('a.*', 2);
  patterns.delete('a.**', 3);
  assert.equal(patterns.matching('a.b').size, 0);
});

test('both trees agree with a plain reading of the rules over every short name and pattern', () => {
  const words = ['a', 'b'];
  const upTo = (alphabet: string[], length: number): string[] =>
    length === 0
      ? []
      : [...alphabet, ...upTo(alphabet, length - 1).flatMap((rest) => alphabet.map((word) => `${word}.${rest}`))];
  const allNames = [...new Set(upTo(words, 4))];
  const allPatterns = [...new Set(upTo([...words, '*', '**'], 4))];
  const plain = (pattern: string[], name: string[]): boolean => {
    if (pattern.length === 0) return name.length === 0;
    const [first, ...rest] = pattern;
    if (first === '**') return plain(rest, name) || (name.length > 0 && plain(pattern, name.slice(1)));
    return name.length > 0 && (first === '*' || first === name[0]) && plain(rest, name.slice(1));
  };
  const names = new TopicNames<string>();
  const patterns = new TopicPatterns<string>();
  for (const name of allNames) names.add(name, name);
  for (const pattern of allPatterns) patterns.add(pattern, pattern);
  for (const pattern of allPatterns) {
    const wanted = allNames.filter((name) => plain(pattern.split('.'), name.split('.'))).toSorted();
    assert.deepEqual(names.matching(pattern).toSorted(), wanted, pattern);
  }
  for (const name of allNames) {
    const wanted = allPatterns.filter((pattern) => plain(pattern.split('.'), name.split('.'))).toSorted();
    assert.deepEqual([...patterns.matching(name)].toSorted(), wanted, name);
  }
});

test('finding the patterns of a name looks at none that differ in their first word', () => {
  const patterns = new TopicPatterns<number>();
  for (let i = 0; i < 100_000; i++) patterns.add(`tenant${i}.orders.*`, i);
  assert.deepEqual([...patterns.matching('tenant77.orders.placed')], [77]);
});

test('names and patterns that are none', () => {
  for (const name of ['', '.', 'a.', '.a', 'a..b', 'a b', 'a.*', 'ü', 'a\n', 'x'.repeat(256)])
    assert.equal(isTopicName(name), false, JSON.stringify(name));
  for (const name of ['a', 'a.b', 'Orders.2026-11', 'a_b.c-d']) assert.equal(isTopicName(name), true, name);
  for (const pattern of ['', 'a.', 'a*', '*a', '***', 'a.**b', '**.a.**.b.**.c.**.d.**'])
    assert.equal(isTopicPattern(pattern), false, JSON.stringify(pattern));
  for (const pattern of ['*', '**', '#', 'a.*.b', 'a.#', '**.a.**'])
    assert.equal(isTopicPattern(pattern), true, pattern);
});

/** How often a place in the tree is looked at: each look asks the set of those that were. */
function looksAt(t: TestContext, match: () => unknown): number {
  const { mock } = t.mock.method(Set.prototype, 'has');
  match();
  const looks = mock.callCount();
  mock.restore();
  return looks;
}

test('the cost of finding patterns grows with the words of the name, and not with the patterns that do not match', (t) => {
  const patterns = new TopicPatterns<number>();
  const add = (from: number, to: number): void => {
    for (let i = from; i < to; i++) {
      patterns.add(`tenant${i}.orders.*`, i);
      patterns.add(`tenant${i}.**.placed`, i);
      patterns.add(`*.other${i}.**`, i);
    }
  };
  add(0, 10);
  const few = looksAt(t, () => patterns.matching('tenant7.orders.placed'));
  add(10, 10_000);
  assert.ok(few > 0);
  assert.equal(
    looksAt(t, () => patterns.matching('tenant7.orders.placed')),
    few,
  );
});

test('the dearest pattern and the longest name cost in proportion to both', (t) => {
  const dear = '**.a.**.a.**.a.**.b';
  const looks = (words: number): [number, number] => {
    const name = Array<string>(words).fill('a').join('.');
    const patterns = new TopicPatterns<string>();
    patterns.add(dear, dear);
    const names = new TopicNames<string>();
    names.add(name, name);
    return [looksAt(t, () => patterns.matching(name)), looksAt(t, () => names.matching(dear))];
  };
  const [of32, of128] = [looks(32), looks(128)];
  for (const [i, tree] of ['patterns', 'names'].entries())
    assert.ok(of128[i]! <= 5 * of32[i]!, `${tree}: ${of32[i]} looks for 32 words, ${of128[i]} for 128`);
});
