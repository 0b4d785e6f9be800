// The end that a worker and a consumer share: its order, its two limits of time, and who hears of a failure.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type Stopping, stopping } from './stopping.ts';

interface Begun {
  end: Stopping;
  told: string[];
  /** Done at the next turn. */
  onTurn: (() => void)[];
}

function begin(signal?: AbortSignal): Begun {
  const told: string[] = [];
  const onTurn: (() => void)[] = [];
  const end = stopping(
    { who: 'worker', signal },
    {
      turn() {
        told.push('turn');
        onTurn.shift()?.();
      },
      giveBack: (reason) => void told.push(`give back: ${reason.message}`),
      closed: () => void told.push(end.closing.aborted ? 'closed' : 'closed too early'),
    },
  );
  return { end, told, onTurn };
}

/** All that promises alone can bring about. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Time passes where a test says so, and nowhere else. */
const clock = (t: TestContext) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  return t.mock.timers;
};

test('handlers end first, then what is left is given back, then all is told, then it is closed', async (t) => {
  clock(t);
  const { end, told, onTurn } = begin();
  const [run, late] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const [request, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  end.handling(run.promise);
  const stopped = end.stop();
  await settled();
  assert.deepEqual([told, end.taking.aborted, end.closing.aborted], [['turn'], true, false]);
  // A handler may have begun meanwhile, with what was on its way.
  end.handling(late.promise);
  run.resolve();
  await settled();
  assert.deepEqual(told, ['turn']);
  onTurn.push(() => end.telling(request.promise));
  late.resolve();
  await settled();
  assert.deepEqual(told, ['turn', 'give back: the worker stops', 'turn']);
  onTurn.push(() => end.telling(second.promise));
  request.resolve();
  await settled();
  assert.equal(end.closing.aborted, false, 'what came to be told meanwhile is told as well');
  second.resolve();
  await stopped;
  assert.deepEqual(told, ['turn', 'give back: the worker stops', 'turn', 'turn', 'turn', 'closed']);
  assert.equal((end.closing.reason as Error).message, 'the worker has stopped');
});

test('no handler holds it up beyond the grace period, and no request beyond five seconds more', async (t) => {
  const timers = clock(t);
  for (const [options, graceMs] of [
    [undefined, 25_000],
    [{ graceSeconds: 2 }, 2_000],
    [{ graceSeconds: Infinity }, 2_147_483_647],
  ] as const) {
    const { end, told } = begin();
    end.handling(new Promise(() => {}));
    end.telling(new Promise(() => {}));
    const stopped = end.stop(options);
    await settled();
    timers.tick(graceMs - 1);
    await settled();
    assert.deepEqual(told, ['turn']);
    timers.tick(1);
    await settled();
    assert.deepEqual(told, ['turn', 'give back: the worker stops', 'turn']);
    timers.tick(4_999);
    await settled();
    assert.equal(end.closing.aborted, false);
    timers.tick(1);
    await stopped;
    assert.equal(told.at(-1), 'closed');
  }
});

test('the first who asks says how long, and all wait for the same end', async (t) => {
  const timers = clock(t);
  const { end } = begin();
  end.handling(new Promise(() => {}));
  const both = Promise.all([end.stop({ graceSeconds: 1 }), end.stop({ graceSeconds: 1_000 }), end.done]);
  await settled();
  timers.tick(1_000);
  await both;
});

test('a signal stops it, also one that was aborted before, and hears nothing afterwards', async () => {
  await begin(AbortSignal.abort()).end.done;
  const controller = new AbortController();
  let listening = 0;
  const { signal } = controller;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...all: Parameters<typeof add>) => (listening++, add(...all));
  signal.removeEventListener = (...all: Parameters<typeof remove>) => (listening--, remove(...all));
  const one = begin(signal);
  const other = begin(signal);
  assert.equal(listening, 2);
  await one.end.stop();
  assert.equal(listening, 1, 'a worker that has ended leaves nothing at a signal that lives on');
  controller.abort();
  await other.end.done;
  assert.deepEqual(other.told, ['turn', 'give back: the worker stops', 'turn', 'closed']);
});

test('what makes it impossible to go on ends it in good order, and is what both hear', async () => {
  const { end, told } = begin();
  end.failForGood(new Error('the key is wrong'));
  end.failForGood(new Error('and another'));
  await assert.rejects(end.done, { message: 'the key is wrong' });
  await assert.rejects(end.stop(), { message: 'the key is wrong' });
  assert.equal(told.at(-1), 'closed');
});
