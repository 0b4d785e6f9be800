// 20,000 events at two nodes of one store under 60 kills of one of them, and the order of 50 keys under kills of both and of workers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertComplete, nodesToKill } from './event-kills-judge.ts';
import { eventKills } from './event-kills-run.ts';
import { eventOrder } from './event-order-run.ts';
import { withPostgres } from './postgres-nodes.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);

test(
  '20,000 events and 60 kills of one of two nodes: none is missing, and no cursor goes back',
  withPostgres,
  async (t) => {
    const run = { events: 20_000, publishers: 12, batch: 5, kills: 60, seed };
    assertComplete(await eventKills(t, await nodesToKill(t), run), 2);
  },
);

test(
  '50 keys × 100 events over 8 workers at two nodes under kills: no inversion within a key',
  withPostgres,
  async (t) => {
    const run = { keys: 50, each: 100, workers: 8, serverKills: 15, workerKills: 15, seed, ordered: true };
    const { inversions, missing, faults } = await eventOrder(t, await nodesToKill(t), run);
    assert.equal(faults, 30, 'void');
    assert.deepEqual([inversions, missing], [[], []]);
  },
);
