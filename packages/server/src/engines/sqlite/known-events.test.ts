// An event that is known is found wherever its row stands, after a restart and a rollback too, and one that is forgotten is not.
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test, type TestContext } from 'node:test';
import { openDatabase } from './database.ts';
import { knownEvents, knownKey } from './known-events.ts';
import { Store } from './store.ts';

const now = 1_700_000_000_000;
const key = (n: number, log = 1): string => knownKey(log, hash('sha256', `event ${n}`, 'base64url'));

function storeInMemory(t: TestContext): Store {
  const { db } = openDatabase({ folder: ':memory:' });
  t.after(() => db.close());
  return new Store(db, now);
}

/** How many rows there are. */
const rowsOf = ({ db }: Store): unknown => db.prepare('SELECT count(*) FROM known_event').pluck().get();

test('sqlite: of many thousand events each is found at its position, also by a store that was opened anew', (t) => {
  const store = storeInMemory(t);
  const written = knownEvents(store);
  const count = 24_000;
  const keys = Array.from({ length: count + 1 }, (_, n) => key(n));
  store.db.exec('BEGIN');
  for (let n = 1; n <= count; n++) {
    assert.equal(written.position(keys[n]!), undefined);
    written.add(keys[n]!, { log: 1, position: n + 7, until: n <= count / 2 ? now + 1000 : now + 2000 });
  }
  store.db.exec('COMMIT');
  written.committed();
  const opened = knownEvents(store);
  for (const known of [written, opened]) {
    for (let n = 1; n <= count; n++) assert.equal(known.position(keys[n]!), n + 7);
    for (let n = 1; n <= 1000; n++) assert.equal(known.position(key(n, 2)), undefined, 'another log knows it not');
    for (let n = count + 1; n <= count + 1000; n++) assert.equal(known.position(key(n)), undefined);
  }

  store.nowMs = now + 1000;
  for (let n = 1; n <= 1000; n++)
    assert.equal(written.position(keys[n]!), undefined, 'known no longer, and not removed');
  let turns = 1;
  while (written.forget()) turns++;
  assert.ok(turns > 1, 'a bounded number in one go');
  assert.equal(rowsOf(store), count / 2);
  for (const known of [written, opened, knownEvents(store)])
    for (let n = count / 2 + 1; n <= count; n++) assert.equal(known.position(keys[n]!), n + 7);
  store.nowMs = now + 2000;
  while (written.forget());
  assert.equal(rowsOf(store), 0);
  assert.equal(written.forget(), false);
  written.add(key(1), { log: 1, position: 9, until: now + 3000 });
  assert.equal(written.position(key(1)), 9);
});

test('sqlite: one that is known for longer than those behind it holds them back, and is not forgotten before', (t) => {
  const store = storeInMemory(t);
  const known = knownEvents(store);
  for (const [n, until] of [1, 3, 2].entries()) known.add(key(n), { log: 1, position: n + 1, until: now + until });
  store.nowMs = now + 2;
  assert.equal(known.forget(), false);
  assert.equal(rowsOf(store), 2);
  assert.deepEqual(
    [0, 1, 2].map((n) => known.position(key(n))),
    [undefined, 2, undefined],
  );
});

test('sqlite: after a rollback nothing of it is known, and everything from before is', (t) => {
  const store = storeInMemory(t);
  const known = knownEvents(store);
  const until = now + 1000;
  const add = (from: number, to: number): void => {
    for (let n = from; n <= to; n++) known.add(key(n), { log: 1, position: n, until });
  };
  add(1, 900);
  known.committed();
  // More than fit where the others stand.
  for (let turn = 0; turn < 3; turn++) {
    store.db.exec('BEGIN');
    add(901, 4000);
    assert.equal(known.position(key(4000)), 4000);
    store.db.exec('ROLLBACK');
    known.rolledBack();
    for (let n = 901; n <= 4000; n++) assert.equal(known.position(key(n)), undefined);
  }
  add(5001, 9000);
  known.committed();
  for (const one of [known, knownEvents(store)]) {
    for (let n = 1; n <= 9000; n++) {
      const position = n > 900 && n <= 5000 ? undefined : n;
      assert.equal(one.position(key(n)), position);
    }
  }
});
