// The workers of docs/workers.md work as they are printed. The one in Go takes a compiler its time: see the long test.
import { test } from 'node:test';
import { assertWorks, has } from './page-worker.ts';

test('the worker in shell', async (t) => {
  if (!has('sh', '-c', 'curl --version && jq --version')) return t.skip('skipped: curl or jq is not installed');
  await assertWorks(t, { name: 'worker.sh', command: ['sh', 'worker.sh'] });
});

test('the worker in Python', async (t) => {
  if (!has('python3', '--version')) return t.skip('skipped: python3 is not installed');
  await assertWorks(t, { name: 'worker.py', command: ['python3', 'worker.py'] });
});
