// A server killed 150 times while 15,000 events go to a webhook and a service: nothing is missing, and no event starts two operations.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventPushKills } from './event-push-kills-run.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);

test('150 kills on the way: the webhook gets each of 15,000 events, and each starts one operation', async (t) => {
  const { events, operations, repeated } = await eventPushKills(t, { kills: 150, events: 100, seed });
  t.diagnostic(`${repeated} of ${events} came to the webhook more than once`);
  assert.equal(operations, 15_000);
});
