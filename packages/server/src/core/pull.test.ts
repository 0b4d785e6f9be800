// Those who pull: served in the order they ask, let go when there is nothing for them, and told what was lost.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { readApiSubscription } from '../config/api-subscription.ts';
import { append } from '../engine/conformance/log-race.ts';
import { sqliteEngine } from '../engines/sqlite/engine.ts';
import { manualClock } from '../lib/clock.ts';
import { silentLog } from '../lib/log.ts';
import { newMetrics } from '../lib/metrics.ts';
import { EventTaking } from './event-taking.ts';
import { EventWakes } from './event-wakes.ts';
import { Live } from './live.ts';
import { Pull, type PullWanted } from './pull.ts';
import { keyInMemory } from './secret-key.ts';
import { Subscriptions } from './subscriptions.ts';

async function fixture(t: TestContext, document: Record<string, unknown> = {}) {
  const clock = manualClock();
  const engine = sqliteEngine({ folder: ':memory:' });
  await engine.open(clock.now());
  const warned: { event: string; fields: unknown }[] = [];
  const log = { ...silentLog, warn: (event: string, fields?: unknown) => void warned.push({ event, fields }) };
  const metrics = newMetrics();
  const subscriptions = new Subscriptions({
    engine,
    read: readApiSubscription,
    checkTarget: () => Promise.resolve(),
    key: keyInMemory(),
    clock,
    log,
  });
  const live = new Live({ engine, maxWaiters: 10 });
  const pull = new Pull({
    engine,
    subscriptions,
    taking: new EventTaking({ engine, clock }),
    wakes: new EventWakes({ engine }),
    live,
    clock,
    random: { nonce: () => '', fraction: () => 0.5 },
    log,
    metrics,
  });
  await subscriptions.start();
  t.after(async () => {
    await subscriptions.stop();
    await engine.close();
  });
  const { record } = await subscriptions.put(
    { namespace: 'default', name: 's' },
    { topic: 'order.*', target: { pull: true }, ...document },
  );
  const take = (more: Partial<PullWanted> = {}) =>
    pull.take({
      namespace: 'default',
      name: 's',
      worker: null,
      max: 1,
      leaseMs: undefined,
      waitMs: 0,
      signal: new AbortController().signal,
      ...more,
    });
  const publish = (...topics: string[]) =>
    append({ engine } as never, clock.now(), ...topics.map((topic) => ({ topic })));
  return { engine, clock, subscriptions, live, pull, take, publish, metrics, warned, record };
}

const positionsOf = ({ events }: Awaited<ReturnType<Pull['take']>>): number[] =>
  events.map(({ lease }) => lease.position);

test('who asked first gets the next event, and everyone gets one before anybody gets a second', async (t) => {
  const { take, publish, live } = await fixture(t);
  const waiting = [1, 2, 3].map(() => take({ waitMs: 60_000 }));
  assert.equal(live.waiting, 3);
  const positions = await publish('order.a', 'order.b', 'order.c');
  const got = await Promise.all(waiting);
  assert.deepEqual(
    got.map(positionsOf),
    positions.map((position) => [position]),
  );
  assert.equal(live.waiting, 0);
});

test('one that does not wait has a look of its own, also behind others that do', async (t) => {
  const { take, publish, pull } = await fixture(t, { maxInFlight: 1 });
  const [first] = await publish('order.a');
  const { events } = await take();
  const waiting = take({ waitMs: 60_000 });
  assert.deepEqual(positionsOf(await take()), []);
  const [second] = await publish('order.b');
  assert.deepEqual(positionsOf(await take()), [], 'as many are out as may be');
  assert.deepEqual(await pull.settle([{ lease: events[0]!.lease, answer: { kind: 'ack' } }]), [{ kind: 'recorded' }]);
  assert.deepEqual([events[0]!.lease.position, ...positionsOf(await waiting)], [first, second]);
});

test('who waits is let go by its time, its connection, the stop and the end of the subscription', async (t) => {
  const { take, live, subscriptions } = await fixture(t);
  assert.deepEqual(positionsOf(await take({ waitMs: 1 })), []);
  const gone = new AbortController();
  const waiting = take({ waitMs: 60_000, signal: gone.signal });
  gone.abort();
  assert.deepEqual(positionsOf(await waiting), []);
  const removed = take({ waitMs: 60_000 });
  await subscriptions.remove({ namespace: 'default', name: 's' });
  await assert.rejects(removed, { code: 'unknown-subscription' });
  await subscriptions.put({ namespace: 'default', name: 's' }, { topic: 'a', target: { pull: true } });
  const stopped = take({ waitMs: 60_000 });
  await live.stop();
  assert.deepEqual(positionsOf(await stopped), []);
  assert.equal(live.waiting, 0);
});

test('one with another target hands out nothing', async (t) => {
  const { take, subscriptions } = await fixture(t);
  const waiting = take({ waitMs: 60_000 });
  const document = { topic: 'order.*', target: { url: 'https://example.com/' } };
  await subscriptions.put({ namespace: 'default', name: 's' }, document);
  await assert.rejects(waiting, { code: 'invalid-parameter' });
  await assert.rejects(take(), /sends its events to a webhook/);
});

test('what was lost by retention is told once, counted and logged', async (t) => {
  const { engine, clock, take, publish, metrics, warned } = await fixture(t);
  const positions = await publish('order.a', 'order.a', 'order.a');
  const [topic] = await engine.topics('default');
  const cut = { topic: topic!.number, olderThan: null, keepBytes: 0, limit: 2 };
  await engine.trim({ ...cut, notBeyond: Number.MAX_SAFE_INTEGER }, clock.now());
  const pulled = await take({ max: 10 });
  assert.deepEqual(pulled.missed, { from: 0, to: positions[1] });
  assert.deepEqual(positionsOf(pulled), [positions[2]]);
  assert.equal((await take({ max: 10 })).missed, undefined);
  assert.equal(metrics.subscriptionResets, 1);
  assert.deepEqual(
    warned.map(({ event }) => event),
    ['subscription.reset'],
  );
});

test('the answers decide what comes next: again at once, later, or never', async (t) => {
  const retry = { maxAttempts: 2, initialDelay: '10s', maxDelay: '1m' };
  const { take, publish, pull, clock, metrics, engine, record, warned } = await fixture(t, { retry });
  await publish('order.a');
  const leased = async () => (await take()).events[0]?.lease;
  const nack = (retryAfterMs?: number) => ({ kind: 'nack', retryAfterMs, message: 'no' }) as const;
  const one = (await leased())!;
  assert.deepEqual(await pull.settle([{ lease: one, answer: { kind: 'released' } }]), [{ kind: 'recorded' }]);
  const two = (await leased())!;
  assert.deepEqual([two.attempt, two.leaseNo], [1, 2], 'given back it has used no try');
  assert.deepEqual(await pull.settle([{ lease: one, answer: { kind: 'nack', retryAfterMs: 0, message: null } }]), [
    { kind: 'lost' },
  ]);
  await pull.settle([{ lease: two, answer: nack() }]);
  clock.advance(4999);
  assert.equal(await leased(), undefined, 'half of ten seconds, by the jitter');
  clock.advance(1);
  const three = (await leased())!;
  assert.equal(three.attempt, 2);
  await pull.settle([{ lease: three, answer: nack(0) }]);
  const [dead] = await engine.openEvents({ subscription: record.number, states: ['dead'], limit: 10 });
  assert.deepEqual([dead?.code, dead?.detail, dead?.attempt], ['nacked', 'no', 2]);
  assert.deepEqual(metrics.eventOutcomes, { acked: 0, retried: 1, dead: 1, dropped: 0, released: 1, lost: 1 });
  assert.deepEqual(
    warned.map(({ event }) => event),
    ['event.dead'],
  );
});
