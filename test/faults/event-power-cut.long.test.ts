// Power cuts after restarts, many of them, during publishes and acknowledgements.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { whyNoPowerCut } from '../support/power-cut.ts';
import { eventPowerCut } from './event-power-cut-run.ts';

const rounds = Number(process.env['FAULT_ROUNDS'] ?? 20);

for (let round = 0; round < rounds; round++) {
  const restart = round % 2 === 0 ? 'SIGTERM' : 'SIGKILL';
  test(`power cut ${round + 1} of ${rounds}, after a restart by ${restart}: nothing acknowledged is lost or comes back`, async (t) => {
    const reason = await whyNoPowerCut(t);
    if (reason) return t.skip(`skipped: ${reason}`);
    const run = await eventPowerCut(t, { events: [300, 600 + round * 7], restart, weak: false });
    assert.equal(run.void, undefined, 'void');
    for (const kind of ['lost', 'unexpected', 'duplicated', 'wrong'] as const)
      assert.deepEqual(run.published[kind], [], kind);
    assert.deepEqual([run.cameBack, run.missing], [[], []]);
    assert.ok(run.cursor[1] >= run.cursor[0]);
  });
}
