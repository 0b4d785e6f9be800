// A power cut: what was acknowledged is on the disk, also after a restart, and a server that never syncs is found out.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { whyNoPowerCut } from '../support/power-cut.ts';
import { powerCutRun } from './power-cut-run.ts';

test('positive control: with synchronous=OFF a power cut loses acknowledged operations, and the ledger finds it', async (t) => {
  const reason = await whyNoPowerCut(t);
  if (reason) return t.skip(`skipped: ${reason}`);
  const run = await powerCutRun(t, { submits: [40, 120], restart: 'SIGTERM', weak: true });
  assert.equal(run.void, undefined);
  assert.ok(run.submitted.lost.length > 0, 'the run would have found no loss anywhere');
});

for (const restart of ['SIGTERM', 'SIGKILL'] as const) {
  test(`a power cut after a restart by ${restart} loses no acknowledged submit and no acknowledged reply`, async (t) => {
    const reason = await whyNoPowerCut(t);
    if (reason) return t.skip(`skipped: ${reason}`);
    const run = await powerCutRun(t, { submits: [40, 120], restart, weak: false });
    assert.equal(run.void, undefined, 'void');
    for (const verdict of [run.submitted, run.replied])
      for (const kind of ['lost', 'unexpected', 'duplicated', 'duplicatedResult', 'wrong'] as const)
        assert.deepEqual(verdict[kind], [], kind);
    assert.ok(run.replied.ok > 0);
  });
}
