// Two nodes on one database, one of them killed 60 times while 6,000 events go to a webhook and a service: nothing is missing, and no event starts two operations.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onPostgres } from '../support/on-postgres.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);

await onPostgres({ nodes: 2 }, [
  async () => {
    const { eventPushKills } = await import('./event-push-kills-run.ts');
    test('60 kills of a node: the webhook gets each of 6,000 events, and each starts one operation', async (t) => {
      const { events, operations, repeated } = await eventPushKills(t, { kills: 60, events: 100, seed });
      t.diagnostic(`${repeated} of ${events} came to the webhook more than once`);
      assert.equal(operations, 6000);
    });
  },
]);
