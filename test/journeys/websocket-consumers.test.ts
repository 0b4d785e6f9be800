// Events of a pull subscription over a WebSocket: taken by credits, answered by frames, and shared with those who pull over HTTP.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { EventLeaseFrame, ServerFrame, SubscriptionResetFrame } from '@waitless/protocol';
import { get, post, send, until } from '../support/http.ts';
import { submit } from '../support/operations.ts';
import { answerLease, takeOne } from '../support/pull-worker.ts';
import { serverFor } from '../support/server.ts';
import {
  type EventAsk,
  isThrough,
  pullEvents,
  putSubscription,
  subscriptionAt,
  subscriptionUrl,
} from '../support/subscribers.ts';
import { batched, cloudEvent, publish, structured } from '../support/topics.ts';
import { as, type Channel, channelTo } from '../support/web-socket.ts';

const target = { pull: true } as const;
const retry = { maxAttempts: 2, initialDelay: '1ms', maxDelay: '1ms' };

/** Plain events, their ids `first` and the numbers after it. */
async function publishMany(url: string, topic: string, count: number, first = 0): Promise<string[]> {
  const ids = Array.from({ length: count }, (_, i) => String(first + i));
  await publish(url, topic, { headers: batched, body: `[${ids.map((id) => cloudEvent(id)).join()}]` });
  return ids;
}

const leasesOf = (channel: Channel): EventLeaseFrame[] => channel.all('lease') as unknown[] as EventLeaseFrame[];
const idsOf = (channel: Channel): string[] => leasesOf(channel).map(({ event }) => event.id);
const leases = (channel: Channel, count: number): Promise<EventLeaseFrame[]> =>
  until(() => (leasesOf(channel).length >= count ? leasesOf(channel) : undefined));
const leaseOf = (channel: Channel, id: string, attempt = 1): Promise<EventLeaseFrame> =>
  until(() => leasesOf(channel).find((one) => one.event.id === id && one.attempt === attempt));
const through = (url: string, name: string): Promise<true> =>
  until(async () => isThrough(await subscriptionAt(url, name)) || undefined);
const codeOf = (frame: ServerFrame): string => as('error', frame).problem.code;

async function consumer(t: TestContext, url: string, name: string, credits: number): Promise<Channel> {
  const channel = await channelTo(t, url);
  as('ok', await channel.ask({ type: 'work', subscription: name, credits, worker: `socket-${credits}` }));
  return channel;
}

test('consumers on sockets and over HTTP share a subscription: each event comes once, and nobody holds more than its credits', async (t) => {
  const { url } = await serverFor(t, { data: 'folder' });
  await putSubscription(url, 's', { topic: 'a', target });
  const done: string[] = [];
  let most = 0;
  for (const credits of [3, 5]) {
    const channel = await consumer(t, url, 's', credits);
    let [seen, held] = [0, 0];
    channel.ws.on('message', () => {
      const fresh = leasesOf(channel).slice(seen);
      seen += fresh.length;
      held += fresh.length;
      most = Math.max(most, held / credits);
      setImmediate(() => {
        held -= fresh.length;
        done.push(...fresh.map(({ event }) => event.id));
        if (fresh.length > 0) channel.send(...fresh.map(({ token }) => ({ type: 'ack', token }) as const));
      });
    });
  }
  const ids = await publishMany(url, 'a', 60);
  for (let settle: EventAsk['settle'] = []; done.length < 60 || settle.length > 0;) {
    const taken = await pullEvents(url, 's', { max: 2, waitSeconds: 0.05, settle });
    done.push(...taken.leases.map(({ event }) => event.id));
    settle = taken.leases.map(({ token }) => ({ token, ack: true }));
  }
  await through(url, 's');
  assert.deepEqual(
    done.toSorted((a, b) => Number(a) - Number(b)),
    ids,
  );
  assert.ok(most <= 1, `${most} times the credits were held`);
});

test('a lease is told as over HTTP, and answered by its token over either: ack, nack, release and extend', async (t) => {
  const { url } = await serverFor(t, { services: { jobs: { target } } });
  await putSubscription(url, 's', { topic: 'a', target, retry });
  const channel = await consumer(t, url, 's', 2);
  await publishMany(url, 'a', 3);
  const [zero, one] = (await leases(channel, 2)) as [EventLeaseFrame, EventLeaseFrame];
  assert.deepEqual(idsOf(channel), ['0', '1'], 'as many as there are credits');

  assert.equal(as('ok', await channel.ask({ type: 'ack', token: zero.token })).status, 'recorded');
  assert.equal(as('ok', await channel.ask({ type: 'ack', token: zero.token })).status, 'repeated');
  assert.equal(codeOf(await channel.ask({ type: 'nack', token: zero.token })), 'lease-lost');
  const two = await leaseOf(channel, '2');
  const longer = as('ok', await channel.ask({ type: 'extend', token: two.token, leaseSeconds: 600 }));
  assert.ok(longer.expiresAt! > two.expiresAt);
  // Over HTTP, and its place on the socket is freed by whatever is said of it there.
  assert.equal((await answerLease(url, two.token, 'ack')).status, 200);
  as('ok', await channel.ask({ type: 'work', subscription: 's', credits: 0 }));
  assert.equal(as('ok', await channel.ask({ type: 'ack', token: two.token })).status, 'repeated');

  // Given back, it has all its tries, and comes to whoever asks.
  as('ok', await channel.ask({ type: 'release', token: one.token }));
  const { leases: taken } = await pullEvents(url, 's', { waitSeconds: 10 });
  const { type: _, ref, ...told } = one;
  assert.match(ref!, /^asked-/);
  const mayDiffer = { token: '', expiresAt: '' };
  assert.deepEqual({ ...taken[0], ...mayDiffer }, { ...told, ...mayDiffer });
  assert.equal(codeOf(await channel.ask({ type: 'ack', token: one.token })), 'lease-lost');
  assert.equal(codeOf(await channel.ask({ type: 'extend', token: one.token })), 'lease-lost');

  // Refused to the last try it is a dead letter.
  const nack = { type: 'nack', retryAfter: 0, message: 'no oven' } as const;
  as('ok', await channel.ask({ ...nack, token: taken[0]!.token }));
  as('ok', await channel.ask({ type: 'work', subscription: 's', credits: 1 }));
  const last = await leaseOf(channel, '1', 2);
  assert.equal(last.lastAttempt, true);
  as('ok', await channel.ask({ ...nack, token: last.token }));
  const { items } = (await get(subscriptionUrl(url, 's', '/dead-letters'))).json<{
    items: { code: string; detail: string; event: { id: string } }[];
  }>();
  assert.deepEqual(
    items.map(({ code, detail, event }) => [code, detail, event.id]),
    [['nacked', 'no oven', '1']],
  );

  // Neither kind of token stands in for the other, and a wrong word frees no place.
  await submit(url, 'jobs', { body: 'x' });
  const work = await takeOne(url, 'jobs');
  for (const type of ['ack', 'nack'] as const) {
    const { problem } = as('error', await channel.ask({ type, token: work.token }));
    assert.match(problem.detail!, /token of an operation; answer it with reply/);
  }
  await publishMany(url, 'a', 2, 3);
  const three = await leaseOf(channel, '3');
  for (const frame of [
    { type: 'reply', body: 'x' },
    { type: 'fail', code: 'x', message: 'x' },
    { type: 'progress', percent: 1 },
  ] as const) {
    const { problem, token } = as('error', await channel.ask({ ...frame, token: three.token }));
    assert.deepEqual([problem.code, token], ['not-found', three.token]);
    assert.match(problem.detail!, /token of an event; answer it with ack/);
  }
  assert.ok(!idsOf(channel).includes('4'));
  as('ok', await channel.ask({ type: 'ack', token: three.token }));
  await leaseOf(channel, '4');
});

test('of an ordered subscription the next of a key comes when the one before is through', async (t) => {
  const { url } = await serverFor(t);
  await putSubscription(url, 's', { topic: 'a', target, ordered: true, retry: { initialDelay: '1ms' } });
  for (const id of ['x1', 'x2', 'y1', 'x3', 'y2'])
    await publish(url, 'a', { headers: { ...structured, 'Ordering-Key': id[0]! }, body: cloudEvent(id) });
  const channel = await consumer(t, url, 's', 10);
  const [x1] = (await leases(channel, 2)) as [EventLeaseFrame];
  assert.deepEqual(idsOf(channel), ['x1', 'y1']);
  as('ok', await channel.ask({ type: 'nack', token: x1.token, retryAfter: 0 }));
  as('ok', await channel.ask({ type: 'ack', token: (await leaseOf(channel, 'x1', 2)).token }));
  as('ok', await channel.ask({ type: 'ack', token: (await leaseOf(channel, 'x2')).token }));
  await leaseOf(channel, 'x3');
  assert.deepEqual(idsOf(channel), ['x1', 'y1', 'x1', 'x2', 'x3']);
});

test('what a consumer held that is killed comes to another at once, with the try that it had', async (t) => {
  const { url } = await serverFor(t);
  await putSubscription(url, 's', { topic: 'a', target, lease: '10m' });
  const doomed = await consumer(t, url, 's', 10);
  const ids = await publishMany(url, 'a', 10);
  await leases(doomed, 10);
  const heir = await consumer(t, url, 's', 20);
  doomed.ws.terminate();
  const got = await leases(heir, 10);
  assert.deepEqual(idsOf(heir).toSorted(), ids);
  assert.ok(got.every(({ attempt }) => attempt === 1));
  const stale = leasesOf(doomed)[0]!;
  assert.equal(codeOf(await heir.ask({ type: 'ack', token: stale.token })), 'lease-lost');
});

test('leases go on over a restart of the server, and their worker on another connection', async (t) => {
  const server = await serverFor(t, { data: 'folder' });
  const { url } = server;
  await putSubscription(url, 's', { topic: 'a', target, lease: '10m' });
  const before = await consumer(t, url, 's', 2);
  await publishMany(url, 'a', 5);
  const held = await leases(before, 2);
  await server.restart();
  assert.equal((await before.closed).code, 1001);
  const after = await consumer(t, url, 's', 10);
  await leases(after, 3);
  for (const { token } of [...held, ...leasesOf(after)])
    assert.equal(as('ok', await after.ask({ type: 'ack', token })).status, 'recorded');
  await through(url, 's');
  assert.deepEqual(idsOf(after), ['2', '3', '4'], 'what was held came to nobody else');
});

test('a paused subscription tells nothing and goes on when it is resumed; one that is gone or pushes ends it with an error', async (t) => {
  const { url } = await serverFor(t, { services: { jobs: { target } } });
  for (const name of ['removed', 'changed']) await putSubscription(url, name, { topic: 'a', target });
  await post(subscriptionUrl(url, 'removed', '/pause'));
  const channel = await channelTo(t, url);
  for (const subscription of ['removed', 'changed'])
    channel.send({ type: 'work', ref: subscription, subscription, credits: 5 });
  await publishMany(url, 'a', 1);
  await leases(channel, 1);
  assert.equal((await subscriptionAt(url, 'removed')).open.sending, 0);
  await post(subscriptionUrl(url, 'removed', '/resume'));
  await leases(channel, 2);
  assert.deepEqual(new Set(leasesOf(channel).map(({ ref }) => ref)), new Set(['changed', 'removed']));

  await send(subscriptionUrl(url, 'removed'), { method: 'DELETE' });
  await putSubscription(url, 'changed', { topic: 'a', target: { service: 'jobs' } });
  const gone = await channel.frame('error', ({ ref }) => ref === 'removed');
  const pushes = await channel.frame('error', ({ ref }) => ref === 'changed');
  assert.deepEqual([gone.problem.code, pushes.problem.code], ['unknown-subscription', 'invalid-parameter']);
  assert.match(pushes.problem.detail!, /sends its events to a service/);
  // One of the same name that comes later is another one: to be asked for.
  await putSubscription(url, 'removed', { topic: 'a', target });
  await publishMany(url, 'a', 1, 1);
  assert.deepEqual((await pullEvents(url, 'removed', { waitSeconds: 10 })).leases.length, 1);
  assert.equal(leasesOf(channel).length, 2);
});

test('a consumer is told from where to where its subscription has missed events', async (t) => {
  const { url } = await serverFor(t);
  await putSubscription(url, 's', { topic: 'a', target });
  const { positions } = await publish(url, 'a', { headers: batched, body: `[${cloudEvent('1')},${cloudEvent('2')}]` });
  await send(`${url}/v1/topics/a`, { method: 'PUT', body: { maxBytes: '1b', hardMaxBytes: '1b' } });
  await until(async () => (await get(`${url}/v1/topics/a`)).json<{ events: number }>().events === 0 || undefined);
  const channel = await channelTo(t, url);
  channel.send({ type: 'work', ref: 'w', subscription: 's', credits: 1 });
  const reset = (await channel.frame('reset')) as unknown as SubscriptionResetFrame;
  assert.deepEqual(reset, { type: 'reset', ref: 'w', subscription: 's', from: 0, to: positions[1] });
  await publishMany(url, 'a', 1, 3);
  await leaseOf(channel, '3');
  assert.equal(channel.all('reset').length, 1);
});
