// A power cut: published events, acknowledgements and cursors are on the disk, and a server that never syncs is found out.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { whyNoPowerCut } from '../support/power-cut.ts';
import { eventPowerCut } from './event-power-cut-run.ts';

test('positive control: with synchronous=OFF a power cut loses acknowledged events, and the ledger finds it', async (t) => {
  const reason = await whyNoPowerCut(t);
  if (reason) return t.skip(`skipped: ${reason}`);
  const run = await eventPowerCut(t, { events: [80, 160], restart: 'SIGTERM', weak: true });
  assert.equal(run.void, undefined);
  assert.ok(run.published.lost.length > 0, 'the run would have found no loss anywhere');
});

test('a power cut loses no acknowledged event, brings back none that was done with, and no cursor goes back', async (t) => {
  const reason = await whyNoPowerCut(t);
  if (reason) return t.skip(`skipped: ${reason}`);
  const run = await eventPowerCut(t, { events: [80, 160], restart: 'SIGKILL', weak: false });
  assert.equal(run.void, undefined, 'void');
  for (const kind of ['lost', 'unexpected', 'duplicated', 'wrong'] as const) assert.deepEqual(run.published[kind], []);
  assert.ok(run.acked > 50, 'void: too little was acknowledged');
  assert.deepEqual([run.cameBack, run.missing], [[], []]);
  const [before, after] = run.cursor;
  assert.ok(after >= before, `the cursor was at ${before} and is at ${after}`);
});
