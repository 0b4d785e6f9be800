// Many nodes, one store: what is written on one node is true on all of them, and what several nodes do at once happens once.
import assert from 'node:assert/strict';
import type { Counts, Idempotency } from '../engine.ts';
import { type Case, type Fixture, type Node, result } from './fixture.ts';
import { raceOverLog } from './log-race.ts';
import { seqsOf } from './takers.ts';

const done = (text: string) => ({ to: 'succeeded' as const, result: result(text) });
const failed = { to: 'failed' as const, error: { code: 'e', message: 'm' }, result: null };

/** Two nodes beside the one that is there. */
const three = async (f: Fixture): Promise<Node[]> => [f, await f.another(), await f.another()];

/** Every key once in each batch, several batches on every node, all at once; each batch begins at another key. */
async function twins(f: Fixture, nodes: readonly Node[], keys: readonly string[], more: Partial<Idempotency> = {}) {
  const idempotency = { fingerprint: 'same', expiresAt: f.clock.now() + 60_000, retryFailed: false, ...more };
  const batches = Array.from({ length: nodes.length * 4 }, async (_, i) => {
    const node = nodes[i % nodes.length]!;
    const turn = Math.floor((i * keys.length) / (nodes.length * 4));
    const mine = [...keys.slice(turn), ...keys.slice(0, turn)];
    const submissions = await Promise.all(
      mine.map((key) => node.submission({ idempotency: { ...idempotency, key }, labels: { key } })),
    );
    const outcomes = await node.engine.submit(submissions, f.clock.now());
    return outcomes.map((outcome, k) => ({ key: mine[k]!, outcome }));
  });
  const all = (await Promise.all(batches)).flat();
  return new Map(keys.map((key) => [key, all.filter((one) => one.key === key).map((one) => one.outcome)]));
}

/** Of each key one operation is new, and all its twins are told that one. Returns the numbers. */
function assertOneEach(outcomes: Awaited<ReturnType<typeof twins>>): number[] {
  return [...outcomes].map(([key, twinsOfKey]) => {
    const fresh = twinsOfKey.filter((o) => o.kind === 'new').map((o) => o.seq);
    const replayed = twinsOfKey.filter((o) => o.kind === 'replayed').map((o) => o.operation.seq);
    assert.equal(fresh.length, 1, `${key}: ${JSON.stringify(twinsOfKey.map((o) => o.kind))}`);
    assert.deepEqual(
      replayed,
      Array.from({ length: twinsOfKey.length - 1 }, () => fresh[0]),
      key,
    );
    return fresh[0]!;
  });
}

const keysOf = (count: number): string[] => Array.from({ length: count }, (_, i) => `key-${i}`);

export const sharedCases: Case[] = [
  {
    name: 'what was written on one node is read on another at once, byte for byte',
    sharedOnly: true,
    async run(f) {
      const b = await f.another();
      const body = Buffer.alloc(2 * f.engine.features.inlineBytes + 17, 'request');
      const submission = await f.submission({ body, labels: { a: 'b' } });
      const [outcome] = await f.engine.submit([submission], f.clock.now());
      const seq = outcome?.kind === 'new' ? outcome.seq : -1;
      const key = { seq, nonce: submission.nonce, namespace: 'default' };
      assert.equal((await b.engine.operation(key))?.status, 'queued');
      const chunks: Uint8Array[] = [];
      for await (const chunk of b.engine.readBody(seq, 'request')) chunks.push(chunk);
      assert.ok(Buffer.concat(chunks).equals(body));
      const [lease] = await b.lease();
      assert.equal((await f.engine.recordsOf([seq]))[0]?.status, 'running');
      await b.settle(lease!, done('yes'));
      assert.equal(Buffer.from((await f.engine.result(seq))!.body!).toString(), 'yes');
      assert.deepEqual(seqsOf((await f.engine.operations({ namespace: 'default', limit: 10 })).items), [seq]);
      assert.equal(await f.engine.purge(key), true);
      assert.equal(await b.engine.operation(key), undefined);
      assert.equal(await b.engine.result(seq), undefined);
    },
  },
  {
    name: 'a queue made on one node is known on another, and made at once on all it is one queue',
    sharedOnly: true,
    async run(f) {
      const nodes = await three(f);
      const made = await f.engine.queue('shop', 'print');
      for (const { engine } of nodes) {
        assert.deepEqual(await engine.queueById(made.id), made);
        assert.deepEqual(await engine.queue('shop', 'print'), made);
      }
      const names = Array.from({ length: 20 }, (_, i) => `service-${i}`);
      const ids = await Promise.all(
        nodes.map(({ engine }) => Promise.all(names.map(async (name) => (await engine.queue('shop', name)).id))),
      );
      assert.deepEqual(ids[1], ids[0]);
      assert.deepEqual(ids[2], ids[0]);
      assert.equal(new Set(ids[0]).size, names.length);
    },
  },
  {
    name: 'twins of a key that reach several nodes at once are one operation',
    sharedOnly: true,
    async run(f) {
      const nodes = await three(f);
      const keys = keysOf(40);
      const seqs = assertOneEach(await twins(f, nodes, keys));
      assert.equal(new Set(seqs).size, keys.length);
      for (const { engine } of nodes) assert.equal((await engine.counts())[0]?.counts.queued, keys.length);
      const other = await twins(f, nodes, keys, { fingerprint: 'other' });
      for (const outcomes of other.values()) assert.ok(outcomes.every((o) => o.kind === 'mismatch'));
      assert.deepEqual(
        seqsOf(await f.lease({ max: 1000 })),
        seqs.toSorted((a, b) => a - b),
      );
    },
  },
  {
    name: 'twins that renew a key on several nodes at once are one operation: after its time, and after a failure',
    sharedOnly: true,
    async run(f) {
      const nodes = await three(f);
      const keys = keysOf(20);
      const first = assertOneEach(await twins(f, nodes, keys, { expiresAt: f.clock.now() + 1000 }));
      f.clock.advance(1000);
      const second = assertOneEach(await twins(f, nodes, keys));
      assert.equal(new Set([...first, ...second]).size, 2 * keys.length);
      for (const lease of await f.lease({ max: 1000 })) await f.settle(lease, failed);
      const third = assertOneEach(await twins(f, nodes, keys, { retryFailed: true }));
      assert.equal(new Set([...first, ...second, ...third]).size, 3 * keys.length);
    },
  },
  {
    name: 'of a cancel on one node and an answer on another exactly one wins',
    sharedOnly: true,
    async run(f) {
      const b = await f.another();
      for (let i = 0; i < 40; i++) await f.submit();
      const races = (await f.lease({ max: 40 })).map(async (lease, i) => {
        const key = { seq: lease.seq, nonce: lease.nonce, namespace: 'default' };
        const cancel = () => b.engine.cancel(key, f.clock.now());
        const settle = async () => (await f.settle(lease, done(`answer ${i}`)))[0];
        const first = i % 2 ? cancel() : undefined;
        const settled = settle();
        const cancelled = await (first ?? cancel());
        return { key, settled: await settled, cancelled };
      });
      const ended: Partial<Counts> = { succeeded: 0, cancelled: 0 };
      for (const { key, settled, cancelled } of await Promise.all(races)) {
        const status = (await b.engine.operation(key))!.status;
        ended[status]! += 1;
        assert.equal(settled?.kind, status === 'succeeded' ? 'recorded' : 'ended');
        assert.equal(cancelled.kind, status === 'cancelled' ? 'cancelled' : 'ended');
        assert.equal((await f.engine.result(key.seq)) !== undefined, status === 'succeeded');
      }
      const [counted] = await f.engine.counts();
      assert.deepEqual(counted?.counts, { queued: 0, running: 0, failed: 0, ...ended });
    },
  },
  {
    name: 'counters are right on every node after mixed work on several at once',
    sharedOnly: true,
    async run(f) {
      const nodes = await three(f);
      const expected: Counts = { queued: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0 };
      const move = (from: keyof Counts | null, to: keyof Counts | null): void => {
        if (from) expected[from]--;
        if (to) expected[to]++;
      };
      const work = async (node: Node): Promise<void> => {
        for (let i = 0; i < 12; i++) {
          const submission = await node.submission();
          const outcomes = await node.engine.submit([submission, await node.submission()], f.clock.now());
          for (const _ of outcomes) move(null, 'queued');
          for (const lease of await node.lease({ max: 2 })) {
            move('queued', 'running');
            const to = [done('x'), failed, { ...failed, to: 'queued' as const, runAt: f.clock.now(), rank: 1 }][i % 3]!;
            const [settled] = await node.settle(lease, to.to === 'queued' ? { ...to, attemptUsed: true } : to);
            if (settled?.kind !== 'recorded') continue;
            move('running', to.to);
            const key = { seq: lease.seq, nonce: lease.nonce, namespace: 'default' };
            if (to.to !== 'queued' && i % 4 === 0 && (await node.engine.purge(key))) move(to.to, null);
          }
          const key = { seq: outcomes[0]?.kind === 'new' ? outcomes[0].seq : -1, nonce: submission.nonce };
          const cancelled = await node.engine.cancel({ ...key, namespace: 'default' }, f.clock.now());
          if (cancelled.kind === 'cancelled') move(cancelled.leaseNo === null ? 'queued' : 'running', 'cancelled');
        }
      };
      await Promise.all([...nodes, ...nodes].map(work));
      for (const { engine } of nodes) assert.deepEqual((await engine.counts())[0]?.counts, expected);
    },
  },
  {
    name: 'readers of the log on three nodes skip nothing while three nodes write',
    sharedOnly: true,
    async run(f) {
      await raceOverLog(f, await three(f), { writersPerNode: 3, batches: 30 });
    },
  },
];
