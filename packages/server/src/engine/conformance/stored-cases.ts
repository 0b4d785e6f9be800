// Results under business keys: found by key as long as they are kept, forgotten when asked to, and never longer there than promised.
import assert from 'node:assert/strict';
import { type Case, result } from './fixture.ts';
import { ask, compute, digest, finish, forget, foundUnder, lookUp, told } from './keyed-submits.ts';

export const storedCases: Case[] = [
  {
    name: 'a key finds what is being computed, then its result, and nothing before and for others',
    async run(f) {
      assert.equal(await lookUp(f, 'a'), undefined);
      const [, seq] = told(await ask(f, 'a'));
      assert.equal(await foundUnder(f, 'a'), `running ${seq}`);
      await finish(f, { text: 'score', keep: { freshMs: 1000, staleMs: 0 } });
      const found = await lookUp(f, 'a');
      assert.ok(found?.kind === 'stored');
      assert.deepEqual([found.stored.operation.seq, found.stored.freshUntil], [seq, f.clock.now() + 1000]);
      assert.equal(await foundUnder(f, 'a'), 'score');
      assert.equal(await lookUp(f, 'b'), undefined);
      const other = (await f.engine.queue('other', 'work')).id;
      assert.equal(await f.engine.lookUp({ queue: other, identity: digest('a') }, f.clock.now()), undefined);
    },
  },
  {
    name: 'a key finds a result until the end of its validity and of its stale time',
    async run(f) {
      await compute(f, 'a', { text: 'x', keep: { freshMs: 1000, staleMs: 500 } });
      f.clock.advance(1499);
      assert.equal(await foundUnder(f, 'a'), 'x');
      f.clock.advance(1);
      assert.equal(await foundUnder(f, 'a'), undefined);
    },
  },
  {
    name: 'a result without validity is found by its key until its retention ends, and answers no submit',
    async run(f) {
      const first = await compute(f, 'a', { text: 'one', retentionMs: 60_000, keep: { freshMs: 0, staleMs: 0 } });
      assert.equal(await foundUnder(f, 'a'), 'one');
      const [kind, second] = told(await ask(f, 'a', { retentionMs: 60_000 }));
      assert.equal(kind, 'new');
      assert.notEqual(second, first);
      assert.equal(await foundUnder(f, 'a'), 'one', 'while the next one runs');
      await finish(f, { text: 'two', keep: { freshMs: 0, staleMs: 0 } });
      assert.equal(await foundUnder(f, 'a'), 'two');
      f.clock.advance(60_000);
      assert.equal(await foundUnder(f, 'a'), undefined);
    },
  },
  {
    name: 'of several shares of a key the newest result is found',
    async run(f) {
      await compute(f, 'a', { text: 'one', sharing: { share: digest('one') } });
      f.clock.advance(10);
      await compute(f, 'a', { text: 'two', sharing: { share: digest('two') } });
      assert.equal(await foundUnder(f, 'a'), 'two');
      f.clock.advance(10);
      await compute(f, 'a', { text: 'three', sharing: { share: digest('one'), use: 'running' } });
      assert.equal(await foundUnder(f, 'a'), 'three');
    },
  },
  {
    name: 'of work that shares nothing the result that came last is found, also when others of it fail',
    async run(f) {
      const mine = { sharing: { use: 'nothing', share: digest('put') } as const };
      await ask(f, 'a', mine);
      await ask(f, 'a', mine);
      const [first, second] = await f.lease();
      await f.settle(second!, { to: 'failed', error: { code: 'x', message: 'm' }, result: null });
      await f.settle(first!, { to: 'succeeded', result: result('first'), keep: { freshMs: 0, staleMs: 0 } });
      assert.equal(await foundUnder(f, 'a'), 'first');
    },
  },
  {
    name: 'an operation is kept as long as its result is valid or stale, and gone after',
    async run(f) {
      const seq = await compute(f, 'a', { retentionMs: 1000, keep: { freshMs: 20_000, staleMs: 10_000 } });
      const [record] = await f.engine.recordsOf([seq]);
      assert.equal(record!.expiresAt, f.clock.now() + 30_000);
      f.clock.advance(29_999);
      await f.engine.sweep(f.clock.now(), { removeExpired: true });
      assert.equal(told(await ask(f, 'a'))[1], seq);
      await finish(f, { text: 'next', keep: null });
      f.clock.advance(1);
      await f.engine.sweep(f.clock.now(), { removeExpired: true });
      assert.deepEqual(await f.engine.recordsOf([seq]), []);
      assert.equal(await lookUp(f, 'a'), undefined);
      assert.equal(told(await ask(f, 'a'))[0], 'new');
    },
  },
  {
    name: 'what is forgotten answers nobody, and neither does what was being computed then',
    async run(f) {
      assert.equal(await forget(f, 'a'), false);
      await compute(f, 'a', { text: 'old' });
      assert.equal(await forget(f, 'a'), true);
      assert.equal(await lookUp(f, 'a'), undefined);
      const [, before] = told(await ask(f, 'a'));
      const [lease] = await f.lease();
      assert.equal(await forget(f, 'a'), true);
      const [kind, after] = told(await ask(f, 'a'));
      assert.deepEqual([kind, after === before], ['new', false]);
      await f.settle(lease!, { to: 'succeeded', result: result('of before'), keep: { freshMs: 9000, staleMs: 0 } });
      assert.equal(await foundUnder(f, 'a'), `running ${after}`);
      assert.equal(
        Buffer.from((await f.engine.result(before!))!.body!).toString(),
        'of before',
        'its own client has it',
      );
      await finish(f, { text: 'of after', keep: { freshMs: 9000, staleMs: 0 } });
      assert.equal(await foundUnder(f, 'a'), 'of after');
    },
  },
  {
    name: 'a purged operation answers nobody any more',
    async run(f) {
      const seq = await compute(f, 'a');
      const [record] = await f.engine.recordsOf([seq]);
      assert.equal(await f.engine.purge({ seq, nonce: record!.nonce, namespace: 'default' }), true);
      assert.equal(await lookUp(f, 'a'), undefined);
      assert.equal(told(await ask(f, 'a'))[0], 'new');
    },
  },
  {
    name: 'a large result is stored under its key as any other',
    async run(f) {
      const body = Buffer.alloc(f.engine.features.inlineBytes * 2 + 17, 'x');
      await ask(f, 'a');
      const [lease] = await f.lease();
      const large = { ...result('x'), body };
      await f.settle(lease!, { to: 'succeeded', result: large, keep: { freshMs: 9000, staleMs: 0 } });
      const hit = await ask(f, 'a');
      assert.ok(hit.kind === 'stored' && hit.stored.result.body === null);
      assert.equal(hit.stored.result.bodyBytes, body.length);
      const parts = [];
      for await (const part of f.engine.readBody(hit.stored.operation.seq, 'result')) parts.push(part);
      assert.ok(Buffer.concat(parts).equals(body));
    },
  },
  {
    name: 'the request of an operation can be read, to do it anew',
    async run(f) {
      const head = '{"method":"GET","path":"/x","query":"?a=1","headers":[["A","b"]]}';
      const seq = await f.submit({ head, body: Buffer.from('body') });
      assert.deepEqual(await f.engine.request(seq), { head, bodyBytes: 4 });
      const parts = [];
      for await (const part of f.engine.readBody(seq, 'request')) parts.push(part);
      assert.equal(Buffer.concat(parts).toString(), 'body');
      assert.equal(await f.engine.request(seq + 1_000_000), undefined);
    },
  },
  {
    name: 'lists find operations by their key',
    async run(f) {
      const one = told(await ask(f, 'a'))[1];
      await ask(f, 'b');
      const two = await f.submit({ key: 'a' });
      const other = (await f.engine.queue('other', 'work')).id;
      await f.submit({ key: 'a', queue: other });
      const page = await f.engine.operations({ namespace: 'default', key: 'a', limit: 10 });
      assert.deepEqual(
        page.items.map(({ seq, key }) => [seq, key]),
        [
          [two, 'a'],
          [one, 'a'],
        ],
      );
    },
  },
  {
    name: 'stored results, those under way and their keys are there after a restart',
    durableOnly: true,
    async run(f) {
      const seq = await compute(f, 'a', { text: 'kept' });
      const [, running] = told(await ask(f, 'b'));
      await f.reopen();
      assert.deepEqual(told(await ask(f, 'a')), ['stored', seq]);
      assert.equal(await foundUnder(f, 'a'), 'kept');
      assert.deepEqual(told(await ask(f, 'b')), ['joined', running]);
    },
  },
];
