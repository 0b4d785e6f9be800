// The results at hand in the server's thread: never staler than the store, and never more than their share of memory.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { OperationRecord, Sharing, StoredResult, Submission } from '../../engine/engine.ts';
import { HotResults, shareName } from './hot-results.ts';

const submission = (share: string, more: Partial<Sharing> = {}): Submission & { sharing: Sharing } =>
  ({
    queue: 1,
    idempotency: null,
    sharing: { identity: 'i', share, use: 'stored', maxAgeMs: null, onlyStored: false, ...more },
  }) as Submission & { sharing: Sharing };
const stored = (bytes: number, freshUntil = 1000): StoredResult => ({
  operation: { seq: 1, labels: null } as OperationRecord,
  result: { status: 200, headers: [], body: Buffer.alloc(bytes), bodyBytes: bytes, hash: 'h' },
  storedAt: 0,
  freshUntil,
});
const outcome = (result: StoredResult, refreshing = false) => ({ kind: 'stored', stored: result, refreshing }) as const;

test('what the store answered is answered again until it is stale or has changed', () => {
  const hot = new HotResults();
  const known = outcome(stored(10));
  assert.equal(hot.answer(submission('a'), 0), undefined);
  hot.learn(submission('a'), known);
  assert.equal(hot.answer(submission('a'), 999), known.stored);
  assert.equal(hot.answer(submission('a'), 1000), undefined, 'the store decides what follows');
  assert.equal(hot.answer(submission('a', { maxAgeMs: 500 }), 501), undefined);
  assert.equal(hot.answer(submission('a', { use: 'running' }), 1), undefined);
  assert.equal(hot.answer({ ...submission('a'), queue: 2 }, 1), undefined);
  hot.forget(shareName(1, 'a'));
  assert.equal(hot.answer(submission('a'), 1), undefined);
  assert.equal(hot.bytes, 0);
});

test('what is stale, large or found by key alone is not held', () => {
  const hot = new HotResults();
  hot.learn(submission('refreshing'), outcome(stored(10), true));
  hot.learn(submission('large'), outcome(stored(2_000_000)));
  hot.learn(submission('parts'), outcome({ ...stored(10), result: { ...stored(10).result, body: null } }));
  assert.equal(hot.bytes, 0);
});

test('what was not used for longest goes first, and the memory stays bounded', () => {
  const hot = new HotResults();
  for (let i = 0; i < 200; i++) {
    hot.learn(submission(`s${i}`), outcome(stored(100_000)));
    assert.ok(hot.answer(submission('s0'), 1), 's0 is used all the time');
  }
  assert.ok(hot.bytes <= 16 * 1024 * 1024);
  assert.equal(hot.answer(submission('s1'), 1), undefined);
  assert.ok(hot.answer(submission('s199'), 1));
  hot.learn(submission('s0'), outcome(stored(100)));
  const before = hot.bytes;
  hot.learn(submission('s0'), outcome(stored(100)));
  assert.equal(hot.bytes, before, 'the same again takes no more');
});

test('a hit needs no turn of the store, and sees every change of it', async (t) => {
  const { sqliteEngine } = await import('./engine.ts');
  const folder = await mkdtemp(join(tmpdir(), 'waitless-hot-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const engine = sqliteEngine({ folder: join(folder, 'data') });
  const now = 1_700_000_000_000;
  await engine.open(now);
  t.after(() => engine.close());
  const queue = (await engine.queue('default', 'work')).id;
  const identity = 'identity'.padEnd(43, 'x');
  const wanted = (): Submission => ({
    ...submission('share'.padEnd(43, 'x'), { identity }),
    queue,
    nonce: '0'.repeat(32),
    durability: 'stored',
    head: '{}',
    body: Buffer.alloc(0),
    correlationId: null,
    labels: null,
    createdAt: now,
    runAt: now,
    rank: now,
    deadlineAt: now + 1000,
    startByAt: null,
    retentionMs: 1000,
    key: 'k',
  });
  const submit = async () => (await engine.submit([wanted()], now))[0]!;
  const compute = async (text: string, use: 'stored' | 'running' = 'stored'): Promise<number> => {
    const [made] = await engine.submit([{ ...wanted(), sharing: { ...wanted().sharing!, use } }], now);
    assert.equal(made!.kind, 'new');
    const lease = {
      service: 'work',
      namespace: null,
      kind: 'pull',
      worker: null,
      max: 1,
      maxBytes: 1,
      wait: false,
    } as const;
    const [leased] = await engine.lease({ ...lease, leaseMs: 1000 }, now);
    const result = { status: 200, headers: [], body: Buffer.from(text), hash: text };
    const transition = { to: 'succeeded', result, keep: { freshMs: 5000, staleMs: 0 } } as const;
    await engine.settle([{ ...leased!, transition, backendStatus: 200 }], now);
    return leased!.seq;
  };
  const atHand = () => engine.atHand!({ queue, sharing: wanted().sharing! }, now);
  /** What the store answers, which is also what is at hand, unless nothing is. */
  const text = async (): Promise<string> => {
    const before = atHand();
    const hit = await submit();
    if (hit.kind !== 'stored') return hit.kind;
    if (before) assert.equal(before.operation.seq, hit.stored.operation.seq);
    return Buffer.from(hit.stored.result.body!).toString();
  };
  await compute('one');
  assert.equal(atHand(), undefined, 'nobody has asked for it yet');
  const first = await submit();
  assert.equal(atHand(), first.kind === 'stored' && first.stored);
  assert.equal(await text(), 'one');
  const seq = await compute('two', 'running');
  assert.equal(await text(), 'two');
  assert.equal(await text(), 'two');
  const [record] = await engine.recordsOf([seq]);
  assert.equal(await engine.purge({ seq, nonce: record!.nonce, namespace: 'default' }), true);
  assert.equal(await text(), 'new');
  assert.equal(await engine.forget({ queue, identity }), true);
  await engine.cancel({ seq: seq + 1, nonce: '0'.repeat(32), namespace: 'default' }, now);
  await compute('three');
  assert.equal(await text(), 'three');
  assert.ok(atHand());
  assert.equal(await engine.forget({ queue, identity }), true);
  assert.equal(atHand(), undefined);
  assert.equal(await text(), 'new');
});
