// The worker in Go of docs/workers.md compiles and works as it is printed.
import { test } from 'node:test';
import { assertWorks, has } from './page-worker.ts';

test('the worker in Go', async (t) => {
  if (!has('go', 'version')) return t.skip('skipped: go is not installed');
  await assertWorks(t, {
    name: 'worker.go',
    before: ['go', 'build', '-o', 'worker', 'worker.go'],
    command: ['./worker'],
  });
});
