// The log: facts of a namespace at growing positions, read in order from any of them.
import assert from 'node:assert/strict';
import type { EventPage, ReadWanted } from '../topics.ts';
import { type Case, type Fixture, within } from './fixture.ts';
import { append, event, raceOverLog } from './log-race.ts';

const read = (f: Fixture, more: Partial<ReadWanted> = {}): Promise<EventPage> =>
  f.engine.read({ namespace: 'default', topics: ['**'], after: 0, limit: 100, maxBytes: 1e8, ...more });

const write = (f: Fixture, ...events: Parameters<typeof event>[0][]) =>
  append(f, f.clock.now(), ...events.map((one) => one ?? {}));

const positionsOf = (page: EventPage): number[] => page.events.map((e) => e.position);
const topicsOf = (page: EventPage): string[] => page.events.map((e) => e.topic);

export const logCases: Case[] = [
  {
    name: 'events come back in the order of their batch, with all they were given, at growing positions',
    async run(f) {
      const positions = await write(f, { topic: 'a', head: '{"n": 1}' }, { topic: 'b' }, { topic: 'c' });
      const at = f.clock.now();
      f.clock.advance(1000);
      positions.push(...(await write(f, { topic: 'd' })));
      assert.ok(positions.every((position, i) => position > (positions[i - 1] ?? 0)));
      const page = await read(f);
      assert.deepEqual(positionsOf(page), positions);
      assert.deepEqual(topicsOf(page), ['a', 'b', 'c', 'd']);
      assert.equal(page.last, positions[3]);
      const [first, , , fourth] = page.events;
      assert.equal(first?.head, '{"n": 1}');
      assert.equal(Buffer.from(first.body).toString(), 'fact');
      assert.deepEqual([first.appendedAt, fourth?.appendedAt], [at, at + 1000]);
    },
  },
  {
    name: 'namespaces do not see each other, also when their events come in one batch',
    async run(f) {
      const namespaces = ['left', 'right', 'left', 'right', 'left'];
      const positions = await write(f, ...namespaces.map((namespace, i) => ({ namespace, topic: `t${i}` })));
      const left = await read(f, { namespace: 'left' });
      const right = await read(f, { namespace: 'right' });
      assert.deepEqual(topicsOf(left), ['t0', 't2', 't4']);
      assert.deepEqual(topicsOf(right), ['t1', 't3']);
      assert.deepEqual(positionsOf(left), [positions[0], positions[2], positions[4]]);
      assert.deepEqual([left.last, right.last], [positions[4], positions[3]]);
      assert.deepEqual(await read(f, { namespace: 'LEFT' }), {
        epoch: left.epoch,
        events: [],
        last: 0,
        readTo: 0,
        removedTo: 0,
      });
    },
  },
  {
    name: 'an empty namespace has a history of its own name, no events and no newest position',
    async run(f) {
      const empty = await read(f);
      assert.deepEqual({ events: empty.events, last: empty.last }, { events: [], last: 0 });
      assert.match(empty.epoch, /\S/);
      await write(f, {});
      assert.equal((await read(f)).epoch, empty.epoch);
    },
  },
  {
    name: 'a reader goes on after any position, a page at a time',
    async run(f) {
      const positions = await write(f, ...Array.from({ length: 25 }, () => ({})));
      const seen: number[] = [];
      for (let page = await read(f, { limit: 10 }); page.events.length > 0;) {
        assert.ok(page.events.length <= 10);
        assert.equal(page.last, positions[24]);
        seen.push(...positionsOf(page));
        page = await read(f, { limit: 10, after: seen.at(-1)! });
      }
      assert.deepEqual(seen, positions);
      assert.deepEqual(positionsOf(await read(f, { after: positions[11]!, limit: 2 })), [positions[12], positions[13]]);
      assert.deepEqual(positionsOf(await read(f, { after: positions[24]! })), []);
    },
  },
  {
    name: 'a position from beyond the end, as from a history that was lost, gives an empty page and not an error',
    async run(f) {
      const [position] = await write(f, {});
      const page = await read(f, { after: Number.MAX_SAFE_INTEGER });
      assert.deepEqual([page.events, page.last], [[], position]);
    },
  },
  {
    name: 'large bodies end a page before its number does, but one event is always given',
    async run(f) {
      const positions = await write(f, ...Array.from({ length: 3 }, () => ({ body: Buffer.alloc(1000) })));
      assert.deepEqual(positionsOf(await read(f, { maxBytes: 2500 })), [positions[0], positions[1]]);
      assert.deepEqual(positionsOf(await read(f, { maxBytes: 2000 })), [positions[0], positions[1]]);
      assert.deepEqual(positionsOf(await read(f, { maxBytes: 10 })), [positions[0]]);
      assert.deepEqual(positionsOf(await read(f, { after: positions[0]!, maxBytes: 1999 })), [positions[1]]);
    },
  },
  {
    name: 'bodies are bytes and heads are text, both kept as they are',
    async run(f) {
      const everyByte = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
      const large = Buffer.alloc(1_048_576, everyByte);
      const head = '{ "n":1e999, "n":9007199254740993, "é\\u0000":"\u{1f600}" }';
      await write(f, { body: everyByte, head }, { body: Buffer.alloc(0) }, { body: large });
      const { events } = await read(f);
      assert.ok(Buffer.from(events[0]!.body).equals(everyByte));
      assert.equal(events[0]!.head, head);
      assert.equal(events[1]!.body.length, 0);
      assert.ok(Buffer.from(events[2]!.body).equals(large));
    },
  },
  {
    name: 'an event the store cannot take is refused alone, and the others of its batch are written',
    async run(f) {
      // No topic at all is what a defect in a caller looks like to the store.
      const bad = event({ topic: null as unknown as string });
      const outcomes = await f.engine.append([event({ topic: 'a' }), bad, event({ topic: 'b' })], f.clock.now());
      assert.deepEqual(
        outcomes.map((o) => o.kind),
        ['appended', 'refused', 'appended'],
      );
      const page = await read(f);
      assert.deepEqual(topicsOf(page), ['a', 'b']);
      assert.deepEqual(
        positionsOf(page),
        outcomes.flatMap((o) => (o.kind === 'appended' ? [o.position] : [])),
      );
    },
  },
  {
    name: 'who listens is told that the log has grown, and then finds it there',
    async run(f) {
      const told = new Promise<void>((resolve) =>
        f.engine.onSignal((signal) => signal.kind === 'events' && signal.namespace === 'told' && resolve()),
      );
      const appended = write(f, { namespace: 'told' });
      await within(told, 'a signal that the log has grown');
      assert.equal((await read(f, { namespace: 'told' })).events.length, 1);
      await appended;
    },
  },
  {
    name: 'positions and the name of the history outlive a restart',
    durableOnly: true,
    async run(f) {
      const before = await write(f, { body: Buffer.from('kept') }, {});
      const { epoch } = await read(f);
      await f.reopen();
      const kept = await read(f);
      assert.deepEqual(positionsOf(kept), before);
      assert.equal(kept.epoch, epoch);
      assert.equal(Buffer.from(kept.events[0]!.body).toString(), 'kept');
      const [after] = await write(f, {});
      assert.ok(after! > before[1]!);
    },
  },
  {
    name: 'a reader never skips a position, however many write at once',
    async run(f) {
      await raceOverLog(f, [f], { writersPerNode: 8, batches: 30 });
    },
  },
];
