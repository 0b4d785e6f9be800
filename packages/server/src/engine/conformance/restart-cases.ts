// A restart: everything accepted is there, leases of workers live on, attempts of the old process are made again.
import assert from 'node:assert/strict';
import { type Case, result } from './fixture.ts';

export const restartCases: Case[] = [
  {
    name: 'what was accepted, leased and answered is there after a restart',
    durableOnly: true,
    async run(f) {
      const submission = await f.submission({ body: Buffer.from('kept'), correlationId: 'c' });
      await f.engine.submit([submission], f.clock.now());
      const answered = await f.submit({ rank: 1 });
      const [lease] = await f.lease({ max: 1 });
      await f.settle(lease!, { to: 'succeeded', result: result('yes') });
      const engine = await f.reopen();
      assert.equal(Buffer.from((await engine.result(answered))!.body!).toString(), 'yes');
      const [again] = await f.lease();
      assert.equal(again?.nonce, submission.nonce);
      assert.equal(Buffer.from(again.body!).toString(), 'kept');
    },
  },
  {
    name: 'a number is never given twice, also across a restart',
    durableOnly: true,
    async run(f) {
      const before = await f.submit();
      await f.reopen();
      assert.ok((await f.submit()) > before);
    },
  },
  {
    name: "a pull worker's lease survives a restart, a push attempt is queued again at once without using an attempt",
    durableOnly: true,
    async run(f) {
      const pulled = await f.submit({ rank: 1 });
      const [worker] = await f.lease({ max: 1 });
      const pushed = await f.submit({ rank: 2 });
      const [push] = await f.lease({ max: 1, kind: 'push' });
      await f.reopen();
      const [again, ...more] = await f.lease();
      assert.deepEqual(more, []);
      assert.equal(again?.seq, pushed);
      assert.equal(again.attempt, 1);
      assert.equal(again.leaseNo, 2);
      assert.equal((await f.settle(push!, { to: 'succeeded', result: result('stale') }))[0]?.kind, 'lost');
      assert.equal((await f.settle(worker!, { to: 'succeeded', result: result('good') }))[0]?.kind, 'recorded');
      assert.equal(worker!.seq, pulled);
    },
  },
  {
    name: 'an idempotency key holds across a restart',
    durableOnly: true,
    async run(f) {
      const idempotency = { key: 'k', fingerprint: 'f', expiresAt: f.clock.now() + 60_000, retryFailed: false };
      await f.submit({ idempotency });
      const engine = await f.reopen();
      const [outcome] = await engine.submit([await f.submission({ idempotency })], f.clock.now());
      assert.equal(outcome?.kind, 'replayed');
    },
  },
  {
    name: 'the store remembers its key and the latest time it has seen',
    durableOnly: true,
    async run(f) {
      f.clock.advance(60_000);
      await f.submit();
      const later = f.clock.now();
      const first = f.opened.storeKey;
      await f.reopen();
      assert.equal(f.opened.storeKey, first);
      assert.ok(f.opened.lastTimeMs >= later - 2000 && f.opened.lastTimeMs <= later);
    },
  },
  {
    name: 'the time between two runs costs no worker its lease',
    durableOnly: true,
    async run(f) {
      await f.submit();
      const [lease] = await f.lease({ leaseMs: 10_000 });
      await f.engine.close();
      f.clock.advance(300_000);
      const engine = await f.reopen();
      assert.deepEqual((await engine.sweep(f.clock.now(), { removeExpired: true })).due, []);
      assert.equal((await f.settle(lease!, { to: 'succeeded', result: result('good') }))[0]?.kind, 'recorded');
    },
  },
];
