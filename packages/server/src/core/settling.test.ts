// What ends together is one commit, and what the store refuses is kept until its lease has run out, no longer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WaitlessError } from '@waitless/protocol';
import { manualClock } from '../lib/clock.ts';
import { Settling } from './settling.ts';

const leaseMs = 1000;

/** A store that answers as `answer` says, and remembers what it was asked. */
function settlingOn(
  answer: (batch: readonly number[], asked: number) => Promise<readonly string[]>,
  { oneAtATime = false } = {},
) {
  const clock = manualClock();
  const asked: { batch: readonly number[]; nowMs: number }[] = [];
  const kept: [settlement: number, code: string][] = [];
  const stopping = new AbortController();
  const settling = new Settling<number, string>({
    write: (batch, nowMs) => answer(batch, asked.push({ batch, nowMs })),
    onKept: (settlement, { code }) => void kept.push([settlement, code]),
    clock,
    oneAtATime,
    everyMs: 1,
  });
  return {
    clock,
    asked,
    kept,
    stopping,
    batches: () => asked.map(({ batch }) => batch),
    settle: (settlement: number) =>
      settling.settle(settlement, { leaseUntil: clock.now() + leaseMs, stop: stopping.signal }),
  };
}

const recorded = (batch: readonly number[]): Promise<string[]> => Promise.resolve(batch.map((n) => `recorded ${n}`));
const refusesWith = (code: ConstructorParameters<typeof WaitlessError>[0]): Promise<never> =>
  Promise.reject(new WaitlessError(code));
const hasCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof WaitlessError && error.code === code;

test('what ends in one turn is one commit at the time of that turn, each with its own outcome; what ends later is another', async () => {
  const { settle, batches, asked, clock, kept } = settlingOn(recorded);
  assert.deepEqual(await Promise.all([settle(1), settle(2), settle(3)]), ['recorded 1', 'recorded 2', 'recorded 3']);
  clock.advance(5);
  assert.equal(await settle(4), 'recorded 4');
  assert.deepEqual(batches(), [[1, 2, 3], [4]]);
  assert.equal(asked[1]!.nowMs - asked[0]!.nowMs, 5);
  assert.deepEqual(kept, []);
});

test('what ends while a commit is under way waits for the next one and not for its end', async () => {
  let goOn = (): void => {};
  const first = new Promise<void>((resolve) => (goOn = resolve));
  const { settle, batches } = settlingOn(async (batch, asked) => {
    if (asked === 1) await first;
    return recorded(batch);
  });
  const one = settle(1);
  while (batches().length === 0) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(await settle(2), 'recorded 2');
  goOn();
  assert.equal(await one, 'recorded 1');
  assert.deepEqual(batches(), [[1], [2]]);
});

test('one at a time: what ends while a batch is being written is one batch after it, also where it was refused', async () => {
  let goOn = (): void => {};
  const first = new Promise<void>((resolve) => (goOn = resolve));
  const { settle, batches } = settlingOn(
    async (batch, asked) => {
      if (asked > 1) return recorded(batch);
      await first;
      return refusesWith('lease-lost');
    },
    { oneAtATime: true },
  );
  const one = settle(1);
  while (batches().length === 0) await new Promise((resolve) => setImmediate(resolve));
  const others = [settle(2), settle(3)];
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  assert.deepEqual(batches(), [[1]]);
  goOn();
  await assert.rejects(one, hasCode('lease-lost'));
  assert.deepEqual(await Promise.all(others), ['recorded 2', 'recorded 3']);
  assert.deepEqual(batches(), [[1], [2, 3]]);
});

test('what the store refuses for a while is kept, told once, and written when it takes it', async () => {
  const { settle, batches, kept } = settlingOn((batch, asked) =>
    asked < 4 ? refusesWith('insufficient-storage') : recorded(batch),
  );
  assert.equal(await settle(1), 'recorded 1');
  assert.deepEqual(batches(), [[1], [1], [1], [1]]);
  assert.deepEqual(kept, [[1, 'insufficient-storage']]);
});

test('each of those that were refused together is asked for again, once', async () => {
  const { settle, batches, kept } = settlingOn((batch, asked) =>
    asked === 1 ? refusesWith('insufficient-storage') : recorded(batch),
  );
  assert.deepEqual(await Promise.all([settle(1), settle(2)]), ['recorded 1', 'recorded 2']);
  const [first, ...later] = batches();
  assert.deepEqual(
    [first, later.flat()],
    [
      [1, 2],
      [1, 2],
    ],
  );
  assert.deepEqual(
    kept.map(([settlement]) => settlement),
    [1, 2],
  );
});

test('a refusal that no repeat can change, and a fault, end it at once', async () => {
  const fault = new Error('broken');
  const { settle, batches, kept } = settlingOn((_, asked) =>
    asked === 1 ? refusesWith('lease-lost') : Promise.reject(fault),
  );
  await assert.rejects(settle(1), hasCode('lease-lost'));
  await assert.rejects(settle(2), fault);
  assert.deepEqual([batches(), kept], [[[1], [2]], []]);
});

test('it is kept until its lease has run out, and then refused', async () => {
  const { settle, clock, batches } = settlingOn(() => {
    clock.advance(leaseMs / 4);
    return refusesWith('insufficient-storage');
  });
  await assert.rejects(settle(1), hasCode('insufficient-storage'));
  assert.deepEqual(batches(), [[1], [1], [1], [1]]);
});

test('no lease runs out while nobody can reach the store', async () => {
  const { settle, clock, batches } = settlingOn((batch, asked) => {
    if (asked > 10) return recorded(batch);
    clock.advance(leaseMs);
    return refusesWith('engine-unavailable');
  });
  assert.equal(await settle(1), 'recorded 1');
  assert.equal(batches().length, 11);
});

test('a stop ends the keeping: it is tried once more, and refused', async () => {
  const { settle, stopping, batches } = settlingOn((_, asked) => {
    if (asked === 2) stopping.abort();
    return refusesWith('insufficient-storage');
  });
  await assert.rejects(settle(1), hasCode('insufficient-storage'));
  assert.deepEqual(batches(), [[1], [1]]);
});
