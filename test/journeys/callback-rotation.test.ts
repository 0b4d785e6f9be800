// Callback secrets are rotated under load, and no receiver sees a callback that it cannot verify.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rotationRun } from './callback-rotation-run.ts';

test('two rotations during 400 callbacks: each is verified by the public library, before and after its receiver knows the new secret', async (t) => {
  const { verified } = await rotationRun(t, { rotations: 2, between: 200 });
  assert.ok(verified > 400);
});
