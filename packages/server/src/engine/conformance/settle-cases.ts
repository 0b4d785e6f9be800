// Settle, extend, cancel: the first answer of the current lease wins, for good.
import assert from 'node:assert/strict';
import type { TimelineWanted } from '../engine.ts';
import { type Case, result } from './fixture.ts';
import { seconds } from './rounds.ts';

const done = (text: string) => ({ to: 'succeeded' as const, result: result(text) });
const retry = (runAt: number, attemptUsed = true) => ({
  to: 'queued' as const,
  runAt,
  rank: runAt,
  attemptUsed,
  error: { code: 'e', message: 'm' },
});

export const settleCases: Case[] = [
  {
    name: 'a success is recorded with its result, status and counters together',
    async run(f) {
      await f.submit();
      const [lease] = await f.lease();
      const [outcome] = await f.settle(lease!, done('yes'));
      assert.equal(outcome?.kind, 'recorded');
      const record = await f.engine.operation({ seq: lease!.seq, nonce: lease!.nonce, namespace: 'default' });
      assert.equal(record?.status, 'succeeded');
      assert.equal(record.finishedAt, f.clock.now());
      assert.equal(record.expiresAt, f.clock.now() + 86_400_000);
      const kept = await f.engine.result(lease!.seq);
      assert.equal(Buffer.from(kept!.body!).toString(), 'yes');
      assert.deepEqual(kept!.headers, ['Content-Type', 'text/plain']);
      const [counted] = await f.engine.counts();
      assert.deepEqual(counted?.counts, { queued: 0, running: 0, succeeded: 1, failed: 0, cancelled: 0 });
    },
  },
  {
    name: 'the same answer again is known, another answer is refused, the result stays',
    async run(f) {
      await f.submit();
      const [lease] = await f.lease();
      await f.settle(lease!, done('first'));
      assert.equal((await f.settle(lease!, done('first')))[0]?.kind, 'repeated');
      assert.equal((await f.settle(lease!, done('second')))[0]?.kind, 'conflict');
      assert.equal(Buffer.from((await f.engine.result(lease!.seq))!.body!).toString(), 'first');
    },
  },
  {
    name: 'of many answers that race only one is recorded',
    async run(f) {
      await f.submit();
      const [lease] = await f.lease();
      const outcomes = (
        await Promise.all(Array.from({ length: 20 }, (_, i) => f.settle(lease!, done(`answer ${i}`))))
      ).flat();
      assert.equal(outcomes.filter((o) => o.kind === 'recorded').length, 1);
      assert.equal(outcomes.filter((o) => o.kind === 'conflict').length, 19);
    },
  },
  {
    name: 'an expired lease can neither settle nor extend',
    async run(f) {
      await f.submit();
      const [lease] = await f.lease({ leaseMs: 1000 });
      f.clock.advance(1000);
      assert.equal((await f.settle(lease!, done('late')))[0]?.kind, 'lost');
      assert.equal((await f.engine.extend({ ...lease!, leaseMs: 1000, progress: null }, f.clock.now())).kind, 'lost');
    },
  },
  {
    name: 'a zombie is refused while the next holder works and after it has ended',
    async run(f) {
      await f.submit();
      const [zombie] = await f.lease();
      await f.settle(zombie!, retry(f.clock.now()));
      const [next] = await f.lease();
      assert.equal(next?.leaseNo, 2);
      assert.equal(next.attempt, 2);
      assert.equal((await f.settle(zombie!, done('stale')))[0]?.kind, 'lost');
      await f.settle(next, done('right'));
      assert.equal((await f.settle(zombie!, done('stale')))[0]?.kind, 'lost');
      assert.equal(Buffer.from((await f.engine.result(next.seq))!.body!).toString(), 'right');
    },
  },
  {
    name: 'a lease that was never given is unknown or lost, never an answer',
    async run(f) {
      assert.equal((await f.settle({ seq: 4711, leaseNo: 1 }, done('x')))[0]?.kind, 'unknown');
      const seq = await f.submit();
      assert.equal((await f.settle({ seq, leaseNo: 1 }, done('x')))[0]?.kind, 'lost');
    },
  },
  {
    name: 'extending keeps the lease, and never shortens it',
    async run(f) {
      await f.submit();
      const [lease] = await f.lease({ leaseMs: 10_000 });
      const until = f.clock.now() + 10_000;
      const short = await f.engine.extend({ ...lease!, leaseMs: 1, progress: null }, f.clock.now());
      assert.equal(short.kind === 'extended' && short.leaseUntil, until);
      f.clock.advance(9000);
      const longer = await f.engine.extend({ ...lease!, leaseMs: 10_000, progress: null }, f.clock.now());
      assert.equal(longer.kind === 'extended' && longer.leaseUntil, until + 9000);
      f.clock.advance(9000);
      assert.equal((await f.settle(lease!, done('in time')))[0]?.kind, 'recorded');
    },
  },
  {
    name: 'progress is counted, shown and kept in order',
    async run(f) {
      await f.submit();
      const [lease] = await f.lease();
      for (const stage of ['prep', 'bake', 'oven'])
        await f.engine.extend(
          { ...lease!, leaseMs: 1000, progress: { stage, percent: 50, data: '{"x":1e999}' } },
          f.clock.now(),
        );
      const record = await f.engine.operation({ seq: lease!.seq, nonce: lease!.nonce, namespace: 'default' });
      assert.deepEqual({ ...record?.progress }, { sequence: 3, stage: 'oven', percent: 50, data: '{"x":1e999}' });
      const rows = await f.engine.timeline(lease!.seq);
      assert.deepEqual(
        rows.map((row) => [row.kind, row.progress?.sequence, row.progress?.stage]),
        [
          ['progress', 1, 'prep'],
          ['progress', 2, 'bake'],
          ['progress', 3, 'oven'],
        ],
      );
    },
  },
  {
    name: 'a timeline is read by version, in parts, and its attempts alone',
    async run(f) {
      await f.submit();
      for (const stage of ['prep', 'bake']) {
        const [lease] = await f.lease();
        await f.engine.extend({ ...lease!, leaseMs: 1000, progress: { stage } }, f.clock.now());
        await f.settle(lease!, retry(f.clock.now()));
      }
      const [lease] = await f.lease();
      const versions = async (wanted?: TimelineWanted): Promise<number[]> =>
        (await f.engine.timeline(lease!.seq, wanted)).map((row) => row.version);
      // 1 accepted, then lease, progress and end of each attempt.
      assert.deepEqual(await versions(), [3, 4, 6, 7]);
      assert.deepEqual(await versions({ from: 4 }), [4, 6, 7]);
      assert.deepEqual(await versions({ from: 4, limit: 2 }), [4, 6]);
      assert.deepEqual(await versions({ attempts: true }), [4, 7]);
      assert.deepEqual(await versions({ from: 5, limit: 1, attempts: true }), [7]);
      const record = await f.engine.operation({ seq: lease!.seq, nonce: lease!.nonce, namespace: 'default' });
      assert.equal(record?.version, 8);
    },
  },
  {
    name: 'a retry waits for its time, and an attempt given back does not count',
    async run(f) {
      await f.submit();
      const [first] = await f.lease();
      await f.settle(first!, retry(f.clock.now() + 5000));
      assert.deepEqual(await f.lease(), []);
      f.clock.advance(5000);
      await f.engine.sweep(f.clock.now(), { removeExpired: true });
      const [second] = await f.lease();
      assert.equal(second?.attempt, 2);
      await f.settle(second, retry(f.clock.now(), false));
      const [third] = await f.lease();
      assert.equal(third?.attempt, 2);
      assert.equal(third.leaseNo, 3);
      assert.equal((await f.engine.timeline(third.seq)).filter((row) => row.kind === 'attempt').length, 2);
    },
  },
  {
    name: 'who waits gets an operation that was given back',
    async run(f) {
      await f.submit();
      const [lease] = await f.lease();
      const waiting = f.lease({ wait: true }, new AbortController().signal);
      await f.settle(lease!, retry(f.clock.now(), false));
      assert.deepEqual(
        (await waiting).map((l) => l.seq),
        [lease!.seq],
      );
    },
  },
  {
    name: 'a lease answered "later" lives on until its new end',
    async run(f) {
      await f.submit();
      const [lease] = await f.lease({ kind: 'push', leaseMs: 1000 });
      await f.settle(lease!, { to: 'later', leaseUntil: f.clock.now() + 50_000 });
      f.clock.advance(40_000);
      assert.equal((await f.settle(lease!, done('at last')))[0]?.kind, 'recorded');
    },
  },
  {
    name: 'who was told the end of his lease has it also after he has said "later"',
    async run(f) {
      await f.submit();
      const [lease] = await f.lease({ kind: 'push', leaseMs: 1000 });
      const told = await f.engine.extend({ ...lease!, leaseMs: 50_000, progress: null }, f.clock.now());
      await f.settle(lease!, { to: 'later', leaseUntil: f.clock.now() + 2000 });
      assert.equal(told.kind === 'extended' && told.leaseUntil, f.clock.now() + 50_000);
      assert.deepEqual(await seconds(f, 4, [f]), []);
      assert.equal(
        (
          await f.settle(lease!, {
            to: 'queued',
            runAt: f.clock.now(),
            rank: 0,
            attemptUsed: true,
            error: { code: 'x', message: 'y' },
          })
        )[0]?.kind,
        'recorded',
      );

      // The next lease knows nothing of it.
      const [next] = await f.lease({ kind: 'push', leaseMs: 60_000 });
      await f.settle(next!, { to: 'later', leaseUntil: f.clock.now() + 2000 });
      assert.deepEqual(
        (await seconds(f, 4, [f])).map(({ reason }) => reason),
        ['lease-expired'],
      );
      assert.equal((await f.settle(next!, done('late')))[0]?.kind, 'lost');
    },
  },
  {
    name: 'a cancelled operation stays cancelled, and its worker learns it',
    async run(f) {
      await f.submit();
      const [lease] = await f.lease();
      const key = { seq: lease!.seq, nonce: lease!.nonce, namespace: 'default' };
      const cancelled = await f.engine.cancel(key, f.clock.now());
      assert.equal(cancelled.kind === 'cancelled' && cancelled.leaseNo, 1);
      assert.deepEqual((await f.settle(lease!, done('late')))[0], { kind: 'ended', status: 'cancelled' });
      assert.deepEqual(await f.engine.extend({ ...lease!, leaseMs: 1, progress: null }, f.clock.now()), {
        kind: 'ended',
        status: 'cancelled',
      });
      const again = await f.engine.cancel(key, f.clock.now());
      assert.equal(again.kind === 'ended' && again.operation.status, 'cancelled');
    },
  },
  {
    name: 'of a cancel and an answer that race exactly one wins',
    async run(f) {
      for (let i = 0; i < 30; i++) {
        await f.submit();
        const [lease] = await f.lease();
        const key = { seq: lease!.seq, nonce: lease!.nonce, namespace: 'default' };
        const [settled, cancelled] = await Promise.all(
          i % 2
            ? [f.settle(lease!, done('x')), f.engine.cancel(key, f.clock.now())]
            : ([f.engine.cancel(key, f.clock.now()), f.settle(lease!, done('x'))].reverse() as [
                ReturnType<typeof f.settle>,
                ReturnType<typeof f.engine.cancel>,
              ]),
        );
        const status = (await f.engine.operation(key))?.status;
        assert.equal(settled[0]?.kind === 'recorded', status === 'succeeded');
        assert.equal(cancelled.kind === 'cancelled', status === 'cancelled');
      }
    },
  },
  {
    name: 'cancel and purge of another namespace find nothing',
    async run(f) {
      const submission = await f.submission();
      const [outcome] = await f.engine.submit([submission], f.clock.now());
      const key = { seq: outcome?.kind === 'new' ? outcome.seq : 0, nonce: submission.nonce, namespace: 'other' };
      assert.equal((await f.engine.cancel(key, f.clock.now())).kind, 'unknown');
      assert.equal(await f.engine.operation(key), undefined);
      assert.equal(await f.engine.operation({ ...key, namespace: 'default', nonce: '0'.repeat(32) }), undefined);
      assert.equal(await f.engine.purge(key), false);
    },
  },
  {
    name: 'only an ended operation can be purged, and nothing of it is left',
    async run(f) {
      await f.submit();
      const [lease] = await f.lease();
      const key = { seq: lease!.seq, nonce: lease!.nonce, namespace: 'default' };
      assert.equal(await f.engine.purge(key), false);
      await f.settle(lease!, done('x'));
      assert.equal(await f.engine.purge(key), true);
      assert.equal(await f.engine.operation(key), undefined);
      assert.equal(await f.engine.result(key.seq), undefined);
      assert.equal((await f.settle(lease!, done('x')))[0]?.kind, 'unknown');
    },
  },
];
