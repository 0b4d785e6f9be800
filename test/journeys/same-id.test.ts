// One id for one operation, everywhere: what the client was told, what the backend sees on every attempt, and what a look-up finds.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backendFor } from '../support/backend.ts';
import { get } from '../support/http.ts';
import { ended, statusOf, submit } from '../support/operations.ts';
import { serverFor } from '../support/server.ts';
import { leaseCall, takeOne } from '../support/pull-worker.ts';

const quickRetry = { maxAttempts: 3, initialDelay: '1ms', maxDelay: '2ms' };

test('the same id reaches client and backend on every attempt', async (t) => {
  const backend = await backendFor(t, (_, number) => ({ status: number < 3 ? 500 : 200 }));
  const server = await serverFor(t, { services: { score: { target: { url: backend.url }, retry: quickRetry } } });

  const accepted = await submit(server.url, 'score', { body: 'x' });
  await ended(accepted.status);

  assert.equal(backend.requests.length, 3);
  assert.equal(accepted.receipt.id, accepted.id);
  assert.equal(accepted.receipt.correlationId, accepted.id, 'the correlation id is the operation id by default');
  assert.equal(accepted.answer.headers['correlation-id'], accepted.id);
  for (const [index, { headers }] of backend.requests.entries()) {
    assert.equal(headers['operation-id'], accepted.id);
    assert.equal(headers['correlation-id'], accepted.id);
    assert.equal(headers['idempotency-key'], `"${accepted.id}"`);
    assert.equal(headers['operation-attempt'], String(index + 1));
    assert.equal(headers['operation-last-attempt'], index === 2 ? 'true' : undefined);
  }
  const result = await get(accepted.result);
  assert.equal(result.headers['operation-id'], accepted.id);
  assert.equal(result.headers['correlation-id'], accepted.id);
});

test("the client's own correlation id is echoed everywhere and need not be unique", async (t) => {
  const backend = await backendFor(t, (_, number) => ({ status: number % 2 === 1 ? 500 : 200 }));
  const server = await serverFor(t, {
    services: {
      score: { target: { url: backend.url }, retry: quickRetry, concurrency: 1 },
      jobs: { target: { pull: true } },
    },
  });
  const headers = { 'Correlation-Id': 'order 17/b' };

  for (const _ of [1, 2]) {
    const accepted = await submit(server.url, 'score', { headers });
    assert.notEqual(accepted.id, 'order 17/b');
    assert.equal(accepted.answer.headers['correlation-id'], 'order 17/b');
    assert.equal(accepted.receipt.correlationId, 'order 17/b');
    const operation = await ended(accepted.status);
    assert.equal(operation.correlationId, 'order 17/b');
    assert.equal((await get(accepted.result)).headers['correlation-id'], 'order 17/b');
  }
  assert.equal(backend.requests.length, 4);
  for (const request of backend.requests) assert.equal(request.headers['correlation-id'], 'order 17/b');

  const pulled = await submit(server.url, 'jobs', { headers });
  const lease = await takeOne(server.url, 'jobs');
  assert.equal(lease.operation.id, pulled.id);
  assert.equal(lease.operation.correlationId, 'order 17/b');
});

test('a status read right after the 202 never misses', async (t) => {
  const server = await serverFor(t, { services: { jobs: { target: { pull: true } } }, data: 'folder' });
  const caller = async (): Promise<void> => {
    for (let round = 0; round < 8; round++) {
      for (const durability of ['stored', 'memory']) {
        const accepted = await submit(server.url, 'jobs', {
          body: 'x',
          headers: { 'Operation-Durability': durability },
        });
        const operation = await statusOf(accepted.status);
        assert.equal(operation.id, accepted.id);
        assert.equal(operation.status, 'queued');
        const result = await get(accepted.result);
        assert.equal(result.status, 202, 'the result URL of a pending operation answers 202 from the first moment on');
      }
    }
  };
  await Promise.all(Array.from({ length: 16 }, caller));
});

test('a status read straight after a restart never misses', async (t) => {
  const backend = await backendFor(t, (_, number) => ({ body: `result ${number}` }));
  const server = await serverFor(t, {
    services: { jobs: { target: { pull: true } }, score: { target: { url: backend.url } } },
    data: 'folder',
  });
  const waiting = await Promise.all(Array.from({ length: 40 }, () => submit(server.url, 'jobs', { body: 'x' })));
  const finished = await submit(server.url, 'score', { body: 'y' });
  const before = await ended(finished.status);
  const bytes = (await get(finished.result)).body;

  await server.restart();

  for (const accepted of waiting) assert.equal((await statusOf(accepted.status)).status, 'queued');
  assert.deepEqual(await statusOf(finished.status), before);
  assert.deepEqual((await get(finished.result)).body, bytes);
  const { leases } = await leaseCall(server.url, 'jobs', { max: 100 });
  assert.deepEqual(new Set(leases.map((lease) => lease.operation.id)), new Set(waiting.map((accepted) => accepted.id)));
});
