// Idempotency keys: one key, one operation, whoever asks first and however often.
import assert from 'node:assert/strict';
import type { Idempotency, Submission } from '../engine.ts';
import type { Case, Fixture } from './fixture.ts';

const key = (f: Fixture, more: Partial<Idempotency> = {}): Idempotency => ({
  key: 'k',
  fingerprint: 'same',
  expiresAt: f.clock.now() + 1000,
  retryFailed: false,
  ...more,
});

const submit = async (f: Fixture, more: Partial<Idempotency> = {}, rest: Partial<Submission> = {}) =>
  (await f.engine.submit([await f.submission({ ...rest, idempotency: key(f, more) })], f.clock.now()))[0]!;

export const idempotencyCases: Case[] = [
  {
    name: 'the same key and request give the same operation',
    async run(f) {
      const first = await submit(f);
      const again = await submit(f);
      assert.equal(first.kind, 'new');
      assert.equal(again.kind, 'replayed');
      assert.equal(again.kind === 'replayed' && again.operation.seq, first.kind === 'new' && first.seq);
      assert.equal((await f.lease()).length, 1);
    },
  },
  {
    name: 'the same key and another request is a mismatch, and nothing is stored',
    async run(f) {
      await submit(f);
      assert.equal((await submit(f, { fingerprint: 'other' })).kind, 'mismatch');
      assert.equal((await f.lease()).length, 1);
    },
  },
  {
    name: 'of twins that arrive together exactly one is new',
    async run(f) {
      const outcomes = await Promise.all(Array.from({ length: 40 }, () => submit(f)));
      assert.equal(outcomes.filter((o) => o.kind === 'new').length, 1);
      assert.equal(outcomes.filter((o) => o.kind === 'replayed').length, 39);
    },
  },
  {
    name: 'twins inside one batch see each other',
    async run(f) {
      const batch = [
        await f.submission({ idempotency: key(f) }),
        await f.submission({ idempotency: key(f) }),
        await f.submission({ idempotency: key(f, { fingerprint: 'x' }) }),
      ];
      assert.deepEqual(
        (await f.engine.submit(batch, f.clock.now())).map((o) => o.kind),
        ['new', 'replayed', 'mismatch'],
      );
    },
  },
  {
    name: 'a key belongs to one namespace and service',
    async run(f) {
      const other = (await f.engine.queue('other', 'work')).id;
      assert.equal((await submit(f)).kind, 'new');
      assert.equal((await submit(f, {}, { queue: other })).kind, 'new');
    },
  },
  {
    name: 'a key whose time has passed starts anew',
    async run(f) {
      await submit(f);
      f.clock.advance(1001);
      assert.equal((await submit(f, { expiresAt: f.clock.now() + 1000 })).kind, 'new');
      assert.equal((await submit(f, { expiresAt: f.clock.now() + 1000 })).kind, 'replayed');
    },
  },
  {
    name: 'a failed operation is replayed, unless the key says that failures are tried again',
    async run(f) {
      await submit(f);
      const [lease] = await f.lease();
      await f.settle(lease!, { to: 'failed', error: { code: 'x', message: 'y' }, result: null });
      assert.equal((await submit(f)).kind, 'replayed');
      assert.equal((await submit(f, { retryFailed: true })).kind, 'new');
      assert.equal((await submit(f)).kind, 'replayed');
    },
  },
];
