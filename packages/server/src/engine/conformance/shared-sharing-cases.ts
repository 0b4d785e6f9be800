// Results under business keys on several nodes: computed once, answered everywhere, forgotten everywhere.
import assert from 'node:assert/strict';
import type { SubmitOutcome, Transition } from '../engine.ts';
import { type Case, type Fixture, type Node, result } from './fixture.ts';
import { ask, compute, finish, forget, foundUnder, idempotency, lookUp, sharing, told } from './keyed-submits.ts';
import { heard, operationOf } from './shared-lease-cases.ts';

/** Two nodes beside the one that is there, each with the clock of the case. */
const three = async (f: Fixture): Promise<(Node & Pick<Fixture, 'clock'>)[]> =>
  [f, await f.another(), await f.another()].map((node) => ({ ...node, clock: f.clock }));

const keysOf = (count: number): string[] => Array.from({ length: count }, (_, i) => `key-${i}`);
const keep = { freshMs: 60_000, staleMs: 0 };
const succeeded = (text: string): Transition => ({ to: 'succeeded', result: result(text), keep });
const failed: Transition = { to: 'failed', error: { code: 'x', message: 'm' }, result: null };

const kinds = (outcomes: readonly SubmitOutcome[], kind: string): (number | null)[] =>
  outcomes
    .map(told)
    .filter(([is]) => is === kind)
    .map(([, seq]) => seq);

export const sharedSharingCases: Case[] = [
  {
    name: 'a hundred twins that reach three nodes at once are one operation, and its result answers all of them',
    sharedOnly: true,
    async run(f) {
      const nodes = await three(f);
      const all = (): Promise<SubmitOutcome[]> =>
        Promise.all(Array.from({ length: 100 }, (_, i) => ask(nodes[i % 3]!, 'a')));
      const first = await all();
      const [seq] = kinds(first, 'new');
      assert.equal(kinds(first, 'new').length, 1);
      assert.deepEqual(
        kinds(first, 'joined'),
        Array.from({ length: 99 }, () => seq),
      );
      const [lease] = await nodes[2]!.lease();
      assert.deepEqual(kinds(await all(), 'joined').length, 100);
      await nodes[1]!.settle(lease!, succeeded('score'));
      const hits = await all();
      assert.equal(kinds(hits, 'stored').length, 100);
      for (const hit of hits) {
        assert.ok(hit.kind === 'stored');
        assert.equal(Buffer.from(hit.stored.result.body!).toString(), 'score');
        assert.equal(hit.stored.operation.seq, seq);
      }
      const [counted] = await f.engine.counts();
      assert.deepEqual(counted?.counts, { queued: 0, running: 0, succeeded: 1, failed: 0, cancelled: 0 });
    },
  },
  {
    name: 'batches of many keys on several nodes at once compute each key once, whatever their order and with idempotency keys too',
    sharedOnly: true,
    async run(f) {
      const nodes = await three(f);
      const keys = keysOf(40);
      const batches = Array.from({ length: 9 }, async (_, i) => {
        const turn = i * 4;
        const mine = [...keys.slice(turn), ...keys.slice(0, turn)];
        const submissions = mine.map((key) =>
          f.submission({
            key,
            sharing: sharing(key),
            labels: { key },
            idempotency: i % 2 === 0 ? idempotency(f, `${key} of ${i}`) : null,
          }),
        );
        const outcomes = await nodes[i % 3]!.engine.submit(await Promise.all(submissions), f.clock.now());
        return outcomes.map((outcome, k) => ({ key: mine[k]!, outcome }));
      });
      const all = (await Promise.all(batches)).flat();
      for (const key of keys) {
        const outcomes = all.filter((one) => one.key === key).map(({ outcome }) => outcome);
        const [seq] = kinds(outcomes, 'new');
        assert.equal(kinds(outcomes, 'new').length, 1, key);
        assert.deepEqual(
          kinds(outcomes, 'joined'),
          Array.from({ length: 8 }, () => seq),
          key,
        );
      }
      assert.equal((await f.engine.counts())[0]?.counts.queued, keys.length);
    },
  },
  {
    name: 'twins of one idempotency key under a business key are one submit, whichever node they reach and whatever it was told',
    sharedOnly: true,
    async run(f) {
      const nodes = await three(f);
      const twins = async (key: string): Promise<string[]> => {
        const asked = Array.from({ length: 12 }, (_, i) =>
          ask(nodes[i % 3]!, 'a', { idempotency: idempotency(f, key) }),
        );
        return (await Promise.all(asked)).map((outcome) => told(outcome)[0]).sort();
      };
      const one = (kind: string, replayed: string): string[] =>
        [kind, ...Array.from({ length: 11 }, () => replayed)].sort();
      assert.deepEqual(await twins('k1'), one('new', 'replayed new'));
      assert.deepEqual(await twins('k2'), one('joined', 'replayed joined'));
      await finish(f, { text: 'x', keep });
      assert.deepEqual(await twins('k3'), one('stored', 'replayed stored'));
      assert.deepEqual(
        await twins('k1'),
        Array.from({ length: 12 }, () => 'replayed new'),
      );
    },
  },
  {
    name: 'of many that find a stale result on three nodes exactly one computes the new one',
    sharedOnly: true,
    async run(f) {
      const nodes = await three(f);
      const old = await compute(f, 'a', { keep: { freshMs: 1000, staleMs: 60_000 } });
      f.clock.advance(1000);
      const outcomes = await Promise.all(Array.from({ length: 60 }, (_, i) => ask(nodes[i % 3]!, 'a')));
      assert.deepEqual(kinds(outcomes, 'refreshing'), [old]);
      assert.equal(kinds(outcomes, 'stored').length, 59);
      assert.equal((await nodes[1]!.lease()).length, 1);
    },
  },
  {
    name: 'who asks while the computation ends on another node gets that one or its result, and computes nothing',
    sharedOnly: true,
    async run(f) {
      const nodes = await three(f);
      const keys = keysOf(30);
      const seqs = new Map<string, number | null>();
      for (const key of keys) seqs.set(key, told(await ask(f, key))[1]);
      const leases = await f.lease({ max: keys.length });
      const outcomes = leases.map(async (lease, i) => {
        const key = keys.find((one) => seqs.get(one) === lease.seq)!;
        const [ended, ...asked] = await Promise.all([
          nodes[i % 3]!.settle(lease, succeeded(key)),
          ...nodes.map((node) => ask(node, key)),
          ...nodes.map((node) => ask(node, key, { idempotency: idempotency(f, key) })),
        ]);
        assert.equal(ended[0]?.kind, 'recorded');
        for (const outcome of asked) {
          const [kind, seq] = told(outcome);
          assert.ok(/^(replayed )?(joined|stored)$/.test(kind), kind);
          assert.equal(seq, lease.seq);
        }
      });
      await Promise.all(outcomes);
      assert.deepEqual(await f.lease({ max: 100 }), []);
    },
  },
  {
    name: 'of those who ask while the computation fails on another node at most one computes anew',
    sharedOnly: true,
    async run(f) {
      const nodes = await three(f);
      const keys = keysOf(30);
      const seqs = new Map<string, number | null>();
      for (const key of keys) seqs.set(key, told(await ask(f, key))[1]);
      const leases = await f.lease({ max: keys.length });
      const races = leases.map(async (lease, i) => {
        const key = keys.find((one) => seqs.get(one) === lease.seq)!;
        const nobody = { ...lease, namespace: 'default' };
        const [, ...asked] = await Promise.all([
          i % 2 === 0 ? nodes[1]!.settle(lease, failed) : nodes[1]!.engine.cancel(nobody, f.clock.now()),
          ...[...nodes, ...nodes].map((node) => ask(node, key)),
        ]);
        const fresh = kinds(asked, 'new');
        assert.ok(fresh.length <= 1, `${fresh.length} began`);
        assert.ok(kinds(asked, 'joined').every((seq) => seq === lease.seq || seq === fresh[0]));
        assert.equal(fresh.length + kinds(asked, 'joined').length, 6);
        const after = told(await ask(nodes[2]!, key));
        assert.deepEqual(after[0], fresh.length === 1 ? 'joined' : 'new');
      });
      await Promise.all(races);
      assert.equal((await f.lease({ max: 100 })).length, keys.length);
    },
  },
  {
    name: 'what is forgotten on one node answers on none, also what was being computed then',
    sharedOnly: true,
    async run(f) {
      const [a, b, c] = await three(f);
      await compute(f, 'a');
      assert.equal(await foundUnder(c!, 'a'), 'result of a');
      assert.equal(await forget(b!, 'a'), true);
      assert.equal(await lookUp(a!, 'a'), undefined);
      const [, before] = told(await ask(a!, 'a'));
      const [lease] = await c!.lease();
      assert.equal(lease?.seq, before);
      assert.equal(await forget(b!, 'a'), true);
      await c!.settle(lease!, succeeded('of before'));
      assert.equal(await lookUp(a!, 'a'), undefined);
      assert.equal(told(await ask(b!, 'a'))[0], 'new');
    },
  },
  {
    name: 'of forgetting and an end that race either the result is forgotten or it was never kept',
    sharedOnly: true,
    async run(f) {
      const [a, b, c] = await three(f);
      const keys = keysOf(30);
      for (const key of keys) await ask(a!, key);
      const leases = await a!.lease({ max: keys.length });
      await Promise.all([
        ...leases.map((lease) => b!.settle(lease, succeeded('x'))),
        ...keys.map(async (key) => assert.equal(await forget(c!, key), true)),
      ]);
      for (const key of keys) assert.equal(await lookUp(a!, key), undefined);
    },
  },
  {
    name: 'who joined on one node is told of the end on another',
    sharedOnly: true,
    async run(f) {
      const [a, b] = await three(f);
      const [, seq] = told(await ask(a!, 'a'));
      assert.deepEqual(told(await ask(b!, 'a')), ['joined', seq]);
      const end = heard(b!, 1, operationOf([seq!]));
      const [lease] = await a!.lease();
      await a!.settle(lease!, succeeded('x'));
      assert.deepEqual(await end, [seq]);
      assert.equal(Buffer.from((await b!.engine.result(seq!))!.body!).toString(), 'x');
    },
  },
  {
    name: 'nodes that remove what has expired leave what is still valid, and nothing that is not',
    sharedOnly: true,
    async run(f) {
      const nodes = await three(f);
      const short = { freshMs: 1000, staleMs: 500 };
      const expired = await Promise.all(keysOf(20).map((key) => ask(f, `short ${key}`, { retentionMs: 100 })));
      for (const lease of await f.lease({ max: 100 }))
        await f.settle(lease, { to: 'succeeded', result: result('short'), keep: short });
      const kept = await compute(f, 'long', { retentionMs: 100, keep });
      f.clock.advance(1500);
      await Promise.all(nodes.map(({ engine }) => engine.sweep(f.clock.now(), { removeExpired: true })));
      assert.equal((await f.engine.recordsOf(expired.map((outcome) => told(outcome)[1]!))).length, 0);
      for (const key of keysOf(20)) assert.equal(await lookUp(nodes[1]!, `short ${key}`), undefined);
      assert.deepEqual(told(await ask(nodes[2]!, 'long')), ['stored', kept]);
    },
  },
];
