// Looking: long-polls by version, lists by filter and cursor, and the timeline.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Operation, Page, TimelineEntry } from '@waitless/protocol';
import { backendFor, gate } from '../support/backend.ts';
import { manualTime } from '../support/clock.ts';
import { get, send } from '../support/http.ts';
import { assertProblem, ended, statusOf, statusWhen, submit } from '../support/operations.ts';
import { answerLease, reply, takeOne } from '../support/pull-worker.ts';
import { serverFor } from '../support/server.ts';

const jobs = { jobs: { target: { pull: true } } };

test('a long-poll with the last ETag answers when the version has risen, and 304 when the wait ends without a change', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const { status } = await submit(server.url, 'jobs');
  const queued = await get(status);
  assert.match(queued.headers['etag']!, /^W\/"\d+"$/);
  assert.ok(Number(queued.headers['retry-after']) >= 1, 'Retry-After while not done');

  const unchanged = await get(status, { headers: { 'If-None-Match': queued.headers['etag']! } });
  assert.deepEqual(
    [unchanged.status, unchanged.body.length, unchanged.headers['etag']],
    [304, 0, queued.headers['etag']],
  );
  const held = await get(status, { headers: { Prefer: 'wait=1', 'If-None-Match': queued.headers['etag']! } });
  assert.deepEqual([held.status, held.headers['preference-applied']], [304, 'wait=1']);

  const waiting = get(status, { headers: { Prefer: 'wait=50', 'If-None-Match': queued.headers['etag']! } });
  const { token } = await takeOne(server.url, 'jobs');
  const running = await waiting;
  assert.deepEqual([running.status, running.json()['status']], [200, 'running']);
  assert.notEqual(running.headers['etag'], queued.headers['etag']);

  // An old version answers at once, whatever it is.
  const old = await get(status, { headers: { Prefer: 'wait=50', 'If-None-Match': queued.headers['etag']! } });
  assert.equal(old.json()['status'], 'running');

  const next = get(status, { headers: { Prefer: 'wait=50', 'If-None-Match': running.headers['etag']! } });
  await answerLease(server.url, token, 'progress', { body: { percent: 10 } });
  assert.equal((await next).json<Operation>().progress!.percent, 10);

  await reply(server.url, token, 'done');
  const done = await ended(status);
  const after = await get(status, { headers: { Prefer: 'wait=50' } });
  assert.deepEqual(after.json(), { ...done }, 'an ended operation never holds the line');
  assert.equal(after.headers['retry-after'], undefined);
});

test('500 waiters who come before, while and after it ends all get the result: no wake-up is lost', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const accepted = await Promise.all(
    Array.from({ length: 100 }, (_, index) => submit(server.url, 'jobs', { body: String(index) })),
  );
  const waiting: Promise<string>[] = [];
  const wait = (result: string, expected: string): void =>
    void waiting.push(
      get(result, { headers: { Prefer: 'wait=50' } }).then(({ status, text }) =>
        status === 200 && text === expected ? 'right' : `${status} ${text}`,
      ),
    );

  for (const { result } of accepted) for (let i = 0; i < 2; i++) wait(result, 'the result');
  const worker = async (): Promise<void> => {
    for (let job = 0; job < 25; job++) {
      const { token, operation } = await takeOne(server.url, 'jobs');
      const { result } = accepted.find(({ id }) => id === operation.id)!;
      wait(result, 'the result');
      const replied = reply(server.url, token, 'the result');
      wait(result, 'the result');
      await replied;
      wait(result, 'the result');
    }
  };
  await Promise.all(Array.from({ length: 4 }, worker));

  const outcomes = await Promise.all(waiting);
  assert.equal(outcomes.length, 500);
  assert.deepEqual([...new Set(outcomes)], ['right']);
});

test('lists are filtered by service, status, correlation id, label and time', async (t) => {
  const { clock, advance } = manualTime();
  const server = await serverFor(t, { services: { ...jobs, other: { target: { pull: true } } }, extras: { clock } });
  const add = async (service: string, headers: Record<string, string> = {}): Promise<Operation> => {
    advance(1000);
    return statusOf((await submit(server.url, service, { headers })).status);
  };
  const one = await add('jobs', { 'Correlation-Id': 'c 1', 'Operation-Labels': 'team=red, env=prod' });
  const two = await add('jobs', { 'Operation-Labels': 'team=red, env=test' });
  const three = await add('other', { 'Correlation-Id': 'c 1', 'Operation-Labels': 'team=blue' });
  const four = await add('other');
  await send(four.links.self, { method: 'DELETE' });
  const { token, operation } = await takeOne(server.url, 'jobs', { leaseSeconds: 3600 });
  assert.equal(operation.id, one.id);
  const five = await add('jobs');

  const expectations: [query: string, expected: Operation[]][] = [
    ['', [five, four, three, two, one]],
    ['service=jobs', [five, two, one]],
    ['service=nobody', []],
    ['status=queued', [five, three, two]],
    ['status=running', [one]],
    ['status=cancelled', [four]],
    ['status=running,cancelled', [four, one]],
    ['service=other&status=cancelled', [four]],
    ['service=jobs&status=failed,cancelled', []],
    ['correlationId=c%201', [three, one]],
    ['correlationId=c+1', [three, one]],
    ['correlationId=c%201&service=jobs', [one]],
    [`correlationId=${two.id}`, [two]],
    [`correlationId=${two.id}&service=jobs&label.env=test&status=queued`, [two]],
    [`correlationId=${two.id}&service=other`, []],
    [`correlationId=${two.id}&status=running`, []],
    [`correlationId=${two.id}&label.env=prod`, []],
    [`correlationId=${two.id}&createdAfter=${two.createdAt}`, []],
    [`correlationId=${two.id}&createdBefore=${two.createdAt}`, []],
    ['label.team=red', [two, one]],
    ['label.team=red&label.env=test', [two]],
    ['label.team=green', []],
    ['label.team=red&service=other', []],
    [`createdAfter=${two.createdAt}`, [five, four, three]],
    [`createdBefore=${three.createdAt}`, [two, one]],
    [`createdAfter=${one.createdAt}&createdBefore=${four.createdAt}`, [three, two]],
  ];
  for (const [query, expected] of expectations) {
    const { items, next } = (await get(`${server.url}/v1/operations?${query}`)).json<Page<Operation>>();
    assert.deepEqual(
      items.map(({ id }) => id),
      expected.map(({ id }) => id),
      query,
    );
    assert.equal(next, null, query);
  }
  const { items } = (await get(`${server.url}/v1/operations?status=running`)).json<Page<Operation>>();
  assert.deepEqual(items[0], await statusOf(one.links.self), 'an item is the status document');
  assert.deepEqual(items[0]!.labels, { team: 'red', env: 'prod' });
  assert.equal((await reply(server.url, token, 'x')).status, 200);
});

test('a cursor walks every page, newest first, nothing twice and nothing missing, also while more is added', async (t) => {
  const server = await serverFor(t, { services: jobs });
  const accepted: string[] = [];
  for (let index = 0; index < 45; index++) {
    const { id } = await submit(server.url, 'jobs', {
      headers: index % 3 === 0 ? { 'Operation-Labels': 'third=yes' } : {},
    });
    accepted.unshift(id);
  }
  for (const [filter, expected] of [
    ['', accepted],
    ['&label.third=yes', accepted.filter((_, index) => (44 - index) % 3 === 0)],
  ] as const) {
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const query: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`;
      const page = (await get(`${server.url}/v1/operations?limit=7${filter}${query}`)).json<Page<Operation>>();
      assert.ok(page.items.length <= 7);
      seen.push(...page.items.map(({ id }) => id));
      cursor = page.next;
      await submit(server.url, 'jobs', { headers: { 'Operation-Labels': 'third=yes' } });
    } while (cursor !== null);
    const old = seen.filter((id) => accepted.includes(id));
    assert.deepEqual(old, expected);
    assert.equal(new Set(seen).size, seen.length);
  }
  for (const cursor of ['x', '!!', Buffer.from('1.-5').toString('base64url'), Buffer.from('2.5').toString('base64url')])
    assertProblem(await get(`${server.url}/v1/operations?cursor=${encodeURIComponent(cursor)}`), 400, 'invalid-cursor');
});

test('the timeline tells every attempt and wait with its times, and reading it changes nothing', async (t) => {
  const last = gate();
  const backend = await backendFor(t, async (_, number) => {
    if (number === 1) return { status: 500 };
    if (number === 2) return { status: 503, headers: { 'Retry-After': '0' } };
    await last.opened;
    return { status: 201, body: 'made' };
  });
  const server = await serverFor(t, {
    services: { score: { target: { url: backend.url }, retry: { initialDelay: '1ms', maxDelay: '1ms' } } },
  });
  const { status } = await submit(server.url, 'score');
  const timeline = async (): Promise<TimelineEntry[]> =>
    (await get(`${status}/timeline`)).json<Page<TimelineEntry>>().items;

  await backend.received(3);
  await statusWhen(status, ({ status: state }) => state === 'running');
  const during = await timeline();
  assert.deepEqual(
    during.map(({ type, attempt, outcome, backendStatus }) => [
      type,
      attempt ?? null,
      outcome ?? null,
      backendStatus ?? null,
    ]),
    [
      ['accepted', null, null, null],
      ['attempt', 1, 'backend-error', 500],
      ['attempt', 2, 'backend-error', 503],
      ['attempt', 2, null, null],
    ],
  );
  assert.equal(during[3]!.endedAt, null, 'it runs');

  last.open();
  const operation = await ended(status);
  const after = await timeline();
  assert.deepEqual(after.slice(0, 3), during.slice(0, 3), 'what is past does not change');
  assert.deepEqual(
    after
      .slice(3)
      .map(({ type, outcome, backendStatus, status: end }) => [
        type,
        outcome ?? null,
        backendStatus ?? null,
        end ?? null,
      ]),
    [
      ['attempt', 'succeeded', 201, null],
      ['finished', null, null, 'succeeded'],
    ],
  );
  const times = after.flatMap(({ at, endedAt }) => (endedAt ? [at, endedAt] : [at]));
  for (const time of times) assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.deepEqual(
    after.map(({ at }) => at),
    after.map(({ at }) => at).sort(),
  );
  assert.deepEqual(await statusOf(status), operation);
});
