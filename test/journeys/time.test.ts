// Times that a caller sets: deadline, delay, start-by, priority; and the pauses between attempts. The clock is the test's own.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { type Behaviour, backendFor, never } from '../support/backend.ts';
import { manualTime } from '../support/clock.ts';
import { get, until } from '../support/http.ts';
import { assertProblem, ended, resultOf, statusOf, statusWhen, submit } from '../support/operations.ts';
import { leaseCall, reply, takeOne } from '../support/pull-worker.ts';
import { serverFor, type TestServer } from '../support/server.ts';

const jobs = { jobs: { target: { pull: true }, timeout: '1d' } };

async function withOwnTime(
  t: TestContext,
  services: Record<string, unknown> = jobs,
): Promise<{ server: TestServer; advance: (ms: number) => void }> {
  const { clock, advance } = manualTime();
  return { server: await serverFor(t, { services, extras: { clock } }), advance };
}

const second = 1000;
const hour = 3600 * second;
const between = (from: string, to: string): number => Date.parse(to) - Date.parse(from);

test('a deadline that passes while it waits ends the operation as failed, timed-out, 504', async (t) => {
  const { server, advance } = await withOwnTime(t);
  const { status, result } = await submit(server.url, 'jobs', { headers: { 'Operation-Timeout': '10m' } });
  const { deadline, createdAt } = await statusOf(status);
  assert.equal(between(createdAt, deadline!), 600 * second);

  advance(600 * second - 1);
  await leaseCall(server.url, 'jobs', { max: 1 }).then(({ leases }) =>
    assert.equal(leases.length, 1, 'until then it is handed out'),
  );
  advance(1);
  const operation = await ended(status);

  assert.deepEqual([operation.status, operation.error!.code], ['failed', 'timed-out']);
  assert.match(operation.error!.type!, /\/problems\/timed-out$/);
  assertProblem(await get(result), 504, 'timed-out');
});

test('a deadline that passes during an attempt aborts the attempt and ends as timed-out too', async (t) => {
  const backend = await backendFor(t, never);
  const server = await serverFor(t, { services: { score: { target: { url: backend.url } } } });

  // Real time here: two clocks, the attempt's and the sweep's, run out at the same moment, and the end must not depend on which is read first.
  for (const timeout of ['40ms', '60ms', '80ms', '100ms', '120ms']) {
    const { status, result } = await submit(server.url, 'score', { headers: { 'Operation-Timeout': timeout } });
    const operation = await ended(status);
    assert.deepEqual([operation.status, operation.error!.code], ['failed', 'timed-out'], timeout);
    assertProblem(await get(result), 504, 'timed-out');
  }
  for (const { abandoned } of backend.requests) await abandoned;
});

test('the timeout is capped by the service', async (t) => {
  const { server } = await withOwnTime(t, { jobs: { target: { pull: true }, timeout: '1m' } });
  const { status } = await submit(server.url, 'jobs', { headers: { 'Operation-Timeout': '2h' } });
  const { createdAt, deadline } = await statusOf(status);
  assert.equal(between(createdAt, deadline!), 60 * second);
});

test('an answer that comes after the deadline is refused', async (t) => {
  const { server, advance } = await withOwnTime(t);
  const { status } = await submit(server.url, 'jobs', { headers: { 'Operation-Timeout': '1m' } });
  const { token } = await takeOne(server.url, 'jobs', { leaseSeconds: 3600 });
  advance(60 * second);
  await ended(status);
  assertProblem(await reply(server.url, token, 'late'), 409, 'already-terminal');
});

test('a delayed operation is handed out when its time has come and not before', async (t) => {
  const { server, advance } = await withOwnTime(t);
  const { status } = await submit(server.url, 'jobs', {
    body: 'later',
    headers: { 'Operation-Delay': '1h', 'Operation-Timeout': '5m' },
  });
  const { createdAt, runAt, status: state, deadline } = await statusOf(status);
  assert.deepEqual([state, between(createdAt, runAt!)], ['queued', hour]);
  assert.equal(between(createdAt, deadline!), hour + 300 * second, 'the total time runs from when it may start');

  advance(hour - 1);
  await submit(server.url, 'jobs', { body: 'now' });
  assert.deepEqual(
    (await leaseCall(server.url, 'jobs', { max: 5 })).leases.map(({ request }) => request.body),
    ['now'],
  );
  advance(1);
  assert.equal((await takeOne(server.url, 'jobs')).request.body, 'later');
  assert.equal((await statusOf(status)).runAt, null);
});

test('an operation not started by its time fails as not-started-in-time, 504, and is handed to nobody', async (t) => {
  const { server, advance } = await withOwnTime(t);
  const missed = await submit(server.url, 'jobs', { headers: { 'Operation-Start-By': '30s' } });
  const started = await submit(server.url, 'jobs', {
    body: 'started',
    headers: { 'Operation-Start-By': '31s', 'Operation-Priority': '9' },
  });
  const { token, operation } = await takeOne(server.url, 'jobs', { leaseSeconds: 3600 });
  assert.equal(operation.id, started.id);

  advance(31 * second);
  const { status, error } = await ended(missed.status);
  assert.deepEqual([status, error!.code], ['failed', 'not-started-in-time']);
  assertProblem(await get(missed.result), 504, 'not-started-in-time');
  assert.deepEqual((await leaseCall(server.url, 'jobs', { max: 5 })).leases, []);

  // Once started the time to start by is of no more concern, not even when it is given back.
  assert.equal((await statusOf(started.status)).status, 'running');
  assert.equal((await reply(server.url, token, 'in time')).status, 200);
  assert.equal((await resultOf(started.result)).text, 'in time');
});

test('a higher priority is a head start of seconds in the queue, so that nobody starves', async (t) => {
  const { server, advance } = await withOwnTime(t);
  await submit(server.url, 'jobs', { body: 'old and low', headers: { 'Operation-Priority': '0' } });
  advance(60 * second);
  for (const [body, priority] of [
    ['normal', '5'],
    ['low', '0'],
    ['high', '9'],
    ['normal too', '5'],
  ])
    await submit(server.url, 'jobs', { body: body!, headers: { 'Operation-Priority': priority! } });

  const { leases } = await leaseCall(server.url, 'jobs', { max: 10 });
  assert.deepEqual(
    leases.map(({ request }) => request.body),
    ['old and low', 'high', 'normal', 'normal too', 'low'],
  );
});

/** A push service with the test's own clock and its widest jitter. */
async function retried(t: TestContext, behaviour: Behaviour) {
  const backend = await backendFor(t, behaviour);
  const { clock, advance } = manualTime();
  const server = await serverFor(t, {
    services: {
      score: {
        target: { url: backend.url },
        timeout: '30d',
        retry: { maxAttempts: 4, initialDelay: '10s', maxDelay: '25s' },
      },
    },
    // Full jitter with the fraction 1 is the bound itself, so that the pauses can be told.
    extras: { clock, random: { nonce: () => crypto.randomUUID().replaceAll('-', ''), fraction: () => 1 } },
  });
  return { backend, server, advance };
}

test('pauses between attempts double up to their bound, and nothing is sent before', async (t) => {
  const { backend, server, advance } = await retried(t, () => ({ status: 500 }));
  const { status } = await submit(server.url, 'score');

  for (const [index, pauseMs] of [10 * second, 20 * second, 25 * second].entries()) {
    const waiting = await statusWhen(status, ({ status: state, version }) => state === 'queued' && version > 1 + index);
    assert.equal(between(waiting.updatedAt, waiting.runAt!), pauseMs);
    advance(pauseMs - 1);
    const other = await submit(server.url, 'score');
    await until(() =>
      backend.requests.some(({ headers }) => headers['operation-id'] === other.id) ? true : undefined,
    );
    const own = (): number => backend.requests.filter(({ headers }) => headers['operation-id'] === waiting.id).length;
    assert.equal(own(), index + 1, 'not before its time, though the backend is asked for others');
    advance(1);
    await until(() => (own() === index + 2 ? true : undefined));
  }
  assert.equal((await ended(status)).error!.code, 'attempts-exhausted');
});

test('Retry-After is obeyed, in seconds and as a date, and not before', async (t) => {
  let answer: Awaited<ReturnType<Behaviour>> = { status: 503, headers: { 'Retry-After': '3600' } };
  const { backend, server, advance } = await retried(t, () => answer);
  const { status } = await submit(server.url, 'score');

  const first = await statusWhen(status, ({ runAt, status: state }) => state === 'queued' && runAt !== null);
  assert.equal(between(first.updatedAt, first.runAt!), hour);
  assert.equal(first.attempt, 0, 'not now is no attempt');
  const date = new Date(Math.ceil(Date.parse(first.runAt!) / second) * second + 2 * hour);
  answer = { status: 500, headers: { 'Retry-After': date.toUTCString() } };
  advance(hour);
  await backend.received(2);
  const after = await statusWhen(
    status,
    ({ runAt, status: state, version }) => state === 'queued' && runAt !== null && version > first.version,
  );
  assert.equal(after.runAt, date.toISOString());

  answer = { body: 'at last' };
  advance(3 * hour);
  assert.equal((await resultOf((await statusOf(status)).resourceLocation)).text, 'at last');
  assert.equal(backend.requests.length, 3);
});

test('what is ended is kept for its retention, then 410, and gone after', async (t) => {
  const { server, advance } = await withOwnTime(t, { jobs: { target: { pull: true }, retention: '1h' } });
  const { status, result } = await submit(server.url, 'jobs');
  await reply(server.url, (await takeOne(server.url, 'jobs')).token, 'done');
  const { expiresAt, finishedAt } = await statusOf(status);
  assert.equal(between(finishedAt!, expiresAt!), hour);

  advance(hour - 1);
  assert.equal((await get(result)).text, 'done');
  advance(1);
  const gone = await get(result);
  assert.ok(gone.status === 410 || gone.status === 404, String(gone.status));
  await until(async () => ((await get(status)).status === 404 ? true : undefined));
});
