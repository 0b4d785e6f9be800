// Who may share a store: as many processes as wanted a database, one a folder; and what their common counters and tables say after all.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { get } from '../support/http.ts';
import { statusOf, submit } from '../support/operations.ts';
import { reply, takeOne } from '../support/pull-worker.ts';
import { temporaryFolder } from '../support/server.ts';
import { NotStarted, spawnServer } from '../support/spawn-server.ts';
import {
  assertCountsAreRight,
  countsOn,
  onlyTheLivingAreListed,
  rowsOf,
  twoProcesses,
  twoServers,
  withPostgres,
} from './postgres-nodes.ts';

const services = { jobs: { target: { pull: true } } };

test(
  'two processes on one database both serve, and each goes on when the other is gone, however it went',
  withPostgres,
  async (t) => {
    const pair = await twoProcesses(t, { services });
    const serves = async (at: string, from: string): Promise<void> => {
      const { id } = await submit(at, 'jobs', { body: 'x' });
      assert.equal((await statusOf(`${from}/v1/operations/${id}`)).status, 'queued');
      const { token } = await takeOne(from, 'jobs');
      assert.equal((await reply(at, token, 'done')).status, 200);
      assert.equal((await get(`${from}/v1/operations/${id}/result`)).text, 'done');
    };
    const [first, second] = pair.urls;
    await serves(first, second);
    await serves(second, first);
    for (const [index, signal] of [
      [0, 'SIGKILL'],
      [1, 'SIGTERM'],
    ] as const) {
      await pair.end(index, signal);
      await serves(pair.urls[1 - index]!, pair.urls[1 - index]!);
      await pair.start(index);
      await serves(first, second);
    }
    assert.deepEqual((await countsOn(first))['jobs'], { queued: 0, running: 0, succeeded: 6, failed: 0, cancelled: 0 });
    await assertCountsAreRight(pair.urls);
    await onlyTheLivingAreListed(pair.store, 2);
  },
);

test('two processes on one folder: the second is refused every time, also after the first was killed and a new one came', async (t) => {
  const data = join(await temporaryFolder(t), 'data');
  for (let round = 0; round < 3; round++) {
    const first = await spawnServer(t, { services, data, own: true, nodes: 1 });
    const second = spawnServer(t, { services, data, own: true, nodes: 1 });
    await assert.rejects(second, (error: unknown) => {
      assert.ok(error instanceof NotStarted, String(error));
      assert.ok(error.code === 1 || error.code === 78, String(error.code));
      assert.match(error.printed, /another process/);
      return true;
    });
    await submit(first.url, 'jobs');
    assert.equal((await countsOn(first.url))['jobs']!['queued'], round + 1, 'the first one goes on');
    await first.end('SIGKILL');
  }
});

test(
  'positive control: counters that are wrong by one, and rows of a node that is gone, are found',
  withPostgres,
  async (t) => {
    const { urls, store } = await twoServers(t, { services });
    await submit(urls[0], 'jobs');
    await assertCountsAreRight(urls);
    await rowsOf(store, 'INSERT INTO counter (queue, slot, queued) SELECT queue, 32 * 1000, 1 FROM counter LIMIT 1');
    await assert.rejects(assertCountsAreRight(urls), { name: 'AssertionError' });
    // The row is in the way of nobody: it is counted, and folded into the sum like that of any node that is gone.
    await onlyTheLivingAreListed(store, 2);
    assert.equal((await countsOn(urls[1]))['jobs']!['queued'], 2);
  },
);
