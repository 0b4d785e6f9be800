// Lists: newest first, filtered, in pages that neither miss nor repeat.
import assert from 'node:assert/strict';
import type { OperationFilter } from '../engine.ts';
import { type Case, type Fixture, result } from './fixture.ts';

const list = async (f: Fixture, more: Partial<OperationFilter> = {}): Promise<number[]> =>
  (await f.engine.operations({ namespace: 'default', limit: 100, ...more })).items.map((r) => r.seq);

const place = (f: Fixture, seq: number, limit = 100): Promise<number | undefined> => f.engine.ahead(seq, limit);

export const readCases: Case[] = [
  {
    name: 'a list is newest first and knows its namespace',
    async run(f) {
      const a = await f.submit();
      const b = await f.submit();
      await f.submit({ queue: (await f.engine.queue('other', 'work')).id });
      assert.deepEqual(await list(f), [b, a]);
    },
  },
  {
    name: 'pages follow each other without a gap or a repeat while new ones arrive',
    async run(f) {
      const seqs: number[] = [];
      for (let i = 0; i < 7; i++) seqs.unshift(await f.submit());
      const seen: number[] = [];
      let beforeSeq: number | undefined;
      do {
        const page = await f.engine.operations({
          namespace: 'default',
          limit: 3,
          ...(beforeSeq === undefined ? {} : { beforeSeq }),
        });
        seen.push(...page.items.map((r) => r.seq));
        beforeSeq = page.nextSeq ?? undefined;
        await f.submit();
      } while (beforeSeq !== undefined);
      assert.deepEqual(seen, seqs);
    },
  },
  {
    name: 'filters by service, status, correlation id, label and time',
    async run(f) {
      const now = f.clock.now();
      const plain = await f.submit({ rank: 1 });
      const [lease] = await f.lease({ max: 1 });
      await f.settle(lease!, { to: 'failed', error: { code: 'e', message: 'm' }, result: null });
      f.clock.advance(1000);
      const other = await f.submit({
        queue: (await f.engine.queue('default', 'print')).id,
        correlationId: 'talk',
        labels: { customer: '42', 'x-y': 'z' },
      });
      assert.deepEqual(await list(f, { service: 'print' }), [other]);
      assert.deepEqual(await list(f, { statuses: ['failed'] }), [plain]);
      assert.deepEqual(await list(f, { statuses: ['failed', 'cancelled'], service: 'work' }), [plain]);
      assert.deepEqual(await list(f, { statuses: ['queued'] }), [other]);
      assert.deepEqual(await list(f, { correlationId: 'talk' }), [other]);
      assert.deepEqual(await list(f, { labels: { customer: '42' } }), [other]);
      assert.deepEqual(await list(f, { labels: { customer: '42', 'x-y': 'other' } }), []);
      assert.deepEqual(await list(f, { createdAfter: now }), [other]);
      assert.deepEqual(await list(f, { createdBefore: now + 1 }), [plain]);
      assert.deepEqual(await list(f, { correlationId: 'talk', namespace: 'other' }), []);
    },
  },
  {
    name: 'waiters read many at once, missing ones are left out',
    async run(f) {
      const a = await f.submit();
      const b = await f.submit();
      assert.deepEqual(
        (await f.engine.recordsOf([b, 4711, a])).map((r) => r.seq).sort((x, y) => x - y),
        [a, b],
      );
    },
  },
  {
    name: 'how many are before an operation is counted in the order of leases, in its own queue, to a limit',
    async run(f) {
      const rank = f.clock.now();
      const other = await f.submit({ queue: (await f.engine.queue('other', 'work')).id, rank: 1 });
      const seqs: number[] = [];
      for (let i = 0; i < 5; i++) seqs.push(await f.submit({ rank }));
      const first = await f.submit({ rank: rank - 1 });
      const last = await f.submit({ rank: rank + 1 });
      const order = [first, ...seqs, last];
      const places = await Promise.all(order.map((seq) => place(f, seq)));
      assert.deepEqual(places, [0, 1, 2, 3, 4, 5, 6], 'of equal rank the older one is first');
      assert.equal(await place(f, other), 0);
      assert.equal(await place(f, last, 6), 6);
      assert.equal(await place(f, last, 3), 3, 'it stops at the limit');
      assert.equal(await place(f, seqs[0]!, 1), 1);

      const leased = await f.lease({ namespace: 'default', max: 2 });
      assert.deepEqual(
        leased.map(({ seq }) => seq),
        order.slice(0, 2),
      );
      assert.equal(await place(f, order[2]!), 0);
      assert.equal(await place(f, last), 4);
    },
  },
  {
    name: 'what is not ready has no place: delayed, running, ended, unknown',
    async run(f) {
      const now = f.clock.now();
      const delayed = await f.submit({ runAt: now + 1000 });
      assert.equal(await place(f, delayed), undefined);
      const seq = await f.submit();
      const [lease] = await f.lease({ max: 1 });
      assert.equal(lease!.seq, seq);
      assert.equal(await place(f, seq), undefined);
      await f.settle(lease!, { to: 'succeeded', result: result('done') });
      assert.equal(await place(f, seq), undefined);
      assert.equal(await place(f, seq + 4711), undefined);
      f.clock.advance(1000);
      await f.engine.sweep(f.clock.now(), { removeExpired: true });
      assert.equal(await place(f, delayed), 0, 'its time has come');
    },
  },
  {
    name: 'a settlement tells when the attempt began that it answered',
    async run(f) {
      await f.submit();
      const begun = f.clock.now();
      const [lease] = await f.lease({ max: 1 });
      f.clock.advance(20_000);
      const [outcome] = await f.settle(lease!, { to: 'succeeded', result: result('done') });
      assert.ok(outcome?.kind === 'recorded');
      assert.deepEqual([outcome.attemptAt, outcome.finishedAt! - outcome.attemptAt!], [begun, 20_000]);
    },
  },
  {
    name: 'counters are told of all queues, or of those asked for',
    async run(f) {
      const { id: mine } = await f.engine.queue('default', 'work');
      const { id: other } = await f.engine.queue('other', 'work');
      await f.submit();
      await f.submit({ queue: other });
      await f.submit({ queue: other, runAt: f.clock.now() + 1000 });
      const queued = async (of?: number[]): Promise<[number, number][]> =>
        (await f.engine.counts(of)).map(({ queue, counts }): [number, number] => [queue.id, counts.queued]);
      assert.deepEqual(
        (await queued()).sort(([a], [b]) => a - b),
        [
          [mine, 1],
          [other, 2],
        ].sort(([a], [b]) => a! - b!),
      );
      assert.deepEqual(await queued([other]), [[other, 2]]);
      assert.deepEqual(await queued([4711]), []);
    },
  },
];
