// Submits that may not make work, as when a queue is full: what is there already answers, and nothing is stored.
import assert from 'node:assert/strict';
import type { Submission } from '../engine.ts';
import type { Case, Fixture } from './fixture.ts';
import { ask, compute, finish, idempotency, told } from './keyed-submits.ts';

async function without(f: Fixture, more: Partial<Submission> = {}): Promise<ReturnType<typeof told>> {
  const [outcome] = await f.engine.submit([await f.submission({ ...more, mayMake: false })], f.clock.now());
  return told(outcome!);
}

const stored = async (f: Fixture): Promise<number> =>
  (await f.engine.operations({ namespace: 'default', limit: 100 })).items.length;

export const fullCases: Case[] = [
  {
    name: 'new work that may not be made is not stored, whatever it carries',
    async run(f) {
      assert.deepEqual(await without(f), ['full', null]);
      assert.deepEqual(await without(f, { durability: 'memory' }), ['full', null]);
      assert.deepEqual(await without(f, { labels: { a: 'b' } }), ['full', null]);
      assert.deepEqual(await without(f, { idempotency: idempotency(f, 'k') }), ['full', null]);
      assert.deepEqual(told(await ask(f, 'a', { mayMake: false })), ['full', null]);
      assert.equal(await stored(f), 0);
      assert.equal((await f.lease()).length, 0);
      const [, seq] = told(
        (await f.engine.submit([await f.submission({ idempotency: idempotency(f, 'k') })], f.clock.now()))[0]!,
      );
      assert.ok(seq !== null, 'its idempotency key was not used up');
      assert.equal(told(await ask(f, 'a'))[0], 'new', 'and nobody waits for work that was not begun');
    },
  },
  {
    name: 'a repeat is answered although no work may be made, and another request under its key is told so',
    async run(f) {
      const submission = await f.submission({ idempotency: idempotency(f, 'k') });
      const [first] = await f.engine.submit([submission], f.clock.now());
      assert.ok(first?.kind === 'new');
      assert.deepEqual(await without(f, { idempotency: idempotency(f, 'k') }), ['replayed new', first.seq]);
      assert.deepEqual(await without(f, { idempotency: idempotency(f, 'k', { fingerprint: 'other' }) }), [
        'mismatch',
        null,
      ]);
      f.clock.advance(60_001);
      assert.deepEqual(
        await without(f, { idempotency: idempotency(f, 'k') }),
        ['full', null],
        'a key that has expired',
      );
    },
  },
  {
    name: 'a running twin and a stored result answer although no work may be made, and are remembered under a key',
    async run(f) {
      const [, seq] = told(await ask(f, 'a'));
      assert.deepEqual(told(await ask(f, 'a', { mayMake: false, idempotency: idempotency(f, 'k') })), ['joined', seq]);
      await finish(f, { text: 'score', keep: { freshMs: 1000, staleMs: 1000 } });
      assert.deepEqual(told(await ask(f, 'a', { mayMake: false })), ['stored', seq]);
      assert.deepEqual(told(await ask(f, 'a', { mayMake: false, idempotency: idempotency(f, 'k') })), [
        'replayed joined',
        seq,
      ]);
    },
  },
  {
    name: 'a stale result is served without beginning its refresh, and one that is too old is not',
    async run(f) {
      const seq = await compute(f, 'a', { keep: { freshMs: 1000, staleMs: 1000 } });
      f.clock.advance(1500);
      assert.deepEqual(told(await ask(f, 'a', { mayMake: false })), ['stored', seq]);
      assert.equal((await f.lease()).length, 0);
      f.clock.advance(1000);
      assert.deepEqual(told(await ask(f, 'a', { mayMake: false })), ['full', null]);
      assert.equal((await f.lease()).length, 0);
      assert.equal(told(await ask(f, 'a'))[0], 'new expired');
    },
  },
  {
    name: 'in one batch those that may make work do, and the others find it',
    async run(f) {
      const batch = [
        await f.submission({ mayMake: false }),
        await f.submission({ idempotency: idempotency(f, 'k') }),
        await f.submission({ idempotency: idempotency(f, 'k'), mayMake: false }),
        await f.submission({ mayMake: true }),
      ];
      const outcomes = (await f.engine.submit(batch, f.clock.now())).map(told);
      const kinds = outcomes.map(([kind]) => kind);
      assert.deepEqual(kinds, ['full', 'new', 'replayed new', 'new']);
      assert.equal(outcomes[2]![1], outcomes[1]![1]);
      assert.equal(await stored(f), 2);
    },
  },
];
