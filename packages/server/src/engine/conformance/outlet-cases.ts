// Outlets: each has its own limit of what is under way, and one that fails again and again holds up nobody else.
import assert from 'node:assert/strict';
import type { Case } from './fixture.ts';
import {
  callback,
  ill,
  later,
  leaseDeliveries,
  leaseOne,
  noNews,
  placesOf,
  settleDelivery,
  tell,
  tellMany,
  well,
} from './tellings.ts';

export const outletCases: Case[] = [
  {
    name: 'an outlet has no more under way than its limit, also after some of it is done, and others have their own',
    async run(f) {
      await tellMany(f, 5, 'slow');
      await tellMany(f, 1, 'other');
      const leases = await leaseDeliveries(f, { maxInFlight: 2 });
      assert.deepEqual(placesOf(leases), ['other', 'slow', 'slow']);
      assert.deepEqual(await leaseDeliveries(f, { maxInFlight: 2 }), []);
      await tellMany(f, 1, 'late');
      assert.deepEqual(
        placesOf(await leaseDeliveries(f, { max: 1, maxInFlight: 2 })),
        ['late'],
        'a full one is in nobody’s way',
      );
      const slow = leases.filter(({ callback: { outlet } }) => outlet === callback('slow').outlet);
      await settleDelivery(f, slow[0]!);
      assert.deepEqual(placesOf(await leaseDeliveries(f, { maxInFlight: 2 })), ['slow']);
      await settleDelivery(f, slow[1]!, later(f));
      assert.deepEqual(placesOf(await leaseDeliveries(f, { maxInFlight: 2 })), ['slow']);
      assert.deepEqual(placesOf(await leaseDeliveries(f, { maxInFlight: 3 })), ['slow']);
    },
  },
  {
    name: 'outlets of one name in two namespaces are two',
    async run(f) {
      const queue = (await f.engine.queue('other', 'work')).id;
      await tellMany(f, 2);
      await tell(f, callback(), { queue });
      const leases = await leaseDeliveries(f, { maxInFlight: 1 });
      assert.deepEqual(leases.map(({ namespace }) => namespace).sort(), ['default', 'other']);
      const other = leases.find(({ namespace }) => namespace === 'other')!;
      await settleDelivery(f, other, later(f), ill(f, { tripAt: 1 }));
      await settleDelivery(
        f,
        leases.find((lease) => lease !== other)!,
      );
      assert.deepEqual(
        (await leaseDeliveries(f)).map(({ namespace }) => namespace),
        ['default'],
      );
    },
  },
  {
    name: 'an outlet that failed so often in a row is blocked until then, and after that one delivery tries it',
    async run(f) {
      await tellMany(f, 6, 'dead');
      const [one, two, three, four] = await leaseDeliveries(f, { max: 4 });
      assert.deepEqual(await settleDelivery(f, one!, later(f, 1000), ill(f)), {
        kind: 'recorded',
        outlet: { failures: 1, blockedUntil: null },
      });
      const blockedUntil = f.clock.now() + 10_000;
      assert.deepEqual(await settleDelivery(f, two!, later(f, 1000), ill(f)), {
        kind: 'recorded',
        outlet: { failures: 2, blockedUntil },
      });
      await tellMany(f, 1, 'sound');
      assert.deepEqual(placesOf(await leaseDeliveries(f)), ['sound']);
      f.clock.advance(9_999);
      assert.deepEqual(await leaseDeliveries(f), []);
      f.clock.advance(1);
      assert.deepEqual(await leaseDeliveries(f), [], 'two of before are still under way');
      await settleDelivery(f, four!, later(f, 1000), noNews);
      assert.deepEqual(await leaseDeliveries(f), [], 'one of before is still under way');
      assert.deepEqual(await settleDelivery(f, three!, later(f, 1000), noNews), { kind: 'recorded', outlet: null });
      const probe = await leaseOne(f, { max: 10 });
      assert.deepEqual(await leaseDeliveries(f), [], 'the probe is alone');
      assert.deepEqual(await settleDelivery(f, probe, later(f, 1000), ill(f)), {
        kind: 'recorded',
        outlet: { failures: 3, blockedUntil: f.clock.now() + 10_000 },
      });
      assert.deepEqual(await leaseDeliveries(f), []);
      f.clock.advance(10_000);
      const second = await leaseOne(f, { max: 10 });
      assert.deepEqual(await settleDelivery(f, second, { to: 'delivered' }, well), {
        kind: 'recorded',
        outlet: { failures: 0, blockedUntil: null },
      });
      assert.equal((await leaseDeliveries(f)).length, 5);
    },
  },
  {
    name: 'only failures in a row block an outlet',
    async run(f) {
      await tellMany(f, 6);
      const leases = await leaseDeliveries(f, { max: 3 });
      await settleDelivery(f, leases[0]!, later(f), ill(f));
      await settleDelivery(f, leases[1]!, { to: 'dead' }, well);
      const outcome = await settleDelivery(f, leases[2]!, later(f), ill(f));
      assert.deepEqual(outcome, { kind: 'recorded', outlet: { failures: 1, blockedUntil: null } });
      assert.equal((await leaseDeliveries(f)).length, 3);
    },
  },
];
