// Leases over several nodes: held once, good on every node, and news of them reach those who wait elsewhere.
import assert from 'node:assert/strict';
import type { Signal } from '../engine.ts';
import { event } from './log-race.ts';
import { type Case, type Fixture, type Node, result, seqsOfNew, within } from './fixture.ts';
import { decisionOn } from './rounds.ts';
import { seqsOf, shareOut } from './takers.ts';

const done = (text: string) => ({ to: 'succeeded' as const, result: result(text) });
const givenBack = (runAt: number) => ({
  to: 'queued' as const,
  runAt,
  rank: runAt,
  attemptUsed: false,
  error: { code: 'released', message: 'm' },
});

/** Resolves with the first `count` different signals that `pick` names, repeats left out. */
export function heard({ engine }: Node, count: number, pick: (signal: Signal) => unknown): Promise<unknown[]> {
  const found = new Set<unknown>();
  return new Promise((resolve) =>
    engine.onSignal((signal) => {
      const what = pick(signal);
      if (what !== undefined) found.add(what);
      if (found.size === count) resolve([...found]);
    }),
  );
}

export const operationOf = (seqs: readonly number[]) => (signal: Signal) =>
  signal.kind === 'operation' && seqs.includes(signal.seq) ? signal.seq : undefined;

/** Everything by which work becomes ready on `maker` reaches one who waits on `taker`. */
async function handOver(f: Fixture, { maker, taker, times }: { maker: Node; taker: Node; times: number }) {
  let made = 0;
  const expect = async (service: string, makeReady: () => Promise<number>): Promise<void> => {
    const abort = new AbortController();
    const waiting = taker.lease({ wait: true, service }, abort.signal);
    // A turn of the store, so that the taker really waits when the work comes.
    await taker.engine.counts();
    try {
      const seq = await makeReady();
      const leases = await within(waiting, `hand-over ${++made} of ${service} to the other node`);
      assert.deepEqual(seqsOf(leases), [seq]);
      await taker.settle(leases[0]!, done('x'));
    } finally {
      abort.abort();
    }
  };
  await expect('new-service', async () =>
    maker.submit({ queue: (await maker.engine.queue('new-namespace', 'new-service')).id }),
  );
  for (let i = 0; i < times; i++) await expect('work', () => maker.submit());
  await maker.submit();
  const [lease] = await maker.lease();
  await expect('work', async () => {
    await maker.settle(lease!, givenBack(f.clock.now()));
    return lease!.seq;
  });
  const delayed = await maker.submit({ runAt: f.clock.now() + 1000 });
  await expect('work', async () => {
    f.clock.advance(1000);
    await maker.engine.sweep(f.clock.now(), { removeExpired: true });
    return delayed;
  });
}

export const sharedLeaseCases: Case[] = [
  {
    name: 'an operation that one node leased is not given on another, however many ask at once',
    sharedOnly: true,
    async run(f) {
      const nodes = [f, await f.another(), await f.another()];
      await f.submit();
      assert.equal((await f.lease()).length, 1);
      assert.deepEqual(await nodes[1]!.lease(), []);
      const submissions = await Promise.all(Array.from({ length: 60 }, () => f.submission()));
      const seqs = seqsOfNew(await f.engine.submit(submissions, f.clock.now()));
      const drain = async (node: Node): Promise<number[]> => {
        const mine: number[] = [];
        for (let leases = await node.lease({ max: 3 }); leases.length > 0; leases = await node.lease({ max: 3 }))
          mine.push(...seqsOf(leases));
        return mine;
      };
      const taken = (await Promise.all([...nodes, ...nodes].map(drain))).flat();
      taken.push(...(await drain(f)));
      assert.deepEqual(
        taken.sort((a, b) => a - b),
        seqs,
      );
    },
  },
  {
    name: 'a lease may be extended and settled on any node, and the first holder learns what became of it',
    sharedOnly: true,
    async run(f) {
      const b = await f.another();
      await f.submit();
      const [lease] = await f.lease({ leaseMs: 10_000 });
      f.clock.advance(1000);
      const extended = await b.engine.extend({ ...lease!, leaseMs: 10_000, progress: null }, f.clock.now());
      // Longer where opening took so long that no node gave a sign of life meanwhile: the common line stood still.
      assert.ok(extended.kind === 'extended' && extended.leaseUntil >= f.clock.now() + 10_000);
      assert.equal((await b.settle(lease!, done('first')))[0]?.kind, 'recorded');
      assert.equal((await f.settle(lease!, done('first')))[0]?.kind, 'repeated');
      assert.equal((await f.settle(lease!, done('second')))[0]?.kind, 'conflict');

      await f.submit();
      const [old] = await f.lease();
      await b.settle(old!, givenBack(f.clock.now()));
      const [next] = await b.lease();
      assert.equal(next?.leaseNo, 2);
      assert.equal((await f.settle(old!, done('stale')))[0]?.kind, 'lost');
      assert.equal((await f.engine.extend({ ...old!, leaseMs: 1, progress: null }, f.clock.now())).kind, 'lost');
      assert.equal((await f.settle(next, done('right')))[0]?.kind, 'recorded');
      assert.equal((await b.settle(old!, done('stale')))[0]?.kind, 'lost');
    },
  },
  {
    name: 'the steps of one operation tell their times in order, also when a node that is behind takes one of them',
    sharedOnly: true,
    async run(f) {
      const b = await f.another();
      const behind = f.clock.now();
      f.clock.advance(120);
      const seq = await f.submit();
      const wanted = { service: 'work', namespace: null, kind: 'pull', worker: 'w', max: 1, maxBytes: 1e8 } as const;
      const times = async (): Promise<readonly [number, number | null, number | null]> => {
        const [record] = await f.engine.recordsOf([seq]);
        return [record!.updatedAt, record!.startedAt, record!.finishedAt];
      };
      const [accepted] = await times();
      const [first] = await b.engine.lease({ ...wanted, leaseMs: 30_000, wait: false }, behind);
      assert.equal(first?.seq, seq);
      assert.deepEqual(await times(), [accepted, accepted, null]);
      f.clock.advance(50);
      const reported = await f.engine.extend({ ...first, leaseMs: null, progress: { stage: 'bake' } }, f.clock.now());
      assert.equal(reported.kind, 'extended');
      const [progressAt] = await times();
      const transition = done('x');
      const [outcome] = await b.engine.settle([{ ...first, transition, backendStatus: 200 }], behind);
      assert.ok(outcome?.kind === 'recorded' && outcome.finishedAt === progressAt, 'it ends when it last moved');
      assert.deepEqual(await times(), [progressAt, accepted, progressAt]);
    },
  },
  {
    name: 'of answers for one lease that reach several nodes at once one is recorded',
    sharedOnly: true,
    async run(f) {
      const nodes = [f, await f.another(), await f.another()];
      for (let i = 0; i < 20; i++) await f.submit();
      const races = (await f.lease({ max: 20 })).map(async (lease) => {
        const outcomes = await Promise.all([...nodes, ...nodes].map((node, i) => node.settle(lease, done(`${i}`))));
        const kinds = outcomes.map(([outcome]) => outcome?.kind);
        const winner = kinds.indexOf('recorded');
        assert.equal(kinds.filter((kind) => kind === 'recorded').length, 1);
        assert.equal(kinds.filter((kind) => kind === 'conflict').length, kinds.length - 1);
        assert.equal(Buffer.from((await f.engine.result(lease.seq))!.body!).toString(), `${winner}`);
      });
      await Promise.all(races);
    },
  },
  {
    name: 'takers on several nodes share a burst, and nothing is given twice',
    sharedOnly: true,
    async run(f) {
      const nodes = [f, await f.another(), await f.another()];
      const seqs: number[] = [];
      const given = await shareOut([...nodes, ...nodes], {
        count: 90,
        wanted: { max: 4 },
        submit: () =>
          Promise.all(
            nodes.map(async (node) => {
              const batch = await Promise.all(Array.from({ length: 30 }, () => node.submission()));
              seqs.push(...seqsOfNew(await node.engine.submit(batch, f.clock.now())));
            }),
          ),
      });
      assert.deepEqual(
        seqsOf(given.flat()),
        seqs.sort((a, b) => a - b),
      );
    },
  },
  {
    name: 'who waits on one node gets what becomes ready on another',
    sharedOnly: true,
    run: async (f) => handOver(f, { maker: f, taker: await f.another(), times: 30 }),
  },
  {
    name: 'who waits on one node gets what becomes ready on another, also when every hint is lost',
    sharedOnly: true,
    run: async (f) =>
      handOver(f, { maker: await f.another({ hints: false }), taker: await f.another({ hints: false }), times: 2 }),
  },
  {
    name: 'the end of an operation on one node is signalled on another, where it can then be read',
    sharedOnly: true,
    async run(f) {
      const b = await f.another();
      const batch = await Promise.all(Array.from({ length: 50 }, () => f.submission()));
      const seqs = seqsOfNew(await f.engine.submit(batch, f.clock.now()));
      const leases = await f.lease({ max: 50 });
      const cancelled = leases.pop()!;
      const told = heard(b, seqs.length, operationOf(seqs));
      const settlements = leases.map(({ seq, leaseNo }) => ({
        seq,
        leaseNo,
        backendStatus: 200,
        transition: done('x'),
      }));
      await f.engine.settle(settlements, f.clock.now());
      await f.engine.cancel({ ...cancelled, namespace: 'default' }, f.clock.now());
      await within(told, 'a signal on the other node for each operation that ended');
      assert.ok((await b.engine.recordsOf(seqs)).every((record) => record.finishedAt !== null));
    },
  },
  {
    name: 'progress, a decision of the clock and a longer log on one node are signalled on another',
    sharedOnly: true,
    async run(f) {
      const b = await f.another();
      await f.submit();
      const [lease] = await f.lease();
      const progress = heard(b, 1, operationOf([lease!.seq]));
      await f.engine.extend({ ...lease!, leaseMs: null, progress: { percent: 50 } }, f.clock.now());
      await within(progress, 'a signal of the progress');
      const late = await f.submit({ deadlineAt: f.clock.now() + 1000 });
      f.clock.advance(1000);
      const { due } = await f.engine.sweep(f.clock.now(), { removeExpired: true });
      const timedOut = heard(b, 1, operationOf([late]));
      const decisions = due.map((one) => decisionOn(one, f.clock.now()));
      assert.deepEqual(await f.engine.applyClock(decisions, f.clock.now()), [true]);
      await within(timedOut, 'a signal of the decision');
      const grown = heard(b, 1, (signal) => (signal.kind === 'events' ? signal.namespace : undefined));
      await f.engine.append([event({ namespace: 'news' })], f.clock.now());
      assert.deepEqual(await within(grown, 'a signal of the log'), ['news']);
    },
  },
];
