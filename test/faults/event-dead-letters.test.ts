// Dead letters are complete, and redriven complete: also through kills of the server and of those who redrive.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { freePort } from '../support/free-port.ts';
import { get, post } from '../support/http.ts';
import { temporaryFolder } from '../support/server.ts';
import { spawnServer } from '../support/spawn-server.ts';
import { pullEvents, putSubscription, subscriptionAt, subscriptionUrl } from '../support/subscribers.ts';
import { batched, cloudEvent, publish } from '../support/topics.ts';

const name = 'orders';
const keys = 50;
/** More than are changed in one go. */
const count = 1100;

test('1,100 dead letters outlive a kill, are redriven complete through another, in order within a key, and end once', async (t) => {
  const data = join(await temporaryFolder(t), 'data');
  const server = await spawnServer(t, { data, own: true, nodes: 1, port: await freePort() });
  const { url } = server;
  await putSubscription(url, name, {
    topic: 'orders.*',
    target: { pull: true },
    ordered: true,
    maxInFlight: 10_000,
    retry: { maxAttempts: 1 },
  });
  const ids = Array.from({ length: count }, (_, i) => `order-${i}`);
  for (let from = 0; from < count; from += 550) {
    const events = ids
      .slice(from, from + 550)
      .map((id, at) => cloudEvent(id, { partitionkey: `k${(from + at) % keys}`, data: { id, exact: '1.10' } }));
    await publish(url, 'orders.placed', { body: `[${events.join(',')}]`, headers: batched });
  }

  /** Takes and answers until nothing comes any more; what came, in the order in which it did. */
  async function answerAll(answer: Record<string, unknown>): Promise<{ id: string; attempt: number; data: unknown }[]> {
    const came: { id: string; attempt: number; data: unknown }[] = [];
    let settle: Record<string, unknown>[] = [];
    for (;;) {
      const { leases, settled } = await pullEvents(url, name, { max: 1000, settle });
      for (const { status } of settled) assert.equal(status, 200);
      if (leases.length === 0 && settle.length === 0) return came;
      for (const { event, attempt } of leases) came.push({ id: event.id, attempt, data: event['data'] });
      settle = leases.map(({ token }) => ({ token, ...answer }));
    }
  }
  const inKeyOrder = (came: readonly { id: string }[]): void => {
    const last = Array<number>(keys).fill(-1);
    for (const { id } of came) {
      const number = Number(id.slice('order-'.length));
      assert.ok(number > last[number % keys]!, `${id} came after order-${last[number % keys]}`);
      last[number % keys] = number;
    }
  };
  async function deadLetters(): Promise<string[]> {
    const found: string[] = [];
    for (let cursor = ''; ;) {
      const answer = await get(subscriptionUrl(url, name, `/dead-letters?limit=1000${cursor}`));
      assert.equal(answer.status, 200, answer.text);
      const { items, next } = answer.json<{ items: { event: { id: string } }[]; next: string | null }>();
      found.push(...items.map(({ event }) => event.id));
      if (next === null) return found;
      cursor = `&cursor=${encodeURIComponent(next)}`;
    }
  }
  const redrive = (body: Record<string, unknown> = {}) => post(subscriptionUrl(url, name, '/redrive'), { body });

  const refused = await answerAll({ nack: { message: 'not today' } });
  assert.deepEqual(
    refused.map(({ id }) => id).toSorted(),
    ids.toSorted(),
    'each came once, since one try is all there is',
  );
  inKeyOrder(refused);
  await server.killAndStart(0);
  assert.deepEqual(await deadLetters(), ids, 'all of them, with their events, in order');

  // The second one dies while it is redriven: what it had not come to is redriven by whoever asks again.
  const asked = redrive().catch(() => undefined);
  await server.killAndStart(0);
  await asked;
  const before = (await subscriptionAt(url, name)).open;
  assert.equal(before.dead + before.waiting + before.held, count, 'each is dead or on its way, and none is gone');
  const answer = await redrive();
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.json<{ redriven: number }>().redriven, before.dead);

  const came = await answerAll({ ack: true });
  assert.deepEqual(came.map(({ id }) => id).toSorted(), ids.toSorted(), 'each comes again, once');
  inKeyOrder(came);
  for (const { id, attempt, data: own } of came) assert.deepEqual([attempt, own], [1, { id, exact: '1.10' }]);
  assert.deepEqual(await deadLetters(), []);
  assert.deepEqual((await subscriptionAt(url, name)).open, { waiting: 0, sending: 0, held: 0, dead: 0 });
  assert.equal((await redrive()).json<{ redriven: number }>().redriven, 0);
});

test('those that are named are redriven, also where they are behind more than one page of others', async (t) => {
  const { url } = await spawnServer(t, { nodes: 1, own: true });
  await putSubscription(url, name, {
    topic: 'orders.*',
    target: { pull: true },
    maxInFlight: 10_000,
    retry: { maxAttempts: 1 },
  });
  const events = Array.from({ length: 600 }, (_, i) => cloudEvent(`order-${i}`));
  const { positions } = await publish(url, 'orders.placed', { body: `[${events.join(',')}]`, headers: batched });
  const { leases } = await pullEvents(url, name, { max: 1000 });
  await pullEvents(url, name, { settle: leases.map(({ token }) => ({ token, nack: {} })) });
  const named = [positions[3]!, positions[599]!];
  const answer = await post(subscriptionUrl(url, name, '/redrive'), { body: { positions: named } });
  assert.equal(answer.json<{ redriven: number }>().redriven, 2, answer.text);
  const again = await pullEvents(url, name, { max: 1000 });
  assert.deepEqual(
    again.leases.map(({ position }) => position),
    named,
  );
});
