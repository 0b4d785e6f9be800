// A finished operation is a fact as any other: transitions of operations as events of topics.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { post } from '../support/http.ts';
import { assertProblem, ended, statusOf, submit } from '../support/operations.ts';
import { leaseCall, reply, takeOne } from '../support/pull-worker.ts';
import { serverFor } from '../support/server.ts';
import { type EventLease, pullEvents, putSubscription } from '../support/subscribers.ts';
import { allEvents, eventPage } from '../support/topics.ts';

const pull = { target: { pull: true } };
const services = { jobs: pull, mail: pull };

/** Takes and acknowledges until so many have come. */
async function take(url: string, name: string, count: number): Promise<EventLease[]> {
  const taken: EventLease[] = [];
  for (let settle: object[] = []; taken.length < count || settle.length > 0;) {
    const waitSeconds = taken.length < count ? 10 : 0;
    const { leases } = await pullEvents(url, name, { max: 100, waitSeconds, settle: settle as never });
    taken.push(...leases);
    settle = leases.map(({ token }) => ({ token, ack: true }));
  }
  return taken;
}

async function finish(url: string, service: string, status = '200'): Promise<string> {
  const { id } = await submit(url, service, { body: 'x', headers: { 'Correlation-Id': 'mine' } });
  const lease = await takeOne(url, service);
  assert.equal((await reply(url, lease.token, 'done', { 'Result-Status': status })).status, 200);
  return id;
}

test('a subscription to the ends of operations gets an event for each, with the id that every other outlet gives it', async (t) => {
  const { url } = await serverFor(t, { services });
  const before = await finish(url, 'jobs');
  await putSubscription(url, 'ends', { topic: 'operations.*.succeeded', target: { pull: true } });
  await putSubscription(url, 'all', { topics: ['operations.jobs.*'], target: { pull: true }, from: 'start' });
  const ids = [await finish(url, 'jobs'), await finish(url, 'mail'), await finish(url, 'jobs')];
  await finish(url, 'jobs', '422');
  const taken = await take(url, 'ends', 3);
  assert.deepEqual(
    taken.map(({ topic, event }) => [topic, event['subject'], event['type']]),
    ids.map((id, i) => [`operations.${i === 1 ? 'mail' : 'jobs'}.succeeded`, id, 'waitless.operation.succeeded']),
  );
  const status = await statusOf(`${url}/v1/operations/${ids[0]}`);
  const { event } = taken[0]!;
  assert.equal(event.id, status.eventId);
  const { id, status: said, version, correlationId, done } = event['data'] as Record<string, unknown>;
  assert.deepEqual([id, said, version, correlationId, done], [ids[0], 'succeeded', status.version, 'mine', true]);
  // Of each of the other subscription's operations: queued, running and its end; of what was before it is told that it has missed it.
  const first = await pullEvents(url, 'all', { max: 1, waitSeconds: 10 });
  assert.ok((first as { reset?: object }).reset, 'the history begins when it is turned on');
  const rest = await take(url, 'all', 8);
  const seen = [...first.leases, ...rest].map(({ topic }) => topic.split('.')[2]);
  assert.deepEqual(seen, [
    ...Array.from({ length: 2 }, () => ['queued', 'running', 'succeeded']).flat(),
    'queued',
    'running',
    'failed',
  ]);
  assert.ok(!rest.some((one) => one.event['subject'] === before));
});

test('a service that publishes its transitions does so from its first operation on, and others do not', async (t) => {
  const { url } = await serverFor(t, { services: { ...services, jobs: { ...pull, publishTransitions: true } } });
  const id = await finish(url, 'jobs');
  await finish(url, 'mail');
  const cancelled = await submit(url, 'jobs', { body: 'x' });
  const answer = await post(`${url}/v1/services/jobs/leases`, { body: { max: 1 } });
  assert.equal(answer.status, 200);
  await fetch(cancelled.status, { method: 'DELETE' });
  assert.equal((await ended(cancelled.status)).status, 'cancelled');
  const events = await allEvents(url, '**');
  assert.deepEqual(
    events.map(({ topic, event }) => [topic, event['subject']]),
    [
      ['operations.jobs.queued', id],
      ['operations.jobs.running', id],
      ['operations.jobs.succeeded', id],
      ['operations.jobs.queued', cancelled.id],
      ['operations.jobs.running', cancelled.id],
      ['operations.jobs.cancelled', cancelled.id],
    ],
  );
  assert.equal((await eventPage(url, 'operations.mail.*')).items.length, 0);
  const forged = await post(`${url}/v1/topics/operations.jobs.succeeded/events`, { body: 'x' });
  assertProblem(forged, 403, 'reserved-topic');
});

test('the end of an operation starts another one, and a chain of them that leads back to itself ends', async (t) => {
  const { url } = await serverFor(t, { services });
  await putSubscription(url, 'then-mail', { topic: 'operations.jobs.succeeded', target: { service: 'mail' } });
  await putSubscription(url, 'then-jobs', { topic: 'operations.mail.succeeded', target: { service: 'jobs' } });
  const id = await finish(url, 'jobs');
  let count = 0;
  for (let turn = 0; count < 8; turn++) {
    const service = turn % 2 === 0 ? 'mail' : 'jobs';
    const lease = await takeOne(url, service);
    count++;
    const fields = new Map(lease.request.headers.map(([name, value]) => [name.toLowerCase(), value]));
    assert.equal(fields.get('ce-waitlesshops'), String(count));
    if (count === 1) assert.equal(fields.get('ce-subject'), id);
    await reply(url, lease.token, 'done');
  }
  const dead = async () => {
    const answer = await fetch(`${url}/v1/subscriptions/then-mail/dead-letters`);
    return ((await answer.json()) as { items: { code: string }[] }).items;
  };
  while ((await dead()).length === 0) await leaseCall(url, 'mail', { max: 1, waitSeconds: 1 });
  assert.deepEqual(
    (await dead()).map(({ code }) => code),
    ['too-many-hops'],
  );
});
