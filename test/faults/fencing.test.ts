// Fencing: an engine that forgets lease numbers must be found out by the very story that the real one passes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serverFor } from '../support/server.ts';
import { withoutFencing } from '../support/without-fencing.ts';
import { type ZombieStory, zombieAnswers } from '../support/zombie.ts';

/** What is wrong with how the zombie was treated; empty when nothing is. */
function violations({ whileTheOtherHolds, winner, afterTheEnd, sameBytesAsTheWinner, result }: ZombieStory): string[] {
  const found: string[] = [];
  if (whileTheOtherHolds.status !== 409) found.push(`the zombie's answer got ${whileTheOtherHolds.status}`);
  if (winner.status !== 200) found.push(`the holder's answer got ${winner.status}`);
  if (afterTheEnd.status !== 409 || sameBytesAsTheWinner.status !== 409)
    found.push('an answer after the end was not refused');
  if (result.text !== 'from the second worker') found.push(`the result is ${JSON.stringify(result.text)}`);
  return found;
}

const services = { jobs: { target: { pull: true } } };

test('positive control: without fencing the zombie changes the result, and the story finds it', async (t) => {
  const server = await serverFor(t, { services, wrapEngine: withoutFencing });
  const found = violations(await zombieAnswers(server.url, 'jobs'));
  assert.ok(found.includes('the result is "from the zombie"'), JSON.stringify(found));
});

test('with fencing nothing that a zombie does has an effect', async (t) => {
  const server = await serverFor(t, { services });
  for (let round = 0; round < 5; round++) assert.deepEqual(violations(await zombieAnswers(server.url, 'jobs')), []);
});
