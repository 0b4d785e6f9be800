// The receiver of a callback kills the server the moment it has received, 200 times during 5,000 callbacks: no failure in them bounds the rate at 1.5 %.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callbackKills } from './callback-kills-run.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);

test('200 kills right after receiving: each of 5,000 callbacks came at least once, and every try is listed', async (t) => {
  const { delivered, repeated, interrupted } = await callbackKills(t, { kills: 200, operations: 25, seed });
  t.diagnostic(`${repeated} of 5,000 came more than once, ${interrupted} tries were interrupted`);
  assert.equal(delivered, 5000);
  assert.ok(interrupted >= 200);
});
