// The SDK against a real server: requests and workers that do not notice a restart, and no job that is lost or done for nobody.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient, type Job, OperationFailed, WaitlessError, type Worker } from '@waitless/client';
import * as v from 'valibot';
import { backendFor, never } from '../support/backend.ts';
import { until } from '../support/http.ts';
import { waitersReach } from '../support/operations.ts';
import { serverFor } from '../support/server.ts';

const jobs = { jobs: { target: { pull: true } } };
/** `fetch` keeps connections that have not sent a request yet, and a stop waits for those as for any other. */

/** A promise and the function that keeps it. */
function later<T = void>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve };
}

test('request() sees its result although the server is stopped and started in the middle', async (t) => {
  const backend = await backendFor(t, never);
  const server = await serverFor(t, { services: { score: { target: { url: backend.url } } }, data: 'folder' });
  const client = createClient({ url: server.url });
  const accepted = later<string>();
  const retries: string[] = [];
  const answer = client.request('score', { customerId: '42' }, {
    onAccepted: ({ id }) => accepted.resolve(id),
    onRetry: (error) => retries.push(error.code),
  }); // prettier-ignore
  const id = await accepted.promise;
  await backend.received(1);
  await waitersReach(server.url, (waiters) => waiters === 1);

  backend.behave(({ body }) => ({ status: 201, headers: { 'X-Scored': 'yes' }, body: `scored ${body.toString()}` }));
  await server.restart();
  const result = await answer;
  assert.deepEqual([result.status, result.operationId, result.headers.get('x-scored')], [201, id, 'yes']);
  assert.equal(result.text(), 'scored {"customerId":"42"}');
  // One more look finds the same, and the operation was made once.
  assert.equal((await client.wait(id)).text(), result.text());
  assert.equal((await client.list()).items.length, 1);
});

test('request() that finds nobody is accepted once the server is back', async (t) => {
  const backend = await backendFor(t, () => ({ body: 'done' }));
  const server = await serverFor(t, { services: { score: { target: { url: backend.url } } }, data: 'folder' });
  const client = createClient({ url: server.url });
  await server.stop();
  const tried = later();
  const answer = client.request('score', 'x', { onRetry: () => tried.resolve() });
  await tried.promise;
  await server.restart();
  assert.equal((await answer).text(), 'done');
  assert.equal((await client.list()).items.length, 1);
});

test('a typed service: computed once, stored, joined, found by key, made anew, forgotten', async (t) => {
  const gate = later();
  let computed = 0;
  const backend = await backendFor(t, async () => {
    computed++;
    await gate.promise;
    return { body: JSON.stringify({ score: computed }) };
  });
  const scores = { target: { url: backend.url }, key: { body: '/customerId' }, validFor: '1h' };
  const server = await serverFor(t, { services: { scores } });
  const client = createClient({ url: server.url });
  const service = client.service('scores', {
    input: v.object({ customerId: v.string() }),
    output: v.object({ score: v.number() }),
  });
  await assert.rejects(service.request({ customerId: 42 as unknown as string }), { code: 'input-mismatch' });
  const accepted = [later(), later()];
  const both = accepted.map(({ resolve }) => service.request({ customerId: '42' }, { onAccepted: () => resolve() }));
  await Promise.all(accepted.map(({ promise }) => promise));
  gate.resolve();
  const [first, joined] = await Promise.all(both);
  assert.deepEqual([first!.value, joined!.value, computed], [{ score: 1 }, { score: 1 }, 1]);
  const ways = [first!.cacheStatus!, joined!.cacheStatus!];
  assert.deepEqual(ways.toSorted(), ['waitless; fwd=miss', 'waitless; fwd=miss; collapsed']);

  const stored = await service.request({ customerId: '42' });
  assert.deepEqual([stored.value, stored.operationId], [{ score: 1 }, first!.operationId]);
  assert.match(stored.cacheStatus!, /^waitless; hit; ttl=\d+$/);
  assert.ok(stored.age! >= 0);
  const byKey = await client.resultByKey('scores', '42');
  assert.deepEqual(byKey.kind === 'result' && byKey.json(), { score: 1 });

  assert.deepEqual((await service.request({ customerId: '42' }, { fresh: true })).value, { score: 2 });
  const refreshed = await client.refreshKey('scores', '42');
  assert.equal(refreshed.kind, 'accepted');
  assert.deepEqual((await service.wait(refreshed.operation!.id)).value, { score: 3 });
  await client.purgeKey('scores', '42');
  await assert.rejects(client.resultByKey('scores', '42'), { code: 'not-found' });
  await assert.rejects(service.request({ customerId: '42' }, { onlyStored: true }), { code: 'not-stored' });
  assert.equal(computed, 3);
});

test("a backend's refusal, a worker's refusal and a missed deadline are told apart", async (t) => {
  const backend = await backendFor(t, () => ({ status: 422, body: 'no such customer' }));
  const server = await serverFor(t, { services: { score: { target: { url: backend.url } }, ...jobs } });
  const client = createClient({ url: server.url });
  const failure = async (promise: Promise<unknown>): Promise<OperationFailed> => {
    const error = await promise.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof OperationFailed, String(error));
    return error;
  };
  const refused = await failure(client.request('score', 'x'));
  assert.deepEqual([refused.code, refused.status, refused.result?.text()], ['backend-error', 422, 'no such customer']);
  const late = await failure(client.request('jobs', 'x', { timeout: '50ms' }));
  assert.deepEqual([late.code, late.status, late.result], ['timed-out', 504, undefined]);
  const worker = client.worker('jobs', () => {
    throw Object.assign(new Error('out of paint'), { code: 'no-paint', retry: false });
  });
  const impossible = await failure(client.request('jobs', 'x'));
  assert.equal(impossible.code, 'failed-by-worker');
  assert.equal(impossible.members?.['errorCode'], 'no-paint');
  assert.match(impossible.message, /out of paint/);
  await worker.stop();
});

test('200 jobs, three workers, one stopped gracefully in the middle, a restart: none is lost, each is done', async (t) => {
  const server = await serverFor(t, { services: jobs, data: 'folder' });
  const client = createClient({ url: server.url });
  const done = new Map<string, number>();
  const half = later();
  const work = ({ id, text }: Job) => {
    done.set(id, (done.get(id) ?? 0) + 1);
    if (done.size === 100) half.resolve();
    return { json: { did: text() } };
  };
  const failures: unknown[] = [];
  const options = { concurrency: 5, onFailure: (error: unknown) => failures.push(error) };
  const workers: Worker[] = ['w1', 'w2', 'w3'].map((name) => client.worker('jobs', work, { ...options, name }));
  const answers = Array.from({ length: 200 }, (_, job) => client.request('jobs', `job ${job}`));
  await half.promise;
  await workers[0]!.stop();
  await server.restart();
  const results = await Promise.all(answers);
  for (const [job, result] of results.entries()) assert.deepEqual(result.json(), { did: `job ${job}` });
  assert.equal(new Set(results.map(({ operationId }) => operationId)).size, 200);
  assert.ok(results.every(({ operationId }) => done.has(operationId)));
  await Promise.all(workers.map((worker) => worker.stop()));
  // What was leased when the server stopped went back to the queue: an answer that came after that is refused, and the job is done again.
  assert.ok(
    failures.every((error) => error instanceof WaitlessError && error.code === 'lease-lost'),
    String(failures),
  );
});

test('the heartbeat keeps a job that takes longer than its lease, and it is done once', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const client = createClient({ url: server.url });
  const lease = 0.6;
  let attempts = 0;
  const worker = client.worker(
    'jobs',
    async ({ id, progress }) => {
      attempts++;
      // Longer than the lease by the server's clock: the deadline of the lease that was taken has passed.
      const { operation } = await client.get(id);
      const over = Date.parse(operation.startedAt!) + lease * 1_000;
      await progress({ stage: 'long', percent: 50 });
      await until(async () => {
        const { headers } = await fetch(`${server.url}/livez`);
        return Date.parse(headers.get('date')!) > over + 1_000 || undefined;
      });
      return 'kept';
    },
    { leaseSeconds: lease },
  );
  const answer = await client.request('jobs', 'x');
  assert.equal(answer.text(), 'kept');
  assert.equal(attempts, 1);
  const { operation } = await client.get(answer.operationId);
  assert.deepEqual([operation.attempt, operation.progress?.stage], [1, 'long']);
  await worker.stop();
});

test('a cancel reaches the handler through its signal, and a request that gives up may cancel', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const client = createClient({ url: server.url });
  const started = later<string>();
  const aborted = later<unknown>();
  const worker = client.worker(
    'jobs',
    async ({ id, signal }) => {
      started.resolve(id);
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      aborted.resolve(signal.reason);
    },
    { leaseSeconds: 0.6 },
  );
  const controller = new AbortController();
  const answer = client.request('jobs', 'x', { signal: controller.signal, cancelOnGiveUp: true });
  const id = await started.promise;
  controller.abort(new Error('changed my mind'));
  await assert.rejects(answer, { message: 'changed my mind' });
  const reason = await aborted.promise;
  assert.ok(reason instanceof WaitlessError && reason.code === 'cancelled', String(reason));
  assert.equal((await client.get(id)).operation.status, 'cancelled');
  await assert.rejects(client.wait(id), (error) => error instanceof OperationFailed && error.code === 'cancelled');
  await worker.stop();
});

test('stop() gives back what a handler does not end, without using up an attempt', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const client = createClient({ url: server.url });
  const started = later();
  const slow = client.worker('jobs', async () => {
    started.resolve();
    await new Promise(() => {});
  });
  const answer = client.request('jobs', 'x');
  await started.promise;
  await slow.stop({ graceSeconds: 0 });
  const attempts: number[] = [];
  const quick = client.worker('jobs', ({ attempt }) => {
    attempts.push(attempt);
    return 'done by another';
  });
  assert.equal((await answer).text(), 'done by another');
  assert.deepEqual(attempts, [1]);
  await quick.stop();
});
