// What the embedded engine promises of deliveries beyond what all engines do: nothing is left of what is over, and a spoiled commit tells nobody.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import Database from 'better-sqlite3';
import { type Fixture, fixture, result } from '../../engine/conformance/fixture.ts';
import {
  callback,
  deliveriesOf,
  ill,
  later,
  leaseDeliveries,
  leaseOne,
  settleDelivery,
  settlement,
  tell,
} from '../../engine/conformance/tellings.ts';
import { sqliteEngine } from './engine.ts';
import { copyStoppedStore, restoreStore } from './restore.ts';

/** An open store in a file, and its folder. */
async function openStore(t: TestContext): Promise<Fixture & { folder: string }> {
  const root = mkdtempSync(join(tmpdir(), 'waitless-deliveries-'));
  const folder = join(root, 'data');
  const f = await fixture({
    name: 'sqlite',
    create: () => Promise.resolve({ engine: () => sqliteEngine({ folder }), destroy: () => Promise.resolve() }),
  });
  t.after(async () => {
    await f.end().catch(() => {});
    rmSync(root, { recursive: true, force: true });
  });
  return Object.assign(f, { folder });
}

/** Rows of each table that deliveries stand in. */
async function rowsOf(f: Fixture & { folder: string }): Promise<Record<string, number>> {
  await f.engine.close();
  const db = new Database(join(f.folder, 'waitless.db'), { readonly: true });
  const count = (table: string): number => db.prepare<[], number>(`SELECT count(*) FROM ${table}`).pluck().get()!;
  const rows = {
    callback: count('callback'),
    delivery: count('delivery'),
    attempt: count('delivery_attempt'),
    outlet: count('outlet'),
  };
  db.close();
  return rows;
}

test('sqlite: an outlet is forgotten when nothing is open for it, whatever it was blocked for', async (t) => {
  const f = await openStore(t);
  for (const at of ['one', 'two', 'three']) await tell(f, callback(at));
  const [one, two, three] = await leaseDeliveries(f);
  await settleDelivery(f, one!);
  await settleDelivery(f, two!, { to: 'dead' }, ill(f, { tripAt: 1 }));
  await settleDelivery(f, three!, later(f));
  assert.deepEqual(await rowsOf(f), { callback: 3, delivery: 3, attempt: 3, outlet: 1 });
});

test('sqlite: nothing is left of an operation that is removed', async (t) => {
  const f = await openStore(t);
  for (const at of ['one', 'two', 'three']) await tell(f, callback(at, { progress: true }), { retentionMs: 1000 });
  const [one, two, three] = await leaseDeliveries(f);
  await settleDelivery(f, one!);
  await settleDelivery(f, two!, later(f));
  for (const lease of [two!, three!]) await f.engine.purge({ ...lease.operation, namespace: 'default' });
  f.clock.advance(90_000_000);
  assert.equal((await f.engine.sweep(f.clock.now(), { removeExpired: true })).removed, 1);
  assert.deepEqual(await rowsOf(f), { callback: 0, delivery: 0, attempt: 0, outlet: 0 });
});

test('sqlite: a call that spoils its group makes no delivery twice, and no try', async (t) => {
  const f = await openStore(t);
  await tell(f, callback('first'));
  const first = await leaseOne(f);
  const seq = await f.submit({ callback: callback('second') });
  const [lease] = await f.lease();
  const transition = { to: 'succeeded' as const, result: result('x') };
  // All in one message, and so in one transaction first.
  const together = await Promise.allSettled([
    f.engine.settle([{ ...lease!, transition, backendStatus: 200 }], f.clock.now()),
    f.engine.settleDeliveries([settlement(f, first, later(f), ill(f, { tripAt: 5 }))], f.clock.now()),
    f.engine.submit([await f.submission({ queue: 999_999 })], f.clock.now()),
  ]);
  assert.deepEqual(
    together.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected'],
  );
  assert.equal((await deliveriesOf(f, seq)).length, 1);
  assert.equal((await f.engine.delivery(first.number, 'default'))!.attempts.length, 1);
  f.clock.advance(60_000);
  const again = (await leaseDeliveries(f)).find(({ number }) => number === first.number)!;
  assert.deepEqual(await settleDelivery(f, again, later(f), ill(f, { tripAt: 5 })), {
    kind: 'recorded',
    outlet: { failures: 2, blockedUntil: null },
  });
});

test('sqlite: of the answer only what is kept goes to the store, not the block that it was read into', async (t) => {
  const f = await openStore(t);
  await tell(f);
  const one = settlement(f, await leaseOne(f));
  const block = Buffer.alloc(64 * 1024, 'x');
  block.write('answer', 100);
  const tried = { ...one.tried, answer: block.subarray(100, 106) };
  await f.engine.settleDeliveries([{ ...one, tried }], f.clock.now());
  const { attempts } = (await f.engine.delivery(one.number, 'default'))!;
  assert.equal(Buffer.from(attempts[0]!.answer!).toString(), 'answer');
  assert.equal(block.length, 64 * 1024, 'the block is still its owner’s');
});

test('sqlite: a store that was put back from a copy gives out no number again, and sends what was on its way', async (t) => {
  const f = await openStore(t);
  await tell(f);
  const before = await leaseOne(f);
  await f.engine.close();
  const copy = join(f.folder, '..', 'copy.db');
  await copyStoppedStore({ data: f.folder, to: copy });
  await f.reopen();
  const lost = await tell(f);
  const [lostDelivery] = await deliveriesOf(f, lost);
  await f.engine.close();
  rmSync(f.folder, { recursive: true });
  mkdirSync(f.folder);
  restoreStore({ file: copy, data: f.folder, nowMs: f.clock.now() });
  await f.reopen();
  assert.equal((await leaseOne(f)).number, before.number);
  const [next] = await deliveriesOf(f, await tell(f));
  assert.ok(next!.number > lostDelivery!.number, `${next!.number} is beyond ${lostDelivery!.number}`);
});
