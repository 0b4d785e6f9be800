// Submit: what is accepted is there, whole, and one bad item fails alone.
import assert from 'node:assert/strict';
import type { Case } from './fixture.ts';

export const submitCases: Case[] = [
  {
    name: 'an accepted operation can be read at once, with everything it was given',
    async run(f) {
      const submission = await f.submission({
        correlationId: 'c-1',
        labels: { customer: '42' },
        body: Buffer.from([0, 255, 1]),
      });
      const [outcome] = await f.engine.submit([submission], f.clock.now());
      assert.equal(outcome?.kind, 'new');
      const record = await f.engine.operation({ seq: outcome.seq, nonce: submission.nonce, namespace: 'default' });
      assert.equal(record?.status, 'queued');
      assert.equal(record.correlationId, 'c-1');
      assert.deepEqual({ ...record.labels }, { customer: '42' });
      assert.equal(record.version, 1);
      assert.equal(record.createdAt, f.clock.now());
      const [lease] = await f.lease();
      assert.deepEqual([...lease!.body!], [0, 255, 1]);
    },
  },
  {
    name: 'numbers grow and are given once, also for submissions that arrive together',
    async run(f) {
      const batches = await Promise.all(
        Array.from({ length: 50 }, async () =>
          f.engine.submit([await f.submission(), await f.submission()], f.clock.now()),
        ),
      );
      const seqs = batches.flat().map((outcome) => (outcome.kind === 'new' ? outcome.seq : -1));
      assert.equal(new Set(seqs).size, 100);
      assert.ok(Math.min(...seqs) > 0);
    },
  },
  {
    name: 'a row the store cannot take is refused and the others that came with it are stored',
    async run(f) {
      const good = await f.submission();
      // A queue that does not exist is what a defect in a caller looks like to the store.
      const bad = await f.submission({ queue: 999_999 });
      const after = await f.submission();
      const submit = (one: typeof good) => f.engine.submit([one], f.clock.now());
      const settled = await Promise.allSettled([submit(good), submit(bad), submit(after)]);
      assert.equal(settled[0].status, 'fulfilled');
      assert.equal(settled[2].status, 'fulfilled');
      const refused = settled[1].status === 'rejected' || settled[1].value[0]?.kind === 'refused';
      assert.ok(refused, 'the bad row must not be accepted');
      assert.equal((await f.lease()).length, 2);
      const counts = await f.engine.counts();
      assert.equal(counts.find(({ queue }) => queue.service === 'work')?.counts.running, 2);
    },
  },
  {
    name: 'a row the store cannot take is refused alone, wherever it stands in its call, and the others of the call are stored',
    async run(f) {
      const key = (text: string) => ({
        idempotency: { key: text, fingerprint: text, expiresAt: f.clock.now() + 60_000, retryFailed: false },
      });
      const bad = { queue: 999_999 };
      const wanted = [bad, {}, key('a'), bad, key('a'), {}, { ...bad, ...key('b') }, key('b'), bad];
      const batch = await Promise.all(wanted.map((more) => f.submission(more)));
      const outcomes = await f.engine.submit(batch, f.clock.now());
      assert.deepEqual(
        outcomes.map(({ kind }) => kind),
        ['refused', 'new', 'new', 'refused', 'replayed', 'new', 'refused', 'new', 'refused'],
      );
      for (const outcome of outcomes) if (outcome.kind === 'refused') assert.ok(outcome.error instanceof Error);
      const counts = await f.engine.counts();
      assert.equal(counts.find(({ queue }) => queue.service === 'work')?.counts.queued, 4);
      assert.equal((await f.lease()).length, 4);
      // The store is as good as before, and every number is given once.
      const seqs = outcomes.flatMap((outcome) => (outcome.kind === 'new' ? outcome.seq : []));
      assert.ok(!seqs.includes(await f.submit()));
    },
  },
  {
    name: 'durability memory is accepted and found by reads that follow',
    async run(f) {
      const submission = await f.submission({ durability: 'memory' });
      const [outcome] = await f.engine.submit([submission], f.clock.now());
      assert.equal(outcome?.kind, 'new');
      const record = await f.engine.operation({ seq: outcome.seq, nonce: submission.nonce, namespace: 'default' });
      assert.equal(record?.status, 'queued');
    },
  },
  {
    name: 'a large body comes back in pieces, byte for byte',
    async run(f) {
      const body = Buffer.alloc(3 * f.engine.features.inlineBytes + 17, 'abcdefghijk');
      const seq = await f.submit({ body });
      const [lease] = await f.lease();
      assert.equal(lease?.body, null);
      assert.equal(lease?.bodyBytes, body.length);
      const chunks: Uint8Array[] = [];
      for await (const chunk of f.engine.readBody(seq, 'request')) chunks.push(chunk);
      assert.ok(Buffer.concat(chunks).equals(body));
    },
  },
  {
    name: 'counters tell what is queued, per namespace and service',
    async run(f) {
      await f.submit();
      await f.submit({ queue: (await f.engine.queue('other', 'work')).id });
      const counts = await f.engine.counts();
      const queued = Object.fromEntries(
        counts.map(({ queue, counts: c }) => [`${queue.namespace}/${queue.service}`, c.queued]),
      );
      assert.deepEqual(queued, { 'default/work': 1, 'other/work': 1 });
    },
  },
];
