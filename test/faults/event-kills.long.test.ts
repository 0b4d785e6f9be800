// 100,000 events to subscribers of every kind under 200 kills: no failure in them bounds the rate of losses at 1.5 % of the kills.
import { test } from 'node:test';
import { assertComplete, serverToKill } from './event-kills-judge.ts';
import { eventKills } from './event-kills-run.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);

test('100,000 events and 200 kills: none is missing at any subscriber, and no cursor goes back', async (t) => {
  const run = { events: 100_000, publishers: 8, batch: 5, kills: 200, seed };
  assertComplete(await eventKills(t, await serverToKill(t), run));
});
