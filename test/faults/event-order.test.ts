// An ordered subscription while workers and the server are killed: within a key no event comes before the one before it has ended.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serverToKill } from './event-kills-judge.ts';
import { eventOrder } from './event-order-run.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);
const small = { keys: 8, each: 25, workers: 4, seed };

test('positive control: without `ordered` the same run finds inversions', async (t) => {
  const run = { ...small, serverKills: 0, workerKills: 1, ordered: false };
  const { inversions } = await eventOrder(t, await serverToKill(t), run);
  assert.ok(inversions.length > 0, 'the run would have found no inversion anywhere');
});

test('kills of workers and of the server bring no key out of order and lose nothing', async (t) => {
  const run = { ...small, serverKills: 2, workerKills: 2, ordered: true };
  const { inversions, missing, faults } = await eventOrder(t, await serverToKill(t), run);
  assert.equal(faults, 4, 'void');
  assert.deepEqual([inversions, missing], [[], []]);
});
