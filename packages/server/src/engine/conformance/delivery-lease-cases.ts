// Sending: each delivery is given out once, fairly by outlet, and what became of a try is written with the try.
import assert from 'node:assert/strict';
import { type Case, type Fixture, within } from './fixture.ts';
import {
  callback,
  deliveriesOf,
  deliveryOf,
  ill,
  later,
  leaseDeliveries,
  leaseOne,
  numbersOf,
  placesOf,
  settleDelivery,
  settlement,
  tell,
  tellMany,
} from './tellings.ts';

/** Resolves once the engine says that there may be something to send. */
const due = (f: Fixture): Promise<void> =>
  within(
    new Promise((resolve) => f.engine.onSignal(({ kind }) => (kind === 'due' || kind === 'deliveries') && resolve())),
    'the engine says that a delivery is due',
  );

export const deliveryLeaseCases: Case[] = [
  {
    name: 'a delivery is given out once, with all that is needed to send it, and counts as begun',
    async run(f) {
      const seq = await tell(f, callback('shop', { progress: true, correlationId: 'c' }));
      const [waiting] = await deliveriesOf(f, seq);
      f.clock.advance(50);
      const [lease, ...others] = await leaseDeliveries(f);
      assert.deepEqual(others, []);
      const { state, nextAt, endedAt, code, ...bare } = waiting!;
      assert.deepEqual([state, nextAt, endedAt, code], ['waiting', f.clock.now() - 50, null, null]);
      assert.deepEqual(lease, { ...bare, attempt: 1, leaseNo: lease!.leaseNo });
      assert.deepEqual(await leaseDeliveries(f), []);
      assert.deepEqual(await deliveryOf(f, lease.number), { ...waiting, state: 'sending', attempt: 1, nextAt: null });
    },
  },
  {
    name: 'of much that waits for one and little for others each gets its turn, and at most so many are given out as were asked for',
    async run(f) {
      await tellMany(f, 20, 'flood');
      await tellMany(f, 2, 'one');
      await tellMany(f, 1, 'two');
      assert.deepEqual(placesOf(await leaseDeliveries(f, { max: 3 })), ['flood', 'one', 'two']);
      assert.deepEqual(placesOf(await leaseDeliveries(f, { max: 4 })), ['flood', 'flood', 'flood', 'one']);
      assert.equal((await leaseDeliveries(f)).length, 16);
    },
  },
  {
    name: 'who asks for one at a time gets to everybody in turn too',
    async run(f) {
      await tellMany(f, 20, 'flood');
      await tellMany(f, 20, 'wave');
      f.clock.advance(10);
      await tellMany(f, 1, 'drop');
      const places: string[] = [];
      for (let i = 0; i < 9; i++) {
        f.clock.advance(10);
        places.push(...placesOf([await leaseOne(f)]));
      }
      assert.ok(places.slice(0, 3).includes('drop'), `the drop is among the first three: ${places.join(' ')}`);
      assert.equal(places.filter((place) => place === 'flood').length, 4);
      assert.equal(places.filter((place) => place === 'wave').length, 4);
    },
  },
  {
    name: 'what becomes of a try is recorded with the try: delivered, tried again, given up',
    async run(f) {
      await tellMany(f, 4);
      const leases = await leaseDeliveries(f);
      const [done, failed, spared, dead] = leases;
      const startedAt = f.clock.now();
      f.clock.advance(5);
      const at = f.clock.now() + 1000;
      const batch = [
        settlement(f, done!),
        settlement(f, failed!, { to: 'waiting', at, failed: true }),
        settlement(f, spared!, { to: 'waiting', at, failed: false }),
        settlement(f, dead!, { to: 'dead' }),
      ].map((one) => ({ ...one, tried: { ...one.tried, at: startedAt } }));
      const outcomes = await f.engine.settleDeliveries(batch, f.clock.now());
      assert.deepEqual(
        outcomes.map(({ kind }) => kind),
        ['recorded', 'recorded', 'recorded', 'recorded'],
      );
      const now = f.clock.now();
      const found = await Promise.all(leases.map(({ number }) => f.engine.delivery(number, 'default')));
      assert.deepEqual(
        found.map((one) => {
          const { state, attempt, nextAt, endedAt, code } = one!.delivery;
          return [state, attempt, nextAt, endedAt, code];
        }),
        [
          ['delivered', 1, null, now, null],
          ['waiting', 1, at, null, 'bad-status'],
          ['waiting', 1, at, null, 'bad-status'],
          ['dead', 1, null, now, 'bad-status'],
        ],
      );
      assert.deepEqual(
        found.map((one) => one!.delivery.failures),
        [0, 1, 0, 1],
      );
      const [first] = found[1]!.attempts;
      assert.deepEqual(found[1]!.attempts, [{ attempt: 1, ...batch[1]!.tried, answer: first!.answer, nextAt: at }]);
      assert.deepEqual([...first!.answer!], [0, 255, 10]);
      assert.deepEqual(found[0]!.attempts, [{ attempt: 1, ...batch[0]!.tried, nextAt: null }]);
      f.clock.advance(999);
      assert.deepEqual(await leaseDeliveries(f), []);
      f.clock.advance(1);
      const again = await leaseDeliveries(f);
      assert.deepEqual(numbersOf(again), numbersOf([failed!, spared!]));
      assert.deepEqual(
        new Map(again.map(({ number, attempt, failures }) => [number, [attempt, failures]])),
        new Map([
          [failed!.number, [2, 1]],
          [spared!.number, [2, 0]],
        ]),
      );
    },
  },
  {
    name: 'a lease is settled once, by its own number, and a refused one changes nothing in its batch',
    async run(f) {
      await tellMany(f, 2);
      const [one, two] = await leaseDeliveries(f);
      const outcomes = await f.engine.settleDeliveries(
        [
          settlement(f, { ...one!, leaseNo: one!.leaseNo + 1 }, { to: 'dead' }),
          settlement(f, { number: 9e12, leaseNo: 1 }),
          settlement(f, one!, later(f, 0)),
          settlement(f, two!),
          settlement(f, two!, { to: 'dead' }),
        ],
        f.clock.now(),
      );
      assert.deepEqual(
        outcomes.map(({ kind }) => kind),
        ['lost', 'unknown', 'recorded', 'recorded', 'lost'],
      );
      const again = await leaseOne(f);
      assert.equal(again.number, one!.number);
      assert.notEqual(again.leaseNo, one!.leaseNo);
      assert.equal((await settleDelivery(f, one!)).kind, 'lost');
      assert.equal((await settleDelivery(f, again)).kind, 'recorded');
      assert.deepEqual((await f.engine.delivery(two!.number, 'default'))!.attempts.length, 1);
    },
  },
  {
    name: 'of deliveries to several places that wait for different times the engine says each by itself',
    async run(f) {
      await tellMany(f, 1, 'one');
      await tellMany(f, 1, 'two');
      const [one, two] = await leaseDeliveries(f);
      const first = due(f);
      await settleDelivery(f, one!, later(f, 20));
      await settleDelivery(f, two!, later(f, 60));
      await first;
      f.clock.advance(20);
      const second = due(f);
      await f.engine.sweep(f.clock.now(), { removeExpired: true });
      await second;
      f.clock.advance(40);
      assert.deepEqual(numbersOf(await leaseDeliveries(f)), numbersOf([one!, two!]));
    },
  },
  {
    name: 'the engine says by itself when a delivery is due again, when an outlet may be tried again, and when a try took too long',
    async run(f) {
      await tell(f);
      const first = await leaseOne(f);
      const again = due(f);
      await settleDelivery(f, first, later(f, 30));
      await again;
      f.clock.advance(30);
      const second = await leaseOne(f);
      const probe = due(f);
      await settleDelivery(f, second, later(f, 0), ill(f, { tripAt: 1, forMs: 30 }));
      await probe;
      assert.deepEqual(await leaseDeliveries(f), []);
      f.clock.advance(30);
      const end = due(f);
      const { number } = await leaseOne(f, { leaseMs: 30 });
      await end;
      f.clock.advance(31);
      await f.engine.sweep(f.clock.now(), { removeExpired: true });
      assert.equal((await deliveryOf(f, number)).state, 'waiting', 'nothing was heard of it');
    },
  },
  {
    name: 'of nodes that lease at once each delivery is given to one, and the limit of an outlet is that of all of them',
    sharedOnly: true,
    async run(f) {
      const nodes = [f, { ...(await f.another()), clock: f.clock }];
      await tellMany(f, 40, 'many');
      await tellMany(f, 10, 'few');
      const given = await Promise.all(
        [...nodes, ...nodes].map((node) => leaseDeliveries(node, { max: 8, maxInFlight: 12 })),
      );
      let leases = given.flat();
      for (let more = leases; more.length > 0; leases = [...leases, ...more])
        more = (await Promise.all(nodes.map((node) => leaseDeliveries(node, { max: 8, maxInFlight: 12 })))).flat();
      const places = placesOf(leases);
      assert.equal(new Set(numbersOf(leases)).size, leases.length);
      assert.deepEqual([places.filter((p) => p === 'many').length, places.filter((p) => p === 'few').length], [12, 10]);
    },
  },
];
