// A receiver that kills the server right after it received, again and again; then the judgement: what the short and the long run share.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type BackendAnswer, backendFor, gate } from '../support/backend.ts';
import { freePort } from '../support/free-port.ts';
import { post, until } from '../support/http.ts';
import { leaseCall } from '../support/pull-worker.ts';
import { callbackFields, deliveriesAt, deliveryAt, noticeIn, rotated } from '../support/receiver.ts';
import { temporaryFolder } from '../support/server.ts';
import { spawnServer } from '../support/spawn-server.ts';
import { randomOf } from './kill-run.ts';

export interface CallbackKills {
  kills: number;
  /** Ended before each kill. */
  operations: number;
  seed: number;
}

/** As many as the server sends to one place at once. */
const mostAtOnce = 8;

export interface Told {
  /** Deliveries that came at least once. */
  delivered: number;
  requests: number;
  /** Beyond the first of each. */
  repeated: number;
  interrupted: number;
}

export async function callbackKills(t: TestContext, { kills, operations, seed }: CallbackKills): Promise<Told> {
  t.diagnostic(`seed ${seed}`);
  const random = randomOf(seed);
  /** Requests by the id of their message. */
  const received = new Map<string, number>();
  const open = { status: 204 };
  let held: { count: number; answers: PromiseWithResolvers<BackendAnswer>[]; enough: () => void } | undefined;
  const receiver = await backendFor(t, async (request) => {
    const { id } = await noticeIn(request, secret);
    received.set(id, (received.get(id) ?? 0) + 1);
    if (!held) return open;
    const answer = Promise.withResolvers<BackendAnswer>();
    held.answers.push(answer);
    if (held.answers.length === held.count) held.enough();
    return answer.promise;
  });
  const server = await spawnServer(t, {
    services: { jobs: { target: { pull: true } } },
    fields: await callbackFields(t),
    data: join(await temporaryFolder(t), 'data'),
    nodes: 1,
    port: await freePort(),
  });
  const secret = await rotated(server.url);
  const item = { service: 'jobs', headers: { 'Callback-Url': receiver.url }, body: 'x' };
  const told = new Set<string>();

  for (let kill = 0; kill < kills; kill++) {
    const enough = gate();
    const count = 1 + Math.floor(random() * Math.min(mostAtOnce, operations));
    held = { count, answers: [], enough: () => enough.open() };
    const submitted = await post(`${server.url}/v1/batch`, { body: Array.from({ length: operations }, () => item) });
    for (const { operation } of submitted.json<{ operation: { id: string } }[]>()) told.add(operation.id);
    const { leases } = await leaseCall(server.url, 'jobs', { max: operations });
    assert.equal(leases.length, operations);
    await leaseCall(server.url, 'jobs', { settle: leases.map(({ token }) => ({ token, reply: { body: 'done' } })) });
    await enough.opened;
    // Some answers may be on their way, or recorded already, or not, when the server dies.
    const { answers } = held;
    held = undefined;
    for (const answer of answers.slice(0, Math.floor(random() * (answers.length + 1)))) answer.resolve(open);
    if (random() < 0.5) await new Promise((resolve) => setTimeout(resolve, random() * 10));
    await server.killAndStart(0);
    for (const answer of answers) answer.resolve({ reset: true });
    await until(async () => {
      const [waiting, sending] = await Promise.all(
        ['waiting', 'sending'].map((state) => deliveriesAt(`${server.url}/v1/deliveries?status=${state}&limit=1`)),
      );
      return waiting!.items.length + sending!.items.length === 0 ? true : undefined;
    }, 20);
  }

  const sum: Told = { delivered: 0, requests: 0, repeated: 0, interrupted: 0 };
  for (const id of told) {
    const { items } = await deliveriesAt(`${server.url}/v1/operations/${id}/deliveries`);
    assert.equal(items.length, 1, 'one delivery for one end');
    const { attempts, attempt, status, eventId, endedAt } = await deliveryAt(items[0]!.links.self);
    const requests = received.get(eventId) ?? 0;
    assert.deepEqual([status, attempts.length], ['delivered', attempt]);
    assert.ok(requests >= 1, 'at least once');
    assert.ok(attempts.length >= requests, `${attempts.length} attempts are listed for ${requests} requests`);
    assert.deepEqual(
      attempts.map(({ code, durationMs, status: answered }) => [code, durationMs === null, answered]),
      attempts.map((_, at) => (at === attempts.length - 1 ? [null, false, 204] : ['interrupted', true, null])),
      'the last one was answered; each before it was interrupted, and says so',
    );
    assert.ok(endedAt !== null);
    sum.delivered++;
    sum.requests += requests;
    sum.repeated += requests - 1;
    sum.interrupted += attempts.length - 1;
  }
  assert.equal(received.size, told.size, 'nothing else was told');
  assert.ok(sum.repeated <= kills * mostAtOnce, `${sum.repeated} repeats of ${kills} kills`);
  return sum;
}
