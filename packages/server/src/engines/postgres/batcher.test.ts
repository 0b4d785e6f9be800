// The batcher's promises: order by key, bounds, one refused item alone, and true words about what was carried out.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WaitlessError } from '@waitless/protocol';
import { Batcher } from './batcher.ts';
import { notReached } from './errors.ts';

type Outcome = string | WaitlessError;
const databaseError = (code: string): Error => Object.assign(new Error(code), { code });
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

interface Batch {
  items: readonly string[];
  answer(outcomes?: Outcome[]): void;
  fail(error: Error): void;
}

/** A batcher whose statements the test answers by hand. */
function byHand({
  parallel = 2,
  maxItems = 4,
  ...more
}: { parallel?: number; maxItems?: number; wholeCalls?: true } = {}) {
  const sent: Batch[] = [];
  const batcher = new Batcher<string, Outcome>({
    run: (items) =>
      new Promise((resolve, reject) => {
        sent.push({ items, answer: (outcomes = [...items]) => resolve(outcomes), fail: reject });
      }),
    parallel,
    maxItems,
    ...more,
    keyOf: (item) => (item.includes('=') ? item.split('=')[0]! : null),
    bytesOf: (item) => (item.startsWith('large') ? 3 * 1024 * 1024 : 1),
    refused: (error) => error,
  });
  return { batcher, sent, itemsOf: () => sent.map(({ items }) => items.join(' ')) };
}

test('calls of one turn share a statement; while as many are under way as allowed, the rest gathers', async () => {
  const { batcher, sent, itemsOf } = byHand({ parallel: 1 });
  const calls = ['a', 'b', 'c'].map((item) => batcher.call([item]));
  await turn();
  calls.push(...['d', 'e', 'f', 'g', 'h'].map((item) => batcher.call([item])));
  await turn();
  assert.deepEqual(itemsOf(), ['a b c']);
  sent[0]!.answer();
  await turn();
  await turn();
  assert.deepEqual(itemsOf(), ['a b c', 'd e f g']);
  sent[1]!.answer();
  await turn();
  await turn();
  sent[2]!.answer();
  assert.deepEqual((await Promise.all(calls)).flat(), ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']);
});

test('where calls stay whole each is in one statement, together with others that fit and alone where it is too large', async () => {
  const { batcher, sent, itemsOf } = byHand({ parallel: 1, wholeCalls: true });
  const calls = [
    ['a'],
    ['b', 'c'],
    ['d', 'e', 'f'],
    ['g'],
    ['h', 'i', 'j', 'k', 'l', 'm'],
    ['large 1', 'n'],
    ['large 2'],
  ];
  const answers = calls.map((call) => batcher.call(call));
  const expected = ['a b c', 'd e f g', 'h i j k l m', 'large 1 n', 'large 2'];
  for (let i = 0; i < expected.length; i++) {
    await turn();
    await turn();
    sent[i]!.answer();
  }
  assert.deepEqual(itemsOf(), expected);
  assert.deepEqual(await Promise.all(answers), calls);
});

test('of one key one item is under way; what has no key, or another, does not wait for it', async () => {
  const { batcher, sent, itemsOf } = byHand();
  const first = batcher.call(['k=1']);
  await turn();
  const rest = ['k=2', 'x', 'k=3', 'm=1'].map((item) => batcher.call([item]));
  await turn();
  assert.deepEqual(itemsOf(), ['k=1', 'x m=1']);
  sent[1]!.answer();
  await turn();
  await turn();
  assert.equal(sent.length, 2, 'the others of the key wait');
  sent[0]!.answer();
  for (const at of [2, 3]) {
    await turn();
    await turn();
    sent[at]!.answer();
  }
  assert.deepEqual(itemsOf().slice(2), ['k=2', 'k=3']);
  assert.deepEqual((await Promise.all([first, ...rest])).flat(), ['k=1', 'k=2', 'x', 'k=3', 'm=1']);
});

test('large items go in statements of their own, small ones pass nobody by for it', async () => {
  const { batcher, sent, itemsOf } = byHand({ parallel: 3 });
  const calls = ['large1', 'large2', 'a', 'large3'].map((item) => batcher.call([item]));
  await turn();
  assert.deepEqual(itemsOf(), ['large1', 'large2 a', 'large3']);
  for (const batch of sent) batch.answer();
  await Promise.all(calls);
});

test('an item that the database refuses fails alone, also where several are refused and the row is ours', async () => {
  let statements = 0;
  const batcher = new Batcher<number, Outcome>({
    run: (items) => {
      statements++;
      if (items.some((item) => item % 10 === 3)) return Promise.reject(databaseError('22021'));
      if (items.includes(7)) return Promise.reject(new RangeError('too large'));
      return Promise.resolve(items.map(String));
    },
    parallel: 1,
    maxItems: 64,
    refused: (error) => error,
  });
  const outcomes = await batcher.call(Array.from({ length: 32 }, (_, i) => i));
  for (const [i, outcome] of outcomes.entries()) {
    if (i % 10 === 3 || i === 7) assert.equal((outcome as WaitlessError).code, 'invalid-parameter');
    else assert.equal(outcome, String(i));
  }
  assert.ok(statements < 40, `${statements} statements`);
});

test('a deadlock is tried again, and in the end told as nothing accepted', async () => {
  const { batcher, sent } = byHand();
  const lucky = batcher.call(['a']);
  await turn();
  sent[0]!.fail(databaseError('40P01'));
  await turn();
  sent[1]!.answer();
  assert.deepEqual(await lucky, ['a']);
  const unlucky = assert.rejects(batcher.call(['b']), { code: 'storage-unavailable', members: { accepted: false } });
  for (let i = 2; i < 7; i++) {
    await turn();
    sent[i]!.fail(databaseError('40P01'));
    await turn();
  }
  await unlucky;
  assert.equal(sent.length, 7);
});

test('a call of which a part was carried out is not told that nothing was accepted', async () => {
  const { batcher, sent } = byHand({ maxItems: 2 });
  const call = batcher.call(['a', 'b', 'c', 'd']);
  const alone = batcher.call(['e']);
  await turn();
  sent[0]!.answer();
  sent[1]!.fail(notReached());
  await assert.rejects(
    call,
    (error: WaitlessError) => error.code === 'engine-unavailable' && error.members?.['accepted'] === undefined,
  );
  await turn();
  sent[2]!.fail(notReached());
  await assert.rejects(alone, { code: 'engine-unavailable', members: { accepted: false } });
});
