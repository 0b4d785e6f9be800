// Lists: newest first, filtered, in pages that neither miss nor repeat.
import assert from 'node:assert/strict';
import type { OperationFilter } from '../engine.ts';
import type { Case, Fixture } from './fixture.ts';

const list = async (f: Fixture, more: Partial<OperationFilter> = {}): Promise<number[]> =>
  (await f.engine.operations({ namespace: 'default', limit: 100, ...more })).items.map((r) => r.seq);

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
];
