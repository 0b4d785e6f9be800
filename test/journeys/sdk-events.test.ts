// The SDK's events against real servers: published once, followed without a gap, consumed by everyone who is to know, through a restart.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import {
  type ConsumedEvent,
  createClient,
  type LiveEvent,
  type TopicEvent,
  type WaitlessClient,
} from '@waitless/client';
import * as v from 'valibot';
import { gate } from '../support/backend.ts';
import { until } from '../support/http.ts';
import { seenThrough } from '../support/seen-through.ts';
import { serverFor } from '../support/server.ts';

/** The shortest pauses, so that a test takes no longer than its servers. */
const seams = { random: () => 0.1 };
const shown = ({ topic, position, type, subject, contentType, text }: TopicEvent) => [
  topic,
  position,
  type,
  subject,
  contentType,
  text(),
];

/** Follows from the beginning; what it has heard is in the list. */
function follow(t: TestContext, client: WaitlessClient, topic: string): LiveEvent[] {
  const heard: LiveEvent[] = [];
  const stop = new AbortController();
  t.after(() => stop.abort());
  const reading = async (): Promise<void> => {
    for await (const event of client.subscribe(topic, { from: 'start', signal: stop.signal })) heard.push(event);
  };
  reading().catch((error: unknown) => stop.signal.aborted || assert.fail(String(error)));
  return heard;
}

test('who follows, who consumes and who reads back get the same, byte for byte, and each subscription its own', async (t) => {
  const server = await serverFor(t);
  const client = createClient({ url: server.url, seams });
  await client.subscriptions.put('history', { topic: 'orders.**', target: { pull: true } });
  await client.subscriptions.put('bills', { topic: 'bills', target: { pull: true } });
  const placed = client.topic('orders.placed', v.object({ pizza: v.string(), slices: v.optional(v.number(), 8) }));
  await placed.publish({ pizza: 'funghi' }, { subject: '17', orderingKey: 'alice' });
  const several = [
    { data: '{"n": 1e999, "m":9007199254740993}', dataContentType: 'application/json', type: 'nasty' },
    { data: Uint8Array.of(0, 255, 10), type: 'bytes' },
    { data: 'two\nlines and "quotes" ü', type: 'text' },
    { type: 'nothing' },
  ];
  const published = await client.publishAll('orders.odd.ones', several);
  await client.publish('bills', 1);

  const followed = follow(t, client, 'orders.**');
  const consumed: ConsumedEvent[] = [];
  const consumer = client.consume('history', (event) => void consumed.push(event), { name: 'c1', concurrency: 3 });
  await until(() => (followed.length >= 5 && consumed.length >= 5) || undefined);
  const { items } = await client.topics.history('orders.**', { limit: 1000 });
  const wanted = items.map(shown);
  assert.deepEqual(followed.map(shown), wanted);
  assert.deepEqual(consumed.map(shown).toSorted(([, a], [, b]) => Number(a) - Number(b)), wanted); // prettier-ignore
  assert.deepEqual(wanted.map(([topic, , type, subject, contentType, text]) => [topic, type, subject, contentType, text]), [
    ['orders.placed', 'orders.placed', '17', 'application/json', '{"pizza":"funghi","slices":8}'],
    ['orders.odd.ones', 'nasty', undefined, 'application/json', '{"n": 1e999, "m":9007199254740993}'],
    ['orders.odd.ones', 'bytes', undefined, 'application/octet-stream', '\0\ufffd\n'],
    ['orders.odd.ones', 'text', undefined, 'text/plain; charset=utf-8', 'two\nlines and "quotes" ü'],
    ['orders.odd.ones', 'nothing', undefined, 'application/json', ''],
  ]); // prettier-ignore
  assert.deepEqual(followed[2]!.bytes, Uint8Array.of(0, 255, 10));
  assert.deepEqual(published.map(({ id, position }) => [id, position]), items.slice(1).map(({ id, position }) => [id, position])); // prettier-ignore
  assert.equal((await placed.read(followed[0]!)).slices, 8);
  // From a place on, and what a filter lets through.
  for (const from of [followed[2]!.cursor, followed[2]!.position]) {
    const left: string[] = [];
    for await (const { type } of client.subscribe('orders.**', { from, filter: { not: { exact: { type: 'x' } } } }))
      if (left.push(type) === 2) break;
    assert.deepEqual(left, ['text', 'nothing']);
  }
  await consumer.stop();
  const history = await until(async () => {
    const one = await client.subscriptions.get('history');
    return one.oldestUnacknowledged === null ? one : undefined;
  });
  assert.deepEqual(history.open, { waiting: 0, sending: 0, held: 0, dead: 0 });
  assert.deepEqual((await client.topics.list()).map(({ name, events }) => [name, events]), [['bills', 1], ['orders.odd.ones', 4], ['orders.placed', 1]]); // prettier-ignore
});

test('a publish whose answer is lost is stored once, and its repeat says so', async (t) => {
  const server = await serverFor(t);
  let answers = 0;
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const response = await globalThis.fetch(input, init);
    if (++answers > 1) return response;
    await response.body?.cancel();
    throw new TypeError('fetch failed');
  };
  const client = createClient({ url: server.url, seams, fetch });
  const published = await client.publishAll('orders', [{ data: 1 }, { data: 2 }]);
  assert.deepEqual(published.map(({ repeated }) => repeated), [true, true]); // prettier-ignore
  const { items } = await client.topics.history('orders');
  assert.deepEqual(items.map(({ id, position }) => ({ id, position, repeated: true })), published); // prettier-ignore
  await assert.rejects(client.publish('operations.score.succeeded', 1), { code: 'reserved-topic' });
});

test('300 events, two competing consumers and one who follows, a restart in the middle: nothing is missing, nothing is told twice', async (t) => {
  const server = await serverFor(t, { data: 'folder' });
  const client = createClient({ url: server.url, seams });
  await client.subscriptions.put('history', { topic: 'orders.*', target: { pull: true } });
  const followed = follow(t, client, 'orders.*');
  const done = new Map<string, number>();
  const by = [0, 0];
  const half = gate();
  const consumers = by.map((_, who) =>
    client.consume(
      'history',
      ({ id }) => {
        done.set(id, (done.get(id) ?? 0) + 1);
        by[who]!++;
        if (done.size === 100) half.open();
      },
      { name: `c${who}`, concurrency: 5 },
    ),
  );
  const ids: string[] = [];
  const publishing = (async () => {
    for (let n = 0; n < 30; n++) {
      const events = Array.from({ length: 10 }, (_, at) => ({ data: { n: n * 10 + at } }));
      for (const { id } of await client.publishAll(`orders.${n % 2 ? 'odd' : 'even'}`, events)) ids.push(id);
    }
  })();
  await half.opened;
  await server.restart();
  await publishing;
  await until(() => (done.size >= 300 && followed.length >= 300) || undefined);
  await Promise.all(consumers.map((consumer) => consumer.stop()));
  assert.deepEqual(followed.map(({ id }) => id), ids, 'once, and in order'); // prettier-ignore
  assert.deepEqual([...done.keys()].toSorted(), ids.toSorted());
  const again = [...done.values()].filter((times) => times > 1).length;
  assert.ok(again <= 10, `${again} came again: more than both held`);
  assert.ok(
    by.every((share) => share > 0),
    String(by),
  );
});

test('an event that is refused comes again, dies, is looked at and redriven', async (t) => {
  const server = await serverFor(t);
  const client = createClient({ url: server.url, seams });
  const retry = { maxAttempts: 2, initialDelay: '1ms', maxDelay: '1ms' };
  await client.subscriptions.put('mails', { topic: 'orders', target: { pull: true }, retry });
  const { position } = await client.publish('orders', '{"n": 1e999}', { dataContentType: 'application/json' });
  const attempts: [number, boolean][] = [];
  let mended = false;
  const delivered = gate();
  const consumer = client.consume('mails', ({ attempt, lastAttempt }) => {
    attempts.push([attempt, lastAttempt]);
    if (!mended) throw new Error('no dough');
    delivered.open();
  });
  const letter = await until(async () => (await client.subscriptions.deadLetters('mails')).items[0]);
  assert.deepEqual(attempts, [[1, false], [2, true]]); // prettier-ignore
  assert.deepEqual([letter.position, letter.detail, letter.event?.text()], [position, 'no dough', '{"n": 1e999}']);
  mended = true;
  assert.equal(await client.subscriptions.redrive('mails', { positions: [position! + 1] }), 0);
  assert.equal(await client.subscriptions.redrive('mails'), 1);
  await delivered.opened;
  await consumer.stop();
  const { open } = await client.subscriptions.get('mails');
  assert.deepEqual(open, { waiting: 0, sending: 0, held: 0, dead: 0 });
});

test('a paused subscription hands out nothing and loses nothing; one that is removed ends its consumers', async (t) => {
  const server = await serverFor(t);
  const { url, seen } = await seenThrough(t, server.url);
  const client = createClient({ url, seams });
  await client.subscriptions.put('history', { topic: 'orders', target: { pull: true } });
  assert.equal((await client.subscriptions.pause('history')).state, 'paused');
  const heard: unknown[] = [];
  const consumer = client.consume('history', (event) => void heard.push(event.json()));
  await until(() => seen.some((one) => one.endsWith('/leases')) || undefined);
  await client.publish('orders', 1);
  assert.deepEqual(heard, []);
  const { lag } = await client.subscriptions.get('history');
  assert.deepEqual(lag, { atLeast: 1, atMost: 1 });
  assert.equal((await client.subscriptions.resume('history')).state, 'active');
  await until(() => heard.length > 0 || undefined);
  assert.deepEqual(heard, [1]);
  await client.subscriptions.remove('history');
  await assert.rejects(consumer.done, { code: 'unknown-subscription' });
  await assert.rejects(client.subscriptions.get('history'), { code: 'unknown-subscription' });
});
