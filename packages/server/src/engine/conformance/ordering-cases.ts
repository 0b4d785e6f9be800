// Operations of one ordering key: one at a time, in the order of their commits, whatever becomes of the one before.
import assert from 'node:assert/strict';
import type { LeasedOperation, Submission } from '../engine.ts';
import { type Case, type Fixture, type Node, result, seqsOfNew, within } from './fixture.ts';
import { ask, sharing, told } from './keyed-submits.ts';
import { round } from './rounds.ts';

const done = { to: 'succeeded' as const, result: result('done') };
const failed = { to: 'failed' as const, error: { code: 'e', message: 'm' }, result: null };

/** Submits some of one key, each after the one before. */
async function line(f: Node, count: number, more: Partial<Submission> = {}): Promise<number[]> {
  const seqs: number[] = [];
  for (let i = 0; i < count; i++) seqs.push(await f.submit({ orderingKey: 'k', ...more }));
  return seqs;
}

/** What may be leased now. */
const leased = async (f: Node): Promise<number[]> => (await f.lease()).map(({ seq }) => seq);

async function one(f: Node): Promise<LeasedOperation> {
  const leases = await f.lease();
  assert.equal(leases.length, 1, `${leases.length} may be leased at once`);
  return leases[0]!;
}

async function cancel(f: Fixture, seq: number): Promise<void> {
  const [record] = await f.engine.recordsOf([seq]);
  const key = { seq, nonce: record!.nonce, namespace: 'default' };
  assert.equal((await f.engine.cancel(key, f.clock.now())).kind, 'cancelled');
}

const decided = async (f: Fixture): Promise<string[]> => (await round(f, f)).map(({ reason }) => reason);

export const orderingCases: Case[] = [
  {
    name: 'operations of one ordering key are leased one at a time, in the order of their submits, and others do not wait for them',
    async run(f) {
      const seqs = await line(f, 5, { rank: 5 });
      const free = await f.submit();
      const other = await f.submit({ orderingKey: 'other' });
      const elsewhere = await f.submit({ orderingKey: 'k', queue: (await f.engine.queue('shop', 'work')).id });
      const first = await f.lease();
      assert.deepEqual(new Set(first.map(({ seq }) => seq)), new Set([seqs[0]!, free, other, elsewhere]));
      let held = first.find(({ seq }) => seq === seqs[0])!;
      const order = [held.seq];
      for (let i = 1; i < seqs.length; i++) {
        assert.deepEqual(await leased(f), [], 'while the first runs the others wait');
        await f.settle(held, i % 2 === 0 ? done : failed);
        order.push((held = await one(f)).seq);
      }
      assert.deepEqual(order, seqs);
    },
  },
  {
    name: 'a batch keeps its order within a key, and a smaller rank goes before it in no case',
    async run(f) {
      const keys = ['a', 'b', 'a', null, 'b', 'a'];
      const submissions = await Promise.all(
        keys.map((orderingKey, i) => f.submission({ orderingKey, rank: 100 - i, labels: { at: String(i) } })),
      );
      seqsOfNew(await f.engine.submit(submissions, f.clock.now()));
      const rounds: string[][] = [];
      for (let leases = await f.lease(); leases.length > 0; leases = await f.lease()) {
        rounds.push(leases.map(({ labels }) => labels!['at']!).sort());
        for (const lease of leases) await f.settle(lease, done);
      }
      assert.deepEqual(rounds, [['0', '1', '3'], ['2', '4'], ['5']]);
    },
  },
  {
    name: 'an attempt that is repeated, or whose lease ran out, holds its ordering key',
    async run(f) {
      const seqs = await line(f, 2);
      const lease = await one(f);
      const again = { to: 'queued' as const, rank: 0, attemptUsed: true, error: { code: 'e', message: 'm' } };
      await f.settle(lease, { ...again, runAt: f.clock.now() + 5000 });
      assert.deepEqual(await leased(f), []);
      f.clock.advance(5000);
      await f.engine.sweep(f.clock.now(), { removeExpired: false });
      const [second] = await f.lease({ leaseMs: 1000 });
      assert.equal(second!.seq, seqs[0]);
      f.clock.advance(1000);
      assert.deepEqual(await decided(f), ['lease-expired']);
      assert.deepEqual((await f.settle(second!, done))[0]!.kind, 'lost');
      const third = await one(f);
      assert.equal(third.seq, seqs[0]);
      await f.settle(third, failed);
      assert.deepEqual(await leased(f), [seqs[1]]);
    },
  },
  {
    name: 'a cancelled operation frees its ordering key at once, and one that is cancelled while it waits is passed over',
    async run(f) {
      const seqs = await line(f, 4);
      await one(f);
      await cancel(f, seqs[1]!);
      assert.deepEqual(await leased(f), []);
      await cancel(f, seqs[0]!);
      const lease = await one(f);
      assert.equal(lease.seq, seqs[2]);
      await cancel(f, seqs[3]!);
      await f.settle(lease, done);
      assert.deepEqual(await leased(f), []);
      assert.deepEqual(await leased(f), []);
      const [later] = await line(f, 1);
      assert.deepEqual(await leased(f), [later], 'an empty line begins anew');
    },
  },
  {
    name: 'time limits run while an operation waits for its turn, and free its ordering key',
    async run(f) {
      const soon = f.clock.now() + 10_000;
      const [head] = await line(f, 1, { deadlineAt: soon });
      const [late, both, last] = [
        await f.submit({ orderingKey: 'k', startByAt: f.clock.now() + 5000 }),
        await f.submit({ orderingKey: 'k', deadlineAt: soon }),
        await f.submit({ orderingKey: 'k' }),
      ];
      assert.equal((await one(f)).seq, head);
      f.clock.advance(5000);
      assert.deepEqual(await decided(f), ['not-started-in-time']);
      assert.deepEqual(await leased(f), []);
      // The head and the one behind it at once: neither may be started.
      f.clock.advance(5000);
      assert.deepEqual(await decided(f), ['timed-out', 'timed-out']);
      assert.deepEqual(await leased(f), [last]);
      const statuses = (await f.engine.recordsOf([head!, late, both])).map(({ status }) => status);
      assert.deepEqual(statuses, ['failed', 'failed', 'failed']);
    },
  },
  {
    name: 'a delayed operation holds those behind it, and its delay goes on while it waits for its turn',
    async run(f) {
      const now = f.clock.now();
      const [first] = await line(f, 1);
      const delayed = await f.submit({ orderingKey: 'k', runAt: now + 10_000 });
      const last = await f.submit({ orderingKey: 'k' });
      await f.settle(await one(f), done);
      assert.deepEqual(await leased(f), []);
      const [record] = await f.engine.recordsOf([delayed]);
      assert.deepEqual([record!.status, record!.runAt], ['queued', now + 10_000]);
      f.clock.advance(10_000);
      await f.engine.sweep(f.clock.now(), { removeExpired: false });
      const lease = await one(f);
      assert.equal(lease.seq, delayed);
      await f.settle(lease, done);
      assert.deepEqual(await leased(f), [last]);
      assert.equal((await f.engine.recordsOf([first!]))[0]!.status, 'succeeded');
    },
  },
  {
    name: 'operations that wait for their turn are queued in counts and lists, and none is said to be ahead of them',
    async run(f) {
      const seqs = await line(f, 3);
      const queue = (await f.engine.queue('default', 'work')).id;
      const counts = async () => (await f.engine.counts([queue]))[0]!.counts;
      assert.equal((await counts()).queued, 3);
      const page = await f.engine.operations({ namespace: 'default', statuses: ['queued'], limit: 10 });
      assert.deepEqual(page.items.map(({ seq }) => seq).toReversed(), seqs);
      assert.equal(await f.engine.ahead(seqs[0]!, 10), 0);
      assert.equal(await f.engine.ahead(seqs[1]!, 10), undefined);
      const lease = await one(f);
      assert.deepEqual([(await counts()).queued, (await counts()).running], [2, 1]);
      await f.settle(lease, done);
      assert.deepEqual([(await counts()).queued, (await counts()).running, (await counts()).succeeded], [2, 0, 1]);
      await cancel(f, seqs[2]!);
      assert.deepEqual([(await counts()).queued, (await counts()).cancelled], [1, 1]);
    },
  },
  {
    name: 'who waits for work gets the next of an ordering key when the one before has ended',
    async run(f) {
      const seqs = await line(f, 2);
      const lease = await one(f);
      const abort = new AbortController();
      const waiting = f.lease({ wait: true, max: 1 }, abort.signal);
      await f.settle(lease, done);
      const got = await within(waiting, 'the next is leased to who waits');
      assert.deepEqual(
        got.map(({ seq }) => seq),
        [seqs[1]],
      );
      const parked = f.lease({ wait: true, max: 1 }, abort.signal);
      await cancel(f, seqs[1]!);
      const [next] = await line(f, 1);
      assert.deepEqual(
        (await within(parked, 'a new one is leased to who waits')).map(({ seq }) => seq),
        [next],
      );
      abort.abort();
    },
  },
  {
    name: 'requests with both an ordering key and a business key share one computation in its turn',
    async run(f) {
      const [first] = await line(f, 1);
      const made = await ask(f, 'a', { orderingKey: 'k' });
      assert.equal(made.kind, 'new');
      const seq = told(made)[1]!;
      assert.deepEqual(told(await ask(f, 'a', { orderingKey: 'k' })), ['joined', seq]);
      const own = await ask(f, 'b', { orderingKey: 'k', sharing: { ...sharing('b'), use: 'nothing' } });
      const head = await one(f);
      assert.equal(head.seq, first);
      await f.settle(head, done);
      const second = await one(f);
      assert.equal(second.seq, seq);
      await f.settle(second, { ...done, keep: { freshMs: 60_000, staleMs: 0 } });
      assert.equal((await ask(f, 'a', { orderingKey: 'k' })).kind, 'stored');
      assert.deepEqual(await leased(f), [told(own)[1]]);
    },
  },
  {
    name: 'a repeat with the same idempotency key takes no second place in the line',
    async run(f) {
      const idempotency = { key: 'i', fingerprint: 'f', expiresAt: f.clock.now() + 60_000, retryFailed: false };
      const first = await f.submit({ orderingKey: 'k', idempotency });
      const repeat = await f.submission({ orderingKey: 'k', idempotency });
      assert.equal((await f.engine.submit([repeat], f.clock.now()))[0]!.kind, 'replayed');
      const last = await f.submit({ orderingKey: 'k' });
      const lease = await one(f);
      assert.equal(lease.seq, first);
      await f.settle(lease, done);
      assert.deepEqual(await leased(f), [last]);
    },
  },
  {
    name: 'who is to be told of the end of an operation with an ordering key is told, and the key is free',
    async run(f) {
      const callback = {
        url: 'http://127.0.0.1:9/x',
        outlet: '127.0.0.1:9',
        correlationId: null,
        progress: false,
        thin: false,
        base: 'http://here',
      };
      const first = await f.submit({ orderingKey: 'k', callback });
      const [second] = await line(f, 1);
      await f.settle(await one(f), done);
      const items = await f.engine.deliveries({ namespace: 'default', state: 'waiting', limit: 10 });
      assert.deepEqual(
        items.map(({ operation }) => operation.seq),
        [first],
      );
      assert.deepEqual(await leased(f), [second]);
    },
  },
  {
    name: 'an ordered operation can be purged once it has ended, and what waits behind it stays',
    async run(f) {
      const seqs = await line(f, 2);
      const lease = await one(f);
      const key = { seq: lease.seq, nonce: lease.nonce, namespace: 'default' };
      assert.equal(await f.engine.purge(key), false);
      await f.settle(lease, done);
      assert.equal(await f.engine.purge(key), true);
      assert.deepEqual(await leased(f), [seqs[1]]);
    },
  },
  {
    name: 'a line outlives a restart: its order, who is at its head, and who waits',
    durableOnly: true,
    async run(f) {
      const seqs = await line(f, 3);
      await f.lease({ kind: 'push' });
      await f.reopen();
      const lease = await one(f);
      assert.equal(lease.seq, seqs[0], 'the lease of a process that is gone is void and holds the key');
      await f.settle(lease, done);
      await f.reopen();
      const second = await one(f);
      assert.equal(second.seq, seqs[1]);
      await f.settle(second, done);
      assert.deepEqual(await leased(f), [seqs[2]]);
    },
  },
];
