// How long deliveries are kept, what goes with their operation, and how they are found.
import assert from 'node:assert/strict';
import type { DeliveryFilter } from '../deliveries.ts';
import { type Case, type Fixture, result } from './fixture.ts';
import { callback, later, leaseDeliveries, leaseOne, noNews, settleDelivery, tell } from './tellings.ts';

const dayMs = 86_400_000;

/** Hours go by, with a sweep in each. */
async function hours(f: Fixture, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    f.clock.advance(dayMs / 24);
    await f.engine.sweep(f.clock.now(), { removeExpired: true });
  }
}

const isKept = async (f: Fixture, seq: number): Promise<boolean> => (await f.engine.recordsOf([seq])).length === 1;

export const deliveryRetentionCases: Case[] = [
  {
    name: 'an operation is kept while somebody is to be told of it and for a day after, and goes with all its deliveries',
    async run(f) {
      const seq = await tell(f, callback(), { retentionMs: 60_000 });
      const quiet = await f.submit({ retentionMs: 60_000, callback: null });
      const [lease] = await f.lease();
      await f.settle(lease!, { to: 'succeeded', result: result('x') });
      await hours(f, 30);
      assert.equal(await isKept(f, quiet), false, 'nobody is told of it');
      assert.equal(await isKept(f, seq), true, 'it waits to be told');
      const first = await leaseOne(f, { leaseMs: dayMs });
      await hours(f, 3);
      assert.equal(await isKept(f, seq), true, 'it is being told');
      await settleDelivery(f, first);
      await hours(f, 23);
      assert.equal(await isKept(f, seq), true, 'it was told less than a day ago');
      await hours(f, 3);
      assert.equal(await isKept(f, seq), false);
      assert.equal(await f.engine.delivery(first.number, 'default'), undefined);
      assert.deepEqual(await f.engine.deliveries({ namespace: 'default', limit: 10 }), []);
      assert.deepEqual(await f.engine.redeliver(first.number, 'default', f.clock.now()), { kind: 'unknown' });
    },
  },
  {
    name: 'a purged operation takes its deliveries along: those under way are unknown then, and their room is free',
    async run(f) {
      const gone = await tell(f);
      const stays = await tell(f);
      const lease = await leaseOne(f, { maxInFlight: 1 });
      assert.equal(lease.operation.seq, gone);
      assert.deepEqual(await leaseDeliveries(f, { maxInFlight: 1 }), []);
      assert.equal(await f.engine.purge({ ...lease.operation, namespace: 'default' }), true);
      assert.deepEqual(await settleDelivery(f, lease, { to: 'dead' }, noNews), { kind: 'unknown' });
      assert.equal(await f.engine.delivery(lease.number, 'default'), undefined);
      assert.equal((await leaseOne(f, { maxInFlight: 1 })).operation.seq, stays);
      const waiting = await tell(f);
      const [record] = await f.engine.recordsOf([waiting]);
      assert.equal(await f.engine.purge({ seq: waiting, nonce: record!.nonce, namespace: 'default' }), true);
      assert.deepEqual(await leaseDeliveries(f), []);
    },
  },
  {
    name: 'deliveries are listed newest first, by operation and by state, page by page, and each namespace has its own',
    async run(f) {
      const queue = (await f.engine.queue('other', 'work')).id;
      const seqs: number[] = [];
      for (let i = 0; i < 4; i++) seqs.push(await tell(f, callback()));
      const theirs = await tell(f, callback(), { queue });
      const all = await f.engine.deliveries({ namespace: 'default', limit: 10 });
      assert.deepEqual(
        all.map(({ operation: { seq } }) => seq),
        [...seqs].reverse(),
      );
      const of = async (more: Partial<DeliveryFilter>): Promise<number[]> =>
        (await f.engine.deliveries({ namespace: 'default', limit: 10, ...more })).map(({ operation: { seq } }) => seq);
      const leases = await leaseDeliveries(f);
      const leaseOf = (seq: number) => leases.find(({ operation }) => operation.seq === seq)!;
      await settleDelivery(f, leaseOf(seqs[0]!));
      await settleDelivery(f, leaseOf(seqs[1]!), { to: 'dead' });
      await settleDelivery(f, leaseOf(seqs[2]!), later(f, 1000));
      await settleDelivery(f, leaseOf(theirs), { to: 'dead' });
      assert.deepEqual(await of({ state: 'delivered' }), [seqs[0]]);
      assert.deepEqual(await of({ state: 'dead' }), [seqs[1]]);
      assert.deepEqual(await of({ state: 'waiting' }), [seqs[2]]);
      assert.deepEqual(await of({ state: 'sending' }), [seqs[3]]);
      assert.deepEqual(await of({}), [...seqs].reverse());
      assert.deepEqual(await of({ limit: 3 }), [seqs[3], seqs[2], seqs[1]]);
      assert.deepEqual(await of({ before: all[2]!.number }), [seqs[0]]);
      assert.deepEqual(await of({ before: all[3]!.number }), []);
      assert.deepEqual(await of({ seq: seqs[1]! }), [seqs[1]]);
      assert.deepEqual(await of({ seq: seqs[1]!, state: 'waiting' }), []);
      assert.deepEqual(await of({ seq: seqs[1]!, state: 'dead' }), [seqs[1]]);
      assert.deepEqual(await of({ seq: theirs }), []);
      assert.deepEqual(await of({ namespace: 'other' }), [theirs]);
      assert.deepEqual(await of({ namespace: 'other', state: 'dead' }), [theirs]);
      assert.deepEqual(await of({ namespace: 'nobody' }), []);
      const { number } = leaseOf(theirs);
      assert.equal(await f.engine.delivery(number, 'default'), undefined);
      assert.equal((await f.engine.delivery(number, 'other'))?.delivery.namespace, 'other');
    },
  },
];
