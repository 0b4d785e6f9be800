// One folder, fifty times two processes: the second never gets in, and a killed one is never in the way.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { submit } from '../support/operations.ts';
import { temporaryFolder } from '../support/server.ts';
import { NotStarted, spawnServer } from '../support/spawn-server.ts';
import { countsOn } from './postgres-nodes.ts';

const tries = Number(process.env['FAULT_ROUNDS'] ?? 50);

test(`${tries} tries to open a folder twice: 0 succeed, and 0 starts are held up by a process that was killed`, async (t) => {
  const settings = {
    services: { jobs: { target: { pull: true } } },
    data: join(await temporaryFolder(t), 'data'),
    own: true,
    nodes: 1,
  } as const;
  for (let round = 0; round < tries; round++) {
    const first = await spawnServer(t, settings);
    await assert.rejects(
      spawnServer(t, settings),
      (error: unknown) => error instanceof NotStarted && /another process/.test(error.printed),
    );
    await submit(first.url, 'jobs');
    assert.equal((await countsOn(first.url))['jobs']!['queued'], round + 1);
    await first.end('SIGKILL');
  }
});
