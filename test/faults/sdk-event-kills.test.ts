// kill -9 under those who publish, follow and consume: every event is stored once, told once in order, and done by whoever is to do it.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { createClient } from '@waitless/client';
import { until } from '../support/http.ts';
import { temporaryFolder } from '../support/server.ts';
import { spawnServer } from '../support/spawn-server.ts';

/** The shortest pauses, so that a test takes no longer than its servers. */
const seams = { random: () => 0.1 };

test('two kills while 300 events are published: none is missing, none is stored twice, none is told twice', async (t) => {
  const server = await spawnServer(t, { services: {}, data: join(await temporaryFolder(t), 'data') });
  const client = createClient({ url: server.url, seams });
  await client.subscriptions.put('history', { topic: 'orders', target: { pull: true } });
  const followed: string[] = [];
  const stop = new AbortController();
  const following = (async () => {
    for await (const { id } of client.subscribe('orders', { from: 'start', signal: stop.signal })) followed.push(id);
  })();
  const done = new Map<string, number>();
  const consumer = client.consume('history', ({ id }) => void done.set(id, (done.get(id) ?? 0) + 1), {
    concurrency: 10,
    leaseSeconds: 2,
  });
  const published: string[] = [];
  const publishing = Promise.all(
    Array.from({ length: 3 }, async (_, publisher) => {
      for (let n = 0; n < 100; n++) published.push((await client.publish('orders', { publisher, n })).id);
    }),
  );
  for (const reached of [80, 180]) {
    await until(() => published.length >= reached || undefined);
    for (const index of server.nodes.keys()) await server.killAndStart(index);
  }
  await publishing;
  await until(() => (done.size >= 300 && followed.length >= 300) || undefined);
  await consumer.stop();
  stop.abort(new Error('enough'));
  await assert.rejects(following, { message: 'enough' });
  const stored: string[] = [];
  for (let after = '0', more = true; more;) {
    const page = await client.topics.history('orders', { after, limit: 1000 });
    stored.push(...page.items.map(({ id }) => id));
    ({ cursor: after, more } = page);
  }
  assert.deepEqual(stored.toSorted(), published.toSorted(), 'stored once, and nothing that was not acknowledged');
  assert.deepEqual(followed, stored, 'told once, and in order');
  assert.deepEqual([...done.keys()].toSorted(), stored.toSorted());
  const again = [...done.values()].filter((times) => times > 1).length;
  assert.ok(again <= 20, `${again} came again: more than were held in two kills`);
});
