// Publishing, against a store that the test holds: what goes to it, what is answered when, and what is refused before it is asked.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Durability } from '@waitless/protocol';
import type { AppendOutcome, NewEvent } from '../engine/topics.ts';
import { manualClock } from '../lib/clock.ts';
import { newMetrics } from '../lib/metrics.ts';
import { Publish, type PublishRequest } from './publish.ts';

const request = (id: string, more: Partial<PublishRequest> = {}): PublishRequest => ({
  namespace: 'default',
  topic: 'facts',
  attributes: { specversion: '1.0', id, source: '/s', type: 't' },
  data: Buffer.from('x'),
  orderingKey: null,
  durability: 'stored',
  ...more,
});

/** A store whose answers the test gives: what it was asked, one batch after another. */
function fixture() {
  const asked: { batch: readonly NewEvent[]; answer: (outcomes?: AppendOutcome[]) => void; fail: () => void }[] = [];
  let wake = (): void => {};
  let position = 0;
  const metrics = newMetrics();
  const lost: unknown[] = [];
  const publish = new Publish({
    engine: {
      append: (batch) =>
        new Promise((resolve, reject) => {
          asked.push({
            batch,
            answer: (outcomes) => resolve(outcomes ?? batch.map(() => ({ kind: 'appended', position: ++position }))),
            fail: () => reject(new Error('the store is away')),
          });
          wake();
        }),
    },
    clock: manualClock(),
    log: {
      debug: undefined,
      info: undefined,
      warn: (name, more) => void lost.push([name, more?.['events']]),
      error() {},
    },
    metrics,
  });
  /** The batch of this number, once it is asked for. */
  const batch = async (at: number) => {
    while (asked.length <= at) await new Promise<void>((resolve) => (wake = resolve));
    return asked[at]!;
  };
  return { publish, asked, batch, metrics, lost };
}

const ids = (batch: readonly NewEvent[]): unknown[] => batch.map(({ head }) => (JSON.parse(head) as { id: string }).id);

test('all of one request go to the store as one, and the answer is what the store says', async () => {
  const { publish, batch, metrics } = fixture();
  const answer = publish.publish([
    request('a', { orderingKey: 'k' }),
    request('b', { durability: 'memory', isNamedHere: true }),
    request('a', { attributes: { specversion: '1.0', id: 'a', source: '/other', type: 't' } }),
  ]);
  const { batch: events, answer: give } = await batch(0);
  assert.deepEqual(ids(events), ['a', 'b', 'a']);
  assert.deepEqual(
    events.map(({ orderingKey, durability }) => [orderingKey, durability]),
    [
      ['k', 'stored'],
      [null, 'memory'],
      [null, 'stored'],
    ],
  );
  const [first, second, third] = events.map(({ identity }) => identity);
  assert.ok(first !== null && third !== null && first !== third, 'the source is a part of what it is known by');
  assert.equal(second, null, 'what nobody else can have is not looked for');
  give([
    { kind: 'appended', position: 7 },
    { kind: 'repeated', position: 3 },
    { kind: 'appended', position: 8 },
  ]);
  assert.deepEqual(await answer, [
    { id: 'a', position: 7, repeated: false },
    { id: 'b', position: 3, repeated: true },
    { id: 'a', position: 8, repeated: false },
  ]);
  assert.deepEqual(metrics.published, { stored: 2, memory: 0, none: 0 });
});

test('two pairs of source and id that read the same in a row are two events', async () => {
  const { publish, batch } = fixture();
  const named = (source: string, id: string): PublishRequest =>
    request(id, { attributes: { specversion: '1.0', id, source, type: 't' } });
  void publish.publish([named('/a', 'bc'), named('/ab', 'c'), named('/a', 'bc')]);
  const [one, two, three] = (await batch(0)).batch.map(({ identity }) => identity);
  assert.notEqual(one, two);
  assert.equal(one, three);
});

test('what the store refuses is thrown, and so is a name that is none before the store is asked', async () => {
  const { publish, batch, asked } = fixture();
  for (const [topic, code] of [
    ['a..b', 'invalid-name'],
    ['operations.score.failed', 'reserved-topic'],
  ] as const)
    await assert.rejects(publish.publish([request('1'), request('2', { topic })]), { code });
  assert.equal(asked.length, 0);
  assert.deepEqual(await publish.publish([]), []);
  const answer = publish.publish([request('1')]);
  (await batch(0)).answer([{ kind: 'refused', error: new Error('no room') }]);
  await assert.rejects(answer, /no room/);
});

const none = { durability: 'none' satisfies Durability } as const;

test('what is promised nothing is answered before it is written, and goes in its order, many at once', async () => {
  const { publish, batch, metrics } = fixture();
  assert.deepEqual(await publish.publish([request('1', none)]), []);
  await publish.publish([request('2', none), request('3', none)]);
  const first = await batch(0);
  assert.deepEqual(ids(first.batch), ['1', '2', '3']);
  assert.deepEqual(
    new Set(first.batch.map(({ identity, durability }) => `${identity} ${durability}`)),
    new Set(['null memory']),
  );
  await publish.publish([request('4', none)]);
  const stopped = publish.stop();
  first.answer();
  const second = await batch(1);
  assert.deepEqual(ids(second.batch), ['4'], 'nothing of it is asked for before that is through');
  second.answer();
  await stopped;
  assert.equal(metrics.published.none, 4);
});

test('a store that is away loses them and says so, and the next ones go', async () => {
  const { publish, batch, lost } = fixture();
  await publish.publish([request('1', none), request('2', none)]);
  (await batch(0)).fail();
  await publish.publish([request('3', none)]);
  (await batch(1)).answer([{ kind: 'refused', error: new Error('no room') }]);
  await publish.stop();
  assert.deepEqual(lost, [
    ['publish.lost', 2],
    ['publish.lost', 1],
  ]);
});

test('a stop waits for what the store takes, and not for one that is away', async () => {
  const { publish, batch, asked, lost } = fixture();
  const many = Array.from({ length: 1000 }, (_, i) => request(String(i), none));
  await publish.publish(many);
  const first = await batch(0);
  const stopped = publish.stop();
  first.fail();
  await stopped;
  assert.equal(asked.length, 1);
  assert.deepEqual(lost, [['publish.lost', 1000]]);
});

test('behind a store that stands still the queue is bounded, in number and in bytes', async () => {
  const { publish, batch } = fixture();
  const many = Array.from({ length: 1000 }, (_, i) => request(String(i), none));
  for (let i = 0; i < 10; i++) await publish.publish(many);
  await assert.rejects(
    publish.publish([request('x', none)]),
    (error: Error & { code?: string; retryAfterSeconds?: number }) => {
      assert.equal(error.code, 'queue-full');
      assert.equal(error.retryAfterSeconds, 1);
      return true;
    },
  );
  // What is being written counts until it is through.
  const first = await batch(0);
  await assert.rejects(publish.publish([request('x', none)]), { code: 'queue-full' });
  first.answer();
  await batch(1);
  await publish.publish([request('x', none)]);

  const other = fixture();
  const large = request('l', { ...none, data: Buffer.alloc(16 * 1024 * 1024) });
  for (let i = 0; i < 4; i++) await other.publish.publish([large]);
  await assert.rejects(other.publish.publish([request('x', none)]), { code: 'queue-full' });
});
