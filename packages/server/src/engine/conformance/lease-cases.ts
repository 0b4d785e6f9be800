// Leases: one holder at a time, oldest first, fair among namespaces and among those who wait.
import assert from 'node:assert/strict';
import { type Case, seqsOfNew } from './fixture.ts';
import { seqsOf, shareOut } from './takers.ts';

export const leaseCases: Case[] = [
  {
    name: 'an operation is held by one lease only',
    async run(f) {
      for (let i = 0; i < 20; i++) await f.submit();
      const taken = (await Promise.all(Array.from({ length: 8 }, () => f.lease({ max: 5 })))).flat();
      for (let rest = await f.lease(); rest.length > 0; rest = await f.lease()) taken.push(...rest);
      assert.equal(taken.length, 20);
      assert.equal(new Set(taken.map((l) => l.seq)).size, 20);
    },
  },
  {
    name: 'smaller ranks go first, equal ranks in the order they came',
    async run(f) {
      const late = await f.submit({ rank: 200 });
      const early = await f.submit({ rank: 100 });
      const twin = await f.submit({ rank: 200 });
      assert.deepEqual(
        (await f.lease()).map((l) => l.seq),
        [early, late, twin],
      );
    },
  },
  {
    name: 'a lease knows its attempt and number, and the operation shows that it runs',
    async run(f) {
      const submission = await f.submission();
      await f.engine.submit([submission], f.clock.now());
      const [lease] = await f.lease({ worker: 'anna' });
      assert.equal(lease?.attempt, 1);
      assert.equal(lease.leaseNo, 1);
      assert.equal(lease.leaseUntil, f.clock.now() + 30_000);
      const record = await f.engine.operation({ seq: lease.seq, nonce: lease.nonce, namespace: 'default' });
      assert.equal(record?.status, 'running');
      assert.equal(record.worker, 'anna');
      assert.equal(record.startedAt, f.clock.now());
    },
  },
  {
    name: 'who waits gets what is submitted later',
    async run(f) {
      const waiting = f.lease({ wait: true }, new AbortController().signal);
      const seq = await f.submit();
      assert.deepEqual(
        (await waiting).map((l) => l.seq),
        [seq],
      );
    },
  },
  {
    name: 'who stops waiting gets nothing and takes nothing away',
    async run(f) {
      const abort = new AbortController();
      const waiting = f.lease({ wait: true }, abort.signal);
      await f.engine.counts();
      abort.abort();
      assert.deepEqual(await waiting, []);
      const seq = await f.submit();
      assert.deepEqual(
        (await f.lease()).map((l) => l.seq),
        [seq],
      );
    },
  },
  {
    name: 'a burst goes to those who wait, each operation to one of them',
    async run(f) {
      const burst = await Promise.all(Array.from({ length: 40 }, () => f.submission()));
      let stored: number[] = [];
      const given = await shareOut([f, f, f, f], {
        count: burst.length,
        wanted: { max: 3 },
        submit: async () => (stored = seqsOfNew(await f.engine.submit(burst, f.clock.now()))),
      });
      assert.deepEqual(seqsOf(given.flat()), stored);
    },
  },
  {
    name: 'who waits in one namespace gets nothing of another',
    async run(f) {
      const abort = new AbortController();
      const waiting = f.lease({ wait: true, namespace: 'other' }, abort.signal);
      await f.submit();
      await f.engine.counts();
      abort.abort();
      assert.deepEqual(await waiting, []);
      assert.equal((await f.lease({ namespace: 'default' })).length, 1);
    },
  },
  {
    name: 'namespaces take turns, however much one of them has waiting',
    async run(f) {
      const other = (await f.engine.queue('other', 'work')).id;
      for (let i = 0; i < 20; i++) await f.submit();
      for (let i = 0; i < 3; i++) await f.submit({ queue: other });
      const leases = await f.lease({ max: 6 });
      assert.equal(leases.filter((l) => l.queue === other).length, 3);
    },
  },
  {
    name: 'large bodies end a hand-out before its number does, but one is always given',
    async run(f) {
      for (let i = 0; i < 3; i++) await f.submit({ body: Buffer.alloc(1000) });
      assert.equal((await f.lease({ maxBytes: 1500 })).length, 1);
      assert.equal((await f.lease({ maxBytes: 10 })).length, 1);
    },
  },
  {
    name: 'what may not start yet is not handed out',
    async run(f) {
      await f.submit({ runAt: f.clock.now() + 5000 });
      assert.deepEqual(await f.lease(), []);
      f.clock.advance(5000);
      assert.equal((await f.engine.sweep(f.clock.now(), { removeExpired: true })).promoted, 1);
      assert.equal((await f.lease()).length, 1);
    },
  },
];
