// Requests that share a result: computed once, whoever asks, and answered from the store while it is valid.
import assert from 'node:assert/strict';
import { type Case, result } from './fixture.ts';
import { ask, compute, finish, idempotency, sharing, told } from './keyed-submits.ts';

export const sharingCases: Case[] = [
  {
    name: 'the first request of a key is new, those that come while it runs join it, those after it are answered from the store',
    async run(f) {
      const first = await ask(f, 'a');
      assert.equal(first.kind, 'new');
      const seq = first.kind === 'new' ? first.seq : 0;
      assert.deepEqual(told(await ask(f, 'a')), ['joined', seq]);
      const [lease] = await f.lease();
      assert.deepEqual(told(await ask(f, 'a')), ['joined', seq]);
      await f.settle(lease!, { to: 'succeeded', result: result('score'), keep: { freshMs: 10_000, staleMs: 0 } });
      f.clock.advance(4000);
      const hit = await ask(f, 'a');
      assert.ok(hit.kind === 'stored' && !hit.refreshing);
      const { operation, result: found, storedAt, freshUntil } = hit.stored;
      assert.deepEqual([operation.seq, operation.key, operation.status], [seq, 'a', 'succeeded']);
      assert.equal(Buffer.from(found.body!).toString(), 'score');
      assert.deepEqual([f.clock.now() - storedAt, freshUntil! - f.clock.now()], [4000, 6000]);
      assert.equal((await f.lease()).length, 0, 'nothing else was made');
    },
  },
  {
    name: 'twins that arrive together compute once, also inside one batch',
    async run(f) {
      const outcomes = await Promise.all(Array.from({ length: 40 }, () => ask(f, 'a')));
      assert.equal(outcomes.filter(({ kind }) => kind === 'new').length, 1);
      assert.equal(outcomes.filter(({ kind }) => kind === 'joined').length, 39);
      const batch = await Promise.all(['b', 'b', 'c', 'b'].map((key) => f.submission({ key, sharing: sharing(key) })));
      const kinds = (await f.engine.submit(batch, f.clock.now())).map(({ kind }) => kind);
      assert.deepEqual(kinds, ['new', 'joined', 'new', 'joined']);
      assert.equal((await f.lease()).length, 3);
    },
  },
  {
    name: 'a stored result answers until its validity ends, then the next request computes anew',
    async run(f) {
      const seq = await compute(f, 'a', { keep: { freshMs: 2000, staleMs: 0 } });
      f.clock.advance(1999);
      assert.deepEqual(told(await ask(f, 'a')), ['stored', seq]);
      f.clock.advance(1);
      const [kind, next] = told(await ask(f, 'a'));
      assert.equal(kind, 'new expired');
      assert.equal(await finish(f, { text: 'newer', keep: { freshMs: 2000, staleMs: 0 } }), next);
      assert.deepEqual(told(await ask(f, 'a')), ['stored', next]);
    },
  },
  {
    name: 'a stale result answers while exactly one request computes a new one behind it',
    async run(f) {
      const old = await compute(f, 'a', { text: 'old', keep: { freshMs: 1000, staleMs: 5000 } });
      f.clock.advance(1500);
      const kinds = (await Promise.all(Array.from({ length: 10 }, () => ask(f, 'a')))).map(told);
      assert.deepEqual(
        kinds.map(([, seq]) => seq),
        Array.from({ length: 10 }, () => old),
      );
      assert.equal(kinds.filter(([kind]) => kind === 'refreshing').length, 1);
      assert.equal(kinds.filter(([kind]) => kind === 'stored').length, 9);
      const fresh = await finish(f, { text: 'new', keep: { freshMs: 1000, staleMs: 5000 } });
      const now = await ask(f, 'a');
      assert.deepEqual(told(now), ['stored', fresh]);
      assert.equal(now.kind === 'stored' && Buffer.from(now.stored.result.body!).toString(), 'new');
      f.clock.advance(6000);
      assert.equal(told(await ask(f, 'a'))[0], 'new expired');
    },
  },
  {
    name: 'a refresh that fails leaves the stale result where it is',
    async run(f) {
      const old = await compute(f, 'a', { keep: { freshMs: 1000, staleMs: 60_000 } });
      f.clock.advance(1500);
      assert.equal(told(await ask(f, 'a'))[0], 'refreshing');
      const [lease] = await f.lease();
      await f.settle(lease!, { to: 'failed', error: { code: 'x', message: 'm' }, result: null });
      assert.deepEqual(told(await ask(f, 'a')), ['refreshing', old]);
    },
  },
  {
    name: 'a request may ask for a new result, a young one or only a stored one',
    async run(f) {
      assert.equal((await ask(f, 'a', { sharing: { onlyStored: true } })).kind, 'not-stored');
      assert.equal((await f.lease()).length, 0, 'nothing was begun');
      const seq = await compute(f, 'a');
      f.clock.advance(3000);
      assert.deepEqual(told(await ask(f, 'a', { sharing: { maxAgeMs: 3000 } })), ['stored', seq]);
      assert.deepEqual(told(await ask(f, 'a', { sharing: { onlyStored: true } })), ['stored', seq]);
      const [kind, next] = told(await ask(f, 'a', { sharing: { maxAgeMs: 2999 } }));
      assert.equal(kind, 'new expired');
      assert.deepEqual(told(await ask(f, 'a', { sharing: { use: 'running' } })), ['joined', next]);
      assert.deepEqual(told(await ask(f, 'a')), ['stored', seq], 'the stored one is still valid for others');
    },
  },
  {
    name: 'what failed, was cancelled or ran out of time answers nobody, and the next request computes',
    async run(f) {
      const ends: ((lease: { seq: number; leaseNo: number }, nonce: string) => Promise<unknown>)[] = [
        (lease) => f.settle(lease, { to: 'failed', error: { code: 'x', message: 'm' }, result: result('no', 500) }),
        (lease) => f.settle(lease, { to: 'succeeded', result: result('not for others'), keep: null }),
        (lease, nonce) => f.engine.cancel({ seq: lease.seq, nonce, namespace: 'default' }, f.clock.now()),
        async (lease) => {
          const [record] = await f.engine.recordsOf([lease.seq]);
          await f.engine.applyClock(
            [
              {
                seq: lease.seq,
                version: record!.version,
                transition: { to: 'failed', error: { code: 'timed-out', message: 'm' }, result: null },
              },
            ],
            record!.deadlineAt,
          );
        },
      ];
      for (const end of ends) {
        const first = await ask(f, 'a');
        assert.equal(first.kind, 'new');
        const [lease] = await f.lease();
        await end(lease!, lease!.nonce);
        assert.equal((await f.engine.recordsOf([lease!.seq]))[0]!.finishedAt === null, false);
      }
      assert.equal((await ask(f, 'a')).kind, 'new');
    },
  },
  {
    name: 'nobody is made to wait for an operation that its client delayed',
    async run(f) {
      const delayed = await ask(f, 'a', { runAt: f.clock.now() + 60_000 });
      assert.equal(delayed.kind, 'new');
      const [kind, seq] = told(await ask(f, 'a'));
      assert.equal(kind, 'new');
      assert.deepEqual(told(await ask(f, 'a')), ['joined', seq]);
      assert.equal(await finish(f, { text: 'soon', keep: { freshMs: 120_000, staleMs: 0 } }), seq);
      f.clock.advance(60_000);
      await f.engine.sweep(f.clock.now(), { removeExpired: false });
      const late = await finish(f, { text: 'late', keep: { freshMs: 120_000, staleMs: 0 } });
      assert.deepEqual(told(await ask(f, 'a')), ['stored', late], 'the newest by its end');
    },
  },
  {
    name: 'an operation that waits for its next attempt is joined',
    async run(f) {
      const [, seq] = told(await ask(f, 'a'));
      const [lease] = await f.lease();
      const error = { code: 'x', message: 'm' };
      const runAt = f.clock.now() + 5000;
      await f.settle(lease!, { to: 'queued', runAt, rank: runAt, attemptUsed: true, error });
      assert.deepEqual(told(await ask(f, 'a')), ['joined', seq]);
    },
  },
  {
    name: 'other shares, other queues and work of its own compute for themselves',
    async run(f) {
      const other = (await f.engine.queue('other', 'work')).id;
      const seqs = [
        await ask(f, 'a'),
        await ask(f, 'a', { sharing: { share: sharing('b').share } }),
        await ask(f, 'a', { queue: other }),
        await ask(f, 'a', { sharing: { use: 'nothing', share: sharing('c').share } }),
        await ask(f, 'a', { sharing: { use: 'nothing', share: sharing('c').share } }),
      ].map(told);
      assert.deepEqual(
        seqs.map(([kind]) => kind),
        Array.from({ length: 5 }, () => 'new'),
      );
      assert.equal(new Set(seqs.map(([, seq]) => seq)).size, 5);
    },
  },
  {
    name: 'an idempotency key remembers that its request joined or was answered from the store',
    async run(f) {
      const [, seq] = told(await ask(f, 'a', { idempotency: idempotency(f, 'first') }));
      assert.deepEqual(told(await ask(f, 'a', { idempotency: idempotency(f, 'join') })), ['joined', seq]);
      assert.deepEqual(told(await ask(f, 'a', { idempotency: idempotency(f, 'join') })), ['replayed joined', seq]);
      await finish(f, { text: 'x', keep: { freshMs: 1000, staleMs: 0 } });
      assert.deepEqual(told(await ask(f, 'a', { idempotency: idempotency(f, 'hit') })), ['stored', seq]);
      f.clock.advance(2000);
      assert.deepEqual(told(await ask(f, 'a', { idempotency: idempotency(f, 'hit') })), ['replayed stored', seq]);
      assert.deepEqual(told(await ask(f, 'a', { idempotency: idempotency(f, 'first') })), ['replayed new', seq]);
      const mismatch = await ask(f, 'a', { idempotency: idempotency(f, 'hit', { fingerprint: 'other' }) });
      assert.equal(mismatch.kind, 'mismatch');
      assert.equal((await ask(f, 'a', { idempotency: idempotency(f, 'next') })).kind, 'new');
    },
  },
  {
    name: 'an operation is kept as long as a key points to it, also one that only joined or was answered from the store',
    async run(f) {
      const seq = await compute(f, 'a', { retentionMs: 1000, keep: { freshMs: 1000, staleMs: 0 } });
      const expiresAt = f.clock.now() + 30_000;
      assert.equal((await ask(f, 'a', { idempotency: idempotency(f, 'k', { expiresAt }) })).kind, 'stored');
      f.clock.advance(29_000);
      await f.engine.sweep(f.clock.now(), { removeExpired: true });
      assert.deepEqual(told(await ask(f, 'a', { idempotency: idempotency(f, 'k', { expiresAt }) })), [
        'replayed stored',
        seq,
      ]);
      f.clock.advance(1000);
      await f.engine.sweep(f.clock.now(), { removeExpired: true });
      assert.equal((await f.engine.recordsOf([seq])).length, 0);
    },
  },
  {
    name: 'who waits for work gets a keyed operation in the commit that stores it',
    async run(f) {
      const abort = new AbortController();
      const waiting = f.lease({ wait: true }, abort.signal);
      await f.engine.counts();
      const [, seq] = told(await ask(f, 'a'));
      const [lease] = await waiting;
      abort.abort();
      assert.equal(lease?.seq, seq);
      await f.settle(lease, { to: 'succeeded', result: result('x'), keep: { freshMs: 1000, staleMs: 0 } });
      assert.deepEqual(told(await ask(f, 'a')), ['stored', seq]);
    },
  },
];
