// A store that an earlier schema wrote opens with everything in it, and a step that fails leaves it as it was.
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import Database from 'better-sqlite3';
import { event } from '../../engine/conformance/log-race.ts';
import type { Submission } from '../../engine/engine.ts';
import { sqliteEngine } from './engine.ts';

const now = 1_700_000_000_000;
const storeKey = 'ab'.repeat(32);
const [answered, waiting] = [4096, 4097];
const nonce = (seq: number): string => seq.toString(16).padStart(32, '0');

/** A store as schema 1 left it: one operation answered, one waiting, one key. */
function storeOfSchema1(t: TestContext): { folder: string; database: () => Database.Database } {
  const folder = mkdtempSync(join(tmpdir(), 'waitless-migration-'));
  const database = () => new Database(join(folder, 'waitless.db'));
  const db = database();
  db.pragma('auto_vacuum = INCREMENTAL');
  db.exec(readFileSync(new URL('./migrations/0001.sql', import.meta.url), 'utf8'));
  const meta = db.prepare('INSERT INTO meta (key, value) VALUES (?, ?)');
  for (const row of [
    ['store_key', storeKey],
    ['next_seq', 8191],
    ['last_time', now - 1000],
    ['paused', 0],
  ])
    meta.run(...row);
  db.exec("INSERT INTO queue (id, namespace, service, queued, succeeded) VALUES (7, 'shop', 'work', 1, 1)");
  const operation = db.prepare(
    `INSERT INTO operation (seq, queue, nonce, stage, version, attempt, lease_no, rank, wake_at, created_at, updated_at, deadline_at, retention_ms, finished_at)
     VALUES (?, 7, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, 86400000, ?)`,
  );
  operation.run(answered, nonce(answered), 3, 3, 1, 1, now + 86_400_000, now, now, now + 60_000, now);
  operation.run(waiting, nonce(waiting), 0, 1, 0, 0, now + 60_000, now, now, now + 60_000, null);
  const request = db.prepare("INSERT INTO request (seq, head, body_bytes, body) VALUES (?, '{}', 4, ?)");
  for (const seq of [answered, waiting]) request.run(seq, Buffer.from([0, 255, 1, seq & 255]));
  db.prepare(`INSERT INTO result VALUES (?, 200, '["A","b"]', 1, 3, 'hash', ?)`).run(answered, Buffer.from('yes'));
  db.prepare("INSERT INTO idempotency VALUES (1, 7, ?, 'key', 'same', ?, ?)").run(
    Number.parseInt(hash('sha256', 'key', 'hex').slice(0, 13), 16),
    answered,
    now + 86_400_000,
  );
  db.pragma('user_version = 1');
  db.close();
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return { folder, database };
}

const again: Submission = {
  queue: 7,
  nonce: nonce(1),
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
  idempotency: { key: 'key', fingerprint: 'same', expiresAt: now + 60_000, retryFailed: false },
  key: null,
  sharing: null,
};

const wantsTelling = {
  url: 'https://shop.example/hook',
  outlet: 'https://shop.example',
  correlationId: null,
  progress: false,
  thin: false,
  base: 'http://waitless.example',
};

test('sqlite: a store of schema 1 opens, keeps what is in it, and has a log, business keys and callbacks', async (t) => {
  const { folder, database } = storeOfSchema1(t);
  const engine = sqliteEngine({ folder });
  t.after(() => engine.close());
  const opened = await engine.open(now);
  assert.equal(opened.storeKey, storeKey);
  assert.equal(opened.lastTimeMs, now - 1000);
  assert.equal(Buffer.from((await engine.result(answered))!.body!).toString(), 'yes');
  assert.deepEqual((await engine.result(answered))!.headers, ['A', 'b']);
  const [replayed] = await engine.submit([again], now);
  assert.equal(replayed?.kind === 'replayed' && replayed.operation.seq, answered);
  const [counted] = await engine.counts();
  assert.equal(counted?.queue.id, 7);
  assert.deepEqual(counted.counts, { queued: 1, running: 0, succeeded: 1, failed: 0, cancelled: 0 });
  const wanted = { service: 'work', namespace: null, kind: 'pull', worker: null, max: 9, wait: false } as const;
  const leases = await engine.lease({ ...wanted, maxBytes: 1e6, leaseMs: 1000 }, now);
  assert.deepEqual(
    leases.map(({ seq, nonce: own, body }) => [seq, own, [...body!]]),
    [[waiting, nonce(waiting), [0, 255, 1, waiting & 255]]],
  );
  const [fresh] = await engine.submit([{ ...again, idempotency: null }], now);
  assert.ok(fresh?.kind === 'new' && fresh.seq > 8191);
  assert.deepEqual(await engine.append([event({ namespace: 'shop' })], now), [{ kind: 'appended', position: 1 }]);
  const { epoch } = await engine.read({ namespace: 'shop', topics: ['**'], after: 0, limit: 1, maxBytes: 10 });
  assert.match(epoch, /^[0-9a-f]{32}$/);
  const sharing = {
    identity: 'i'.repeat(43),
    share: 's'.repeat(43),
    use: 'stored',
    maxAgeMs: null,
    onlyStored: false,
  } as const;
  const keyed = { ...again, idempotency: null, key: '42', sharing };
  assert.equal((await engine.submit([keyed], now))[0]?.kind, 'new');
  assert.equal((await engine.submit([keyed], now))[0]?.kind, 'joined');
  assert.deepEqual(await engine.list('service'), []);
  // Who was not told before is not told now; who wants it from now on is.
  for (const callback of [null, wantsTelling]) {
    const [made] = await engine.submit([{ ...again, idempotency: null, callback }], now);
    assert.ok(made?.kind === 'new');
    await engine.cancel({ seq: made.seq, nonce: again.nonce, namespace: 'shop' }, now);
  }
  await engine.cancel({ seq: waiting, nonce: nonce(waiting), namespace: 'shop' }, now);
  const deliveries = await engine.deliveries({ namespace: 'shop', limit: 9 });
  assert.deepEqual(
    deliveries.map(({ callback: { url } }) => url),
    [wantsTelling.url],
  );
  await engine.close();

  const db = database();
  assert.equal(db.pragma('user_version', { simple: true }), 6);
  assert.equal(db.pragma('integrity_check', { simple: true }), 'ok');
  db.close();
});

test('sqlite: two stores never share the name of their history', async () => {
  const epochs = new Set<string>();
  for (let i = 0; i < 2; i++) {
    const engine = sqliteEngine({ folder: ':memory:' });
    await engine.open(now);
    epochs.add((await engine.read({ namespace: 'any', topics: ['**'], after: 0, limit: 1, maxBytes: 1 })).epoch);
    await engine.close();
  }
  assert.equal(epochs.size, 2);
});

test('sqlite: a step that cannot be taken leaves the store at the schema it had, and taken later it is whole', async (t) => {
  const { folder, database } = storeOfSchema1(t);
  // Half of the step works before this table is in its way.
  const before = database();
  before.exec('CREATE TABLE event (mine)');
  before.close();
  await assert.rejects(sqliteEngine({ folder }).open(now), /event already exists/);
  const after = database();
  assert.equal(after.pragma('user_version', { simple: true }), 1);
  assert.deepEqual(after.prepare("SELECT 1 FROM sqlite_master WHERE name = 'log'").all(), []);
  assert.deepEqual(after.prepare("SELECT 1 FROM meta WHERE key = 'epoch'").all(), []);
  after.exec('DROP TABLE event');
  after.close();
  const engine = sqliteEngine({ folder });
  t.after(() => engine.close());
  await engine.open(now);
  assert.equal(Buffer.from((await engine.result(answered))!.body!).toString(), 'yes');
});
