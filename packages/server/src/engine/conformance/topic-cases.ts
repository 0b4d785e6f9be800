// Topics: read by name and by pattern along one cursor, repeats told from new events, and cut from the oldest end.
import assert from 'node:assert/strict';
import type { EventPage, ReadWanted } from '../topics.ts';
import { type Case, type Fixture } from './fixture.ts';
import { append, event } from './log-race.ts';

const read = (f: Fixture, topics: string[], more: Partial<ReadWanted> = {}): Promise<EventPage> =>
  f.engine.read({ namespace: 'default', topics, after: 0, limit: 100, maxBytes: 1e8, ...more });

const positionsOf = (page: EventPage): number[] => page.events.map((e) => e.position);
const topicsOf = (page: EventPage): string[] => page.events.map((e) => e.topic);
const publish = (f: Fixture, ...topics: string[]): Promise<number[]> =>
  append(f, f.clock.now(), ...topics.map((topic) => ({ topic })));

async function topicNamed(f: Fixture, name: string) {
  const found = (await f.engine.topics('default')).find((topic) => topic.name === name);
  assert.ok(found, `a topic ${name}`);
  return found;
}

export const topicCases: Case[] = [
  {
    name: 'a topic is read by its name, many by a pattern, in the order of their positions and each event once',
    async run(f) {
      const p = await publish(
        f,
        'orders.placed',
        'orders.paid',
        'stock.low',
        'orders.placed',
        'orders.eu.placed',
        'orders',
      );
      assert.deepEqual(positionsOf(await read(f, ['orders.placed'])), [p[0], p[3]]);
      assert.deepEqual(positionsOf(await read(f, ['orders.*'])), [p[0], p[1], p[3]]);
      assert.deepEqual(positionsOf(await read(f, ['orders.**'])), [p[0], p[1], p[3], p[4], p[5]]);
      assert.deepEqual(positionsOf(await read(f, ['orders.#'])), [p[0], p[1], p[3], p[4], p[5]]);
      assert.deepEqual(positionsOf(await read(f, ['**.placed', 'stock.low', 'orders.*'])), [
        p[0],
        p[1],
        p[2],
        p[3],
        p[4],
      ]);
      assert.deepEqual(positionsOf(await read(f, ['nothing.here'])), []);
    },
  },
  {
    name: 'a pattern finds a topic that is new, and a page says up to where there is nothing more',
    async run(f) {
      const [first] = await publish(f, 'a.x');
      assert.deepEqual(positionsOf(await read(f, ['a.*'])), [first]);
      const later = await publish(f, 'a.y', 'b.z', 'b.z');
      const page = await read(f, ['a.*'], { after: first! });
      assert.deepEqual(positionsOf(page), [later[0]]);
      assert.equal(page.readTo, later[2], 'what others published needs no look');
      const part = await read(f, ['**'], { limit: 2 });
      assert.deepEqual([positionsOf(part), part.readTo], [[first, later[0]], later[0]]);
      const none = await read(f, ['c.*']);
      assert.deepEqual([positionsOf(none), none.readTo], [[], later[2]]);
    },
  },
  {
    name: 'pages of many topics go on without a gap or a repeat, whatever ends them',
    async run(f) {
      const names = Array.from({ length: 60 }, (_, i) => `t${i % 7}.${i % 3}`);
      const positions = await append(
        f,
        f.clock.now(),
        ...names.map((topic, i) => ({ topic, body: Buffer.alloc((i * 37) % 300) })),
      );
      const wanted = positions.filter((_, i) => names[i]!.endsWith('.1'));
      const seen: number[] = [];
      const most = await read(f, ['*.1'], { limit: 10 });
      assert.deepEqual(positionsOf(most), wanted.slice(0, 10), 'no topic has so many, all of them have more');
      assert.equal(most.readTo, wanted[9]);
      for (let after = 0; ;) {
        const page = await read(f, ['*.1'], { after, limit: 4, maxBytes: 500 });
        seen.push(...positionsOf(page));
        assert.ok(page.readTo >= after);
        if (page.readTo === page.last) break;
        assert.ok(page.readTo > after);
        after = page.readTo;
      }
      assert.deepEqual(seen, wanted);
    },
  },
  {
    name: 'a repeat of source and id is written once, in one batch or in several, until it is forgotten',
    async run(f) {
      const one = event({ identity: 'a'.repeat(43), knownUntil: f.clock.now() + 60_000 });
      const other = event({ identity: 'b'.repeat(43), knownUntil: f.clock.now() + 60_000 });
      const [first, twin, second] = await f.engine.append([one, one, other], f.clock.now());
      assert.equal(first?.kind, 'appended');
      assert.deepEqual(twin, { kind: 'repeated', position: (first as { position: number }).position });
      assert.equal(second?.kind, 'appended');
      const [again] = await f.engine.append([{ ...one, topic: 'elsewhere' }], f.clock.now());
      assert.deepEqual(again, twin);
      const [foreign] = await f.engine.append([{ ...one, namespace: 'other' }], f.clock.now());
      assert.equal(foreign?.kind, 'appended', 'another namespace knows nothing of it');
      assert.equal((await read(f, ['**'])).events.length, 2);
      f.clock.advance(60_001);
      const [anew] = await f.engine.append([one], f.clock.now());
      assert.equal(anew?.kind, 'appended');
      await f.engine.sweep(f.clock.now(), { removeExpired: true });
      assert.equal((await read(f, ['**'])).events.length, 3);
    },
  },
  {
    name: 'the same source and id in many namespaces are as many events, each repeated in its own',
    async run(f) {
      const knownUntil = f.clock.now() + 60_000;
      const namespaces = Array.from({ length: 70 }, (_, i) => `tenant-${i}`);
      // Each has its own number of events before it, so that a position tells whose it is.
      for (const [i, namespace] of namespaces.entries())
        await append(f, f.clock.now(), ...Array.from({ length: i }, () => ({ namespace })));
      const twins = namespaces.map((namespace) => event({ namespace, identity: 'e'.repeat(43), knownUntil }));
      const positions = namespaces.map((_, i) => i + 1);
      for (const kind of ['appended', 'repeated', 'repeated'])
        assert.deepEqual(
          await f.engine.append(twins, f.clock.now()),
          positions.map((position) => ({ kind, position })),
        );
    },
  },
  {
    name: 'twins from many callers at once are one event',
    async run(f) {
      const twin = event({ identity: 'c'.repeat(43), knownUntil: f.clock.now() + 60_000 });
      const outcomes = await Promise.all(Array.from({ length: 20 }, () => f.engine.append([twin], f.clock.now())));
      const kinds = outcomes.map(([outcome]) => outcome!.kind).toSorted();
      assert.deepEqual(kinds, ['appended', ...Array.from({ length: 19 }, () => 'repeated')]);
      assert.equal((await read(f, ['**'])).events.length, 1);
    },
  },
  {
    name: 'ordering keys come back as they were given',
    async run(f) {
      await append(f, f.clock.now(), { orderingKey: 'order 7' }, { orderingKey: null });
      assert.deepEqual(
        (await read(f, ['**'])).events.map((e) => e.orderingKey),
        ['order 7', null],
      );
    },
  },
  {
    name: 'the counters of a topic tell what it holds',
    async run(f) {
      assert.deepEqual(await f.engine.topics('default'), []);
      const at = f.clock.now();
      const positions = await append(
        f,
        at,
        { topic: 'b', head: '{"é":1}', body: Buffer.alloc(10) },
        { topic: 'a' },
        { topic: 'b', head: '{}', body: Buffer.alloc(5) },
      );
      const [a, b] = await f.engine.topics('default');
      assert.deepEqual([a?.name, a?.events], ['a', 1]);
      assert.deepEqual(
        { ...b, number: 0 },
        {
          number: 0,
          namespace: 'default',
          name: 'b',
          events: 2,
          bytes: 8 + 10 + 2 + 5,
          last: positions[2],
          removedTo: 0,
          oldestAt: at,
        },
      );
      await append(f, at, { namespace: 'other', topic: 'b' });
      assert.equal((await f.engine.topics('other')).length, 1);
      assert.equal((await f.engine.topics()).length, 3);
    },
  },
  {
    name: 'a topic is cut from the oldest end by age, and readers who wanted more can see it',
    async run(f) {
      const old = await publish(f, 'a', 'b', 'a');
      f.clock.advance(10_000);
      const young = await publish(f, 'a', 'b');
      const { number } = await topicNamed(f, 'a');
      const cut = await f.engine.trim(
        {
          topic: number,
          olderThan: f.clock.now() - 5000,
          keepBytes: null,
          notBeyond: Number.MAX_SAFE_INTEGER,
          limit: 100,
        },
        f.clock.now(),
      );
      assert.deepEqual(cut, { removed: 2, removedTo: old[2], more: false });
      const page = await read(f, ['a']);
      assert.deepEqual([positionsOf(page), page.removedTo], [[young[0]], old[2]]);
      assert.deepEqual(positionsOf(await read(f, ['b'])), [old[1], young[1]]);
      assert.equal((await read(f, ['b'])).removedTo, 0);
      assert.equal((await read(f, ['**'])).removedTo, old[2]);
      const { events, oldestAt } = await topicNamed(f, 'a');
      assert.deepEqual([events, oldestAt], [1, f.clock.now()]);
    },
  },
  {
    name: 'a topic is cut to a size, never beyond what somebody has still to read, and in bounded steps',
    async run(f) {
      const positions = await append(
        f,
        f.clock.now(),
        ...Array.from({ length: 10 }, () => ({ topic: 'a', head: '{}', body: Buffer.alloc(98) })),
      );
      const { number } = await topicNamed(f, 'a');
      const trim = (more: object) =>
        f.engine.trim(
          { topic: number, olderThan: null, keepBytes: 450, notBeyond: Number.MAX_SAFE_INTEGER, limit: 100, ...more },
          f.clock.now(),
        );
      assert.deepEqual(await trim({ notBeyond: positions[1] }), { removed: 2, removedTo: positions[1], more: false });
      assert.deepEqual(await trim({ limit: 3 }), { removed: 3, removedTo: positions[4], more: true });
      assert.deepEqual(await trim({}), { removed: 1, removedTo: positions[5], more: false });
      const { events, bytes } = await topicNamed(f, 'a');
      assert.deepEqual([events, bytes], [4, 400]);
      assert.deepEqual(await trim({}), { removed: 0, removedTo: positions[5], more: false });
      assert.equal(
        (await f.engine.trim({ topic: 999_999, olderThan: 1, keepBytes: null, notBeyond: 1, limit: 1 }, 0)).removed,
        0,
      );
    },
  },
  {
    name: 'topics, their counters and what they have lost outlive a restart, and so does what is known',
    durableOnly: true,
    async run(f) {
      const twin = event({ topic: 'a', identity: 'd'.repeat(43), knownUntil: f.clock.now() + 60_000 });
      const [first] = await f.engine.append([twin], f.clock.now());
      await publish(f, 'a', 'b.c');
      const { number } = await topicNamed(f, 'a');
      await f.engine.trim(
        { topic: number, olderThan: null, keepBytes: 0, notBeyond: (first as { position: number }).position, limit: 9 },
        f.clock.now(),
      );
      const before = await f.engine.topics();
      await f.reopen();
      assert.deepEqual(await f.engine.topics(), before);
      assert.deepEqual(topicsOf(await read(f, ['**'])), ['a', 'b.c']);
      const [again] = await f.engine.append([twin], f.clock.now());
      assert.deepEqual(again, { kind: 'repeated', position: (first as { position: number }).position });
    },
  },
];
