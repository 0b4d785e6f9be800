// The receiver of a callback kills the server the moment it has received: nothing is told never, and no try is missing from the log.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callbackKills } from './callback-kills-run.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);

test('four kills right after receiving: each callback came at least once, and every try is listed', async (t) => {
  const { delivered, requests, repeated, interrupted } = await callbackKills(t, { kills: 4, operations: 12, seed });
  assert.equal(delivered, 48);
  assert.equal(requests, delivered + repeated);
  assert.ok(interrupted >= 1, 'some were in the air at each kill, or the run says nothing');
});
