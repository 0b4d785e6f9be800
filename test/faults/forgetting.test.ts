// Fire and forget: how much a kill costs each durability, and that nothing but a kill costs anything.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { freePort } from '../support/free-port.ts';
import { post } from '../support/http.ts';
import { leaseCall, leasedBody } from '../support/pull-worker.ts';
import { temporaryFolder } from '../support/server.ts';
import { spawnServer } from '../support/spawn-server.ts';
import { forgetting } from './forgetting-run.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);
const run = { rounds: 2, each: 150, publishers: 8, seed };

for (const [title, level] of [
  ['an orderly stop loses no event of durability memory', 'memory'],
  ['an orderly stop loses no event of durability none', 'none'],
] as const)
  test(title, async (t) => {
    const { acknowledged, lost } = await forgetting(t, { ...run, level, end: 'SIGTERM', rounds: 1 });
    assert.ok(acknowledged >= run.each);
    assert.equal(lost, 0);
  });

for (const [title, level] of [
  ['a kill of the process loses no acknowledged event of durability stored', 'stored'],
  ['a kill of the process loses no acknowledged event of durability memory', 'memory'],
] as const)
  test(title, async (t) => {
    const { acknowledged, lost } = await forgetting(t, { ...run, level, end: 'SIGKILL' });
    assert.ok(acknowledged >= run.rounds * run.each);
    assert.equal(lost, 0);
  });

test('a kill loses of durability none the last ones alone: nobody finds a gap before something that is there', async (t) => {
  const { acknowledged, lost, outOfTurn } = await forgetting(t, { ...run, level: 'none', end: 'SIGKILL', rounds: 3 });
  assert.ok(acknowledged >= 3 * run.each);
  assert.ok(lost < acknowledged, 'what had time to be written is there');
  assert.deepEqual(outOfTurn, []);
});

test('requests of durability none are lost with the process where no worker has taken them, and only there', async (t) => {
  const settings = {
    services: { jobs: { target: { pull: true } } },
    data: join(await temporaryFolder(t), 'data'),
    own: true,
    nodes: 1 as const,
    port: await freePort(),
  };
  const server = await spawnServer(t, settings);
  const submit = async (level: string, from: number): Promise<void> => {
    for (let i = from; i < from + 40; i++) {
      const headers = { 'Operation-Durability': level };
      const { status, text } = await post(`${server.url}/v1/call/jobs`, { body: `${level} ${i}`, headers });
      assert.equal(status, 202, text);
    }
  };
  const takeAll = async (url: string, max = 1000): Promise<string[]> =>
    (await leaseCall(url, 'jobs', { max })).leases.map((lease) => leasedBody(lease).toString()).toSorted();
  const named = (level: string, from: number, count = 40): string[] =>
    Array.from({ length: count }, (_, i) => `${level} ${from + i}`).toSorted();

  await submit('none', 0);
  assert.deepEqual(await takeAll(server.url), named('none', 0), 'without a kill each of them comes');
  await submit('stored', 100);
  await submit('none', 100);
  await server.killAndStart(0);
  assert.deepEqual(await takeAll(server.url), named('stored', 100), 'with a kill all that waited are gone');
});
