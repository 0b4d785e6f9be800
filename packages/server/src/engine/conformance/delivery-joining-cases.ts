// Who is told where requests share an operation or repeat one: everybody who waits for its end, and nobody who has an answer.
import assert from 'node:assert/strict';
import { mostCallbacks } from '../deliveries.ts';
import { type Case, result } from './fixture.ts';
import { ask, finish, idempotency, sharing as sharingOf, told } from './keyed-submits.ts';
import { callback, deliveriesOf, tell, toldOf, versionOf } from './tellings.ts';

const error = { code: 'x', message: 'm' };
const shop = callback().outlet;

export const deliveryJoiningCases: Case[] = [
  {
    name: 'who joins is told too, each as it wanted, also when both come at once',
    async run(f) {
      const one = callback('one', { correlationId: 'a', progress: true });
      const [, seq] = told(await ask(f, 'k', { callback: one }));
      assert.deepEqual(told(await ask(f, 'k', { callback: callback('two', { correlationId: 'b' }) })), ['joined', seq]);
      assert.deepEqual(told(await ask(f, 'k')), ['joined', seq]);
      const [lease] = await f.lease();
      assert.deepEqual(told(await ask(f, 'k', { callback: callback('two', { correlationId: 'c' }) })), ['joined', seq]);
      await f.engine.extend({ ...lease!, leaseMs: null, progress: { percent: 1 } }, f.clock.now());
      await f.settle(lease!, { to: 'succeeded', result: result('x') });
      const all = await deliveriesOf(f, seq!);
      assert.equal(
        all
          .map(({ callback: { correlationId } }) => correlationId!)
          .sort()
          .join(' '),
        'a a b c',
      );

      const twins = [];
      for (const at of ['three', 'four', 'five'])
        twins.push(await f.submission({ key: 'w', sharing: sharingOf('w'), callback: callback(at) }));
      const outcomes = await f.engine.submit(twins, f.clock.now());
      assert.deepEqual(outcomes.map(({ kind }) => kind).sort(), ['joined', 'joined', 'new']);
      const other = await finish(f, { text: 'w', keep: null });
      assert.deepEqual((await toldOf(f, other)).map(([outlet]) => outlet).sort(), [
        callback('five').outlet,
        callback('four').outlet,
        callback('three').outlet,
      ]);
    },
  },
  {
    name: 'as many as may be are told of one operation: who would be one more is refused, and nothing of that one is kept',
    async run(f) {
      const [, seq] = told(await ask(f, 'k', { callback: callback() }));
      const joining = await Promise.all(
        Array.from({ length: mostCallbacks - 2 }, () =>
          f.submission({ key: 'k', sharing: sharingOf('k'), callback: callback() }),
        ),
      );
      const outcomes = await f.engine.submit(joining, f.clock.now());
      assert.ok(outcomes.every(({ kind }) => kind === 'joined'));
      assert.equal((await ask(f, 'k', { callback: callback('last') })).kind, 'joined');
      const more = { callback: callback('more'), idempotency: idempotency(f, 'i') };
      assert.equal((await ask(f, 'k', more)).kind, 'callbacks-full');
      const batch = [
        await f.submission({ key: 'k', sharing: sharingOf('k'), callback: callback('more') }),
        await f.submission({ key: 'k', sharing: sharingOf('k') }),
        await f.submission({ rank: 9e12 }),
      ];
      assert.deepEqual(
        (await f.engine.submit(batch, f.clock.now())).map(({ kind }) => kind),
        ['callbacks-full', 'joined', 'new'],
      );
      // The refused one's idempotency key stands for nothing: another request may use it.
      const other = { idempotency: idempotency(f, 'i', { fingerprint: 'other' }) };
      assert.deepEqual(told(await ask(f, 'k', other)), ['joined', seq]);
      const [lease] = await f.lease({ max: 1 });
      await f.settle(lease!, { to: 'succeeded', result: result('x') });
      const outlets = (await toldOf(f, seq!)).map(([outlet]) => outlet);
      assert.equal(outlets.length, mostCallbacks);
      assert.ok(outlets.includes(callback('last').outlet) && !outlets.includes(callback('more').outlet));
    },
  },
  {
    name: 'a repeat, a mismatch, a stored result and one that is refreshed behind it tell nobody more',
    async run(f) {
      const wanted = { callback: callback(), idempotency: idempotency(f, 'i') };
      const [, seq] = told(await ask(f, 'k', wanted));
      const again = { ...wanted, callback: callback('again') };
      assert.equal((await ask(f, 'k', again)).kind, 'replayed');
      const mismatch = { ...again, idempotency: idempotency(f, 'i', { fingerprint: 'other' }) };
      assert.equal((await ask(f, 'k', mismatch)).kind, 'mismatch');
      await finish(f, { text: 'x', keep: { freshMs: 1000, staleMs: 9000 } });
      assert.equal((await ask(f, 'k', { callback: callback('hit') })).kind, 'stored');
      assert.equal((await ask(f, 'k', again)).kind, 'replayed');
      f.clock.advance(2000);
      const stale = await ask(f, 'k', { callback: callback('stale') });
      assert.ok(stale.kind === 'stored' && stale.refreshing);
      const refreshed = await finish(f, { text: 'y', keep: null });
      assert.notEqual(refreshed, seq);
      assert.deepEqual(await toldOf(f, refreshed), []);
      assert.deepEqual(await toldOf(f, seq!), [[shop, await versionOf(f, seq!)]]);
    },
  },
  {
    name: 'a key whose operation failed and that starts a new one has the new one told',
    async run(f) {
      const retried = { ...idempotency(f, 'i'), retryFailed: true };
      const first = await f.submit({ callback: callback('first'), idempotency: retried });
      const [lease] = await f.lease();
      await f.settle(lease!, { to: 'failed', error, result: null });
      const second = await tell(f, callback('second'), { idempotency: retried });
      assert.deepEqual(
        (await toldOf(f, first)).map(([outlet]) => outlet),
        [callback('first').outlet],
      );
      assert.deepEqual(
        (await toldOf(f, second)).map(([outlet]) => outlet),
        [callback('second').outlet],
      );
    },
  },
];
