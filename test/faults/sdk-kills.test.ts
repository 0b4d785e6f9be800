// kill -9 under the SDK: whoever waits, watches or works over a WebSocket goes on with the next server, and nothing is lost or told twice.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { createClient, type Job, type OperationEvent } from '@waitless/client';
import { backendFor, gate, never } from '../support/backend.ts';
import { post, until } from '../support/http.ts';
import { seenThrough } from '../support/seen-through.ts';
import { temporaryFolder } from '../support/server.ts';
import { spawnServer } from '../support/spawn-server.ts';

const json = (value: object) => ({ headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(value) });
/** The shortest pauses, so that a test takes no longer than its servers. */
const seams = { random: () => 0.1 };

test('a server killed while fifty requests wait: all of them resolve, and the work is done once', async (t) => {
  const held = gate();
  const backend = await backendFor(t, never);
  const server = await spawnServer(t, {
    services: { score: { target: { url: backend.url }, concurrency: 50 } },
    data: join(await temporaryFolder(t), 'data'),
  });
  const client = createClient({ url: server.url, seams });
  let accepted = 0;
  const answers = Array.from({ length: 50 }, (_, job) =>
    client.request('score', `job ${job}`, { onAccepted: () => void (++accepted === 50 && held.open()) }),
  );
  await held.opened;
  await backend.received(50);
  backend.behave(({ body }) => ({ body: `scored ${body.toString()}` }));
  for (const index of server.nodes.keys()) await server.killAndStart(index);
  for (const [job, result] of (await Promise.all(answers)).entries()) assert.equal(result.text(), `scored job ${job}`);
  const ids: string[] = [];
  for await (const { id } of client.listAll()) ids.push(id);
  assert.equal(ids.length, 50);
});

test('two kills under a watcher: every event once and in order, every state in its place', async (t) => {
  const server = await spawnServer(t, {
    services: { jobs: { target: { pull: true } } },
    data: join(await temporaryFolder(t), 'data'),
  });
  const client = createClient({ url: server.url, seams });
  const submitted = await client.submit('jobs', { body: 'x' });
  assert.equal(submitted.kind, 'accepted');
  const { id } = submitted.operation!;
  const events: OperationEvent[] = [];
  const [all, states] = [client.events(id), [] as string[]];
  const reading = (async () => {
    for await (const event of all) events.push(event as OperationEvent);
  })();
  const watching = (async () => {
    for await (const { status, progress } of client.watch([id])) states.push(`${status} ${progress?.percent ?? ''}`);
  })();
  const leases = await post(`${server.url}/v1/services/jobs/leases`, json({ leaseSeconds: 60 }));
  const { token } = leases.json<{ leases: { token: string }[] }>().leases[0]!;
  for (let step = 1; step <= 4; step++) {
    const { status } = await post(`${server.url}/v1/leases/${token}/progress`, json({ percent: step }));
    assert.equal(status, 200);
    // Told before the kill, or by the next server: both must be without a gap.
    if (step % 2 === 0) await server.killAndStart(step % server.nodes.length);
    else await until(() => (events.some(({ progress }) => progress?.percent === step) ? true : undefined));
  }
  await post(`${server.url}/v1/leases/${token}/reply`, { body: 'done' });
  await Promise.all([reading, watching]);
  assert.deepEqual(
    events.map(({ version }) => version),
    [1, 2, 3, 4, 5, 6, 7],
  );
  assert.deepEqual(
    events.flatMap(({ progress }) => progress?.sequence ?? []),
    [1, 2, 3, 4],
  );
  assert.equal(events.at(-1)!.status, 'succeeded');
  const steps = states.filter((one) => one.startsWith('running ') && one !== 'running ');
  assert.deepEqual(steps, ['running 1', 'running 2', 'running 3', 'running 4']);
});

test('workers on WebSockets through a kill: each job has its answer, and nobody asked for work', async (t) => {
  const server = await spawnServer(t, {
    services: { jobs: { target: { pull: true }, lease: '2s', retry: { initialDelay: '1ms', maxDelay: '5ms' } } },
    data: join(await temporaryFolder(t), 'data'),
  });
  const { url, seen } = await seenThrough(t, server.url);
  const half = gate();
  let worked = 0;
  const work = async ({ text, progress }: Job) => {
    await progress({ percent: 50 });
    if (++worked === 50) half.open();
    return { json: { did: text() } };
  };
  const client = createClient({ url, seams });
  const workers = ['w1', 'w2'].map((name) => client.worker('jobs', work, { name, concurrency: 5, leaseSeconds: 2 }));
  const answers = Array.from({ length: 100 }, (_, job) => client.request('jobs', `job ${job}`));
  await half.opened;
  for (const index of server.nodes.keys()) await server.killAndStart(index);
  for (const [job, result] of (await Promise.all(answers)).entries())
    assert.deepEqual(result.json(), { did: `job ${job}` });
  await Promise.all(workers.map((worker) => worker.stop()));
  assert.deepEqual(
    seen.filter((one) => one.endsWith('/leases')),
    [],
  );
});
