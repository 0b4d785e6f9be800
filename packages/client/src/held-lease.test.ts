// A lease while its handler runs: it is kept, its loss is heard, and a stop ends it well.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WaitlessError } from './index.ts';
import { leaseOf, leaseServer, start } from './lease-server.test.ts';
import { problem } from './support.test.ts';

test('the heartbeat keeps the lease, and a cancel reaches the handler through it; its answer is dropped', async (t) => {
  let beats = 0;
  const fake = await leaseServer(t, [leaseOf('a')], ({ url, body }, response) => {
    if (!url.endsWith('/extend')) return false;
    assert.deepEqual(JSON.parse(body.toString()), { leaseSeconds: 0.06 });
    if (++beats === 2) response.destroy();
    else if (beats < 4) return false;
    else problem(response, 409, 'cancelled');
    return true;
  });
  let reason: unknown;
  let ended: () => void;
  const over = new Promise<void>((resolve) => (ended = resolve));
  const worker = start(
    t,
    fake,
    async ({ signal }) => {
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      reason = signal.reason;
      ended();
      return 'too late';
    },
    { leaseSeconds: 0.06 },
  );
  await over;
  await worker.stop();
  assert.ok(reason instanceof WaitlessError && reason.code === 'cancelled');
  assert.equal(beats, 4);
  assert.ok(!fake.calls().some(({ settle }) => settle), 'nothing is told about it any more');
});

test('progress is shown; a lost server does not stop the work, a lost lease does', async (t) => {
  const fake = await leaseServer(t, [leaseOf('a')], ({ url, body }, response) => {
    if (!url.endsWith('/progress')) return false;
    const { percent } = JSON.parse(body.toString()) as { percent: number };
    if (percent === 2) response.destroy();
    else if (percent === 3) problem(response, 409, 'lease-lost');
    else return false;
    return true;
  });
  let thrown: unknown;
  const worker = start(t, fake, async ({ progress, signal }) => {
    await progress({ stage: 'one', percent: 1 });
    await progress({ percent: 2 });
    thrown = await progress({ percent: 3 }).catch((error: unknown) => error);
    assert.equal(signal.reason, thrown);
  });
  await fake.until(() => fake.told('t-a').length === 3);
  await worker.stop();
  assert.ok(thrown instanceof WaitlessError && thrown.code === 'lease-lost');
});

test('stop: no more work, running handlers end and are answered, what takes too long is given back', async (t) => {
  const fake = await leaseServer(t, [leaseOf('quick'), leaseOf('slow')]);
  let release: () => void;
  const held = new Promise<void>((resolve) => (release = resolve));
  const signals = new Map<string, AbortSignal>();
  const worker = start(
    t,
    fake,
    async ({ id, signal }) => {
      signals.set(id, signal);
      await (id === 'quick' ? held : new Promise<never>(() => {}));
      return 'done';
    },
    { concurrency: 3 },
  );
  // The third place is asked for: a held poll, which the stop ends.
  await fake.until(() => fake.calls().length === 2 && signals.size === 2);
  const stopped = worker.stop({ graceSeconds: 0.2 });
  release!();
  await stopped;
  await worker.done;
  assert.deepEqual(fake.told('t-quick'), ['/v1/leases/t-quick/reply']);
  assert.deepEqual(fake.told('t-slow'), ['/v1/leases/t-slow/release']);
  assert.deepEqual([signals.get('quick')!.aborted, signals.get('slow')!.aborted], [false, true]);
  assert.equal(fake.calls().length, 2);
});

test('a worker that cannot go on says so: done rejects, and so does stop', async (t) => {
  const fake = await leaseServer(t, [], (_, response) => {
    problem(response, 401, 'unauthenticated', { detail: 'No key.' });
    return true;
  });
  const worker = start(t, fake, () => 'x');
  await assert.rejects(worker.done, { code: 'unauthenticated' });
  await assert.rejects(worker.stop(), { code: 'unauthenticated' });
});
