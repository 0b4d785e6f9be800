// Publishers, pullers, a webhook, a service and a reader while the server is killed: each subscriber gets all of it, and no cursor goes back.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertComplete, serverToKill } from './event-kills-judge.ts';
import { eventKills } from './event-kills-run.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);
const run = { events: 800, publishers: 4, batch: 4, seed };

test('positive control: a puller that acknowledges before it has the event loses some, and the ledger finds it', async (t) => {
  const outcome = await eventKills(t, await serverToKill(t), { ...run, kills: 2, careless: true });
  assert.equal(outcome.void, undefined, 'void');
  assert.ok(outcome.verdicts['pulled']!.lost.length > 0, 'the run would have found no loss anywhere');
  assert.deepEqual(outcome.verdicts['pushed']!.lost, [], 'its loss is its own');
});

test('3 kills: every subscriber gets every event, nothing that was refused, and what comes again was out at a kill', async (t) => {
  assertComplete(await eventKills(t, await serverToKill(t), { ...run, kills: 3 }));
});
