// Pull workers: fair shares, nothing lost with a dead one, and no say for one whose lease has ended.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SettleOutcome, Settlement, TimelineEntry } from '@waitless/protocol';
import { get } from '../support/http.ts';
import { assertProblem, ended, resultOf, statusOf, submit } from '../support/operations.ts';
import { serverFor } from '../support/server.ts';
import { answerLease, leaseCall, leasedBody, reply, takeOne } from '../support/pull-worker.ts';
import { spawnWorker } from '../support/spawn-worker.ts';
import { zombieAnswers } from '../support/zombie.ts';
import { clocksApartMs } from '../support/variant.ts';

const jobs = { jobs: { target: { pull: true } } };

test('1,000 jobs over 4 equal pull workers land 25 % ± 10 points each', async (t) => {
  const server = await serverFor(t, { services: jobs, data: 'folder' });
  const shares = new Map<string, number>();
  const done = new AbortController();

  /** Takes up to ten at a time and answers them with its next call, as a real worker does. */
  const work = async (worker: string): Promise<void> => {
    let settle: Settlement[] = [];
    while (!done.signal.aborted) {
      const call = leaseCall(server.url, 'jobs', { worker, max: 10, waitSeconds: 20, settle, signal: done.signal });
      const { settled, leases } = await call.catch(() => ({ settled: [] as SettleOutcome[], leases: [] }));
      assert.ok(
        settled.every(({ status }) => status === 200),
        JSON.stringify(settled),
      );
      shares.set(worker, (shares.get(worker) ?? 0) + leases.length);
      settle = leases.map((lease) => ({ token: lease.token, reply: { body: leasedBody(lease).toString() } }));
    }
  };
  const working = ['w1', 'w2', 'w3', 'w4'].map(work);
  const accepted = await Promise.all(
    Array.from({ length: 1000 }, (_, job) => submit(server.url, 'jobs', { body: `job ${job}` })),
  );
  const results = await Promise.all(accepted.map(async ({ result }) => (await resultOf(result)).text));
  for (const [job, text] of results.entries()) assert.equal(text, `job ${job}`);
  done.abort();
  await Promise.all(working);

  const handedOut = [...shares.values()].reduce((sum, share) => sum + share, 0);
  assert.equal(handedOut, 1000, 'each job was handed out once');
  for (const [worker, share] of shares) assert.ok(share >= 150 && share <= 350, `${worker} got ${share} of 1000`);
});

test('a worker killed in mid-job loses nothing: its jobs are done by the others', async (t) => {
  const server = await serverFor(t, { services: { jobs: { target: { pull: true }, lease: '1s' } }, data: 'folder' });
  const accepted = await Promise.all(
    Array.from({ length: 40 }, (_, job) => submit(server.url, 'jobs', { body: `job ${job}` })),
  );

  // A process of its own that leases ten and never answers, killed while it holds them.
  const victim = await spawnWorker(t, { url: server.url, service: 'jobs', worker: 'victim', max: 10 });
  await victim.kill();
  const held = (await Promise.all(accepted.map(({ status }) => statusOf(status)))).filter(
    ({ status }) => status === 'running',
  );
  assert.equal(held.length, 10);

  const attempts = new Map<string, number>();
  while (attempts.size < 40) {
    const { leases } = await leaseCall(server.url, 'jobs', { worker: 'survivor', max: 5, waitSeconds: 10 });
    for (const lease of leases) {
      assert.ok(!attempts.has(lease.operation.id), 'no job is handed to the survivor twice');
      attempts.set(lease.operation.id, lease.attempt);
      assert.equal((await reply(server.url, lease.token, leasedBody(lease))).status, 200);
    }
  }

  for (const [job, { id, result, status }] of accepted.entries()) {
    assert.equal((await resultOf(result)).text, `job ${job}`);
    const wasHeld = held.some((operation) => operation.id === id);
    assert.equal(attempts.get(id), wasHeld ? 2 : 1);
    if (!wasHeld) continue;
    const { items } = (await get(`${status}/timeline`)).json<{ items: TimelineEntry[] }>();
    assert.deepEqual(
      items.filter(({ type }) => type === 'attempt').map(({ worker, outcome }) => [worker, outcome]),
      [
        ['victim', 'lease-expired'],
        ['survivor', 'succeeded'],
      ],
    );
  }
});

test("a zombie's answer is refused: 409, and the result is not changed by it", async (t) => {
  const server = await serverFor(t, { services: jobs });
  const seen = await zombieAnswers(server.url, 'jobs');

  assertProblem(seen.whileTheOtherHolds, 409, 'lease-lost');
  assert.equal(seen.winner.status, 200);
  assertProblem(seen.afterTheEnd, 409, 'lease-lost');
  assertProblem(seen.sameBytesAsTheWinner, 409, 'lease-lost');
  assert.deepEqual([seen.result.status, seen.result.text], [200, 'from the second worker']);
});

test('no verb works on a lease that has ended, each says so with 409, and a forged token is 404', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const { result } = await submit(server.url, 'jobs', { body: 'x' });
  const zombie = await takeOne(server.url, 'jobs', { worker: 'zombie', leaseSeconds: 0.05 });
  const current = await takeOne(server.url, 'jobs', { worker: 'current' });

  const verbs: Record<string, Record<string, unknown>> = {
    reply: {},
    fail: { code: 'x', message: 'y' },
    extend: { leaseSeconds: 5 },
    progress: { percent: 1 },
    release: {},
  };
  const forged = `${current.token.slice(0, -1)}${current.token.endsWith('A') ? 'B' : 'A'}`;
  for (const [verb, body] of Object.entries(verbs)) {
    assertProblem(await answerLease(server.url, zombie.token, verb, { body }), 409, 'lease-lost');
    assertProblem(await answerLease(server.url, forged, verb, { body }), 404, 'not-found');
    assertProblem(await answerLease(server.url, 'x', verb, { body }), 404, 'not-found');
  }
  const piggybacked = await leaseCall(server.url, 'jobs', {
    settle: [
      { token: zombie.token, reply: { body: 'late' } },
      { token: forged, reply: { body: 'forged' } },
      { token: current.token, reply: { body: 'right' } },
    ],
  });
  assert.deepEqual(
    piggybacked.settled.map(({ status, code }) => [status, code]),
    [
      [409, 'lease-lost'],
      [404, 'not-found'],
      [200, undefined],
    ],
  );
  assert.equal((await get(result)).text, 'right', 'one refused item does not spoil the others');
});

test('a worker that is released, extends or reports progress keeps what the contract says', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const { status, result } = await submit(server.url, 'jobs', { body: 'x' });

  const first = await takeOne(server.url, 'jobs', { worker: 'one' });
  assert.equal((await answerLease(server.url, first.token, 'release')).status, 200);
  const second = await takeOne(server.url, 'jobs', { worker: 'two' });
  assert.deepEqual([second.operation.id, second.attempt], [first.operation.id, 1], 'no attempt was used');

  const extended = await answerLease(server.url, second.token, 'extend', { body: { leaseSeconds: 7200 } });
  const expiresAt = Date.parse(extended.json<{ expiresAt: string }>().expiresAt);
  assert.ok(expiresAt - Date.parse(second.expiresAt) > 3_600_000);
  const shorter = await answerLease(server.url, second.token, 'extend', { body: { leaseSeconds: 1 } });
  const changedBy = Date.parse(shorter.json<{ expiresAt: string }>().expiresAt) - expiresAt;
  assert.ok(
    Math.abs(changedBy) <= clocksApartMs(),
    `an extension never shortens, and this one did by ${-changedBy} ms`,
  );

  assert.equal(
    (await answerLease(server.url, second.token, 'progress', { body: { stage: 'half', percent: 50 } })).status,
    200,
  );
  const { progress } = await statusOf(status);
  assert.deepEqual(progress, { sequence: 1, stage: 'half', percent: 50 });

  const fail = await answerLease(server.url, second.token, 'fail', {
    body: { code: 'no', message: 'never', retry: false },
  });
  assert.equal(fail.status, 200);
  const operation = await ended(status);
  assert.deepEqual([operation.status, operation.error!.code], ['failed', 'no']);
  assertProblem(await get(result), 502, 'failed-by-worker');
});

test('leases of pull workers survive a restart', async (t) => {
  const server = await serverFor(t, { services: jobs, data: 'folder' });
  const { result, status } = await submit(server.url, 'jobs', { body: 'x' });
  const lease = await takeOne(server.url, 'jobs', { worker: 'steady' });

  await server.restart();

  assert.equal((await statusOf(status)).status, 'running');
  assert.deepEqual((await leaseCall(server.url, 'jobs')).leases, [], 'nobody else is given it');
  assert.equal((await reply(server.url, lease.token, 'after the restart')).status, 200);
  assert.equal((await get(result)).text, 'after the restart');
});
