// Pauses grow, have a ceiling and obey the server; a sleep ends with its signal.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pauseMs, sleep } from './backoff.ts';

test('pauses double up to a ceiling and are spread by the random number', () => {
  const longest = (failures: number): number => pauseMs({ failures, random: () => 1 });
  assert.deepEqual([0, 1, 2, 3, 4, 5, 50, 5_000].map(longest), [200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
  assert.equal(pauseMs({ failures: 3, random: () => 0.5 }), 800);
  assert.equal(pauseMs({ failures: 0, random: () => 0 }), 20, 'never zero');
  assert.equal(pauseMs({ failures: 0, random: () => 0, retryAfterSeconds: 7 }), 7_000);
});

test('a sleep rejects with the reason of its signal, before and while it sleeps', async () => {
  const reason = new Error('enough');
  await assert.rejects(sleep(60_000, AbortSignal.abort(reason)), reason);
  const controller = new AbortController();
  const sleeping = sleep(60_000, controller.signal);
  controller.abort(reason);
  await assert.rejects(sleeping, reason);
  await sleep(1, new AbortController().signal);
});
