// The pizza example does what its README says: OK at once, everybody gets his own copy of the event, late or not, and the cooks share the work.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runExample } from '../support/example.ts';

const folder = new URL('../../examples/pizza/', import.meta.url);
const script = fileURLToPath(new URL('run.mjs', folder));

test('an evening at the pizzeria: one order reaches everybody, a late one too, forty are shared by two cooks, and one goes on when a cook dies', async (t) => {
  const output = await runExample(t, { script, env: { PIZZA_PACE: '0.5' }, processes: 6 });

  const story = [...output.matchAll(/^ +[\d.]+ s {2}(\S+(?: \d)?) +(.+)$/gm)].map(([, who, what]) => ({ who, what }));
  const told = (who: string): string[] => story.filter((line) => line.who === who).map(({ what }) => what!);
  const [ordered, ...sees] = told('Alice');
  assert.match(ordered!, /^orders a margherita, and it is OK at once: 202 after \d+ ms$/);
  const stages = ['Prep, 0 %', 'Bake, 25 %', 'Oven, 50 %', 'succeeded'].map((what) => `sees: ${what}`);
  // The counter may be so quick that the first stage has begun when she starts to look: a stream tells it all the same.
  assert.deepEqual(sees, stages);

  const cook = story.find(({ what }) => what === 'margherita for Alice: Prep')!.who!;
  assert.deepEqual(
    told(cook)
      .filter((what) => what.endsWith('Alice') || what.includes('for Alice:'))
      .map((what) => what.replace(/ready: \w+… /, 'ready: ')),
    [
      'margherita for Alice: Prep',
      'margherita for Alice: Bake',
      'margherita for Alice: Oven',
      'ready: margherita for Alice',
    ],
  );

  const notified = told('notifier');
  assert.equal(notified.filter((what) => what === 'to Alice: we have your order, a margherita').length, 1);
  assert.equal(notified.filter((what) => what!.startsWith('to Alice: your margherita is ready for pickup')).length, 1);
  const isStarted = output.indexOf('Only now the order history is started');
  assert.ok(isStarted > output.indexOf('to Alice: your margherita is ready'), 'the history was not there');
  assert.deepEqual(
    told('history').map((what) => what.replace(/\w+…/, '…')),
    ['writes down 1: … Alice ordered a margherita', 'writes down 42: … Cleo ordered a calzone'],
  );
  assert.match(told('Bo')[0]!, /^asks the kitchen itself: 200, a slice by executor-[12]$/);

  const [first, second] = story.filter(({ what }) => what === 'calzone for Cleo: Prep').map(({ who }) => who);
  assert.deepEqual(
    new Set([first, second]),
    new Set(['executor 1', 'executor 2']),
    'begun by one, and anew by the other',
  );
  assert.ok(told(first!).includes('drops dead (kill -9)'));
  assert.match(told(second!).at(-1)!, /^ready: \w+… calzone for Cleo$/);

  // The example ends with 1 where anybody was told not at all, or twice.
  assert.match(output, /^ {2}the owner counted 41 pizzas$/m);
  assert.match(output, /^ {2}the history has 42 orders$/m);
  assert.match(output, /^ {2}the notifier sent 42 thanks and 43 calls for pickup$/m);
  const made = [...output.matchAll(/^ {2}executor \d made (\d+) of the 40 slices$/gm)].map(([, n]) => Number(n));
  assert.equal(made.length, 2);
  assert.equal(made[0]! + made[1]!, 40);
  for (const n of made) assert.ok(n >= 16 && n <= 24, `shared evenly: ${made.join(' and ')}`);
});

test('the counter knows nobody who is told, and the cooks know of no subscription', () => {
  for (const name of ['counter.mjs', 'executor.mjs']) {
    const code = readFileSync(new URL(name, folder), 'utf8');
    assert.doesNotMatch(code, /notifier|history|subscription|page|webhook/i, name);
  }
  assert.doesNotMatch(readFileSync(new URL('counter.mjs', folder), 'utf8'), /kitchen|executor|cook/i);
});
