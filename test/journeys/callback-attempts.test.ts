// What becomes of a callback whose receiver fails: tried again on a schedule that nobody has to wait for here, given up, looked at, sent again.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Delivery, DeliveryWithAttempts } from '@waitless/protocol';
import { type Backend, type BackendAnswer, backendFor, gate } from '../support/backend.ts';
import { manualTime } from '../support/clock.ts';
import { get, post, type Received } from '../support/http.ts';
import { assertProblem, submit } from '../support/operations.ts';
import { answerLease, reply, takeOne } from '../support/pull-worker.ts';
import { calledBack, deliveriesAt, deliveryAt, deliveryWhen, noticeIn } from '../support/receiver.ts';
import { serverFor, type ServerSettings, type TestServer } from '../support/server.ts';

const services = { jobs: { target: { pull: true }, retention: '30d' } };
const [second, minute, hour] = [1000, 60_000, 3_600_000];

interface Setting {
  server: TestServer;
  receiver: Backend;
  secret: string;
  advance: (ms: number) => void;
  /** What stands in the place of the clock, for a restart. */
  extras: NonNullable<ServerSettings['extras']>;
  /** An operation that ends at once, with a callback here. */
  done: (path?: string) => Promise<string>;
}

async function start(t: TestContext, settings: ServerSettings = {}): Promise<Setting> {
  const { clock, advance } = manualTime();
  // A clock that jumps wakes nobody: what is due then is found by the next look.
  const extras = { clock, pollMs: 20 };
  const { server, receiver, secret } = await calledBack(t, { services, ...settings, extras });
  const key = settings.namespaces?.[0] === undefined ? {} : { key: server.key(settings.namespaces[0]) };
  return {
    server,
    receiver,
    secret,
    advance,
    extras,
    async done(path = '/') {
      const { status } = await submit(server.url, 'jobs', {
        headers: { 'Callback-Url': receiver.url + path },
        ...key,
      });
      await reply(server.url, (await takeOne(server.url, 'jobs', key)).token, 'the result');
      return status;
    },
  };
}

/** From the end of the last attempt to the next one. */
function pauseOf({ attempts, nextAt }: DeliveryWithAttempts): number {
  const last = attempts.at(-1)!;
  assert.equal(last.nextAt, nextAt);
  return Date.parse(nextAt!) - Date.parse(last.at) - last.durationMs!;
}
const assertPause = (delivery: DeliveryWithAttempts, usual: number): void => {
  const pause = pauseOf(delivery);
  assert.ok(pause >= usual * 0.9 - 1 && pause <= usual * 1.1 + 1, `${pause} ms is ${usual} ms with its jitter`);
};

test('a receiver that fails is tried again after growing pauses under one id, with a fresh signature, until it is given up', async (t) => {
  const { receiver, secret, advance, done, server } = await start(t);
  const refusal = (number: number): number => 400 + (number % 10);
  receiver.behave((_, number) => ({ status: refusal(number), body: `no ${number}` }));
  const status = await done();
  const schedule = [5 * second, 30 * second, 2 * minute, 10 * minute, hour, 4 * hour, 12 * hour, 24 * hour, 24 * hour];
  for (const [index, usual] of schedule.entries()) {
    const delivery = await deliveryWhen(status, 'waiting', { attempt: index + 1 });
    assertPause(delivery, usual);
    assert.equal(delivery.code, 'unexpected-status');
    assert.equal(receiver.requests.length, index + 1, 'nothing is sent before its time');
    advance(pauseOf(delivery) + 1);
  }
  const dead = await deliveryWhen(status, 'dead');
  assert.deepEqual([dead.attempt, dead.code, dead.nextAt], [10, 'schedule-used-up', null]);
  assert.deepEqual(
    dead.attempts.map(({ attempt, status: answered, answer }) => [attempt, answered, answer]),
    Array.from({ length: 10 }, (_, i) => [i + 1, refusal(i + 1), `no ${i + 1}`]),
    'each request is in the log',
  );
  const ids = new Set<string>();
  for (const request of receiver.requests) ids.add((await noticeIn(request, secret)).id);
  assert.equal(ids.size, 1, 'one id, and each signature is good now');
  const letters = await deliveriesAt(`${server.url}/v1/deliveries?status=dead`);
  assert.deepEqual(
    letters.items.map(({ id }) => id),
    [dead.id],
  );
});

test('500, then 204: delivered by the second attempt, and never again', async (t) => {
  const { receiver, done, advance } = await start(t);
  receiver.behave((_, number) => (number === 1 ? { status: 500, body: 'out of order\u001b[2J' } : { status: 204 }));
  const status = await done();
  const waiting = await deliveryWhen(status, 'waiting', { attempt: 1 });
  assert.equal(waiting.attempts[0]!.answer, 'out of order\\x1b[2J', 'what a stranger says does nothing to a terminal');
  advance(6 * second);
  const { attempts } = await deliveryWhen(status, 'delivered');
  assert.deepEqual(
    attempts.map((one) => [one.status, one.code]),
    [
      [500, 'unexpected-status'],
      [204, null],
    ],
  );
  advance(48 * hour);
  await deliveryWhen(await done('/another'), 'delivered');
  assert.deepEqual(
    receiver.requests.map(({ target }) => target),
    ['/', '/', '/another'],
  );
});

test('Retry-After is obeyed up to a day; 410 ends it; a redirect is not followed', async (t) => {
  const { receiver, done } = await start(t);
  const elsewhere = await backendFor(t);
  const answers: Record<string, BackendAnswer> = {
    '/busy': { status: 503, headers: { 'Retry-After': '3600' } },
    '/later': { status: 429, headers: { 'Retry-After': '1000000000' } },
    '/odd': { status: 503, headers: { 'Retry-After': '-5' } },
    '/gone': { status: 410 },
    ...Object.fromEntries(
      [300, 301, 302, 303, 307, 308].map((code) => [
        `/${code}`,
        { status: code, headers: { Location: elsewhere.url } },
      ]),
    ),
  };
  receiver.behave(({ target }) => answers[target]!);
  const pause = async (path: string) => pauseOf(await deliveryWhen(await done(path), 'waiting', { attempt: 1 }));
  assert.equal(await pause('/busy'), hour);
  assert.equal(await pause('/later'), 24 * hour);
  assertPause(await deliveryWhen(await done('/odd'), 'waiting', { attempt: 1 }), 5 * second);
  const gone = await deliveryWhen(await done('/gone'), 'dead');
  assert.deepEqual([gone.attempt, gone.code], [1, 'gone']);
  for (const code of [300, 301, 302, 303, 307, 308]) {
    const delivery = await deliveryWhen(await done(`/${code}`), 'waiting', { attempt: 1 });
    assert.deepEqual([delivery.code, delivery.attempts[0]!.status], ['redirected', code]);
    assertPause(delivery, 5 * second);
  }
  assert.equal(elsewhere.requests.length, 0);
});

test('sending again by hand: what is waiting, what is dead and what was delivered; not what is on its way', async (t) => {
  const { server, receiver, secret, done } = await start(t);
  let answer: BackendAnswer | Promise<BackendAnswer> = { status: 500 };
  receiver.behave(() => answer);
  const again = (delivery: Delivery) => post(`${delivery.links.self}/retry`);
  const status = await done();
  const waiting = await deliveryWhen(status, 'waiting', { attempt: 1 });
  answer = { status: 410 };
  const accepted = await again(waiting);
  assert.equal(accepted.status, 202, accepted.text);
  assert.equal(accepted.json<Delivery>().id, waiting.id);
  const dead = await deliveryWhen(status, 'dead', { attempt: 2 });
  answer = { status: 200 };
  assert.equal((await again(dead)).status, 202);
  const delivered = await deliveryWhen(status, 'delivered', { attempt: 3 });
  assert.deepEqual([delivered.code, delivered.attempts.map((one) => one.status)], [null, [500, 410, 200]]);
  const held = gate<BackendAnswer>();
  answer = held.opened;
  assert.equal((await again(delivered)).status, 202);
  await receiver.received(4);
  assertProblem(await again(delivered), 409, 'delivery-under-way');
  assert.equal((await deliveryAt(delivered.links.self)).status, 'sending');
  held.open({ status: 204 });
  await deliveryWhen(status, 'delivered', { attempt: 4 });
  const ids = new Set<string>();
  for (const request of receiver.requests) ids.add((await noticeIn(request, secret)).id);
  assert.equal(ids.size, 1);
  assertProblem(await post(`${server.url}/v1/deliveries/dlv_${'0'.repeat(34)}/retry`), 404, 'not-found');
});

test('a restart between two attempts skips none and adds none', async (t) => {
  const { server, receiver, secret, done, advance, extras } = await start(t, { data: 'folder' });
  receiver.behave((_, number) => ({ status: number < 3 ? 500 : 204 }));
  const status = await done();
  const before = await deliveryWhen(status, 'waiting', { attempt: 1 });
  await server.restart(extras);
  assert.deepEqual(await deliveryAt(before.links.self), before, 'as it was');
  advance(6 * second);
  const { nextAt } = await deliveryWhen(status, 'waiting', { attempt: 2 });
  await server.restart(extras);
  assert.equal((await deliveryWhen(status, 'waiting', { attempt: 2 })).nextAt, nextAt);
  advance(34 * second);
  const { attempts } = await deliveryWhen(status, 'delivered');
  assert.equal(attempts.length, 3);
  await server.restart(extras);
  assert.equal((await deliveryWhen(status, 'delivered')).attempt, 3);
  assert.equal(receiver.requests.length, 3);
  const ids = new Set<string>();
  for (const request of receiver.requests) ids.add((await noticeIn(request, secret)).id);
  assert.equal(ids.size, 1);
});

test('a stop in the middle of an attempt: it is in the log as interrupted, and made again after the start', async (t) => {
  const { server, receiver, done, extras } = await start(t, { data: 'folder' });
  receiver.behave((request, number) =>
    number === 1 ? request.abandoned.then(() => ({ reset: true })) : { status: 204 },
  );
  const status = await done();
  await receiver.received(1);
  await server.restart(extras);
  const { attempts, attempt } = await deliveryWhen(status, 'delivered');
  assert.deepEqual([attempt, receiver.requests.length], [2, 2]);
  assert.deepEqual(
    attempts.map(({ status: answered, code, durationMs }) => [answered, code, durationMs === null]),
    [
      [null, 'interrupted', true],
      [204, null, false],
    ],
  );
});

test('the list of a namespace: its filters and its pages; another namespace finds nothing of it', async (t) => {
  const { server, receiver, done } = await start(t, { namespaces: ['shop', 'other'] });
  const [shop, other] = [server.key('shop'), server.key('other')];
  receiver.behave(({ target }) => ({ status: target === '/gone' ? 410 : target === '/bad' ? 500 : 204 }));
  const made: DeliveryWithAttempts[] = [];
  for (const [path, state] of [
    ['/ok', 'delivered'],
    ['/gone', 'dead'],
    ['/bad', 'waiting'],
    ['/ok', 'delivered'],
    ['/gone', 'dead'],
  ] as const)
    made.unshift(await deliveryWhen(await done(path), state, { key: shop }));
  const all = `${server.url}/v1/deliveries`;
  const ids = async (query: string): Promise<string[]> =>
    (await deliveriesAt(all + query, { key: shop })).items.map(({ id }) => id);
  assert.deepEqual(
    await ids(''),
    made.map(({ id }) => id),
    'newest first',
  );
  for (const state of ['waiting', 'sending', 'delivered', 'dead'])
    assert.deepEqual(
      await ids(`?status=${state}`),
      made.filter((one) => one.status === state).map(({ id }) => id),
      state,
    );
  const walked: string[] = [];
  for (let next: string | null = ''; next !== null;) {
    const page: { items: Delivery[]; next: string | null } = await deliveriesAt(
      `${all}?limit=2${next === '' ? '' : `&cursor=${next}`}`,
      { key: shop },
    );
    assert.ok(page.items.length <= 2);
    walked.push(...page.items.map(({ id }) => id));
    next = page.next;
  }
  assert.deepEqual(
    walked,
    made.map(({ id }) => id),
  );
  const { attempts: _, ...listed } = made[0]!;
  assert.deepEqual(
    (await deliveriesAt(all, { key: shop })).items[0],
    listed,
    'an item is the document without its attempts',
  );

  assert.deepEqual(await deliveriesAt(all, { key: other }), { items: [], next: null });
  const { self, operation } = made[0]!.links;
  const foreign = await get(self, { key: other });
  assertProblem(foreign, 404, 'not-found');
  assertProblem(await post(`${self}/retry`, { key: other }), 404, 'not-found');
  assertProblem(await get(`${operation}/deliveries`, { key: other }), 404, 'not-found');
  assertProblem(await get(self), 401, 'unauthenticated');
  const unknown = await get(`${server.url}/v1/deliveries/dlv_${'0'.repeat(34)}`, { key: other });
  const words = (answer: Received) => ({ ...answer.json(), instance: '' });
  assert.deepEqual(words(foreign), words(unknown), 'told in the same words as one that never was');
  const [cursor] = [(await deliveriesAt(`${all}?limit=2`, { key: shop })).next!];
  assertProblem(await get(`${all}?cursor=${cursor}`, { key: other }), 400, 'invalid-cursor');
});

test('wrong questions about deliveries name what is wrong', async (t) => {
  const server = await serverFor(t, { services });
  const { status, answer } = await submit(server.url, 'jobs');
  await submit(server.url, 'jobs');
  const cursor = (await get(`${server.url}/v1/operations?limit=1`)).json<{ next: string }>().next;
  for (const [path, code, words] of [
    ['?status=failed', 'invalid-parameter', /status must be one of waiting, sending, delivered, dead/],
    ['?status=', 'invalid-parameter', /status/],
    ['?status=dead&status=dead', 'invalid-parameter', /twice/],
    ['?limit=0', 'invalid-parameter', /limit/],
    ['?limit=1001', 'invalid-parameter', /limit/],
    ['?service=jobs', 'invalid-parameter', /service.. is no filter/],
    ['?cursor=1', 'invalid-cursor', /cursor/],
    [`?cursor=${cursor}`, 'invalid-cursor', /cursor/],
  ] as const) {
    const refused = await get(`${server.url}/v1/deliveries${path}`);
    assertProblem(refused, 400, code);
    assert.match(refused.text, words);
  }
  assertProblem(await get(`${status}/deliveries?status=dead`), 400, 'invalid-parameter');
  for (const id of ['dlv_1', 'dlv_', '1', answer.headers['operation-id']!, `dlv_${'f'.repeat(32)}1`, "dlv_'%20or%201"])
    assertProblem(await get(`${server.url}/v1/deliveries/${id}`), 404, 'not-found');
  const retry = `${server.url}/v1/deliveries/dlv_${'0'.repeat(34)}/retry`;
  assertProblem(await post(retry, { body: { at: 'now' } }), 400, 'unknown-field');
  assertProblem(await post(retry, { body: 'x' }), 415, 'unsupported-media-type');
  assertProblem(await answerLease(server.url, 'x', 'ack'), 404, 'not-found');
});
