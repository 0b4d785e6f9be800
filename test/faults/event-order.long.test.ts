// 50 keys of 400 events each over 8 workers, with kills of workers and of the server all along: no inversion within a key.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serverToKill } from './event-kills-judge.ts';
import { eventOrder } from './event-order-run.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);

test('50 keys × 400 events over 8 workers under 60 kills: none of a key comes before the one before it has ended', async (t) => {
  const run = { keys: 50, each: 400, workers: 8, serverKills: 30, workerKills: 30, seed, ordered: true };
  const { inversions, missing, faults } = await eventOrder(t, await serverToKill(t), run);
  assert.equal(faults, 60, 'void');
  assert.deepEqual([inversions, missing], [[], []]);
});
