// The embedded engine keeps the promises of the engine interface, in a file and in memory, and a few of its own.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import Database from 'better-sqlite3';
import { conformance } from '../../engine/conformance/conformance.ts';
import { fixture, result } from '../../engine/conformance/fixture.ts';
import type { LeaseWanted, Submission } from '../../engine/engine.ts';
import { sqliteEngine } from './engine.ts';
import { event } from '../../engine/conformance/log-race.ts';
import { selectPlaces } from './log.ts';

const now = 1_700_000_000_000;

const wanted: LeaseWanted = {
  service: 'work',
  namespace: null,
  kind: 'pull',
  worker: 'w',
  max: 10,
  maxBytes: 1e8,
  leaseMs: 30_000,
  wait: true,
};

const submission = (queue: number): Submission => ({
  queue,
  nonce: randomBytes(16).toString('hex'),
  durability: 'stored',
  head: '{}',
  body: Buffer.alloc(0),
  correlationId: null,
  labels: null,
  createdAt: now,
  runAt: now,
  rank: now,
  deadlineAt: now + 60_000,
  startByAt: null,
  retentionMs: 60_000,
  idempotency: null,
  key: null,
  sharing: null,
});

const folderStore = async () => {
  const folder = await mkdtemp(join(tmpdir(), 'waitless-engine-'));
  return {
    folder,
    engine: () => sqliteEngine({ folder }),
    destroy: () => rm(folder, { recursive: true, force: true }),
  };
};

conformance({ name: 'sqlite in a file', create: folderStore }, { test, durable: true, shared: false });
/** A store in a file with an open engine; both are gone at the end of the test. */
async function openStore(t: TestContext) {
  const store = await folderStore();
  const engine = store.engine();
  t.after(async () => {
    await engine.close();
    await store.destroy();
  });
  await engine.open(now);
  return { ...store, engine, queue: (await engine.queue('default', 'work')).id };
}

test('sqlite: a burst is shared evenly among those who wait', async (t) => {
  const { engine, queue } = await openStore(t);
  const waiting = Array.from({ length: 4 }, () => engine.lease(wanted, now, new AbortController().signal));
  await engine.counts();
  await engine.submit(
    Array.from({ length: 8 }, () => submission(queue)),
    now,
  );
  assert.deepEqual(
    (await Promise.all(waiting)).map((leases) => leases.length),
    [2, 2, 2, 2],
  );
});

test('sqlite: a call that spoils its group leaves no gap in the log and nothing of a namespace twice', async (t) => {
  const { engine } = await openStore(t);
  const fact = (namespace: string) => event({ namespace, body: Buffer.from(namespace) });
  const told: string[] = [];
  engine.onSignal((signal) => signal.kind === 'events' && told.push(signal.namespace));
  const together = await Promise.allSettled([
    engine.append([fact('a'), fact('b')], now),
    engine.submit([submission(999_999)], now),
    engine.append([fact('a'), fact('c')], now),
  ]);
  assert.deepEqual(
    together.map((one) => one.status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
  for (const [namespace, positions] of Object.entries({ a: [1, 2], b: [1], c: [1] })) {
    const page = await engine.read({ namespace, topics: ['**'], after: 0, limit: 10, maxBytes: 1000 });
    assert.deepEqual(
      page.events.map((e) => e.position),
      positions,
    );
    assert.equal(page.last, positions.length);
    assert.ok(page.events.every((e) => Buffer.from(e.body).toString() === namespace));
  }
  assert.deepEqual(told.toSorted(), ['a', 'a', 'b', 'c']);
});

test('sqlite: a reader of a topic scans one range of its index and nothing else', async (t) => {
  const { engine, folder } = await openStore(t);
  for (const namespace of ['a', 'b', 'c']) {
    await engine.append([event({ namespace })], now);
  }
  await engine.close();
  const db = new Database(join(folder, 'waitless.db'), { readonly: true });
  t.after(() => db.close());
  const plan = db.prepare(`EXPLAIN QUERY PLAN ${selectPlaces}`).all(1, 1, 0, 1, 10) as { detail: string }[];
  assert.deepEqual(
    plan.map((step) => step.detail),
    ['SEARCH event USING COVERING INDEX event_topic (topic=? AND rowid>? AND rowid<?)'],
  );
});

test('sqlite: a second server on one folder is refused with a sentence that names the folder', async () => {
  const store = await folderStore();
  const first = store.engine();
  await first.open(Date.now());
  await assert.rejects(
    store.engine().open(Date.now()),
    (error: Error) => error.message.includes(store.folder) && /another process/.test(error.message),
  );
  await first.close();
  const second = store.engine();
  await second.open(Date.now());
  await second.close();
  await store.destroy();
});

test('sqlite: a store with a newer schema is refused by number', async () => {
  const store = await folderStore();
  const engine = store.engine();
  await engine.open(Date.now());
  await engine.close();
  const db = new Database(join(store.folder, 'waitless.db'));
  db.pragma('user_version = 99');
  db.close();
  await assert.rejects(store.engine().open(Date.now()), /schema 99/);
  await store.destroy();
});

test('sqlite: a closed store refuses, it does not hang', async () => {
  const store = await folderStore();
  const engine = store.engine();
  await engine.open(Date.now());
  await engine.close();
  await assert.rejects(engine.counts(), /closed/);
  await store.destroy();
});

test('sqlite: an answer the store cannot take fails alone, and its lease still holds', async () => {
  const f = await fixture({
    name: 'sqlite in memory',
    create: async () => ({ engine: () => sqliteEngine({ folder: ':memory:' }), destroy: async () => {} }),
  });
  try {
    for (let i = 0; i < 3; i++) await f.submit();
    const leases = await f.lease();
    const outcomes = await f.engine.settle(
      leases.map(({ seq, leaseNo }, i) => ({
        seq,
        leaseNo,
        backendStatus: 200,
        // No engine can keep a result without its hash, and no caller makes one.
        transition: { to: 'succeeded', result: { ...result('x'), ...(i === 1 ? { hash: null as never } : {}) } },
      })),
      f.clock.now(),
    );
    assert.deepEqual(
      outcomes.map(({ kind }) => kind),
      ['recorded', 'refused', 'recorded'],
    );
    const [, refused] = outcomes;
    assert.ok(refused?.kind === 'refused' && refused.error instanceof Error);
    const [again] = await f.settle(leases[1]!, { to: 'succeeded', result: result('x') });
    assert.equal(again?.kind, 'recorded');
  } finally {
    await f.end();
  }
});

test('sqlite: what was asked before a close is answered, and who asks during it is told', async () => {
  const engine = sqliteEngine({ folder: ':memory:' });
  await engine.open(1);
  const before = engine.topics();
  const closing = engine.close();
  const during = engine.topics();
  await assert.rejects(during, /the store is closed/);
  assert.deepEqual(await before, []);
  await closing;
  await assert.rejects(engine.topics(), /the store is closed/);
});
