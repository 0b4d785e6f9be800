// The consumer of a subscription against a small server of events: what it takes, what it acknowledges, and what it gives back.
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { type TestContext, test } from 'node:test';
import {
  type ConsumedEvent,
  type ConsumeOptions,
  createClient,
  type EventHandler,
  type WaitlessError,
} from './index.ts';
import { json, problem, type Seen, serve } from './support.test.ts';

interface Call {
  worker: string;
  max: number;
  waitSeconds: number;
  leaseSeconds: number;
  settle: ({ token: string } & Record<string, unknown>)[];
}

const leaseOf = (position: number, more: object = {}) => ({
  token: `t${position}`,
  position,
  topic: 'orders.placed',
  attempt: 2,
  lastAttempt: false,
  expiresAt: '2026-01-01T00:00:30Z',
  event: { specversion: '1.0', id: `e${position}`, source: 's', type: 'placed', data: { n: position } },
  ...more,
});

/** Hands out events as asked for, holds those who ask when there are none left, and takes every answer, unless `special` answers itself. */
async function eventServer(
  t: TestContext,
  leases: object[],
  special: (seen: Seen, response: ServerResponse) => boolean = () => false,
) {
  const wake: (() => void)[] = [];
  const waiting: { max: number; response: ServerResponse }[] = [];
  const { url, seen } = await serve(t, (one, response) => {
    for (const look of wake.splice(0)) look();
    if (special(one, response)) return;
    if (!one.url.endsWith('/leases')) return json(response, 200, { status: 'recorded' });
    const { max, waitSeconds, settle } = callOf(one);
    if (leases.length === 0 && waitSeconds > 0) return void waiting.push({ max, response });
    json(response, 200, { settled: settle.map(() => ({ status: 200 })), leases: leases.splice(0, max) });
  });
  const callOf = ({ body }: Seen): Call => JSON.parse(body.toString()) as Call;
  const calls = (): Call[] => seen.filter((one) => one.url.endsWith('/leases')).map(callOf);
  return {
    url,
    seen,
    calls,
    settled: () => calls().flatMap(({ settle }) => settle),
    give(...more: object[]) {
      const { response } = waiting.shift()!;
      json(response, 200, { settled: [], leases: more });
    },
    async until(fact: () => boolean) {
      while (!fact()) await new Promise<void>((resolve) => wake.push(resolve));
    },
  };
}

function start(t: TestContext, url: string, handler: EventHandler, options: ConsumeOptions = {}) {
  const client = createClient({ url, seams: { random: () => 0 } });
  const consumer = client.consume('history', handler, { name: 'c1', ...options });
  t.after(() => consumer.stop({ graceSeconds: 0 }).catch(() => {}));
  return consumer;
}

test('events are taken as there is room, handled, and acknowledged together with the next request', async (t) => {
  const nasty = '{"n" : 1e999}';
  const lease = JSON.stringify(leaseOf(1, { event: 0 })).replace(
    /0\}$/,
    `{"specversion":"1.0","id":"e1","source":"s","type":"placed","subject":"17","data":${nasty}}}`,
  );
  const fake = await eventServer(t, [leaseOf(2), leaseOf(3)], (one, response) => {
    if (fake.seen.length > 1) return false;
    response.end(`{"settled":[], "leases" : [${lease}]}`);
    return true;
  });
  const events: ConsumedEvent[] = [];
  const consumer = start(t, fake.url, (event) => void events.push(event), { concurrency: 2, leaseSeconds: 9 });
  await fake.until(() => fake.settled().length === 3);
  const common = { worker: 'c1', leaseSeconds: 9 };
  const [first, second, third] = fake.calls();
  assert.equal(fake.seen[0]!.url, '/v1/subscriptions/history/leases');
  assert.deepEqual(first, { ...common, max: 2, waitSeconds: 50, settle: [] });
  assert.deepEqual(second, { ...common, max: 2, waitSeconds: 0, settle: [{ token: 't1', ack: true }] });
  assert.deepEqual(third!.settle, [{ token: 't2', ack: true }, { token: 't3', ack: true }]); // prettier-ignore
  const [one] = events;
  assert.deepEqual([one!.text(), one!.subject, one!.topic, one!.position], [nasty, '17', 'orders.placed', 1]);
  assert.deepEqual([one!.attempt, one!.lastAttempt, one!.signal.aborted], [2, false, false]);
  assert.deepEqual(events[2]!.json(), { n: 3 });
  await consumer.stop();
});

test('no more are held than there is room for, and an answer does not wait for the request that waits for events', async (t) => {
  const gates = new Map<number, () => void>();
  const fake = await eventServer(t, [leaseOf(1)]);
  let most = 0;
  const hold: EventHandler = ({ position }) => {
    const held = new Promise<void>((resolve) => gates.set(position, resolve));
    most = Math.max(most, gates.size);
    return held.then(() => gates.delete(position));
  };
  const consumer = start(t, fake.url, hold, { concurrency: 3 });
  await fake.until(() => fake.calls().length === 2);
  assert.deepEqual(fake.calls().map(({ max }) => max), [3, 2]); // prettier-ignore
  gates.get(1)!();
  await fake.until(() => fake.settled().length === 1);
  assert.equal(fake.calls()[2]!.max, 1, 'the other two places are asked for already');
  fake.give(leaseOf(2), leaseOf(3));
  await fake.until(() => fake.calls().length === 4);
  assert.equal(fake.calls()[3]!.max, 1);
  for (const open of gates.values()) open();
  await fake.until(() => fake.settled().length === 3);
  assert.equal(most, 2);
  await consumer.stop();
});

test('a handler that throws has the event come again, when it says so; a refused answer is told', async (t) => {
  const failures: [string, string][] = [];
  const fake = await eventServer(t, [leaseOf(1), leaseOf(2), leaseOf(3)], (one, response) => {
    const { settle } = JSON.parse(one.body.toString()) as Call;
    if (settle.length === 0) return false;
    const settled = settle.map(({ token }) =>
      token === 't3' ? { status: 409, code: 'lease-lost', detail: 'too late' } : { status: 200 },
    );
    json(response, 200, { settled, leases: [] });
    return true;
  });
  const told = Promise.withResolvers<void>();
  const consumer = start(
    t,
    fake.url,
    ({ position }) => {
      if (position === 1) throw Object.assign(new Error('no dough'), { retryAfterSeconds: 30 });
      // oxlint-disable-next-line no-throw-literal -- what careless handlers do
      if (position === 2) throw 'just text';
    },
    {
      onFailure(error, { id }) {
        failures.push([id, (error as Error).message ?? String(error)]);
        if (id === 'e3') told.resolve();
      },
    },
  );
  await told.promise;
  assert.deepEqual(fake.settled(), [
    { token: 't1', nack: { retryAfter: 30, message: 'no dough' } },
    { token: 't2', nack: { message: 'just text' } },
    { token: 't3', ack: true },
  ]);
  assert.deepEqual(failures, [['e1', 'no dough'], ['e2', 'just text'], ['e3', 'too late']]); // prettier-ignore
  await consumer.stop();
});

test('a long handler keeps its lease; a lease that is lost ends it by its signal, and is not answered', async (t) => {
  const fake = await eventServer(t, [leaseOf(1)], (one, response) => {
    if (!one.url.endsWith('/extend')) return false;
    const beats = fake.seen.filter(({ url }) => url.endsWith('/extend')).length;
    if (beats < 3) json(response, 200, { expiresAt: 'x' });
    else problem(response, 409, 'lease-lost');
    return true;
  });
  const reason = Promise.withResolvers<WaitlessError>();
  const consumer = start(
    t,
    fake.url,
    async ({ signal }) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      reason.resolve(signal.reason as WaitlessError);
    },
    { leaseSeconds: 0.03, onFailure: () => assert.fail('what is lost has not failed') },
  );
  assert.equal((await reason.promise).code, 'lease-lost');
  await consumer.stop();
  assert.deepEqual(fake.settled(), []);
  assert.ok(!fake.seen.some(({ url }) => /\/(ack|nack|release)$/.test(url)));
});

test('a server that is away is waited for, with the same answers; what events were lost is told', async (t) => {
  const troubles: string[] = [];
  const resets: object[] = [];
  const fake = await eventServer(t, [leaseOf(1)], (one, response) => {
    const number = fake.seen.length;
    if (number === 1) problem(response, 503, 'shutting-down', {}, { 'Retry-After': '0' });
    else if (number === 3) response.destroy();
    else if (number === 4) json(response, 200, { settled: [{ status: 200 }], leases: [], reset: { from: 4, to: 9 } });
    else return false;
    assert.ok(one);
    return true;
  });
  const lost = Promise.withResolvers<void>();
  const consumer = start(t, fake.url, () => {}, {
    onRetry: ({ code }) => troubles.push(code),
    onReset(reset) {
      resets.push(reset);
      lost.resolve();
    },
  });
  await lost.promise;
  assert.deepEqual([troubles, resets], [['shutting-down', 'unreachable'], [{ from: 4, to: 9 }]]);
  assert.deepEqual(fake.settled(), [{ token: 't1', ack: true }, { token: 't1', ack: true }]); // prettier-ignore
  await consumer.stop();
});

test('stop lets handlers end, acknowledges what they did, and gives back what they do not end', async (t) => {
  const fake = await eventServer(t, [leaseOf(1), leaseOf(2)]);
  const begun = Promise.withResolvers<void>();
  const signals: AbortSignal[] = [];
  let started = 0;
  const consumer = start(t, fake.url, async ({ position, signal }) => {
    signals.push(signal);
    if (++started === 2) begun.resolve();
    await begun.promise;
    if (position === 2) await new Promise(() => {});
  });
  await begun.promise;
  await consumer.stop({ graceSeconds: 0.05 });
  const told = fake.seen.map(({ url }) => url).filter((url) => url.startsWith('/v1/leases/'));
  const acked = fake.settled().some(({ token, ack }) => token === 't1' && ack === true);
  assert.ok(acked || told.includes('/v1/leases/t1/ack'));
  assert.ok(told.includes('/v1/leases/t2/release'));
  assert.deepEqual(signals.map(({ aborted }) => aborted), [false, true]); // prettier-ignore
  await consumer.done;
});

test('without a subscription it cannot go on, and says so; wrong options are refused before', async (t) => {
  const { url } = await serve(t, (_, response) => problem(response, 404, 'unknown-subscription', { detail: 'none' }));
  const client = createClient({ url });
  await assert.rejects(client.consume('history', () => {}).done, { code: 'unknown-subscription', message: 'none' });
  assert.throws(() => client.consume('a/b', () => {}), { code: 'invalid-name', message: /subscription name/ });
  assert.throws(() => client.consume('a', () => {}, { concurrency: 0 }), { code: 'invalid-parameter' });
});
