// Taking for a subscription, on the engine of the tests: nothing twice, nothing left out, however many take at once.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { event as newEvent } from '../engine/conformance/log-race.ts';
import type { Engine } from '../engine/engine.ts';
import type { NewEvent } from '../engine/topics.ts';
import { sqliteEngine } from '../engines/sqlite/engine.ts';
import { manualClock } from '../lib/clock.ts';
import { readFilter } from './event-filter.ts';
import { choose, EventTaking, type TakenFrom, type Wanted } from './event-taking.ts';

const key = { namespace: 'default', name: 'sub' };
const wanted: Wanted = { max: 10, maxBytes: 1e6, kind: 'pull', worker: 'w', leaseMs: 30_000 };

async function fixture(t: TestContext, more: Partial<TakenFrom> = {}) {
  const clock = manualClock();
  const engine = sqliteEngine({ folder: ':memory:' });
  await engine.open(clock.now());
  t.after(() => engine.close());
  const topics = more.topics ?? ['orders.*'];
  const { subscription } = await engine.saveSubscription(
    { namespace: 'default', name: 'sub', text: '{}', topics, savedAt: clock.now() },
    'now',
  );
  const from: TakenFrom = {
    number: subscription.number,
    namespace: 'default',
    name: 'sub',
    filter: readFilter(undefined),
    ordered: false,
    ...more,
    topics,
  };
  const publish = async (...events: Partial<NewEvent>[]): Promise<number[]> => {
    const outcomes = await engine.append(
      events.map((one) => newEvent({ topic: 'orders.placed', ...one })),
      clock.now(),
    );
    return outcomes.map((outcome) => (outcome.kind === 'appended' ? outcome.position : 0));
  };
  return { clock, engine, from, publish, taking: new EventTaking({ engine, clock }) };
}

const positionsOf = (taken: { events: { event: { position: number } }[] }): number[] =>
  taken.events.map(({ event }) => event.position);

test('a page is cut where the room ends, and the cursor stands before what was not taken', () => {
  const event = (position: number, type: string, size = 1) => ({
    position,
    topic: 't',
    head: JSON.stringify({ type }),
    body: Buffer.alloc(size),
    orderingKey: null,
    appendedAt: 0,
  });
  const events = [event(1, 'a'), event(2, 'b'), event(3, 'a'), event(4, 'a', 50), event(5, 'b')];
  const filter = readFilter({ exact: { type: 'a' } });
  const cut = (room: number, bytes: number) => {
    const { chosen, readTo } = choose({ events, readTo: 9 }, { filter, room, bytes });
    return [chosen.map(({ position }) => position), readTo];
  };
  assert.deepEqual(cut(10, 1000), [[1, 3, 4], 9]);
  assert.deepEqual(cut(1, 1000), [[1], 2]);
  assert.deepEqual(cut(2, 1000), [[1, 3], 3]);
  assert.deepEqual(cut(10, 10), [[1, 3], 3]);
  assert.deepEqual(
    choose({ events: events.slice(3), readTo: 9 }, { filter, room: 10, bytes: 10 }).chosen.length,
    1,
    'one is given all the same',
  );
});

test('what matches is taken in order, in parts, and the end is known', async (t) => {
  const { from, publish, taking } = await fixture(t);
  assert.deepEqual(await taking.take(from, wanted), { events: [], again: 0, more: false, missed: undefined });
  const p = await publish({}, { topic: 'stock.low' }, {}, {});
  const first = await taking.take(from, { ...wanted, max: 2 });
  assert.deepEqual([positionsOf(first), first.more], [[p[0], p[2]], true]);
  const second = await taking.take(from, { ...wanted, max: 2 });
  assert.deepEqual([positionsOf(second), second.more], [[p[3]], false]);
});

test('a filter that lets nothing through moves on, and nothing is looked at twice', async (t) => {
  const filter = readFilter({ exact: { type: 'wanted' } });
  const { engine, from, publish, taking } = await fixture(t, { filter });
  const p = await publish(...Array.from({ length: 1200 }, () => ({ head: '{"type":"other"}' })));
  const taken = await taking.take(from, wanted);
  assert.deepEqual([taken.events.length, taken.more], [0, false]);
  assert.equal((await engine.subscription(key))!.readTo, p.at(-1));
  const [last] = await publish({ head: '{"type":"wanted"}' });
  assert.deepEqual(positionsOf(await taking.take(from, wanted)), [last]);
});

test('what others publish moves no cursor', async (t) => {
  const { engine, from, publish, taking } = await fixture(t);
  const before = (await engine.subscription(key))!.readTo;
  await publish({ topic: 'stock.low' }, { topic: 'stock.low' });
  await taking.take(from, wanted);
  assert.equal((await engine.subscription(key))!.readTo, before);
});

test('many who take at once, here and on another node, get each event once', async (t) => {
  const { clock, engine, from, publish, taking } = await fixture(t);
  const other = new EventTaking({ engine, clock });
  const p = await publish(...Array.from({ length: 300 }, () => ({})));
  const seen: number[] = [];
  const run = async (by: EventTaking): Promise<void> => {
    for (;;) {
      const taken = await by.take(from, { ...wanted, max: 7 });
      seen.push(...positionsOf(taken));
      if (taken.events.length === 0 && !taken.more) return;
    }
  };
  await Promise.all([run(taking), run(taking), run(other), run(other)]);
  assert.deepEqual(
    seen.toSorted((a, b) => a - b),
    p,
  );
});

test('of one ordering key one is out at a time, and others are not held up by it', async (t) => {
  const { clock, engine, from, publish, taking } = await fixture(t, { ordered: true });
  const p = await publish({ orderingKey: 'a' }, { orderingKey: 'a' }, { orderingKey: 'b' });
  const first = await taking.take(from, wanted);
  assert.deepEqual(positionsOf(first), [p[0], p[2]]);
  assert.deepEqual(positionsOf(await taking.take(from, wanted)), []);
  await engine.settleEvents([{ ...first.events[0]!.lease, verdict: { to: 'acked' } }], clock.now());
  assert.deepEqual(positionsOf(await taking.take(from, wanted)), [p[1]]);
});

test('who was away for longer than its topic keeps is told what it has missed, once', async (t) => {
  const { clock, engine, from, publish, taking } = await fixture(t);
  const p = await publish({}, {}, {});
  const [topic] = await engine.topics();
  const cut = { topic: topic!.number, olderThan: null, keepBytes: 0, notBeyond: p[1]!, limit: 10 };
  await engine.trim(cut, clock.now());
  const taken = await taking.take(from, wanted);
  assert.deepEqual([positionsOf(taken), taken.missed], [[p[2]], { from: 0, to: p[1] }]);
  assert.equal((await taking.take(from, wanted)).missed, undefined);
});

test('a subscription that is removed gives nothing, and one made anew under its name begins anew', async (t) => {
  const { clock, engine, from, publish, taking } = await fixture(t);
  await publish({});
  await engine.removeSubscription(key);
  assert.deepEqual(await taking.take(from, wanted), { events: [], again: 0, more: false, missed: undefined });
  const { subscription } = await engine.saveSubscription(
    { namespace: 'default', name: 'sub', text: '{}', topics: from.topics, savedAt: clock.now() },
    'start',
  );
  const anew = await taking.take({ ...from, number: subscription.number }, wanted);
  assert.equal(anew.events.length, 1);
});

test('large events end a turn before its number does', async (t) => {
  const { from, publish, taking } = await fixture(t);
  const p = await publish(...Array.from({ length: 5 }, () => ({ body: Buffer.alloc(400) })));
  assert.deepEqual(positionsOf(await taking.take(from, { ...wanted, maxBytes: 1000 })), [p[0], p[1]]);
  assert.deepEqual(positionsOf(await taking.take(from, { ...wanted, maxBytes: 100 })), [p[2]]);
});

test('the engine is asked nothing that it need not be: a taker that finds nothing costs two looks', async (t) => {
  const { clock, engine, from, publish } = await fixture(t);
  const calls: string[] = [];
  const counting = new Proxy(engine, {
    get(target, name: keyof Engine) {
      const value = target[name];
      if (typeof value !== 'function') return value;
      return (...values: unknown[]): unknown => {
        calls.push(name);
        return (value as (...of: unknown[]) => unknown).apply(target, values);
      };
    },
  });
  const taking = new EventTaking({ engine: counting, clock });
  await publish({});
  await taking.take(from, wanted);
  calls.length = 0;
  await taking.take(from, wanted);
  assert.deepEqual(calls, ['leaseDue', 'read']);
});

test('who takes a few at a time, and who reads the same topics, has the log read once; what is published meanwhile comes after it', async (t) => {
  const { clock, engine, from, publish } = await fixture(t);
  let reads = 0;
  const read: Engine['read'] = (wanted) => (reads++, engine.read(wanted));
  const taking = new EventTaking({ engine: { ...engine, read }, clock });
  const { subscription } = await engine.saveSubscription(
    { ...key, name: 'other', text: '{}', topics: from.topics, savedAt: clock.now() },
    'now',
  );
  const p = await publish(...Array.from({ length: 30 }, () => ({})));
  const seen = positionsOf(await taking.take(from, wanted));
  p.push(...(await publish({})));
  for (let taken = await taking.take(from, wanted); ; taken = await taking.take(from, wanted)) {
    seen.push(...positionsOf(taken));
    if (!taken.more) break;
  }
  assert.deepEqual(seen, p);
  assert.equal(reads, 2, 'of the thirty, and of the one after them');
  const before = reads;
  const others = await taking.take({ ...from, name: 'other', number: subscription.number }, wanted);
  assert.deepEqual(positionsOf(others), p.slice(0, 10));
  assert.equal(reads, before);
});

test('who knows that nothing waits is spared the look for it', async (t) => {
  const { clock, engine, from, publish } = await fixture(t);
  let looks = 0;
  const leaseDue: Engine['leaseDue'] = (of, nowMs) => (looks++, engine.leaseDue(of, nowMs));
  const taking = new EventTaking({ engine: { ...engine, leaseDue }, clock });
  const [position] = await publish({}, {});
  const first = await taking.take(from, { ...wanted, max: 1, onlyNew: true });
  assert.deepEqual([positionsOf(first), first.again, first.more, looks], [[position], 0, true, 0]);
  const verdict = { to: 'waiting', at: clock.now(), attemptUsed: true, code: null, detail: null } as const;
  await engine.settleEvents([{ ...first.events[0]!.lease, verdict }], clock.now());
  const second = await taking.take(from, { ...wanted, max: 1 });
  assert.deepEqual([positionsOf(second), second.again, looks], [[position], 1, 1]);
});
