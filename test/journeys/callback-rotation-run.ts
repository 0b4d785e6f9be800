// Callback secrets are rotated while callbacks are under way, and a receiver that installs the new one late checks every one of them.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { post, until } from '../support/http.ts';
import { leaseCall } from '../support/pull-worker.ts';
import { calledBack, deliveriesAt, noticeIn, rotated } from '../support/receiver.ts';

export interface RotationRun {
  rotations: number;
  /** Callbacks from one rotation to the next. */
  between: number;
}

const mostOfBatch = 500;

export async function rotationRun(t: TestContext, { rotations, between }: RotationRun): Promise<{ verified: number }> {
  /** What the receiver checks by. */
  let installed: string[] = [];
  let verified = 0;
  const failures: unknown[] = [];
  let onVerified: (() => void) | undefined;
  const { server, receiver, secret } = await calledBack(
    t,
    { services: { jobs: { target: { pull: true } } } },
    async (request) => {
      try {
        await noticeIn(request, installed);
        verified++;
      } catch (error) {
        failures.push(error);
      }
      onVerified?.();
      return { status: 204 };
    },
  );
  installed = [secret];
  const reach = (count: number): Promise<void> =>
    new Promise((resolve) => {
      onVerified = () => {
        if (verified + failures.length >= count) resolve();
      };
      onVerified();
    });

  async function finish(count: number): Promise<void> {
    const item = { service: 'jobs', headers: { 'Callback-Url': receiver.url }, body: 'x' };
    await post(`${server.url}/v1/batch`, { body: Array.from({ length: count }, () => item) });
    for (let left = count; left > 0;) {
      const { leases } = await leaseCall(server.url, 'jobs', { max: left, waitSeconds: 10 });
      left -= leases.length;
      await leaseCall(server.url, 'jobs', { settle: leases.map(({ token }) => ({ token, reply: { body: 'done' } })) });
    }
  }

  for (let round = 0; round < rotations; round++) {
    const begun = verified;
    const all = (async () => {
      for (let left = between; left > 0; left -= mostOfBatch) await finish(Math.min(left, mostOfBatch));
    })();
    await reach(begun + Math.floor(between / 3));
    const fresh = await rotated(server.url);
    // Until now the receiver knows nothing of it, and the one before goes on.
    await reach(begun + Math.floor((between * 2) / 3));
    installed = [fresh, installed[0]!];
    await all;
    await reach(begun + between);
    assert.deepEqual(failures, [], 'every one could be verified');
  }

  const [current] = installed;
  const last = await rotated(server.url, undefined, { overlapHours: 0 });
  installed = [last, current!];
  // Each node hears of it in its time; from then on the old one is worth nothing.
  await until(async () => {
    const before = verified;
    await finish(1);
    await reach(before + 1);
    const old = await noticeIn(receiver.requests.at(-1)!, current!).then(
      () => true,
      () => false,
    );
    return old ? undefined : true;
  });
  await noticeIn(receiver.requests.at(-1)!, last);
  assert.deepEqual(failures, []);
  const dead = await deliveriesAt(`${server.url}/v1/deliveries?status=dead`);
  assert.deepEqual(dead.items, []);
  return { verified };
}
