// A webhook and a service that are killed for by a server that dies again and again while events go out; then the judgement: what the short and the long run share.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type BackendAnswer, backendFor, gate } from '../support/backend.ts';
import { eventIn } from '../support/event-receiver.ts';
import { freePort } from '../support/free-port.ts';
import { get, until } from '../support/http.ts';
import { callbackFields, rotated } from '../support/receiver.ts';
import { temporaryFolder } from '../support/server.ts';
import { spawnServer } from '../support/spawn-server.ts';
import { isThrough, putSubscription, subscriptionAt } from '../support/subscribers.ts';
import { batched, cloudEvent, publish } from '../support/topics.ts';
import { variant } from '../support/variant.ts';
import { randomOf } from './kill-run.ts';

export interface EventPushKills {
  kills: number;
  /** Published before each kill. */
  events: number;
  seed: number;
}

export interface Pushed {
  events: number;
  /** Requests of the webhook beyond the first of each event. */
  repeated: number;
  operations: number;
}

const maxInFlight = 16;
const names = ['hook', 'jobs'] as const;

export async function eventPushKills(t: TestContext, { kills, events, seed }: EventPushKills): Promise<Pushed> {
  t.diagnostic(`seed ${seed}`);
  const random = randomOf(seed);
  /** Messages of each event at the webhook. */
  const received = new Map<string, string[]>();
  /** Operations of each event at the backend. */
  const operations = new Map<string, Set<string>>();
  let [count, enough, killed] = [0, gate(), gate()];
  /** From the moment that is chosen for a kill on nothing is answered before it, so that something is in the air. */
  const answer = async (status: number): Promise<BackendAnswer> => {
    if (count > 0) return { status };
    const { opened } = killed;
    enough.open();
    await opened;
    return { status };
  };
  const receiver = await backendFor(t, async (request) => {
    const { messageId, event } = await eventIn(request, secret);
    received.set(event.id, [...(received.get(event.id) ?? []), messageId]);
    count--;
    return answer(204);
  });
  const backend = await backendFor(t, ({ headers }) => {
    const id = headers['ce-id']!;
    operations.set(id, (operations.get(id) ?? new Set()).add(headers['operation-id']!));
    return answer(200);
  });
  const server = await spawnServer(t, {
    services: { jobs: { target: { url: backend.url } } },
    fields: await callbackFields(t),
    data: join(await temporaryFolder(t), 'data'),
    port: await freePort(),
  });
  const secret = await rotated(server.url);
  await putSubscription(server.url, 'hook', { topic: 'facts.*', target: { url: receiver.url }, maxInFlight });
  await putSubscription(server.url, 'jobs', { topic: 'facts.*', target: { service: 'jobs' }, maxInFlight });
  const published = new Set<string>();

  for (let kill = 0; kill < kills; kill++) {
    const ids = Array.from({ length: events }, (_, i) => `${kill}-${i}`);
    [enough, killed] = [gate(), gate()];
    // Somewhere on the way, with a little chance in the moment as well.
    count = 1 + Math.floor(random() * events);
    const body = `[${ids.map((id) => cloudEvent(id)).join(',')}]`;
    const { positions } = await publish(server.url, 'facts.new', { headers: batched, body });
    assert.equal(positions.length, events);
    for (const id of ids) published.add(id);
    await enough.opened;
    if (random() < 0.5) await new Promise((resolve) => setTimeout(resolve, random() * 10));
    await server.killAndStart(Math.floor(random() * variant.nodes));
    killed.open();
  }

  count = Number.POSITIVE_INFINITY;
  for (const name of names)
    await until(async () => (isThrough(await subscriptionAt(server.url, name)) ? true : undefined), 20);
  await until(() => (operations.size === published.size ? true : undefined), 20);

  assert.deepEqual(new Set(received.keys()), published, 'the webhook has every event, and no other');
  for (const [id, messages] of received)
    assert.equal(new Set(messages).size, 1, `${id} is known for a repeat by its id`);
  for (const [id, own] of operations) assert.equal(own.size, 1, `${id} has started ${own.size} operations`);
  let listed = 0;
  for (let cursor = ''; ;) {
    const url = `${server.url}/v1/operations?service=jobs&limit=100${cursor}`;
    const { items, next } = (await get(url)).json<{ items: unknown[]; next: string | null }>();
    listed += items.length;
    if (next === null) break;
    cursor = `&cursor=${encodeURIComponent(next)}`;
  }
  assert.equal(listed, published.size, 'as many operations as events');
  for (const name of names) assert.equal((await subscriptionAt(server.url, name)).open.dead, 0);
  const requests = [...received.values()].reduce((sum, { length }) => sum + length, 0);
  const sum: Pushed = { events: published.size, repeated: requests - published.size, operations: listed };
  assert.ok(sum.repeated <= kills * maxInFlight, `${sum.repeated} repeats of ${kills} kills`);
  return sum;
}
