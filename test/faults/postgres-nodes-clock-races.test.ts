// A sweep is stopped between its look at the clock and its write, on one of two nodes: what became of the lease meanwhile holds.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { type Fixture, fixture, type Node, result } from '../../packages/server/src/engine/conformance/fixture.ts';
import type { ClockTransition, DueOperation } from '../../packages/server/src/engine/engine.ts';
import { postgresEngine } from '../../packages/server/src/engines/postgres/engine.ts';
import { cleanUp } from '../support/cleanup.ts';
import { newStore } from '../support/postgres.ts';
import { withPostgres } from './postgres-nodes.ts';

const leaseMs = 1000;

async function twoEngines(t: TestContext): Promise<{ sweeping: Fixture; other: Node }> {
  const store = await newStore(t);
  const create = async () => ({ engine: () => postgresEngine({ url: store.url }), destroy: async () => {} });
  const sweeping = await fixture({ name: 'postgres', create });
  cleanUp(t, () => sweeping.end());
  return { sweeping, other: await sweeping.another() };
}

/** What a sweep makes of a lease that has ended. */
const again = ({ seq, version }: DueOperation, nowMs: number): ClockTransition => ({
  seq,
  version,
  transition: {
    to: 'queued',
    runAt: nowMs,
    rank: nowMs,
    attemptUsed: true,
    error: { code: 'lease-expired', message: 'm' },
  },
});

/** A lease that the first node's sweep has found to be over, with what the sweep is about to write. */
async function found({ sweeping }: { sweeping: Fixture }) {
  const seq = await sweeping.submit();
  const [lease] = await sweeping.lease({ leaseMs });
  // A sweep a moment before gives the sign of life, so that the next one, which finds the lease over, gives none.
  sweeping.clock.advance(leaseMs - 100);
  assert.deepEqual((await sweeping.engine.sweep(sweeping.clock.now(), { removeExpired: true })).due, []);
  sweeping.clock.advance(100);
  const now = sweeping.clock.now();
  const { due } = await sweeping.engine.sweep(now, { removeExpired: true });
  assert.deepEqual(
    due.map((one) => [one.seq, one.reason]),
    [[seq, 'lease-expired']],
  );
  return { lease: lease!, now, write: () => sweeping.engine.applyClock([again(due[0]!, now)], now) };
}

test('positive control: nothing happens in between, and the sweep takes the lease away', withPostgres, async (t) => {
  const { sweeping } = await twoEngines(t);
  const { lease, write } = await found({ sweeping });
  assert.deepEqual(await write(), [true]);
  const [record] = await sweeping.engine.recordsOf([lease.seq]);
  assert.equal(record!.status, 'queued');
});

test(
  'a heartbeat that the other node, a millisecond behind, takes in between keeps the lease',
  withPostgres,
  async (t) => {
    const { sweeping, other } = await twoEngines(t);
    const { lease, now, write } = await found({ sweeping });
    const kept = await other.engine.extend({ ...lease, leaseMs, progress: null }, now - 1);
    assert.equal(kept.kind, 'extended');
    assert.deepEqual(await write(), [false], 'the worker was told that he holds it');
    assert.deepEqual(await sweeping.lease(), []);
    assert.equal((await other.settle(lease, { to: 'succeeded', result: result('done') }))[0]!.kind, 'recorded');
  },
);

test('a lease that another sweep has ended and another worker has taken in between is his', withPostgres, async (t) => {
  const { sweeping, other } = await twoEngines(t);
  const { lease, now, write } = await found({ sweeping });
  const { due } = await other.engine.sweep(now, { removeExpired: true });
  assert.deepEqual(await other.engine.applyClock([again(due[0]!, now)], now), [true]);
  const [next] = await other.lease({ leaseMs: 60_000 });
  assert.deepEqual([next!.seq, next!.leaseNo], [lease.seq, lease.leaseNo + 1]);
  assert.deepEqual(await write(), [false]);
  assert.equal((await sweeping.settle(lease, { to: 'succeeded', result: result('zombie') }))[0]!.kind, 'lost');
  assert.equal((await sweeping.settle(next!, { to: 'succeeded', result: result('done') }))[0]!.kind, 'recorded');
  assert.deepEqual(await write(), [false], 'an end is not taken back either');
});
