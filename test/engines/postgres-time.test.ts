// The nodes' common time: a node whose clock is behind, for its machine was suspended, costs nobody a lease and is not taken for dead while it speaks.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Behind, lineNow } from '../../packages/server/src/engines/postgres/time-line.ts';
import { lease, postgresStore, skip, submit, type TestNode } from './postgres-store.ts';

const sweep = ({ engine, clock }: TestNode) => engine.sweep(clock.now(), { removeExpired: false });

/** Two nodes, of which one stood still for a minute while the other gave its signs of life. */
async function afterAMinute(
  store: Awaited<ReturnType<typeof postgresStore>>,
): Promise<{ awake: TestNode; late: TestNode }> {
  const [awake, late] = [await store.node(), await store.node()];
  for (let second = 0; second < 60; second++) {
    awake.clock.advance(1000);
    await sweep(awake);
  }
  return { awake, late };
}

test('a lease that a node gives before it has heard how late it is lasts as long as any other', { skip }, async (t) => {
  const store = await postgresStore(t);
  const { awake, late } = await afterAMinute(store);
  await submit(awake);
  assert.equal((await lease(late, { leaseMs: 30_000 })).length, 1);
  const begun = awake.clock.now();
  let due: { reason: string }[] = [];
  while (due.length === 0 && awake.clock.now() < begun + 40_000) {
    awake.clock.advance(1000);
    ({ due } = await sweep(awake));
  }
  assert.deepEqual(
    due.map(({ reason }) => reason),
    ['lease-expired'],
  );
  assert.equal(awake.clock.now(), begun + 30_000);
});

test('a node that comes back late is taken for dead once, not again while it finds the time', { skip }, async (t) => {
  const store = await postgresStore(t);
  const { awake, late } = await afterAMinute(store);
  await submit(awake);
  const listed = async (): Promise<number[]> =>
    (await store.sql<{ id: number }>('SELECT id FROM node ORDER BY id')).map(({ id }) => id);
  assert.equal((await listed()).length, 1);
  late.clock.advance(1000);
  await sweep(late);
  const both = await listed();
  assert.equal(both.length, 2);
  assert.equal((await lease(late, { kind: 'push' })).length, 1);
  for (let i = 0; i < 15; i++) {
    for (const node of [late, awake]) {
      node.clock.advance(1000);
      await sweep(node);
    }
  }
  assert.deepEqual(await listed(), both);
  assert.deepEqual(await store.sql('SELECT stage, lease_no FROM operation'), [{ stage: 2, lease_no: 1 }]);
});

test('a database that answers more and more slowly moves no clock', { skip }, async (t) => {
  const store = await postgresStore(t);
  const node = await store.node();
  const told: number[] = [];
  let passed = 0;
  node.engine.onSignal(
    (signal) => void (signal.kind === 'time' && told.push(signal.nowMs - (node.clock.now() + passed))),
  );
  for (const holdMs of [0, 300, 700, 1200, 0, 400, 900]) {
    node.clock.advance(1000);
    const begun = performance.now();
    await store.sql('BEGIN');
    await store.sql('SELECT FROM time_line FOR UPDATE');
    const swept = sweep(node);
    await new Promise((resolve) => setTimeout(resolve, holdMs));
    await store.sql('COMMIT');
    // What the clock of a server would show by then.
    passed = performance.now() - begun;
    await swept;
  }
  assert.ok(
    told.every((ahead) => ahead <= 0),
    `moved ahead by ${Math.max(...told)} ms`,
  );
});

test('where a node stands on the line', () => {
  const wallMs = 1_000_000;
  assert.equal(lineNow({ lastMs: 0, ageMs: 5, wallMs }), wallMs);
  assert.equal(lineNow({ lastMs: 5000, ageMs: 100, wallMs }), 5100);
  assert.equal(lineNow({ lastMs: 5000, ageMs: 60_000, wallMs }), wallMs);
  assert.equal(lineNow({ lastMs: wallMs * 2, ageMs: 60_000, wallMs }), wallMs * 2, 'never back');
  assert.equal(lineNow({ lastMs: wallMs * 2, ageMs: -3_600_000, wallMs }), wallMs * 2, 'the wall clock went back');
});

test('one jump of the wall clock moves no node, being behind twice does', () => {
  const behind = new Behind();
  const measure = (ageMs: number, nowMs: number): number => behind.measure({ lastMs: 10_000, ageMs, nowMs });
  assert.equal(measure(4000, 10_500), 0);
  assert.equal(measure(500, 10_500), 0);
  assert.equal(measure(900, 10_500), 0);
  assert.equal(measure(700, 10_500), 200);
  assert.equal(measure(3_600_000, 10_500), 0);
  assert.equal(measure(-3_600_000, 10_500), 0);
});
