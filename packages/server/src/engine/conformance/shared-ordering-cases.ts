// One ordering key on several nodes at once: one operation at a time, in the order of the commits, and no key that nobody frees.
import assert from 'node:assert/strict';
import { type Case, type Node, result, seqsOfNew, within } from './fixture.ts';

const done = { to: 'succeeded' as const, result: result('done') };
const again = { to: 'queued' as const, rank: 0, attemptUsed: true, error: { code: 'e', message: 'm' } };

export const sharedOrderingCases: Case[] = [
  {
    name: 'nodes that submit, run, repeat and cancel operations of the same ordering keys at once never run two of a key, nor leave one behind',
    sharedOnly: true,
    async run(f) {
      const nodes: Node[] = [f, await f.another(), await f.another()];
      const keys = Array.from({ length: 4 }, (_, i) => `key-${i}`);
      const perNode = 10;
      let left = nodes.length * keys.length * perNode;
      const running = new Map<string, number>();
      const last = new Map<string, number>();
      const ended = new Set<number>();
      const end = (seq: number): void => {
        assert.equal(ended.has(seq), false, `${seq} ended twice`);
        ended.add(seq);
        if (--left === 0) abort.abort();
      };
      const abort = new AbortController();
      const submitting = nodes.map(async (node) => {
        for (let i = 0; i < perNode; i++) {
          const batch = await Promise.all(keys.map((key) => node.submission({ orderingKey: key, labels: { key } })));
          const outcomes = await node.engine.submit(batch, f.clock.now());
          seqsOfNew(outcomes);
          const cancelled = batch[i % keys.length]!;
          const outcome = outcomes[i % keys.length]!;
          if (i % 5 !== 0 || outcome.kind !== 'new') continue;
          const key = { seq: outcome.seq, nonce: cancelled.nonce, namespace: 'default' };
          if ((await node.engine.cancel(key, f.clock.now())).kind === 'cancelled') end(outcome.seq);
        }
      });
      const working = nodes.map(async (node) => {
        for (;;) {
          const leases = await node.lease({ wait: true, max: 3 }, abort.signal);
          if (abort.signal.aborted) return;
          for (const { labels, seq } of leases) {
            const key = labels!['key']!;
            // One that was cancelled while it ran has freed its key.
            const before = running.get(key);
            if (before !== undefined && before !== seq) {
              const [record] = await f.engine.recordsOf([before]);
              assert.equal(record!.status, 'cancelled', `${before} and ${seq} of ${key} at once`);
            }
            assert.ok((last.get(key) ?? 0) <= seq, `${seq} of ${key} after ${last.get(key)}`);
            last.set(key, seq);
            running.set(key, seq);
          }
          for (const lease of leases) {
            const key = lease.labels!['key']!;
            running.delete(key);
            const repeat = lease.attempt === 1 && lease.seq % 3 === 0;
            const [outcome] = await node.settle(lease, repeat ? { ...again, runAt: f.clock.now() } : done);
            if (outcome!.kind === 'recorded' && !repeat) end(lease.seq);
            else if (outcome!.kind !== 'recorded') assert.deepEqual(outcome, { kind: 'ended', status: 'cancelled' });
          }
        }
      });
      await within(Promise.all([...submitting, ...working]), 'every operation ends');
      const counts = (await f.engine.counts()).find(({ queue }) => queue.service === 'work')!.counts;
      assert.deepEqual([counts.queued, counts.running], [0, 0]);
      assert.equal(counts.succeeded + counts.cancelled, nodes.length * keys.length * perNode);
    },
  },
  {
    name: 'an operation that joins its line on one node while the last one ends on another is not left behind',
    sharedOnly: true,
    async run(f) {
      const b = await f.another();
      for (let i = 0; i < 40; i++) {
        await f.submit({ orderingKey: 'k' });
        const [lease] = await f.lease();
        const [, next] = await Promise.all([f.settle(lease!, done), b.submit({ orderingKey: 'k' })]);
        const leases = await (i % 2 === 0 ? f : b).lease();
        assert.deepEqual(
          leases.map(({ seq }) => seq),
          [next],
        );
        await b.settle(leases[0]!, done);
      }
    },
  },
  {
    name: 'who waits for work on one node gets the next of an ordering key that another node has freed',
    sharedOnly: true,
    async run(f) {
      const b = await f.another();
      await f.submit({ orderingKey: 'k' });
      const next = await f.submit({ orderingKey: 'k' });
      const [lease] = await f.lease();
      const abort = new AbortController();
      const waiting = b.lease({ wait: true }, abort.signal);
      await f.settle(lease!, done);
      const got = await within(waiting, 'the next is leased');
      assert.deepEqual(
        got.map(({ seq }) => seq),
        [next],
      );
      abort.abort();
    },
  },
];
