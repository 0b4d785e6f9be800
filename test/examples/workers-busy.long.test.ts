// The workers of examples/workers in Python and shell do what their README says. The one in Go takes a compiler its time: see the long test.
import { test } from 'node:test';
import { has } from '../docs/page-worker.ts';
import { python, shell, shareWork } from './workers-run.ts';

test('thirty jobs, shared by workers in Python and shell, are all done over a restart of the server and the stop of busy workers', async (t) => {
  if (!has('python3', '--version')) return t.skip('skipped: python3 is not installed');
  if (!has('sh', '-c', 'curl --version && jq --version')) return t.skip('skipped: curl or jq is not installed');
  await shareWork(t, [python, shell]);
});
