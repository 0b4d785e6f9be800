// Handing out work: nothing ready stays behind although somebody waits for it, and no namespace stays behind another. No engine here polls unless said.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { within } from '../../packages/server/src/engine/conformance/fixture.ts';
import {
  again,
  behindCutter,
  kindsOf,
  lease,
  postgresStore,
  settle,
  skip,
  submit,
  sweepingUntil,
} from './postgres-store.ts';

const byNumber = (a: number, b: number): number => a - b;
const sizes = (leases: readonly { bodyBytes: number }[]): number[] => leases.map(({ bodyBytes }) => bodyBytes);

test('who asks for one at a time gets from each namespace in turn', { skip }, async (t) => {
  const store = await postgresStore(t);
  const node = await store.node();
  for (const namespace of ['a', 'b', 'c'])
    await submit(
      node,
      Array.from({ length: 6 }, () => ({})),
      namespace,
    );
  const taken: number[] = [];
  for (let i = 0; i < 6; i++) taken.push(...(await lease(node, { max: 1 })).map(({ queue }) => queue));
  assert.deepEqual(taken.slice(0, 3).sort(byNumber), taken.slice(3).sort(byNumber));
  assert.equal(new Set(taken).size, 3);
  const waiting: number[] = [];
  for (let i = 0; i < 6; i++) waiting.push(...(await lease(node, { max: 1, wait: true })).map(({ queue }) => queue));
  assert.equal(new Set(waiting).size, 3);
});

test('what did not fit the bytes of one who waited goes to the next one', { skip }, async (t) => {
  const store = await postgresStore(t);
  const node = await store.node();
  const { clock } = node;
  await submit(node, [{ body: Buffer.alloc(1) }], 'a');
  await submit(node, [{ body: Buffer.alloc(1), rank: clock.now() - 1 }, { body: Buffer.alloc(900) }], 'b');
  const first = await lease(node, { wait: true, max: 3, maxBytes: 500 });
  assert.deepEqual(sizes(first), [1, 1]);
  const second = await within(lease(node, { wait: true, max: 3, maxBytes: 500 }), 'the large one');
  assert.deepEqual(sizes(second), [900]);
});

test(
  'who asks without waiting finds what another node submitted in a namespace never heard of',
  { skip },
  async (t) => {
    const store = await postgresStore(t);
    const [a, b] = [await store.node({ hints: false }), await store.node({ hints: false })];
    await b.engine.queue('known', 'work');
    await submit(a, [{}], 'new');
    assert.equal((await lease(b)).length, 1);
    assert.equal((await lease(b)).length, 0);
  },
);

test('an attempt that is to be repeated soon is announced for that moment', { skip }, async (t) => {
  const store = await postgresStore(t);
  const node = await store.node();
  await submit(node);
  const leases = await lease(node);
  const due = new Promise<void>((resolve) => node.engine.onSignal(({ kind }) => void (kind === 'due' && resolve())));
  assert.deepEqual(kindsOf(await settle(node, leases, again(node, 200))), ['recorded']);
  await within(due, 'the signal of what is due');
  node.clock.advance(200);
  assert.equal((await node.engine.sweep(node.clock.now(), { removeExpired: false })).promoted, 1);
});

test('takers that come and go miss nothing and get nothing twice, without a poll or a hint', { skip }, async (t) => {
  const store = await postgresStore(t);
  const node = await store.node({ hints: false });
  const all = new Set<number>();
  const done = new Set<number>();
  const given = new Set<string>();
  let submitting = true;
  let isOver = (): void => {};
  const over = new Promise<void>((resolve) => (isOver = resolve));
  async function take(i: number): Promise<void> {
    for (let turn = i; submitting || done.size < all.size; turn++) {
      const patience = AbortSignal.timeout(1 + ((turn * 7) % 40));
      const leases = await lease(
        node,
        {
          wait: true,
          max: 1 + (turn % 4),
          maxBytes: turn % 3 === 0 ? 50 : 1e6,
          namespace: turn % 5 === 0 ? 'n1' : null,
        },
        patience,
      );
      for (const { seq, leaseNo } of leases) {
        assert.ok(!given.has(`${seq}/${leaseNo}`), 'given twice');
        given.add(`${seq}/${leaseNo}`);
      }
      const back = turn % 4 === 0;
      assert.ok(
        kindsOf(await settle(node, leases, back ? again(node) : undefined)).every((kind) => kind === 'recorded'),
      );
      if (!back) for (const { seq } of leases) done.add(seq);
      if (!submitting && done.size === all.size) isOver();
    }
  }
  async function make(i: number): Promise<void> {
    for (let turn = i; turn < 60; turn += 3) {
      const parts = Array.from({ length: 1 + (turn % 4) }, (_, n) => ({ body: Buffer.alloc((turn * n) % 40) }));
      for (const outcome of await submit(node, parts, `n${turn % 3}`)) if (outcome.kind === 'new') all.add(outcome.seq);
    }
  }
  const takers = [0, 1, 2, 3, 4, 5].map(take);
  await Promise.all([0, 1, 2].map(make));
  submitting = false;
  await within(over, 'everything is done', 30_000);
  await Promise.all(takers);
  assert.equal(all.size, done.size);
});

test(
  'a worker’s lease whose answer is lost comes back also where another node’s time was ahead',
  { skip },
  async (t) => {
    const store = await postgresStore(t);
    const { node, cut } = await behindCutter(t, store);
    await submit(node, [{ deadlineAt: node.clock.now() + 36_000_000 }]);
    await store.sql('UPDATE time_line SET last_ms = $1', [node.clock.now() + 700]);
    const lost = cut('lease');
    const taking = lease(node, { wait: true, leaseMs: 3_600_000 });
    await lost;
    const [leased] = await sweepingUntil(node, taking);
    assert.deepEqual([leased?.attempt, leased?.leaseNo], [1, 2]);
  },
);
