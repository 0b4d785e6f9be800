// A server killed while events go to a webhook and a service: nothing is missing, and no event starts two operations.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventPushKills } from './event-push-kills-run.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);

test('three kills on the way: the webhook gets each event, and each starts one operation', async (t) => {
  const { events, operations, repeated } = await eventPushKills(t, { kills: 3, events: 60, seed });
  assert.deepEqual([events, operations], [180, 180]);
  assert.ok(repeated >= 1, 'some were in the air at the kills, or the run says nothing');
});
