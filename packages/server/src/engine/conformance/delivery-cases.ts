// Who is to be told of what: the delivery is there as soon as what it tells of is, and nobody is told twice, or of what was not theirs.
import assert from 'node:assert/strict';
import { type Case, result, within } from './fixture.ts';
import { decisionOn } from './rounds.ts';
import { callback, deliveriesOf, tell, toldOf, versionOf } from './tellings.ts';

const error = { code: 'x', message: 'm' };

const shop = callback().outlet;

export const deliveryCases: Case[] = [
  {
    name: 'whoever is to be told has a delivery with the end itself, complete, and none before',
    async run(f) {
      const wanted = callback('shop', { correlationId: 'order 7 ✓', thin: true, url: 'https://shop.example/a?b=c' });
      const submission = await f.submission({ callback: wanted });
      const [outcome] = await f.engine.submit([submission], f.clock.now());
      assert.ok(outcome?.kind === 'new');
      const { seq } = outcome;
      f.clock.advance(10);
      const [lease] = await f.lease();
      assert.deepEqual(await deliveriesOf(f, seq), []);
      f.clock.advance(10);
      await f.settle(lease!, { to: 'succeeded', result: result('x') });
      const [delivery, ...others] = await deliveriesOf(f, seq);
      assert.deepEqual(others, []);
      assert.ok(delivery!.number > 0);
      assert.deepEqual(delivery, {
        number: delivery!.number,
        namespace: 'default',
        operation: { seq, nonce: submission.nonce },
        version: await versionOf(f, seq),
        callback: wanted,
        createdAt: f.clock.now(),
        attempt: 0,
        failures: 0,
        state: 'waiting',
        nextAt: f.clock.now(),
        endedAt: null,
        code: null,
      });
      assert.deepEqual(await f.engine.delivery(delivery!.number, 'default'), { delivery, attempts: [] });
    },
  },
  {
    name: 'every way to end tells: succeeded, failed, cancelled while it waits or runs, out of time while it waits or runs',
    async run(f) {
      const made = async (rank: number, deadlineMs = 600_000): Promise<number> =>
        f.submit({ rank, deadlineAt: f.clock.now() + deadlineMs, callback: callback() });
      const [succeeded, failed, cancelledRunning, lateRunning] = [
        await made(1),
        await made(2),
        await made(3),
        await made(4, 1000),
      ];
      const [first, second, third] = await f.lease({ max: 4 });
      const [cancelledWaiting, lateWaiting, goesOn] = [await made(5), await made(6, 1000), await made(7)];
      await f.settle(first!, { to: 'succeeded', result: result('x') });
      await f.settle(second!, { to: 'failed', error, result: null });
      for (const seq of [cancelledRunning, cancelledWaiting]) {
        const { nonce } = (await f.engine.recordsOf([seq]))[0]!;
        const outcome = await f.engine.cancel({ seq, nonce, namespace: 'default' }, f.clock.now());
        assert.equal(outcome.kind, 'cancelled');
      }
      assert.equal(third!.seq, cancelledRunning);
      f.clock.advance(1000);
      const { due } = await f.engine.sweep(f.clock.now(), { removeExpired: true });
      const decisions = due.map((one) => decisionOn(one, f.clock.now()));
      assert.deepEqual(await f.engine.applyClock(decisions, f.clock.now()), [true, true]);
      for (const seq of [succeeded, failed, cancelledRunning, cancelledWaiting, lateRunning, lateWaiting])
        assert.deepEqual(await toldOf(f, seq), [[shop, await versionOf(f, seq)]], `operation ${seq}`);
      assert.deepEqual(await toldOf(f, goesOn), []);
    },
  },
  {
    name: 'an operation ends once and is told once, and what does not end it tells nobody',
    async run(f) {
      const seq = await f.submit({ callback: callback() });
      const [lease] = await f.lease();
      await f.settle(lease!, { to: 'queued', runAt: f.clock.now(), rank: 1, attemptUsed: true, error });
      assert.deepEqual(await toldOf(f, seq), []);
      const [again] = await f.lease();
      await f.engine.extend({ ...again!, leaseMs: 1000, progress: { percent: 1 } }, f.clock.now());
      await f.settle(again!, { to: 'later', leaseUntil: f.clock.now() + 10_000 });
      assert.deepEqual(await toldOf(f, seq), []);
      const answer = { to: 'succeeded' as const, result: result('x') };
      assert.equal((await f.settle(lease!, answer))[0]?.kind, 'lost');
      assert.equal((await f.settle(again!, answer))[0]?.kind, 'recorded');
      assert.equal((await f.settle(again!, answer))[0]?.kind, 'repeated');
      assert.equal((await f.settle(again!, { to: 'succeeded', result: result('y') }))[0]?.kind, 'conflict');
      assert.equal((await toldOf(f, seq)).length, 1);
      const quiet = await f.submit();
      const [other] = await f.lease();
      await f.settle(other!, answer);
      assert.deepEqual(await toldOf(f, quiet), []);
    },
  },
  {
    name: 'progress is told to those who want it, each with its version, the end to all',
    async run(f) {
      const seq = await f.submit({ callback: callback('live', { progress: true }) });
      const [lease] = await f.lease();
      const versions: number[] = [];
      for (const percent of [10, 20]) {
        const outcome = await f.engine.extend({ ...lease!, leaseMs: null, progress: { percent } }, f.clock.now());
        assert.ok(outcome.kind === 'extended');
        versions.push(outcome.version);
      }
      await f.engine.extend({ ...lease!, leaseMs: 5000, progress: null }, f.clock.now());
      await f.settle(lease!, { to: 'succeeded', result: result('x') });
      assert.deepEqual(
        (await toldOf(f, seq)).map(([, version]) => version),
        [...versions, await versionOf(f, seq)],
      );
    },
  },
  {
    name: 'the engine says that something is to be told as soon as it is',
    async run(f) {
      const heard = within(
        new Promise<void>((resolve) => f.engine.onSignal(({ kind }) => kind === 'deliveries' && resolve())),
        'the engine says that there is something to deliver',
      );
      await tell(f);
      await heard;
    },
  },
  {
    name: 'what is to be told outlives a restart, and so does who wants to be told',
    durableOnly: true,
    async run(f) {
      const ended = await tell(f, callback('one', { correlationId: 'c' }));
      const open = await f.submit({ callback: callback('two') });
      const before = await deliveriesOf(f, ended);
      assert.equal(before.length, 1);
      await f.reopen();
      assert.deepEqual(await deliveriesOf(f, ended), before);
      const [lease] = await f.lease();
      await f.settle(lease!, { to: 'succeeded', result: result('x') });
      const [later] = await deliveriesOf(f, open);
      assert.equal(later?.callback.outlet, callback('two').outlet);
      assert.ok(later.number > before[0]!.number);
    },
  },
];
