// Callback secrets are rotated again and again under load: no failure in 10,000 callbacks bounds the rate at 0.03 %.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rotationRun } from './callback-rotation-run.ts';

test('ten rotations during 10,000 callbacks: each is verified by the public library', async (t) => {
  const { verified } = await rotationRun(t, { rotations: 10, between: 1000 });
  assert.ok(verified > 10_000);
});
