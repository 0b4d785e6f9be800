// Power cuts after restarts, many of them, each with more acknowledged operations than the short test.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { whyNoPowerCut } from '../support/power-cut.ts';
import { powerCutRun } from './power-cut-run.ts';

const rounds = Number(process.env['FAULT_ROUNDS'] ?? 20);

for (let round = 0; round < rounds; round++) {
  const restart = round % 2 === 0 ? 'SIGTERM' : 'SIGKILL';
  const weak = round % 10 === 9;
  const promise = weak ? 'positive control: without syncs something is lost' : 'nothing acknowledged is lost';
  test(`power cut ${round + 1} of ${rounds}, after a restart by ${restart}: ${promise}`, async (t) => {
    const reason = await whyNoPowerCut(t);
    if (reason) return t.skip(`skipped: ${reason}`);
    const run = await powerCutRun(t, { submits: [200, 500 + round * 7], restart, weak });
    assert.equal(run.void, undefined, 'void');
    if (weak) return assert.ok(run.submitted.lost.length > 0);
    for (const verdict of [run.submitted, run.replied])
      for (const kind of ['lost', 'unexpected', 'duplicated', 'duplicatedResult', 'wrong'] as const)
        assert.deepEqual(verdict[kind], [], kind);
  });
}
