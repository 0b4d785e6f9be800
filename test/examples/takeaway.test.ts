// The takeaway example does what its README says: a number at once, one guest who asks, and two who are told and ask nothing.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runExample } from '../support/example.ts';

const folder = new URL('../../examples/takeaway/', import.meta.url);
const script = fileURLToPath(new URL('run.mjs', folder));

test('an evening at the takeaway: who asks is told when to come back, who has a pager or a phone asks nothing', async (t) => {
  // The kitchen needs half of its usual time.
  const output = await runExample(t, { script, env: { KITCHEN_PACE: '0.5' }, processes: 2 });

  const told = (name: string): string[] =>
    [...output.matchAll(new RegExp(`^ +[\\d.]+ s {2}${name} +(.+)$`, 'gm'))].map(([, what]) => what!);
  const [ordered, ...asked] = told('Anna');
  assert.match(ordered!, /has a number at once: 202, \w{8}…$/);
  assert.match(asked[0]!, /^asks: not complete \(\S.*\); told to come back in [1-9]\d* s$/);
  assert.equal(asked.at(-1), 'asks: here is the margherita');
  const stages = ['prepared, 0 %', 'in the oven, 25 %', 'packed, 75 %'];
  assert.deepEqual(
    told('Ben').slice(1),
    [...stages, 'succeeded'].map((what) => `pager: ${what}`),
  );
  assert.deepEqual(
    told('Carla').slice(1),
    [...stages, 'succeeded, and with it the diavola'].map((what) => `phone: ${what} (signed)`),
  );

  const counted = Object.fromEntries(
    [...output.matchAll(/^ {2}(\w+) +(\d+) +(\d+) {2}[\d.]+ s after it was ready$/gm)].map(
      ([, name, requests, polls]) => [name, [Number(requests), Number(polls)]],
    ),
  );
  assert.deepEqual(Object.keys(counted), ['Anna', 'Ben', 'Carla']);
  assert.equal(counted['Anna']![1], asked.length);
  assert.deepEqual(counted['Ben'], [2, 0], 'the order, and the food');
  assert.deepEqual(counted['Carla'], [1, 0], 'the order');
});

test('the kitchen knows nothing of us but the URL for its progress', () => {
  const code = readFileSync(new URL('kitchen.mjs', folder), 'utf8').replace(/^\/\/.*\n/, '');
  const known = [...code.matchAll(/waitless|operation-[a-z-]+|webhook|callback|event-stream/gi)].map(([word]) => word);
  assert.deepEqual(known, ['operation-progress-url']);
});
