// What a client is told about its wait, learned from what ended before; and how a full queue and a used-up rate say no.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Operation, ServiceSummary } from '@waitless/protocol';
import { nodesBehind } from '../support/balancer.ts';
import { backendFor, gate } from '../support/backend.ts';
import { manualTime } from '../support/clock.ts';
import { get, post, type Received, type Sent, until } from '../support/http.ts';
import { type Accepted, assertProblem, ended, resultOf, statusOf, statusWhen, submit } from '../support/operations.ts';
import { leaseCall, reply, takeOne } from '../support/pull-worker.ts';
import { serverFor, type ServerSettings, type TestServer } from '../support/server.ts';
import { variant } from '../support/variant.ts';

const second = 1000;

async function withOwnTime(
  t: TestContext,
  services: Record<string, unknown>,
  more: Partial<ServerSettings> = {},
): Promise<{ server: TestServer; advance: (ms: number) => void }> {
  const { clock, advance } = manualTime();
  return { server: await serverFor(t, { services, extras: { clock }, ...more }), advance };
}

const jobs = { jobs: { target: { pull: true }, timeout: '1d', lease: '1h' } };
const retryAfter = ({ headers }: Received): number => Number(headers['retry-after']);
const untilDone = (operation: Operation, from: string): number =>
  Date.parse(operation.estimatedCompletionAt!) - Date.parse(from);

/** One operation that takes so long, on each node: each learns from what it records itself. */
async function teach(
  server: TestServer,
  { advance, ms }: { advance: (ms: number) => void; ms: number },
): Promise<void> {
  for (const node of nodesBehind(server.url)) {
    const { status } = await submit(server.url, 'jobs');
    const { token } = await takeOne(server.url, 'jobs');
    advance(ms);
    assert.equal((await reply(node, token, 'done')).status, 200);
    await ended(status);
  }
}

const accepted = async (server: TestServer, wanted: { queued: number }): Promise<void> => {
  const items = (await get(`${server.url}/v1/services`)).json<{ items: ServiceSummary[] }>().items;
  assert.deepEqual(
    items.map(({ counts }) => counts.queued),
    [wanted.queued],
  );
};

test('Retry-After is learned: of the 202, of a pending status and of a pending result', async (t) => {
  const { server, advance } = await withOwnTime(t, jobs);
  const first = await submit(server.url, 'jobs');
  assert.equal(retryAfter(first.answer), 1, 'nothing is known yet');
  const { token } = await takeOne(server.url, 'jobs');
  assert.equal(retryAfter(await get(first.status)), 1);
  advance(8 * second);
  assert.equal(retryAfter(await get(first.status)), 2, 'a part of the time it has taken');
  advance(12 * second);
  assert.equal((await reply(server.url, token, 'done')).status, 200);
  await teach(server, { advance, ms: 20 * second });

  const next = await submit(server.url, 'jobs');
  assert.equal(retryAfter(next.answer), 20);
  assert.equal((await takeOne(server.url, 'jobs')).attempt, 1);
  assert.equal(retryAfter(await get(next.status)), 20);
  advance(13 * second);
  assert.equal(retryAfter(await get(next.status)), 7);
  assert.equal(retryAfter(await get(next.result)), 7);
  advance(27 * second);
  assert.equal(retryAfter(await get(next.status)), 10, 'overdue: asked for less and less often');
  advance(3600 * second);
  assert.equal(retryAfter(await get(next.status)), 60, 'and once a minute at least');
});

test('what is expected is told once something was learned, counts down, and moves on when it is overdue', async (t) => {
  const { server, advance } = await withOwnTime(t, jobs);
  const first = await submit(server.url, 'jobs');
  assert.equal((await statusOf(first.status)).estimatedCompletionAt, null);
  const { token } = await takeOne(server.url, 'jobs');
  assert.equal((await statusOf(first.status)).estimatedCompletionAt, null);
  advance(30 * second);
  await reply(server.url, token, 'done');
  assert.equal((await ended(first.status)).estimatedCompletionAt, null, 'what has ended is not expected');
  await teach(server, { advance, ms: 30 * second });

  const next = await submit(server.url, 'jobs');
  const taken = await takeOne(server.url, 'jobs');
  const { startedAt } = await statusOf(next.status);
  assert.equal(untilDone(await statusOf(next.status), startedAt!), 30 * second);
  advance(10 * second);
  const running = await statusOf(next.status);
  assert.equal(untilDone(running, startedAt!), 30 * second, 'it stays where it was');
  const pending = await get(next.result);
  assert.equal(pending.status, 202);
  assert.equal(pending.json<Operation>().estimatedCompletionAt, running.estimatedCompletionAt);
  advance(30 * second);
  assert.equal(untilDone(await statusOf(next.status), startedAt!), 50 * second, 'ten more than the forty it has taken');
  advance(60 * second);
  assert.ok(untilDone(await statusOf(next.status), startedAt!) > 100 * second, 'never in the past');

  const { items } = (await get(`${server.url}/v1/operations`)).json<{ items: Operation[] }>();
  assert.ok(items.every((item) => item.estimatedCompletionAt === null && item.queuePosition === null));
  await reply(server.url, taken.token, 'done');
});

test('a delayed one is expected after its delay, and none later than its own time limit', async (t) => {
  const { server, advance } = await withOwnTime(t, jobs);
  await teach(server, { advance, ms: 30 * second });
  const delayed = await submit(server.url, 'jobs', { headers: { 'Operation-Delay': '1h' } });
  const late = await statusOf(delayed.status);
  assert.equal(untilDone(late, late.runAt!), 30 * second);
  assert.equal(late.queuePosition, null, 'it is not in the queue yet');
  const short = await submit(server.url, 'jobs', { headers: { 'Operation-Timeout': '5s' } });
  const limited = await statusOf(short.status);
  assert.equal(limited.estimatedCompletionAt, limited.deadline);
});

test('the place in the queue goes down as it drains, and who has a higher priority is before', async (t) => {
  const { server, advance } = await withOwnTime(t, jobs);
  await teach(server, { advance, ms: 10 * second });
  const all: Accepted[] = [];
  for (let i = 0; i < 4; i++) all.push(await submit(server.url, 'jobs', { body: `${i}` }));
  const places = async (): Promise<(number | null)[]> =>
    Promise.all(all.map(async ({ status }) => (await statusOf(status)).queuePosition));
  assert.deepEqual(await places(), [1, 2, 3, 4]);
  const [front, , , back] = all;
  const expected = Date.parse((await statusOf(back!.status)).estimatedCompletionAt!);
  assert.ok(expected > Date.parse((await statusOf(front!.status)).estimatedCompletionAt!), 'later than the first');

  const urgent = await submit(server.url, 'jobs', { headers: { 'Operation-Priority': '9' } });
  assert.equal((await statusOf(urgent.status)).queuePosition, 1);
  assert.deepEqual(await places(), [2, 3, 4, 5]);
  assert.equal((await leaseCall(server.url, 'jobs', { max: 2 })).leases.length, 2);
  assert.deepEqual(await places(), [null, 1, 2, 3]);
  assert.equal((await statusOf(urgent.status)).queuePosition, null, 'it runs');
  await leaseCall(server.url, 'jobs', { max: 3 });
  assert.deepEqual(await places(), [null, null, null, null]);
});

test('each namespace has a queue of its own', async (t) => {
  const { server } = await withOwnTime(t, jobs, { namespaces: ['alice', 'bob'] });
  const [alice, bob] = [{ key: server.key('alice') }, { key: server.key('bob') }];
  for (let i = 0; i < 3; i++) await submit(server.url, 'jobs', alice);
  const { status } = await submit(server.url, 'jobs', bob);
  assert.equal((await statusOf(status, bob)).queuePosition, 1);
});

test('a push service learns too, and GET /v1/services tells what it learned', async (t) => {
  const held = gate();
  const backend = await backendFor(t, async () => {
    await held.opened;
    return { body: 'done' };
  });
  const { server, advance } = await withOwnTime(t, { score: { target: { url: backend.url }, concurrency: 1 } });
  const summary = async (base: string): Promise<ServiceSummary> =>
    (await get(`${base}/v1/services`)).json<{ items: ServiceSummary[] }>().items[0]!;
  assert.deepEqual((await summary(server.url)).recent, { p50Ms: null, p90Ms: null, perMinute: 0 });
  const { status } = await submit(server.url, 'score');
  await backend.received(1);
  await statusWhen(status, (operation) => operation.status === 'running');
  advance(20 * second);
  held.open();
  await ended(status);
  const learned = await until(async () => {
    for (const node of nodesBehind(server.url)) {
      const { recent } = await summary(node);
      if (recent.p50Ms !== null) return recent;
    }
    return undefined;
  });
  assert.deepEqual(learned, { p50Ms: 20 * second, p90Ms: 20 * second, perMinute: 1 });
});

const wanted = (server: TestServer, sent: Sent = {}): Promise<Received> => post(`${server.url}/v1/call/jobs`, sent);

test('a full queue refuses new work with 429, says what is full and when to come again, and stores nothing', async (t) => {
  const server = await serverFor(t, { services: { jobs: { target: { pull: true }, maxQueued: 3 } } });
  const first = await wanted(server, { body: 'a', headers: { 'Idempotency-Key': 'a' } });
  for (let i = 0; i < 2; i++) assert.equal((await wanted(server)).status, 202);
  await accepted(server, { queued: 3 });

  for (const sent of [
    {},
    { body: 'b', headers: { 'Idempotency-Key': 'b' } },
    { headers: { Prefer: 'wait=5' } },
    { headers: { 'Operation-Durability': 'memory' } },
  ]) {
    const refused = await wanted(server, sent);
    assertProblem(refused, 429, 'queue-full');
    assert.equal(refused.json()['accepted'], false);
    assert.equal(refused.headers['ratelimit-policy'], '"queue";q=3');
    assert.ok(retryAfter(refused) >= 1);
    assert.equal(refused.headers['ratelimit'], `"queue";r=0;t=${retryAfter(refused)}`);
  }
  await accepted(server, { queued: 3 });
  const repeat = await wanted(server, { body: 'a', headers: { 'Idempotency-Key': 'a' } });
  assert.deepEqual([repeat.status, repeat.headers['idempotent-replayed']], [202, 'true']);
  assert.equal(repeat.headers['operation-id'], first.headers['operation-id']);
  assertProblem(
    await wanted(server, { body: 'other', headers: { 'Idempotency-Key': 'a' } }),
    422,
    'idempotency-key-reused',
  );

  await takeOne(server.url, 'jobs');
  const kept = await wanted(server, { body: 'b', headers: { 'Idempotency-Key': 'b' } });
  assert.deepEqual(
    [kept.status, kept.headers['idempotent-replayed']],
    [202, undefined],
    'the refused one was not remembered',
  );
  assertProblem(await wanted(server), 429, 'queue-full');
});

test('a burst fills a queue to its cap and not beyond, whichever nodes it meets', async (t) => {
  const server = await serverFor(t, { services: { jobs: { target: { pull: true }, maxQueued: 20 } } });
  const answers = await Promise.all(Array.from({ length: 60 }, () => wanted(server)));
  const made = answers.filter(({ status }) => status === 202).length;
  assert.ok(answers.every(({ status }) => status === 202 || status === 429));
  // Each node counts before it fills: two that count at the same moment may take a part of the same room twice.
  assert.ok(made >= 1 && made <= 20 + (variant.nodes - 1) * 5, `${made} were taken`);
  await accepted(server, { queued: made });
  let last: number;
  do last = (await wanted(server)).status;
  while (last === 202);
  assert.equal(last, 429);
  await accepted(server, { queued: Math.max(20, made) });
});

test('each namespace has its own room', async (t) => {
  const server = await serverFor(t, {
    services: { jobs: { target: { pull: true }, maxQueued: 1 } },
    namespaces: ['alice', 'bob'],
  });
  assert.equal((await wanted(server, { key: server.key('alice') })).status, 202);
  assertProblem(await wanted(server, { key: server.key('alice') }), 429, 'queue-full');
  assert.equal((await wanted(server, { key: server.key('bob') })).status, 202);
});

test('what a full queue or a used-up rate cannot take away: stored results and joining what runs', async (t) => {
  const backend = await backendFor(t, ({ body }) => ({ body: `score of ${body.toString()}` }));
  const held = gate();
  const { server, advance } = await withOwnTime(t, {
    score: { target: { url: backend.url }, key: { query: 'c' }, validFor: '1h', rate: '1/h', concurrency: 4 },
  });
  let others = 0;
  const ask = (customer: string, headers: Record<string, string> = {}): Promise<Received> =>
    get(`${server.url}/v1/call/score?c=${customer}`, { headers });
  const made = await ask('42', { Prefer: 'wait=20' });
  assert.equal(made.status, 200, made.text);
  for (const node of nodesBehind(server.url).slice(1)) await use(node);
  for (let i = 0; i < 3; i++) {
    const hit = await ask('42');
    assert.deepEqual([hit.status, hit.text], [200, made.text]);
    assert.match(hit.headers['cache-status']!, /hit/);
    assert.match(hit.headers['ratelimit']!, /^"rate";r=0;t=\d+$/);
  }
  assertProblem(await ask('43'), 429, 'rate-limited');
  assertProblem(await ask('42', { 'Cache-Control': 'no-cache' }), 429, 'rate-limited');

  advance(3600 * second);
  backend.behave(async () => {
    await held.opened;
    return { body: 'slow' };
  });
  const slow = await submit(server.url, 'score', { method: 'GET', path: '?c=44' });
  const joined = await ask('44');
  assert.deepEqual([joined.status, joined.headers['operation-id']], [202, slow.id]);
  held.open();
  assert.equal((await resultOf(slow.result)).text, 'slow');

  /** The rate is each node's own. */
  async function use(node: string): Promise<void> {
    await until(async () =>
      (await get(`${node}/v1/call/score?c=other${++others}`)).status === 429 ? true : undefined,
    );
  }
});

test('a rate lets so many through, tells what is left, refuses with the time to wait, and fills up again', async (t) => {
  const { server, advance } = await withOwnTime(t, { jobs: { ...jobs.jobs, rate: '4/m' } });
  const node = nodesBehind(server.url)[0]!;
  const take = (sent: Sent = {}): Promise<Received> => post(`${node}/v1/call/jobs`, sent);
  const told = [];
  for (let i = 0; i < 4; i++) {
    const answer = await take({ body: 'x', headers: { 'Idempotency-Key': `k${i}` } });
    assert.equal(answer.status, 202);
    assert.equal(answer.headers['ratelimit-policy'], '"rate";q=4;w=60');
    told.push(answer.headers['ratelimit']);
  }
  assert.deepEqual(told, ['"rate";r=3;t=15', '"rate";r=2;t=30', '"rate";r=1;t=45', '"rate";r=0;t=15']);
  for (const sent of [{}, { headers: { 'Operation-Durability': 'none' } }]) {
    const refused = await take(sent);
    assertProblem(refused, 429, 'rate-limited');
    assert.deepEqual(
      [
        retryAfter(refused),
        refused.json()['accepted'],
        refused.headers['ratelimit'],
        refused.headers['ratelimit-policy'],
      ],
      [15, false, '"rate";r=0;t=15', '"rate";q=4;w=60'],
    );
  }
  const repeat = await take({ body: 'x', headers: { 'Idempotency-Key': 'k2' } });
  assert.deepEqual([repeat.status, repeat.headers['idempotent-replayed']], [202, 'true']);
  await accepted(server, { queued: 4 });
  advance(15 * second);
  assert.equal(
    (await take({ body: 'x', headers: { 'Idempotency-Key': 'k1' } })).headers['ratelimit'],
    '"rate";r=1;t=45',
  );
  assert.equal((await take()).status, 202);
  assertProblem(await take(), 429, 'rate-limited');
});

test('in a batch each item is judged for itself', async (t) => {
  const { server } = await withOwnTime(t, { jobs: { ...jobs.jobs, rate: '2/m' } });
  const answer = await post(`${nodesBehind(server.url)[0]!}/v1/batch`, {
    body: Array.from({ length: 4 }, () => ({ service: 'jobs', body: 'x' })),
  });
  assert.deepEqual(
    answer.json<{ status: number }[]>().map(({ status }) => status),
    [202, 202, 429, 429],
  );
  await accepted(server, { queued: 2 });
});

test('a batch fills a queue and no more, and its repeats and twins need no place', async (t) => {
  const server = await serverFor(t, { services: { jobs: { target: { pull: true }, maxQueued: 3 } } });
  const item = (key: string): unknown => ({ service: 'jobs', headers: { 'Idempotency-Key': key }, body: key });
  const batch = async (keys: string): Promise<number[]> =>
    (await post(`${server.url}/v1/batch`, { body: keys.split('').map(item) }))
      .json<{ status: number }[]>()
      .map(({ status }) => status);
  assert.deepEqual(await batch('abcde'), [202, 202, 202, 429, 429]);
  assert.deepEqual(await batch('xacb'), [429, 202, 202, 202]);
  await accepted(server, { queued: 3 });
});
