// Publishers and subscribers of every kind at two nodes of one store, one of which is killed: each subscription is complete, and its cursor goes on.
import { test } from 'node:test';
import { assertComplete, nodesToKill } from './event-kills-judge.ts';
import { eventKills } from './event-kills-run.ts';
import { withPostgres } from './postgres-nodes.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);

test(
  '2 kills of one of two nodes: every subscriber gets every event, at whichever node it asks',
  withPostgres,
  async (t) => {
    assertComplete(
      await eventKills(t, await nodesToKill(t), { events: 800, publishers: 6, batch: 4, kills: 2, seed }),
      2,
    );
  },
);
