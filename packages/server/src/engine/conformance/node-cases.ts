// Nodes come, go, fall silent and stand still: what they held comes back in time and never too early.
import assert from 'node:assert/strict';
import { type Case, type Fixture, type Node, result, within } from './fixture.ts';
import { round, seconds } from './rounds.ts';
import { seqsOf } from './takers.ts';

const done = (text: string) => ({ to: 'succeeded' as const, result: result(text) });
/** Longer than any case: such a lease ends by other means than its own time. */
const longMs = 3_600_000;
const far = (f: Fixture) => ({ deadlineAt: f.clock.now() + 10 * longMs });

/** A node holds an operation of each kind: one it carries itself, one of a worker, one that will be answered later. */
async function holdOneOfEach(f: Fixture, node: Node) {
  const take = async (kind: 'push' | 'pull') => {
    const seq = await f.submit(far(f));
    const [lease] = await node.lease({ kind, leaseMs: longMs });
    assert.equal(lease?.seq, seq);
    return lease;
  };
  const push = await take('push');
  const pull = await take('pull');
  const later = await take('push');
  const answer = { to: 'later' as const, leaseUntil: f.clock.now() + longMs };
  assert.equal((await node.settle(later, answer))[0]?.kind, 'recorded');
  return { push, pull, later };
}

export const nodeCases: Case[] = [
  {
    name: 'every node signs with the same key',
    sharedOnly: true,
    async run(f) {
      const b = await f.another();
      const c = await f.another();
      assert.match(f.opened.storeKey, /^[0-9a-f]{64}$/);
      assert.deepEqual([b.opened.storeKey, c.opened.storeKey], [f.opened.storeKey, f.opened.storeKey]);
    },
  },
  {
    name: 'a node that comes, works and goes takes nothing from those that are there',
    sharedOnly: true,
    async run(f) {
      const held = await holdOneOfEach(f, f);
      const b = await f.another();
      assert.equal(b.opened.requeued, 0);
      await seconds(f, 3, [f, b]);
      assert.deepEqual(await b.lease(), []);
      await b.engine.close();
      const c = await f.another();
      assert.equal(c.opened.requeued, 0);
      await seconds(f, 3, [f, c]);
      assert.deepEqual(await c.lease(), []);
      for (const lease of Object.values(held)) assert.equal((await f.settle(lease, done('x')))[0]?.kind, 'recorded');
    },
  },
  {
    name: 'what a node carried when it was closed goes at once to who waits, no attempt used; leases of workers live on',
    sharedOnly: true,
    async run(f) {
      const b = await f.another();
      const { push, pull, later } = await holdOneOfEach(f, b);
      const abort = new AbortController();
      const waiting = f.lease({ wait: true }, abort.signal);
      try {
        await b.engine.close();
        const leases = await within(waiting, 'what the closed node carried');
        assert.deepEqual(seqsOf(leases), [push.seq]);
        assert.deepEqual([leases[0]?.attempt, leases[0]?.leaseNo], [1, 2]);
      } finally {
        abort.abort();
      }
      assert.deepEqual(await f.lease(), []);
      assert.equal((await f.settle(push, done('stale')))[0]?.kind, 'lost');
      assert.equal((await f.settle(pull, done('x')))[0]?.kind, 'recorded');
      assert.equal((await f.settle(later, done('x')))[0]?.kind, 'recorded');
    },
  },
  {
    name: 'what a silent node carried comes back after a while, not at the first beat it misses, and its own answer is too late',
    sharedOnly: true,
    async run(f) {
      const b = await f.another();
      const { push, pull, later } = await holdOneOfEach(f, b);
      await seconds(f, 3, [f, b]);
      await seconds(f, 3, [f]);
      assert.deepEqual(await f.lease(), []);
      let leases = await f.lease();
      for (let i = 0; i < 40 && leases.length === 0; i++) {
        await seconds(f, 1, [f]);
        leases = await f.lease();
      }
      assert.deepEqual(seqsOf(leases), [push.seq]);
      assert.equal((await b.settle(push, done('late')))[0]?.kind, 'lost');
      assert.equal((await f.settle(leases[0]!, done('right')))[0]?.kind, 'recorded');
      await seconds(f, 10, [f]);
      assert.deepEqual(await f.lease(), []);
      assert.equal((await f.settle(pull, done('x')))[0]?.kind, 'recorded');
      assert.equal((await b.settle(later, done('x')))[0]?.kind, 'recorded');
    },
  },
  {
    name: 'a node that was silent and comes back carries new work as before',
    sharedOnly: true,
    async run(f) {
      const b = await f.another();
      await seconds(f, 2, [f, b]);
      await seconds(f, 40, [f]);
      await round(f, b, 39_000);
      const seq = await f.submit(far(f));
      const [lease] = await b.lease({ kind: 'push', leaseMs: longMs });
      assert.equal(lease?.seq, seq);
      await seconds(f, 20, [f, b]);
      assert.deepEqual(await f.lease(), []);
      assert.equal((await b.settle(lease, done('x')))[0]?.kind, 'recorded');
    },
  },
  {
    name: "a worker's lease taken on a node that is gone ends by its own time, and not before",
    sharedOnly: true,
    async run(f) {
      const b = await f.another();
      const seq = await f.submit();
      const [lease] = await b.lease({ leaseMs: 60_000 });
      assert.deepEqual(await seconds(f, 50, [f]), []);
      const extended = await f.engine.extend({ ...lease!, leaseMs: 60_000, progress: null }, f.clock.now());
      assert.equal(extended.kind === 'extended' && extended.leaseUntil, f.clock.now() + 60_000);
      assert.deepEqual(await seconds(f, 59, [f]), []);
      assert.deepEqual(seqsOf(await seconds(f, 2, [f])), [seq]);
      assert.equal((await b.settle(lease!, done('late')))[0]?.kind, 'lost');
    },
  },
  {
    name: 'when all nodes stand still together no worker loses its lease, and the pause counts once',
    sharedOnly: true,
    async run(f) {
      const b = await f.another();
      const kept = await f.submit({ ...far(f), rank: 1 });
      const abandoned = await f.submit({ ...far(f), rank: 2 });
      const [first] = await f.lease({ leaseMs: 30_000 });
      assert.equal(first?.seq, kept);
      await seconds(f, 3, [f, b]);
      f.clock.advance(300_000);
      const woken = await Promise.all([round(f, f, 299_000), round(f, b, 299_000)]);
      assert.deepEqual(woken.flat(), []);
      assert.deepEqual(await seconds(f, 20, [f, b]), []);
      assert.equal((await b.settle(first, done('x')))[0]?.kind, 'recorded');
      // Counted once for each node, the other lease would last minutes longer.
      assert.deepEqual(seqsOf(await seconds(f, 30, [f, b])), [abandoned]);
    },
  },
  {
    name: 'after all nodes stood still a worker that is faster than their first sweep is heard',
    sharedOnly: true,
    async run(f) {
      const b = await f.another();
      await f.submit(far(f));
      await f.submit(far(f));
      const [first, second] = await f.lease({ leaseMs: 30_000 });
      await seconds(f, 3, [f, b]);
      f.clock.advance(300_000);
      const extended = await f.engine.extend({ ...second!, leaseMs: 30_000, progress: null }, f.clock.now());
      assert.equal(extended.kind === 'extended' && extended.leaseUntil, f.clock.now() + 30_000);
      assert.equal((await b.settle(first!, done('x')))[0]?.kind, 'recorded');
      await Promise.all([round(f, f, 299_000), round(f, b, 299_000)]);
      assert.deepEqual(await seconds(f, 20, [f, b]), []);
      assert.equal((await f.settle(second!, done('x')))[0]?.kind, 'recorded');
    },
  },
];
