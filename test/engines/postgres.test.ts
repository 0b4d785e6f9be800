// The engine for many nodes keeps the promises of the engine interface, and a few of its own.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { conformance } from '../../packages/server/src/engine/conformance/conformance.ts';
import { fixture } from '../../packages/server/src/engine/conformance/fixture.ts';
import { newStore, postgresMissing } from '../support/postgres.ts';
import { postgresEngine } from '../../packages/server/src/engines/postgres/engine.ts';

const missing = postgresMissing();
const skip = missing === undefined ? false : `skipped: ${missing}`;

/** A schema of its own in the cluster of this test run. */
const under = (t: TestContext) => ({
  name: 'postgres',
  async create() {
    const { url } = await newStore(t);
    return {
      engine: (more: { hints?: boolean } = {}) => postgresEngine({ url, pollMs: 100, ...more }),
      destroy: async () => {},
    };
  },
});

test('postgres', { skip, concurrency: 4 }, async (t) => {
  const started: Promise<void>[] = [];
  conformance(under(t), {
    test: (name, run) => void started.push(t.test(name, run)),
    durable: true,
    shared: true,
  });
  await Promise.all(started);
});

test('postgres: a row the database refuses fails alone, wherever it stands in its batch', { skip }, async (t) => {
  const f = await fixture(under(t));
  t.after(() => f.end());
  const good = await Promise.all(Array.from({ length: 30 }, (_, i) => f.submission({ correlationId: `c${i}` })));
  // PostgreSQL's text cannot hold a NUL.
  const bad = await f.submission({ correlationId: 'with \u0000 in it' });
  const batch = [...good.slice(0, 7), bad, ...good.slice(7, 20), bad, ...good.slice(20)];
  const outcomes = await f.engine.submit(batch, f.clock.now());
  for (const [i, outcome] of outcomes.entries()) assert.equal(outcome.kind, batch[i] === bad ? 'refused' : 'new');
  assert.equal((await f.lease({ max: 100 })).length, 30);
  const [first] = outcomes.filter((o) => o.kind === 'refused');
  assert.equal((first as { error: { code?: string } } | undefined)?.error.code, 'invalid-parameter');
});

test('postgres: an answer the database refuses fails alone, and its lease still holds', { skip }, async (t) => {
  const f = await fixture(under(t));
  t.after(() => f.end());
  for (let i = 0; i < 3; i++) await f.submit();
  const leases = await f.lease();
  const outcomes = await f.engine.settle(
    leases.map(({ seq, leaseNo }, i) => ({
      seq,
      leaseNo,
      backendStatus: null,
      transition: { to: 'failed', error: { code: 'no', message: i === 1 ? 'a \u0000 b' : 'plain' }, result: null },
    })),
    f.clock.now(),
  );
  assert.deepEqual(
    outcomes.map((o) => o.kind),
    ['recorded', 'refused', 'recorded'],
  );
  const again = await f.settle(leases[1]!, { to: 'failed', error: { code: 'no', message: 'plain' }, result: null });
  assert.equal(again[0]?.kind, 'recorded');
});
