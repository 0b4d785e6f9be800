// Backends that answer later and have to be asked: who is to ask whom, and when, as long as the lease holds.
import assert from 'node:assert/strict';
import type { DuePoll, LeasedOperation, LeaseKey, Poll } from '../engine.ts';
import { type Case, type Fixture, type Node, result, within } from './fixture.ts';
import { seqsOf } from './takers.ts';

const url = 'http://backend/jobs/1';
/** Longer than any case. */
const longMs = 3_600_000;
/** A look that nobody answered for is given out again by then. */
const againMs = 60_000;

async function pollsOn(f: Fixture, node: Node = f): Promise<DuePoll[]> {
  return (await node.engine.sweep(f.clock.now(), { removeExpired: true })).polls;
}

/** Operations whose backend has said that it answers later; each is to be asked in `inMs`. */
async function askLater(f: Fixture, { count = 1, inMs = 1000 } = {}): Promise<LeasedOperation[]> {
  const more = { correlationId: 'c', deadlineAt: f.clock.now() + 10 * longMs };
  const batch = await Promise.all(Array.from({ length: count }, () => f.submission(more)));
  await f.engine.submit(batch, f.clock.now());
  const leases = await f.lease({ kind: 'push', max: count });
  assert.equal(leases.length, count);
  for (const lease of leases) assert.equal(await saysLater(f, lease, { url, at: f.clock.now() + inMs }), 'recorded');
  return leases;
}

async function saysLater(f: Fixture, lease: LeaseKey, poll?: Poll): Promise<string> {
  const leaseUntil = f.clock.now() + longMs;
  const [outcome] = await f.settle(lease, { to: 'later', leaseUntil, ...(poll ? { poll } : {}) });
  return outcome!.kind;
}

const lookAgain = (f: Fixture, { seq, leaseNo }: LeaseKey, poll: Poll) =>
  f.engine.extend({ seq, leaseNo, leaseMs: null, progress: null, poll }, f.clock.now());

const failed = { to: 'failed' as const, error: { code: 'x', message: 'm' }, result: null };

export const pollCases: Case[] = [
  {
    name: 'a backend is to be asked when its time has come and not before, with all that is needed for it',
    async run(f) {
      const startedAt = f.clock.now();
      const [lease] = await askLater(f);
      f.clock.advance(999);
      assert.deepEqual(await pollsOn(f), []);
      f.clock.advance(1);
      const { seq, leaseNo, queue, attempt, nonce, deadlineAt, head } = lease!;
      assert.deepEqual(await pollsOn(f), [
        { seq, leaseNo, queue, url, attempt, attemptAt: startedAt, nonce, correlationId: 'c', deadlineAt, head },
      ]);
    },
  },
  {
    name: 'a look is given out once, and again after a while when nobody has answered for it',
    async run(f) {
      const [lease] = await askLater(f);
      f.clock.advance(1000);
      assert.equal((await pollsOn(f)).length, 1);
      assert.deepEqual(await pollsOn(f), []);
      f.clock.advance(5000);
      assert.deepEqual(await pollsOn(f), []);
      f.clock.advance(againMs);
      assert.deepEqual(seqsOf(await pollsOn(f)), [lease!.seq]);
    },
  },
  {
    name: 'the next look takes the place of the one before, and changes nothing else',
    async run(f) {
      const [lease] = await askLater(f);
      f.clock.advance(1000);
      const [first] = await pollsOn(f);
      const [before] = await f.engine.recordsOf([lease!.seq]);
      const outcome = await lookAgain(f, first!, { url: `${url}?n=2`, at: f.clock.now() + 7000 });
      assert.equal(outcome.kind, 'extended');
      assert.deepEqual(await f.engine.recordsOf([lease!.seq]), [before]);
      f.clock.advance(6999);
      assert.deepEqual(await pollsOn(f), []);
      f.clock.advance(1);
      assert.deepEqual(
        (await pollsOn(f)).map((poll) => [poll.seq, poll.url]),
        [[lease!.seq, `${url}?n=2`]],
      );
    },
  },
  {
    name: 'progress and the next look are recorded together, in a batch with others that have none',
    async run(f) {
      const [one, two] = await askLater(f, { count: 2, inMs: longMs - 1 });
      const at = f.clock.now() + 1000;
      const outcomes = await Promise.all([
        f.engine.extend({ ...one!, leaseMs: 2 * longMs, progress: { percent: 5 }, poll: { url, at } }, f.clock.now()),
        f.engine.extend({ ...two!, leaseMs: 2 * longMs, progress: { percent: 6 } }, f.clock.now()),
      ]);
      assert.deepEqual(
        outcomes.map((o) => o.kind),
        ['extended', 'extended'],
      );
      f.clock.advance(1000);
      assert.deepEqual(seqsOf(await pollsOn(f)), [one!.seq]);
      assert.equal((await f.engine.recordsOf([one!.seq]))[0]!.progress?.percent, 5);
    },
  },
  {
    name: 'nobody is asked for an operation that has ended, or whose lease was lost',
    async run(f) {
      const [done, broken, cancelled, expired, kept] = await askLater(f, { count: 5 });
      await f.settle(done!, { to: 'succeeded', result: result('x') });
      await f.settle(broken!, failed);
      await f.engine.cancel({ ...cancelled!, namespace: 'default' }, f.clock.now());
      const error = { code: 'x', message: 'm' };
      const again = { to: 'queued' as const, runAt: f.clock.now(), rank: 1, attemptUsed: true, error };
      await f.settle(expired!, again);
      const [next] = await f.lease({ kind: 'push' });
      assert.deepEqual([next?.seq, next?.leaseNo], [expired!.seq, expired!.leaseNo + 1]);
      assert.equal((await lookAgain(f, expired!, { url: 'http://zombie', at: f.clock.now() })).kind, 'lost');
      f.clock.advance(1000);
      assert.deepEqual(seqsOf(await pollsOn(f)), [kept!.seq]);
      assert.equal(await saysLater(f, next!, { url: `${url}?attempt=2`, at: f.clock.now() + 1000 }), 'recorded');
      f.clock.advance(1000);
      const [second] = await pollsOn(f);
      assert.deepEqual(
        [second?.seq, second?.leaseNo, second?.attempt, second?.url],
        [next!.seq, next!.leaseNo, 2, `${url}?attempt=2`],
      );
    },
  },
  {
    name: 'who only answers later is never asked',
    async run(f) {
      await f.submit({ deadlineAt: f.clock.now() + 10 * longMs });
      const [lease] = await f.lease({ kind: 'push' });
      await saysLater(f, lease!);
      f.clock.advance(longMs - 1);
      assert.deepEqual(await pollsOn(f), []);
    },
  },
  {
    name: 'the engine says by itself when a backend is to be asked: after its answer, and after a look',
    async run(f) {
      const due = (): Promise<void> =>
        within(
          new Promise((resolve) => f.engine.onSignal((signal) => signal.kind === 'due' && resolve())),
          'the engine says that something is due',
        );
      const first = due();
      const [lease] = await askLater(f, { inMs: 20 });
      await first;
      f.clock.advance(20);
      assert.equal((await pollsOn(f)).length, 1);
      const second = due();
      await lookAgain(f, lease!, { url, at: f.clock.now() + 20 });
      await second;
    },
  },
  {
    name: 'looks outlive a restart',
    durableOnly: true,
    async run(f) {
      const [lease] = await askLater(f);
      await f.reopen();
      f.clock.advance(1000);
      assert.deepEqual(
        (await pollsOn(f)).map((poll) => [poll.seq, poll.leaseNo, poll.url]),
        [[lease!.seq, lease!.leaseNo, url]],
      );
    },
  },
  {
    name: 'of nodes that sweep at once each look is given to one, also when it is given out again',
    sharedOnly: true,
    async run(f) {
      const nodes = [f, await f.another(), await f.another()];
      const seqs = seqsOf(await askLater(f, { count: 60 }));
      // Every second each node lives; else its sweeps would find that nobody did.
      const seconds = async (count: number): Promise<DuePoll[]> => {
        const given: DuePoll[] = [];
        for (let i = 0; i < count; i++) {
          f.clock.advance(1000);
          given.push(...(await Promise.all([...nodes, ...nodes].map((node) => pollsOn(f, node)))).flat());
        }
        return given;
      };
      assert.deepEqual(seqsOf(await seconds(1)), seqs);
      assert.deepEqual(await seconds(5), []);
      for (const seq of seqs.slice(0, 30)) {
        const answer = { to: 'succeeded' as const, result: result('x') };
        assert.equal((await nodes[1]!.settle({ seq, leaseNo: 1 }, answer))[0]?.kind, 'recorded');
      }
      let again: DuePoll[] = [];
      for (let i = 0; again.length === 0 && i < againMs / 1000; i++) again = await seconds(1);
      assert.deepEqual(seqsOf(again), seqs.slice(30));
      assert.deepEqual(await seconds(5), []);
    },
  },
];
