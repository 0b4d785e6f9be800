// Subscriptions that are pulled: each gets its own copy of everything, its consumers share it, and nothing is lost with one of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { get, post, send, until } from '../support/http.ts';
import { answerLease } from '../support/pull-worker.ts';
import { serverFor } from '../support/server.ts';
import {
  askForEvents,
  type EventAsk,
  type EventLease,
  isThrough,
  pullEvents,
  putSubscription,
  subscriptionAt,
  subscriptionUrl,
} from '../support/subscribers.ts';
import { batched, cloudEvent, publish, structured } from '../support/topics.ts';

const pull = { pull: true } as const;

/** Publishes plain events, their ids `0` to `count - 1` unless a first one is said. */
async function publishMany(url: string, topic: string, count: number, { first = 0 } = {}): Promise<number[]> {
  const ids = Array.from({ length: count }, (_, i) => String(first + i));
  const body = `[${ids.map((id) => cloudEvent(id, { data: { n: Number(id) } })).join(',')}]`;
  return (await publish(url, topic, { headers: batched, body })).positions;
}

const acked = (leases: readonly EventLease[]) => leases.map(({ token }) => ({ token, ack: true }));
const idsOf = (leases: readonly EventLease[]): string[] => leases.map(({ event }) => event.id);

/** Takes and acknowledges until as many have come. */
async function takeAll(url: string, name: string, count: number, ask: EventAsk = {}): Promise<EventLease[]> {
  const taken: EventLease[] = [];
  for (let settle: EventAsk['settle'] = []; ;) {
    const enough = taken.length >= count;
    const wanted = enough ? { waitSeconds: 0, max: 1 } : { waitSeconds: 10, max: 100 };
    const { settled, leases } = await pullEvents(url, name, { ...wanted, ...ask, settle });
    assert.ok(
      settled.every(({ status }) => status === 200),
      JSON.stringify(settled),
    );
    taken.push(...leases);
    if (enough) {
      assert.deepEqual(idsOf(leases), [], 'more came than were wanted');
      return taken;
    }
    settle = acked(leases);
  }
}

test('three subscriptions get all of it each, and a fourth that comes later needs nothing of the publisher', async (t) => {
  const { url } = await serverFor(t, { data: 'folder' });
  for (const name of ['history', 'kitchen', 'mail'])
    await putSubscription(url, name, { topic: 'orders', target: pull });
  const positions = await publishMany(url, 'orders', 250);
  const wanted = Array.from({ length: 250 }, (_, i) => String(i));
  const all = await Promise.all(['history', 'kitchen', 'mail'].map((name) => takeAll(url, name, 250)));
  for (const taken of all) {
    assert.deepEqual(idsOf(taken), wanted);
    assert.deepEqual(
      taken.map(({ position }) => position),
      positions,
    );
  }

  await putSubscription(url, 'fourth', { topic: 'orders', target: pull, from: 'start' });
  await publishMany(url, 'orders', 50, { first: 250 });
  assert.equal((await takeAll(url, 'fourth', 300)).length, 300);
  assert.deepEqual(
    idsOf(await takeAll(url, 'kitchen', 50)),
    Array.from({ length: 50 }, (_, i) => String(250 + i)),
  );
  const seen = await until(async () => {
    const now = await subscriptionAt(url, 'fourth');
    return isThrough(now) ? now : undefined;
  });
  assert.equal(seen.oldestUnacknowledged, null);
});

test('the event comes whole, as it was published', async (t) => {
  const { url } = await serverFor(t);
  await putSubscription(url, 's', { topic: 'orders.placed', target: pull });
  const [position] = (
    await publish(url, 'orders.placed', {
      headers: structured,
      body: '{"specversion":"1.0","id":"a1","source":"/shop","type":"order.placed","customer":"alice","data":{"n":1.50,"x":"é"}}',
    })
  ).positions;
  const answer = await askForEvents(url, 's', { worker: 'w1', leaseSeconds: 60 });
  assert.match(answer.text, /"data":\{"n":1\.50,"x":"é"\}/, 'its data is the source text that came');
  const [lease] = answer.json<{ leases: (EventLease & { expiresAt: string; lastAttempt: boolean })[] }>().leases;
  assert.deepEqual(
    [lease!.position, lease!.topic, lease!.attempt, lease!.lastAttempt, lease!.event['customer']],
    [position, 'orders.placed', 1, false, 'alice'],
  );

  const { items } = (await get(subscriptionUrl(url, 's', '/deliveries'))).json<{ items: Record<string, unknown>[] }>();
  assert.deepEqual(
    items.map(({ state, worker, topic }) => [state, worker, topic]),
    [['sending', 'w1', 'orders.placed']],
  );
  assert.ok(String(items[0]!['expiresAt']) >= lease!.expiresAt, 'it is not taken from its worker before it was told');
  assert.equal((await subscriptionAt(url, 's')).oldestUnacknowledged?.position, position);
  assert.equal((await answerLease(url, lease!.token, 'extend', { body: { leaseSeconds: 600 } })).status, 200);
  assert.equal((await answerLease(url, lease!.token, 'ack')).json<{ status: string }>().status, 'recorded');
  assert.equal(
    (await answerLease(url, lease!.token, 'ack', { body: {} })).json<{ status: string }>().status,
    'repeated',
  );
  assert.equal((await answerLease(url, lease!.token, 'nack')).json<{ code: string }>().code, 'lease-lost');
});

test('consumers of one subscription share it, and what one held when it was gone comes to the others', async (t) => {
  const { url } = await serverFor(t, { data: 'folder' });
  await putSubscription(url, 'work', { topic: 'jobs', target: pull, lease: '1s' });
  await publishMany(url, 'jobs', 100);
  // It takes ten and is never heard of again.
  const { leases: held } = await pullEvents(url, 'work', { worker: 'gone', max: 10, waitSeconds: 10 });
  assert.equal(held.length, 10);
  const done = new Map<string, number>();
  const work = async (worker: string): Promise<void> => {
    for (let settle: EventAsk['settle'] = []; done.size < 100;) {
      const { leases } = await pullEvents(url, 'work', { worker, max: 3, waitSeconds: 1, leaseSeconds: 60, settle });
      for (const { event, attempt } of leases) {
        assert.ok(!done.has(event.id), `${event.id} was handed out twice`);
        done.set(event.id, attempt);
      }
      settle = acked(leases);
      if (done.size === 100 && settle.length > 0) await pullEvents(url, 'work', { settle });
    }
  };
  await Promise.all(['a', 'b', 'c'].map(work));
  for (const [id, attempt] of done) assert.equal(attempt, idsOf(held).includes(id) ? 2 : 1, id);
  const late = await answerLease(url, held[0]!.token, 'ack');
  assert.ok([200, 409].includes(late.status), late.text);
  await until(async () => isThrough(await subscriptionAt(url, 'work')) || undefined);
});

test('a subscription begins now, at the start or after a position, and a change of it moves no cursor', async (t) => {
  const { url } = await serverFor(t);
  const positions = await publishMany(url, 'a', 5);
  for (const [name, from] of [
    ['now', 'now'],
    ['start', 'start'],
    ['third', positions[2]],
  ] as const)
    await putSubscription(url, name, { topic: 'a', target: pull, from });
  await publishMany(url, 'a', 2, { first: 5 });
  assert.deepEqual(idsOf(await takeAll(url, 'now', 2)), ['5', '6']);
  assert.deepEqual(idsOf(await takeAll(url, 'start', 7)), ['0', '1', '2', '3', '4', '5', '6']);
  const seen = await subscriptionAt(url, 'third');
  assert.ok(seen.lag.atLeast <= 4 && seen.lag.atMost >= 4, JSON.stringify(seen.lag));
  await putSubscription(url, 'third', { topic: 'a', target: pull, from: 'now', maxInFlight: 7 });
  assert.deepEqual(idsOf(await takeAll(url, 'third', 4)), ['3', '4', '5', '6']);
});

test('who was away when an order was published finds it, once, and what is held is held over a restart', async (t) => {
  const server = await serverFor(t, { data: 'folder' });
  const { url } = server;
  await putSubscription(url, 'order-history', { topic: 'orders.placed', target: pull });
  await putSubscription(url, 'kitchen', { topic: 'orders.*', target: pull });
  await publish(url, 'orders.placed', { headers: structured, body: cloudEvent('order-4711', { data: 1 }) });
  const { leases } = await pullEvents(url, 'kitchen', { waitSeconds: 10, leaseSeconds: 600 });
  await server.restart();
  assert.deepEqual(idsOf(await takeAll(url, 'order-history', 1)), ['order-4711']);
  assert.deepEqual((await pullEvents(url, 'kitchen')).leases, []);
  assert.equal((await answerLease(url, leases[0]!.token, 'ack')).json<{ status: string }>().status, 'recorded');
  assert.ok(isThrough(await subscriptionAt(url, 'kitchen')));
});

test('patterns and filters choose what a subscription gets', async (t) => {
  const { url } = await serverFor(t);
  const filter = [{ prefix: { type: 'order.' } }, { not: { exact: { customer: 'bob' } } }];
  await putSubscription(url, 'alice', { topic: 'shop.*.orders', filter, target: pull });
  await putSubscription(url, 'deep', { topics: ['shop.**', 'other'], target: pull });
  const say = (topic: string, id: string, more: Record<string, string>) =>
    publish(url, topic, { headers: structured, body: cloudEvent(id, more) });
  await say('shop.eu.orders', '1', { type: 'order.placed', customer: 'alice' });
  await say('shop.eu.orders', '2', { type: 'order.placed', customer: 'bob' });
  await say('shop.eu.orders', '3', { type: 'invoice.sent', customer: 'alice' });
  await say('shop.eu.de.orders', '4', { type: 'order.placed', customer: 'alice' });
  await say('shop.us.orders', '5', { type: 'order.gone', customer: 'carol' });
  await say('other', '6', { type: 'order.gone' });
  await say('another', '7', { type: 'order.gone' });
  assert.deepEqual(idsOf(await takeAll(url, 'alice', 2)), ['1', '5']);
  assert.deepEqual(idsOf(await takeAll(url, 'deep', 6)), ['1', '2', '3', '4', '5', '6']);
});

test('an ordered subscription gives the next of a key only when the one before is through', async (t) => {
  const { url } = await serverFor(t, { data: 'folder' });
  await putSubscription(url, 's', { topic: 'a', target: pull, ordered: true, retry: { initialDelay: '1ms' } });
  for (const [key, id] of ['x1', 'x2', 'y1', 'x3', 'y2'].map((id) => [id[0]!, id] as const))
    await publish(url, 'a', { headers: { ...structured, 'Ordering-Key': key }, body: cloudEvent(id) });
  const seen: string[] = [];
  const first = await pullEvents(url, 's', { max: 10, waitSeconds: 10 });
  assert.deepEqual(idsOf(first.leases), ['x1', 'y1']);
  const [x1, y1] = first.leases;
  // Not done: it is tried again before what comes after it.
  assert.equal(
    (await answerLease(url, x1!.token, 'nack', { body: { retryAfter: 0, message: 'not yet' } })).status,
    200,
  );
  let settle: NonNullable<EventAsk['settle']> = acked([y1!]);
  while (seen.length < 4) {
    const { leases } = await pullEvents(url, 's', { max: 10, waitSeconds: 10, settle });
    const keys = leases.map(({ event }) => event.id[0]);
    assert.equal(new Set(keys).size, keys.length, 'two of one key at once');
    seen.push(...idsOf(leases));
    settle = acked(leases);
  }
  assert.deepEqual(
    seen.filter((id) => id[0] === 'x'),
    ['x1', 'x2', 'x3'],
  );
  assert.deepEqual(
    seen.filter((id) => id[0] === 'y'),
    ['y2'],
  );
});

test('a paused subscription hands out nothing and loses nothing', async (t) => {
  const { url } = await serverFor(t);
  await putSubscription(url, 's', { topic: 'a', target: pull });
  const paused = (await post(subscriptionUrl(url, 's', '/pause'))).json<{ state: string }>();
  assert.equal(paused.state, 'paused');
  await publishMany(url, 'a', 3);
  await until(async () => {
    const { leases } = await pullEvents(url, 's', { max: 10 });
    assert.deepEqual(leases, []);
    return (await subscriptionAt(url, 's')).lag.atMost > 0 || undefined;
  });
  const waiting = pullEvents(url, 's', { max: 10, waitSeconds: 10 });
  assert.equal((await post(subscriptionUrl(url, 's', '/resume'))).json<{ state: string }>().state, 'active');
  const { leases } = await waiting;
  assert.deepEqual(idsOf(leases), ['0', '1', '2']);
});

test('what is refused to the last try is a dead letter, and all of them come back when they are redriven', async (t) => {
  const { url } = await serverFor(t, { data: 'folder' });
  const retry = { maxAttempts: 2, initialDelay: '1ms', maxDelay: '1ms' };
  await putSubscription(url, 's', { topic: 'a', target: pull, retry });
  await publishMany(url, 'a', 40);
  const attempts = new Map<string, number[]>();
  for (let settle: NonNullable<EventAsk['settle']> = []; ;) {
    const { leases } = await pullEvents(url, 's', { max: 100, waitSeconds: 1, settle });
    for (const { event, attempt } of leases) attempts.set(event.id, [...(attempts.get(event.id) ?? []), attempt]);
    settle = leases.map(({ token }) => ({ token, nack: { message: 'no oven' } }));
    if (settle.length === 0 && (await subscriptionAt(url, 's')).open.dead === 40) break;
  }
  for (const [id, tried] of attempts) assert.deepEqual(tried, [1, 2], id);

  const letters: { position: number; code: string; detail: string; event: { id: string; data: { n: number } } }[] = [];
  for (let cursor = ''; ;) {
    const answer = await get(subscriptionUrl(url, 's', `/dead-letters?limit=15${cursor}`));
    const { items, next } = answer.json<{ items: typeof letters; next: string | null }>();
    letters.push(...items);
    if (next === null) break;
    assert.equal(items.length, 15);
    cursor = `&cursor=${next}`;
  }
  assert.deepEqual(
    letters.map(({ code, detail, event }) => [code, detail, event.id, event.data.n]),
    Array.from({ length: 40 }, (_, n) => ['nacked', 'no oven', String(n), n]),
  );

  const some = letters.slice(0, 2).map(({ position }) => position);
  const redrive = await post(subscriptionUrl(url, 's', '/redrive'), { body: { positions: some } });
  assert.deepEqual(redrive.json(), { redriven: 2 });
  assert.deepEqual(idsOf(await takeAll(url, 's', 2)), ['0', '1']);
  const gone = await send(subscriptionUrl(url, 's', `/dead-letters?positions=${letters[2]!.position}`), {
    method: 'DELETE',
  });
  assert.deepEqual(gone.json(), { removed: 1 });
  assert.deepEqual((await post(subscriptionUrl(url, 's', '/redrive'))).json(), { redriven: 37 });
  const back = await takeAll(url, 's', 37);
  assert.deepEqual(
    idsOf(back).toSorted((a, b) => Number(a) - Number(b)),
    Array.from({ length: 37 }, (_, i) => String(i + 3)),
  );
  for (const { attempt } of back) assert.equal(attempt, 1, 'it has all its tries again');
  assert.equal((await subscriptionAt(url, 's')).open.dead, 0);
});

test('without dead letters what is refused to the last try is dropped', async (t) => {
  const { url } = await serverFor(t);
  await putSubscription(url, 's', { topic: 'a', target: pull, retry: { maxAttempts: 1 }, deadLetter: false });
  await publishMany(url, 'a', 1);
  const { leases } = await pullEvents(url, 's', { waitSeconds: 10 });
  assert.equal((await answerLease(url, leases[0]!.token, 'nack')).status, 200);
  const seen = await subscriptionAt(url, 's');
  assert.deepEqual([isThrough(seen), seen.open.dead], [true, 0], JSON.stringify(seen));
});

test('what nobody answers is given up after its last try, and its key goes on', async (t) => {
  const { url } = await serverFor(t);
  await putSubscription(url, 's', { topic: 'a', target: pull, ordered: true, retry: { maxAttempts: 2 } });
  for (const id of ['first', 'second'])
    await publish(url, 'a', { headers: { ...structured, 'Ordering-Key': 'k' }, body: cloudEvent(id) });
  for (const attempt of [1, 2]) {
    const { leases } = await pullEvents(url, 's', { waitSeconds: 10, leaseSeconds: 0.05 });
    assert.deepEqual(
      leases.map((lease) => [lease.event.id, lease.attempt]),
      [['first', attempt]],
    );
  }
  const { leases } = await pullEvents(url, 's', { waitSeconds: 10 });
  assert.deepEqual(idsOf(leases), ['second']);
  const { items } = (await get(subscriptionUrl(url, 's', '/dead-letters'))).json<{ items: { code: string }[] }>();
  assert.deepEqual(
    items.map(({ code }) => code),
    ['lease-expired'],
  );
});

test('no more are out at once than the subscription lets, and who waits gets the next when one is done', async (t) => {
  const { url } = await serverFor(t);
  await putSubscription(url, 's', { topic: 'a', target: pull, maxInFlight: 3 });
  await publishMany(url, 'a', 5);
  const { leases } = await pullEvents(url, 's', { max: 10, waitSeconds: 10 });
  assert.deepEqual(idsOf(leases), ['0', '1', '2']);
  assert.deepEqual((await pullEvents(url, 's', { max: 10 })).leases, []);
  const waiting = pullEvents(url, 's', { max: 10, waitSeconds: 10 });
  assert.equal((await answerLease(url, leases[1]!.token, 'ack')).status, 200);
  assert.deepEqual(idsOf((await waiting).leases), ['3']);
});

test('one that waits is let go at the end of its time, with nothing, and by the removal of the subscription', async (t) => {
  const { url } = await serverFor(t);
  await putSubscription(url, 's', { topic: 'a', target: pull });
  await publishMany(url, 'a', 1);
  const { leases } = await pullEvents(url, 's', { waitSeconds: 10 });
  assert.equal(leases.length, 1);
  assert.deepEqual(await pullEvents(url, 's', { waitSeconds: 0.05 }), { settled: [], leases: [] });
  const waiting = askForEvents(url, 's', { waitSeconds: 30 });
  await until(async () => /^waitless_waiters 1$/m.test((await get(`${url}/metrics`)).text) || undefined);
  assert.equal((await send(subscriptionUrl(url, 's'), { method: 'DELETE' })).status, 204);
  assert.equal((await waiting).json<{ code: string }>().code, 'unknown-subscription');
  assert.equal((await get(subscriptionUrl(url, 's'))).status, 404);
  assert.equal((await answerLease(url, leases[0]!.token, 'ack')).status, 404, 'what it held is gone with it');
});

test('the document is shown with its defaults, and can be sent again as it is shown', async (t) => {
  const { url } = await serverFor(t);
  await putSubscription(url, 's', { topic: 'a.*', target: pull, filter: { exact: { type: 'x' } } });
  const shown = (await get(subscriptionUrl(url, 's'))).json<{ document: Record<string, unknown> }>();
  assert.deepEqual(shown.document, {
    topic: 'a.*',
    filter: { exact: { type: 'x' } },
    target: { pull: true },
    from: 'now',
    ordered: false,
    maxInFlight: 1000,
    retry: { maxAttempts: 5, initialDelay: '1s', maxDelay: '5m' },
    lease: '30s',
    deadLetter: true,
  });
  const again = await send(subscriptionUrl(url, 's'), { method: 'PUT', body: shown.document });
  assert.equal(again.status, 200, again.text);
  assert.deepEqual(again.json<{ document: unknown }>().document, shown.document);
  const { items } = (await get(`${url}/v1/subscriptions`)).json<{ items: { name: string; state: string }[] }>();
  assert.deepEqual(
    items.map(({ name, state }) => [name, state]),
    [['s', 'active']],
  );
});
