// The answers at hand in the server's thread: never staler than the store, and never more than their share of memory.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { OperationRecord, Sharing, StoredResult, Submission, SubmitOutcome } from '../../engine/engine.ts';
import { KnownAnswers, shareName } from './known-answers.ts';

const queue = { id: 1, namespace: 'default', service: 'work' };
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
  const known = new KnownAnswers();
  const told = outcome(stored(10));
  assert.equal(known.find(submission('a'), 0), undefined);
  known.learn(submission('a'), told, queue);
  const answer = known.find(submission('a'), 999);
  assert.equal(answer?.kind === 'stored' && answer.stored, told.stored);
  assert.equal(known.find(submission('a'), 1000), undefined, 'the store decides what follows');
  assert.equal(known.find(submission('a', { maxAgeMs: 500 }), 501), undefined);
  assert.equal(known.find(submission('a', { use: 'running' }), 1), undefined);
  assert.equal(known.find({ ...submission('a'), queue: 2 }, 1), undefined);
  known.forget(shareName(1, 'a'));
  assert.equal(known.find(submission('a'), 1), undefined);
  assert.equal(known.bytes, 0);
});

test('who joined is joined by others until something has changed, and only those who would do so', () => {
  const known = new KnownAnswers();
  const told = { kind: 'joined', operation: { seq: 7 } as OperationRecord } as const;
  known.learn(submission('anew', { use: 'running' }), told, queue);
  assert.equal(known.bytes, 0, 'a stored result may be there for those who would take one');
  known.learn(submission('a'), told, queue);
  assert.equal(known.find(submission('a'), 5), told);
  assert.equal(known.find(submission('a', { use: 'running' }), 5), told);
  assert.equal(known.find(submission('a', { maxAgeMs: 0 }), 5), told);
  assert.equal(known.find(submission('a', { onlyStored: true }), 5), undefined);
  assert.equal(known.find(submission('a', { use: 'nothing' }), 5), undefined);
  known.forget(shareName(1, 'a'));
  assert.equal(known.find(submission('a'), 5), undefined);
});

test('those who come while the first one is on its way get its answer, whatever that is', async () => {
  const known = new KnownAnswers();
  const way = Promise.withResolvers<SubmitOutcome>();
  const first = { ...submission('a'), nonce: 'n', createdAt: 5, runAt: 5, deadlineAt: 9, correlationId: 'c', key: 'k' };
  assert.equal(known.coming(submission('a')), undefined);
  known.expect(first, way.promise, queue);
  const second = known.coming(submission('a'));
  assert.equal(known.coming(submission('b')), undefined);
  assert.equal(known.coming(submission('a', { maxAgeMs: 1 })), undefined, 'it may want something else');
  way.resolve({ kind: 'new', seq: 7 });
  const told = await second;
  assert.ok(told?.kind === 'joined');
  const { seq, nonce, correlationId, key, status, finishedAt } = told.operation;
  assert.deepEqual([seq, nonce, correlationId, key, status, finishedAt], [7, 'n', 'c', 'k', 'queued', null]);
  assert.equal(known.coming(submission('a')), undefined, 'it has arrived');
  const failing = Promise.withResolvers<SubmitOutcome>();
  known.expect(first, failing.promise, queue);
  const third = known.coming(submission('a'));
  failing.reject(new Error('the store is gone'));
  assert.equal(await third, undefined, 'the third asks for itself');
  known.expect({ ...first, runAt: 6 }, way.promise, queue);
  assert.equal(known.coming(submission('a')), undefined, 'nobody waits for a time that another one chose');
});

test('what is stale, large or found by key alone is not held', () => {
  const known = new KnownAnswers();
  known.learn(submission('refreshing'), outcome(stored(10), true), queue);
  known.learn(submission('large'), outcome(stored(2_000_000)), queue);
  known.learn(submission('parts'), outcome({ ...stored(10), result: { ...stored(10).result, body: null } }), queue);
  assert.equal(known.bytes, 0);
});

test('what was not used for longest goes first, and the memory stays bounded', () => {
  const known = new KnownAnswers();
  for (let i = 0; i < 200; i++) {
    known.learn(submission(`s${i}`), outcome(stored(100_000)), queue);
    assert.ok(known.find(submission('s0'), 1), 's0 is used all the time');
  }
  assert.ok(known.bytes <= 16 * 1024 * 1024);
  assert.equal(known.find(submission('s1'), 1), undefined);
  assert.ok(known.find(submission('s199'), 1));
  known.learn(submission('s0'), outcome(stored(100)), queue);
  const before = known.bytes;
  known.learn(submission('s0'), outcome(stored(100)), queue);
  assert.equal(known.bytes, before, 'the same again takes no more');
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
  /** Stores a result, and sees on the way that those who ask meanwhile join. */
  const compute = async (text: string, use: 'stored' | 'running' = 'stored'): Promise<number> => {
    const [made] = await engine.submit([{ ...wanted(), sharing: { ...wanted().sharing!, use } }], now);
    assert.equal(made!.kind, 'new');
    if (use === 'stored') {
      const joined = await submit();
      const held = atHand();
      assert.ok(joined.kind === 'joined' && !(held instanceof Promise) && held?.kind === 'joined');
      assert.deepEqual(held, joined, 'the next one need not ask');
    }
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
    assert.ok(!(before instanceof Promise));
    if (before?.kind === 'stored') assert.equal(before.stored.operation.seq, hit.stored.operation.seq);
    return Buffer.from(hit.stored.result.body!).toString();
  };
  await compute('one');
  assert.equal(atHand(), undefined, 'nobody has asked for it yet');
  const first = await submit();
  const held = atHand();
  assert.ok(!(held instanceof Promise));
  assert.equal(held?.kind === 'stored' && held.stored, first.kind === 'stored' && first.stored);
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

test('what was true before a change in the same commit is not remembered after it', async (t) => {
  const { sqliteEngine } = await import('./engine.ts');
  const engine = sqliteEngine({ folder: ':memory:' });
  const now = 1_700_000_000_000;
  await engine.open(now);
  t.after(() => engine.close());
  const at = (await engine.queue('default', 'work')).id;
  const sharing = submission('s'.repeat(43), { identity: 'i'.repeat(43) }).sharing;
  const wanted = {
    ...submission('s'.repeat(43)),
    sharing,
    queue: at,
    nonce: '0'.repeat(32),
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
    key: 'k',
  } as const satisfies Submission;
  await engine.submit([wanted], now);
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
  const result = { status: 200, headers: [], body: Buffer.from('x'), hash: 'x' };
  const transition = { to: 'succeeded', result, keep: { freshMs: 5000, staleMs: 0 } } as const;
  // Asked in one turn, so both are done in one commit: the first still finds it under way.
  const [joined] = await Promise.all([
    engine.submit([wanted], now),
    engine.settle([{ ...leased!, transition, backendStatus: 200 }], now),
  ]);
  assert.equal(joined[0]!.kind, 'joined');
  assert.equal(await engine.atHand!({ queue: at, sharing }, now), undefined, 'it has ended');
  assert.equal((await engine.submit([wanted], now))[0]!.kind, 'stored');
});
