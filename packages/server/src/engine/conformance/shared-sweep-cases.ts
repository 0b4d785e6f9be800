// The clock on several nodes: any node may sweep, at any time, and everything due is decided and removed once.
import assert from 'node:assert/strict';
import { type Case, result, seqsOfNew } from './fixture.ts';
import { round, seconds } from './rounds.ts';
import { seqsOf } from './takers.ts';

const all = { removeExpired: true };

export const sharedSweepCases: Case[] = [
  {
    name: 'of nodes that sweep at once each due operation is decided by one',
    sharedOnly: true,
    async run(f) {
      const nodes = [f, await f.another(), await f.another()];
      const at = f.clock.now();
      const submit = async (count: number, more: Parameters<typeof f.submission>[0]) =>
        seqsOfNew(
          await f.engine.submit(await Promise.all(Array.from({ length: count }, () => f.submission(more))), at),
        );
      const leased = await submit(30, {});
      assert.equal((await f.lease({ max: 30, leaseMs: 1000 })).length, 30);
      const late = await submit(30, { deadlineAt: at + 1000 });
      const unstarted = await submit(30, { startByAt: at + 1000 });
      f.clock.advance(1000);
      const decided: { seq: number; reason: string }[] = [];
      for (let found = [null] as unknown[]; found.length > 0;) {
        const each = (await Promise.all(nodes.map((node) => round(f, node)))).flat();
        decided.push(...each);
        found = each;
      }
      const reasonsOf = (reason: string) => seqsOf(decided.filter((d) => d.reason === reason));
      assert.deepEqual(reasonsOf('lease-expired'), leased);
      assert.deepEqual(reasonsOf('timed-out'), late);
      assert.deepEqual(reasonsOf('not-started-in-time'), unstarted);
      const [counted] = await f.engine.counts();
      assert.deepEqual(counted?.counts, { queued: 30, running: 0, succeeded: 0, failed: 60, cancelled: 0 });
      const again = await nodes[1]!.lease({ max: 100 });
      assert.deepEqual(seqsOf(again), leased);
      assert.ok(again.every((lease) => lease.attempt === 2 && lease.leaseNo === 2));
    },
  },
  {
    name: 'what a node found due and never decided is found again by another',
    sharedOnly: true,
    async run(f) {
      const b = await f.another();
      const seq = await f.submit({ deadlineAt: f.clock.now() + 1000 });
      await seconds(f, 1, [b]);
      const late = await f.submit({ deadlineAt: f.clock.now() + 1000 });
      f.clock.advance(1000);
      const found = await f.engine.sweep(f.clock.now(), all);
      assert.deepEqual(seqsOf(found.due), [late]);
      const decided = await seconds(f, 40, [b]);
      assert.deepEqual(seqsOf(decided), [late]);
      assert.equal((await f.engine.recordsOf([seq]))[0]?.error?.code, 'timed-out');
    },
  },
  {
    name: 'what waits for its time is promoted once by nodes that sweep at once',
    sharedOnly: true,
    async run(f) {
      const nodes = [f, await f.another(), await f.another()];
      const runAt = f.clock.now() + 1000;
      const submissions = await Promise.all(Array.from({ length: 60 }, () => f.submission({ runAt })));
      const seqs = seqsOfNew(await f.engine.submit(submissions, f.clock.now()));
      f.clock.advance(1000);
      const sweeps = await Promise.all([...nodes, ...nodes].map(({ engine }) => engine.sweep(f.clock.now(), all)));
      sweeps.push(await f.engine.sweep(f.clock.now(), all));
      assert.equal(
        sweeps.reduce((sum, { promoted }) => sum + promoted, 0),
        seqs.length,
      );
      const given = (await Promise.all(nodes.map((node) => node.lease({ max: 100 })))).flat();
      given.push(...(await f.lease({ max: 100 })));
      assert.deepEqual(seqsOf(given), seqs);
    },
  },
  {
    name: 'of nodes that remove what has expired at once each removes its own, and the counters stay right',
    sharedOnly: true,
    async run(f) {
      const nodes = [f, await f.another(), await f.another()];
      const end = async (count: number, retentionMs: number): Promise<number[]> => {
        const batch = await Promise.all(Array.from({ length: count }, () => f.submission({ retentionMs })));
        const seqs = seqsOfNew(await f.engine.submit(batch, f.clock.now()));
        const settlements = (await f.lease({ max: count })).map(({ seq, leaseNo }) => ({
          seq,
          leaseNo,
          backendStatus: 200,
          transition: { to: 'succeeded' as const, result: result('x') },
        }));
        const outcomes = await f.engine.settle(settlements, f.clock.now());
        assert.ok(outcomes.length === count && outcomes.every((o) => o.kind === 'recorded'));
        return seqs;
      };
      const kept = await end(20, 86_400_000);
      const expired = await end(300, 1000);
      f.clock.advance(1000);
      let removed = 0;
      for (let more = true; more;) {
        const outcomes = await Promise.all(nodes.map(({ engine }) => engine.sweep(f.clock.now(), all)));
        const now = outcomes.reduce((sum, outcome) => sum + outcome.removed, 0);
        removed += now;
        more = now > 0;
      }
      assert.equal(removed, expired.length);
      assert.deepEqual(await nodes[1]!.engine.recordsOf(expired), []);
      assert.deepEqual(seqsOf(await nodes[2]!.engine.recordsOf(kept)), kept);
      for (const { engine } of nodes) assert.equal((await engine.counts())[0]?.counts.succeeded, kept.length);
    },
  },
  {
    name: 'an operation that several nodes purge at once is removed once',
    sharedOnly: true,
    async run(f) {
      const nodes = [f, await f.another(), await f.another()];
      for (let i = 0; i < 20; i++) await f.submit();
      const leases = await f.lease({ max: 20 });
      for (const lease of leases) await f.settle(lease, { to: 'succeeded', result: result('x') });
      const purged = leases.map(({ seq, nonce }) =>
        Promise.all(nodes.map(({ engine }) => engine.purge({ seq, nonce, namespace: 'default' }))),
      );
      for (const outcomes of await Promise.all(purged)) assert.equal(outcomes.filter(Boolean).length, 1);
      for (const { engine } of nodes) assert.equal((await engine.counts())[0]?.counts.succeeded, 0);
    },
  },
];
