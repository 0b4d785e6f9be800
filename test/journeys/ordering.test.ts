// Ordering keys: one operation at a time of each, in the order in which they were accepted, whoever works and whoever dies.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BatchOutcome } from '@waitless/protocol';
import { get, post, send } from '../support/http.ts';
import { assertProblem, ended, statusOf, submit } from '../support/operations.ts';
import { leaseCall, reply, takeOne } from '../support/pull-worker.ts';
import { serverFor } from '../support/server.ts';
import { channelTo } from '../support/web-socket.ts';
import { runInOrder } from './ordering-run.ts';

const jobs = { jobs: { target: { pull: true } } };
const ordered = (key: string, more: Record<string, string> = {}) => ({ headers: { 'Ordering-Key': key, ...more } });

test('50 ordering keys with 8 messages each over 8 workers, some of them killed: no key out of order, none two at a time', (t) =>
  runInOrder(t, { keys: 50, messages: 8, workers: 8, dies: 4 }));

test('the next of an ordering key starts once the one before has ended, whether it succeeded, failed or was cancelled', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const accepted = [];
  for (let i = 0; i < 4; i++) accepted.push(await submit(server.url, 'jobs', { body: `${i}`, ...ordered('k') }));
  const ids = accepted.map(({ id }) => id);
  const none = await leaseCall(server.url, 'jobs', { max: 10, waitSeconds: 1 });
  assert.deepEqual(
    none.leases.map(({ operation }) => operation.id),
    [ids[0]],
  );
  assert.equal((await statusOf(accepted[1]!.status)).status, 'queued');
  await reply(server.url, none.leases[0]!.token, 'yes');
  const second = await takeOne(server.url, 'jobs');
  assert.equal(second.operation.id, ids[1]);
  await reply(server.url, second.token, 'no', { 'Result-Status': '422' });
  assert.equal((await ended(accepted[1]!.status)).status, 'failed');
  const third = await takeOne(server.url, 'jobs');
  assert.equal(third.operation.id, ids[2]);
  const waiting = takeOne(server.url, 'jobs');
  assert.equal((await send(accepted[2]!.status, { method: 'DELETE' })).status, 200);
  assert.equal((await waiting).operation.id, ids[3]);
});

test('an ordering key goes with the items of a batch and with frames, each in its own line', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const headers = { 'Ordering-Key': 'k' };
  const body = [0, 1].map((i) => ({ service: 'jobs', headers, body: `${i}` }));
  const outcomes = (await post(`${server.url}/v1/batch`, { body })).json<BatchOutcome[]>();
  const socket = await channelTo(t, server.url);
  socket.send({ type: 'submit', ref: 'a', service: 'jobs', headers, body: '2' });
  await socket.frame('accepted');
  const alone = await submit(server.url, 'jobs', { body: 'alone' });
  const { leases } = await leaseCall(server.url, 'jobs', { max: 10, waitSeconds: 5 });
  assert.deepEqual(
    leases.map(({ operation }) => operation.id).toSorted(),
    [outcomes[0]!.operation!.id, alone.id].toSorted(),
  );
});

test('an ordering key that cannot be one is refused, and so is one for what is kept nowhere', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const ask = (headers: Record<string, string>) => post(`${server.url}/v1/call/jobs`, { headers, body: 'x' });
  for (const key of ['', 'x'.repeat(256), 'größe']) {
    const refused = await ask({ 'Ordering-Key': key });
    assertProblem(refused, 400, 'invalid-parameter');
    assert.match(refused.text, /Ordering-Key/);
  }
  const clash = await ask({ 'Ordering-Key': 'k', 'Operation-Durability': 'none' });
  assertProblem(clash, 400, 'conflicting-headers');
  const list = (await get(`${server.url}/v1/operations`)).json<{ items: unknown[] }>();
  assert.deepEqual(list.items, []);
});
