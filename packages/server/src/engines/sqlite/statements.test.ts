// The store's statements are planned once, not for every value that they are run with.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ballast } from './ballast.ts';
import { callsOn } from './calls.ts';
import { openDatabase } from './database.ts';
import { Store } from './store.ts';

/** A value that the planner of a statement can see, in one that has a choice of plans. */
const showsValue = (sql: string): boolean =>
  /^\s*SELECT/.test(sql) && /\b(JOIN|INDEXED BY|ORDER BY|LIMIT)\b/.test(sql) && /(=|<|>|LIMIT) [?:]/.test(sql);

test('sqlite: no statement that has a choice of plans shows its planner a value', (t) => {
  const { db } = openDatabase({ folder: ':memory:' });
  t.after(() => db.close());
  const statements = new Set<string>();
  const prepare = db.prepare.bind(db);
  Object.assign(db, { prepare: (sql: string) => (statements.add(sql), prepare(sql)) });
  callsOn(new Store(db, 1), { ballast: new Ballast(':memory:'), folder: ':memory:' });
  assert.ok(statements.size > 80, `${statements.size} statements were seen`);
  assert.ok(showsValue('SELECT a FROM b WHERE c = ? ORDER BY d'));
  assert.deepEqual([...statements].filter(showsValue), []);
});
