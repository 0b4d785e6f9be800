// Sweep: the clock's share. It reports what ran out, records what the core decides about it, and forgets what has expired.
import assert from 'node:assert/strict';
import { type Case, result } from './fixture.ts';
import { seconds } from './rounds.ts';

const all = { removeExpired: true };
const timedOut = { to: 'failed' as const, error: { code: 'timed-out', message: 'm' }, result: null };

export const sweepCases: Case[] = [
  {
    name: 'nothing is due before its time',
    async run(f) {
      await f.submit({ deadlineAt: f.clock.now() + 1000, startByAt: f.clock.now() + 900 });
      f.clock.advance(899);
      assert.deepEqual((await f.engine.sweep(f.clock.now(), all)).due, []);
    },
  },
  {
    name: 'an expired lease, a missed start-by and a passed deadline are each reported as what they are',
    async run(f) {
      const now = f.clock.now();
      const leased = await f.submit({ rank: 1 });
      await f.lease({ max: 1, leaseMs: 1000 });
      const unstarted = await f.submit({ startByAt: now + 1000 });
      const late = await f.submit({ deadlineAt: now + 1000 });
      f.clock.advance(1000);
      const { due } = await f.engine.sweep(f.clock.now(), all);
      assert.deepEqual(
        new Map(due.map((d) => [d.seq, d.reason])),
        new Map([
          [leased, 'lease-expired'],
          [unstarted, 'not-started-in-time'],
          [late, 'timed-out'],
        ]),
      );
    },
  },
  {
    name: 'a decision about a due operation is recorded once, and only while nothing else happened to it',
    async run(f) {
      await f.submit({ deadlineAt: f.clock.now() + 1000 });
      f.clock.advance(1000);
      const { due } = await f.engine.sweep(f.clock.now(), all);
      const decision = [{ seq: due[0]!.seq, version: due[0]!.version, transition: timedOut }];
      assert.deepEqual(await f.engine.applyClock(decision, f.clock.now()), [true]);
      assert.deepEqual(await f.engine.applyClock(decision, f.clock.now()), [false]);
      assert.deepEqual((await f.engine.sweep(f.clock.now(), all)).due, []);
      assert.deepEqual(await f.lease(), []);
    },
  },
  {
    name: 'an operation whose lease expired goes to the next holder, the old one is refused',
    async run(f) {
      await f.submit();
      const [zombie] = await f.lease({ leaseMs: 1000 });
      f.clock.advance(1001);
      const { due } = await f.engine.sweep(f.clock.now(), all);
      const now = f.clock.now();
      await f.engine.applyClock(
        [
          {
            seq: due[0]!.seq,
            version: due[0]!.version,
            transition: {
              to: 'queued',
              runAt: now,
              rank: now,
              attemptUsed: true,
              error: { code: 'lease-expired', message: 'm' },
            },
          },
        ],
        now,
      );
      const [next] = await f.lease();
      assert.equal(next?.attempt, 2);
      assert.equal((await f.settle(zombie!, { to: 'succeeded', result: result('stale') }))[0]?.kind, 'lost');
      assert.equal((await f.settle(next, { to: 'succeeded', result: result('good') }))[0]?.kind, 'recorded');
    },
  },
  {
    name: 'an answer that beats the clock stands',
    async run(f) {
      await f.submit();
      const [lease] = await f.lease({ leaseMs: 1000 });
      f.clock.advance(999);
      await f.settle(lease!, { to: 'succeeded', result: result('in time') });
      f.clock.advance(10);
      assert.deepEqual((await f.engine.sweep(f.clock.now(), all)).due, []);
    },
  },
  {
    name: 'ended operations are removed after their retention, not before, and not while removal is held back',
    async run(f) {
      await f.submit({ retentionMs: 5000 });
      const [lease] = await f.lease();
      await f.settle(lease!, { to: 'succeeded', result: result('x') });
      f.clock.advance(4999);
      assert.equal((await f.engine.sweep(f.clock.now(), all)).removed, 0);
      f.clock.advance(1);
      assert.equal((await f.engine.sweep(f.clock.now(), { removeExpired: false })).removed, 0);
      assert.equal((await f.engine.sweep(f.clock.now(), all)).removed, 1);
      assert.equal(await f.engine.result(lease!.seq), undefined);
      const [counted] = await f.engine.counts();
      assert.equal(counted?.counts.succeeded, 0);
    },
  },
  {
    name: 'an operation is kept as long as its idempotency key lives',
    async run(f) {
      const expiresAt = f.clock.now() + 60_000;
      await f.submit({ retentionMs: 1000, idempotency: { key: 'k', fingerprint: 'f', expiresAt, retryFailed: false } });
      const [lease] = await f.lease();
      await f.settle(lease!, { to: 'succeeded', result: result('x') });
      f.clock.advance(30_000);
      assert.equal((await f.engine.sweep(f.clock.now(), all)).removed, 0);
      f.clock.advance(30_000);
      assert.equal((await f.engine.sweep(f.clock.now(), all)).removed, 1);
    },
  },
  {
    name: 'the engine says by itself when something is due',
    async run(f) {
      const told = new Promise<void>((resolve) => f.engine.onSignal((signal) => signal.kind === 'due' && resolve()));
      await f.submit({ runAt: f.clock.now() + 20 });
      await told;
    },
  },
  {
    name: 'a process that stood still expires no lease: each has left what it had',
    async run(f) {
      await f.submit();
      const [lease] = await f.lease({ leaseMs: 10_000 });
      f.clock.advance(30_000);
      const { due } = await f.engine.sweep(f.clock.now(), { ...all, pausedMs: 29_000 });
      assert.deepEqual(due, []);
      // A pause is known by the rounds that were missed, so it may count for a few seconds less than it took.
      assert.deepEqual(await seconds(f, 7, [f]), []);
      const extended = await f.engine.extend({ ...lease!, leaseMs: 10_000, progress: null }, f.clock.now());
      assert.equal(extended.kind === 'extended' && extended.leaseUntil, f.clock.now() + 10_000);
      assert.deepEqual(await seconds(f, 9, [f]), []);
      assert.deepEqual(
        (await seconds(f, 1, [f])).map((d) => d.reason),
        ['lease-expired'],
      );
    },
  },
  {
    name: 'a lease taken after a pause ends when it says',
    async run(f) {
      await f.engine.sweep(f.clock.now(), { ...all, pausedMs: 29_000 });
      await f.submit();
      const [lease] = await f.lease({ leaseMs: 1000 });
      assert.equal(lease?.leaseUntil, f.clock.now() + 1000);
      f.clock.advance(999);
      assert.deepEqual((await f.engine.sweep(f.clock.now(), all)).due, []);
      f.clock.advance(1);
      assert.equal((await f.engine.sweep(f.clock.now(), all)).due.length, 1);
    },
  },
];
