// kill -9 while work is being done: every acknowledged operation comes to one end, with the right bytes, without anybody's help.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TimelineEntry } from '@waitless/protocol';
import { backendFor, gate } from '../support/backend.ts';
import { get } from '../support/http.ts';
import { ended, submit } from '../support/operations.ts';
import { temporaryFolder } from '../support/server.ts';
import { spawnServer } from '../support/spawn-server.ts';

const concurrency = 16;
const operations = 400;

test('3 kills while a backend works: every operation succeeds once, under its id, and each execution is in its timeline', async (t) => {
  let mostAnswered = 0;
  let held = gate();
  const backend = await backendFor(t, async ({ body }, number) => {
    if (number > mostAnswered) await held.opened;
    return { body: `done ${body.toString()}` };
  });
  const server = await spawnServer(t, {
    services: { score: { target: { url: backend.url }, concurrency, retry: { initialDelay: '1ms', maxDelay: '5ms' } } },
    data: join(await temporaryFolder(t), 'data'),
  });
  const accepted = await Promise.all(
    Array.from({ length: operations }, (_, index) => submit(server.url, 'score', { body: `job ${index}` })),
  );

  for (const [kill, most] of [0, 100, 200].entries()) {
    // All that a node may have in hand is in its hands, and stays there until one is dead.
    await backend.received(most + concurrency * server.nodes.length);
    const victim = kill % server.nodes.length;
    const { exited } = server.nodes[victim]!;
    const back = server.killAndStart(victim);
    await exited;
    // Where there are several nodes the others go on now.
    mostAnswered = most + 100;
    held.open();
    held = gate();
    await back;
  }
  mostAnswered = Number.POSITIVE_INFINITY;
  held.open();

  const executions = new Map<string, number>();
  let next = 0;
  // Some at a time: how many a busy machine can serve at once is not what is asked here.
  const look = async (): Promise<void> => {
    for (let index = next++; index < accepted.length; index = next++) {
      const { status, result, id } = accepted[index]!;
      assert.equal((await ended(status)).status, 'succeeded');
      assert.equal((await get(result)).text, `done job ${index}`);
      const { items } = (await get(`${status}/timeline`)).json<{ items: TimelineEntry[] }>();
      executions.set(id, items.filter(({ type }) => type === 'attempt').length);
    }
  };
  await Promise.all(Array.from({ length: 16 }, look));
  const atBackend = new Map<string, number>();
  for (const { headers } of backend.requests) {
    const id = headers['operation-id']!;
    atBackend.set(id, (atBackend.get(id) ?? 0) + 1);
  }
  assert.deepEqual(new Set(atBackend.keys()), new Set(executions.keys()), 'nothing else was executed');
  for (const [id, count] of atBackend)
    assert.ok(executions.get(id)! >= count, `${id}: ${count} executions, ${executions.get(id)} told`);
  t.diagnostic(`${backend.requests.length} executions of ${operations} operations`);
});
