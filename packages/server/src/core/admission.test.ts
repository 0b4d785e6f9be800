// Rates, full queues, and what a refusal says: decided without a store and without waiting.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Engine } from '../engine/engine.ts';
import { manualClock } from '../lib/clock.ts';
import { Admission, type Ticket, type Wanted } from './admission.ts';
import { QueueRoom } from './queue-room.ts';
import { giveBack, judgeRate } from './rate.ts';

const limit = { requests: 4, windowMs: 2000 };

test('a rate is a bucket that refills evenly: a burst of all, then one at a time', () => {
  let fullAt: number | undefined;
  const at = (nowMs: number, take: 0 | 1 = 1) => {
    const verdict = judgeRate(limit, { fullAt, nowMs, take });
    if (take === 1) fullAt = verdict.fullAt;
    return [verdict.allowed, verdict.remaining, verdict.nextMs];
  };
  assert.deepEqual(at(0, 0), [true, 4, 0]);
  assert.deepEqual(at(0), [true, 3, 0]);
  assert.deepEqual(at(0), [true, 2, 0]);
  assert.deepEqual(at(0), [true, 1, 0]);
  assert.deepEqual(at(0), [true, 0, 500]);
  assert.deepEqual(at(0), [false, 0, 500]);
  assert.deepEqual(at(499), [false, 0, 1]);
  assert.deepEqual(at(500), [true, 0, 500]);
  assert.deepEqual(at(1600), [true, 1, 0]);
  assert.deepEqual(at(100_000), [true, 3, 0], 'no more is saved up than the bucket holds');
});

test('a rate in thirds of a millisecond loses none to rounding', () => {
  const many = { requests: 3000, windowMs: 1000 };
  let fullAt: number | undefined;
  for (let i = 0; i < 3000; i++) {
    const verdict = judgeRate(many, { fullAt, nowMs: 5, take: 1 });
    assert.ok(verdict.allowed, `${i}`);
    fullAt = verdict.fullAt;
  }
  assert.equal(judgeRate(many, { fullAt, nowMs: 5, take: 1 }).allowed, false);
});

test('what is given back may be taken again, and a rate made smaller shuts nobody out for longer than its window', () => {
  const { fullAt } = judgeRate({ requests: 1, windowMs: 60_000 }, { fullAt: undefined, nowMs: 0, take: 1 });
  assert.equal(judgeRate({ requests: 1, windowMs: 60_000 }, { fullAt, nowMs: 0, take: 1 }).allowed, false);
  const back = giveBack({ requests: 1, windowMs: 60_000 }, fullAt);
  assert.equal(judgeRate({ requests: 1, windowMs: 60_000 }, { fullAt: back, nowMs: 0, take: 1 }).allowed, true);
  assert.equal(judgeRate({ requests: 1, windowMs: 1000 }, { fullAt, nowMs: 0, take: 1 }).nextMs, 1000);
});

/** A store that counts one queue and says how often it was asked. */
interface CountingStore extends Pick<Engine, 'counts'> {
  queued: number;
  asked: number;
  fails: boolean;
}

function countingStore(queued = 0): CountingStore {
  const store: CountingStore = {
    queued,
    asked: 0,
    fails: false,
    counts: async () => {
      store.asked++;
      if (store.fails) throw new Error('away');
      // What is stored meanwhile is not in a count that was begun before.
      const counts = { queued: store.queued, running: 0, succeeded: 0, failed: 0, cancelled: 0 };
      await Promise.resolve();
      return [{ queue: { id: 1, namespace: 'default', service: 'score' }, counts }];
    },
  };
  return store;
}

function admissionOn(store: CountingStore) {
  const clock = manualClock(0);
  const time = manualClock(0);
  const room = new QueueRoom(store, () => time.now());
  return { clock, time, admission: new Admission({ room, clock, outlooks: { placeFreeSeconds: () => 12 } }) };
}

const wanted = (more: Partial<Wanted['service']>, queued = true): Wanted => ({
  service: { name: 'score', rate: undefined, maxQueued: undefined, ...more },
  queue: 1,
  queued,
});

test('without rate and cap nothing is asked and nothing is waited for', () => {
  const store = countingStore();
  const ticket = admissionOn(store).admission.admit(wanted({}));
  assert.ok(!(ticket instanceof Promise));
  assert.deepEqual([ticket.mayMake, ticket.fields, store.asked], [true, {}, 0]);
});

test('a used-up rate refuses with its fields and does not count what made nothing', () => {
  const { admission, clock } = admissionOn(countingStore());
  const take = (): Ticket => admission.admit(wanted({ rate: { requests: 2, windowMs: 10_000 } })) as Ticket;
  const first = take();
  assert.deepEqual(first.fields, { 'RateLimit-Policy': '"rate";q=2;w=10', RateLimit: '"rate";r=1;t=5' });
  first.answered(false);
  assert.equal(first.fields['RateLimit'], '"rate";r=2;t=0', 'a repeat or a stored result leaves its share');
  take().answered(true);
  take().answered(true);
  const refused = take();
  assert.equal(refused.mayMake, false);
  const error = refused.refusal();
  assert.deepEqual([error.code, error.status, error.retryAfterSeconds], ['rate-limited', 429, 5]);
  assert.deepEqual(error.members, { accepted: false });
  assert.deepEqual(error.headers, { 'RateLimit-Policy': '"rate";q=2;w=10', RateLimit: '"rate";r=0;t=5' });
  refused.answered(false);
  assert.equal(take().mayMake, false, 'a refused one gives back nothing');
  clock.advance(5000);
  assert.equal(take().mayMake, true);
});

test('a queue takes as many as it may hold, one after another or all at once', async () => {
  for (const together of [false, true]) {
    const store = countingStore(2);
    const { admission } = admissionOn(store);
    const one = async (): Promise<boolean> => {
      const ticket = await admission.admit(wanted({ maxQueued: 10 }));
      if (!ticket.mayMake) return false;
      await Promise.resolve();
      store.queued++;
      ticket.answered(true);
      return true;
    };
    const taken: boolean[] = [];
    if (together) taken.push(...(await Promise.all(Array.from({ length: 40 }, one))));
    else for (let i = 0; i < 40; i++) taken.push(await one());
    const made = taken.filter(Boolean).length;
    assert.equal(store.queued, 2 + made);
    assert.ok(store.queued <= 10, `${store.queued} wait`);
    if (!together) assert.equal(made, 8);
    // What was on its way when the store was asked counts as waiting, so a burst may stop a little short, and the next ones fill it up.
    for (let i = 0; i < 10; i++) await one();
    assert.equal(store.queued, 10);
    const refusal = (await admission.admit(wanted({ maxQueued: 10 }))).refusal();
    assert.deepEqual([refusal.code, refusal.status, refusal.retryAfterSeconds], ['queue-full', 429, 12]);
    assert.deepEqual(refusal.headers, { 'RateLimit-Policy': '"queue";q=10', RateLimit: '"queue";r=0;t=12' });
    assert.deepEqual(refusal.members, { accepted: false });
    store.queued -= 3;
    assert.equal(await one(), true, 'room that came free is seen at once');
  }
});

test('a long queue is not counted for each submit, and a count grows old', async () => {
  const store = countingStore();
  const { admission, time } = admissionOn(store);
  for (let i = 0; i < 2000; i++) {
    (await admission.admit(wanted({ maxQueued: 100_000 }))).answered(true);
    store.queued++;
  }
  assert.equal(store.asked, 1);
  time.advance(1000);
  (await admission.admit(wanted({ maxQueued: 100_000 }))).answered(true);
  assert.equal(store.asked, 2);
});

test('a store that cannot be counted refuses for itself, and what is not queued needs no place', async () => {
  const store = countingStore(99);
  const { admission } = admissionOn(store);
  assert.equal((await admission.admit(wanted({ maxQueued: 5 }))).mayMake, false);
  assert.equal((await admission.admit(wanted({ maxQueued: 5 }, false))).mayMake, true);
  store.fails = true;
  assert.equal((await admission.admit(wanted({ maxQueued: 5 }))).mayMake, true);
});

test('a batch takes its places at once and in its order, and gives back those it did not need', async () => {
  const store = countingStore(4);
  const { admission } = admissionOn(store);
  const service = { maxQueued: 10, rate: { requests: 20, windowMs: 60_000 } };
  const tickets = await admission.admitAll([...Array.from({ length: 8 }, () => wanted(service)), wanted({})]);
  assert.deepEqual(
    tickets.map(({ mayMake }) => mayMake),
    [true, true, true, true, true, true, false, false, true],
  );
  assert.equal(tickets[7]!.refusal().code, 'queue-full');
  assert.deepEqual(tickets[8]!.fields, {}, 'one of a service without limits');
  for (const [i, ticket] of tickets.entries()) ticket.answered(i < 2);
  store.queued += 2;
  assert.match(
    (await admission.admit(wanted(service))).fields['RateLimit']!,
    /r=17;/,
    'two were made, this is the third',
  );
  assert.equal(
    (await admission.admitAll(Array.from({ length: 30 }, () => wanted(service)))).filter(({ mayMake }) => mayMake)
      .length,
    3,
  );
});

test('batches that hold places in two queues do not wait for each other', async () => {
  const store = countingStore(0);
  const { admission } = admissionOn(store);
  const of = (queue: number): Wanted => ({ ...wanted({ maxQueued: 8 }), queue });
  const held = await admission.admitAll([of(1), of(2), of(2), of(1)]);
  const single = admission.admit(of(1));
  const others = await Promise.all([admission.admitAll([of(2), of(1)]), admission.admitAll([of(1), of(2)])]);
  assert.ok(others.flat().every(({ mayMake }) => mayMake));
  for (const ticket of [...held, ...others.flat()]) ticket.answered(true);
  assert.equal((await single).mayMake, true);
});

test('a full queue leaves the rate alone', async () => {
  const store = countingStore(5);
  const { admission } = admissionOn(store);
  const service = { maxQueued: 5, rate: { requests: 1, windowMs: 60_000 } };
  for (let i = 0; i < 3; i++) assert.equal((await admission.admit(wanted(service))).refusal().code, 'queue-full');
  store.queued = 0;
  assert.equal((await admission.admit(wanted(service))).mayMake, true);
});
