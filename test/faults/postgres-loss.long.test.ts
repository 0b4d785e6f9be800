// The database goes away under load thirty times, for one to sixty seconds, in every way there is: what the short test sees once, often enough to be believed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { postgresMissing } from '../support/postgres.ts';
import { spawnServer } from '../support/spawn-server.ts';
import { randomOf } from './kill-run.ts';
import { losses, lossRun } from './postgres-loss-run.ts';

const missing = postgresMissing();
const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);
const rounds = Number(process.env['FAULT_ROUNDS'] ?? 30);

test(
  `${rounds} losses of the database under load, each answered within five seconds and over within ten, lose and add nothing`,
  { skip: missing && `skipped: ${missing}`, timeout: rounds * 120_000 },
  async (t) => {
    t.diagnostic(`seed ${seed}`);
    const random = randomOf(seed);
    const { verdict, void: reason } = await lossRun(
      t,
      { start: (_, data, services) => spawnServer(t, { data, own: true, nodes: 1, services }) },
      Array.from({ length: rounds }, () => ({
        loss: losses[Math.floor(random() * losses.length)]!,
        // Short ones are more frequent, and meet more of what is in the midst of something.
        awayMs: Math.round(1000 * 60 ** random()),
      })),
      { backWithin: 10_000 },
    );
    assert.equal(reason, undefined, 'void');
    for (const kind of ['lost', 'unexpected', 'duplicated', 'duplicatedResult', 'wrong'] as const)
      assert.deepEqual(verdict[kind], [], kind);
  },
);
