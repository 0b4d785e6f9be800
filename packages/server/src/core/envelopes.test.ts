// What a receiver gets: a CloudEvent with the members of every other outlet, its result as the bytes it is, and a signature that the public library verifies.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { Webhook } from 'standardwebhooks';
import type { CallbackWanted, LeasedDelivery } from '../engine/deliveries.ts';
import { type Fixture, fixture } from '../engine/conformance/fixture.ts';
import { callback, leaseDeliveries, settleDelivery } from '../engine/conformance/tellings.ts';
import type { ResultContent, Transition } from '../engine/engine.ts';
import { sqliteEngine } from '../engines/sqlite/engine.ts';
import { manualClock } from '../lib/clock.ts';
import { silentLog } from '../lib/log.ts';
import { BodyBudget } from './body-budget.ts';
import { CallbackSecrets } from './callback-secrets.ts';
import { Envelopes } from './envelopes.ts';
import { Ids } from './ids.ts';
import { noticeType } from './notice.ts';
import { keyInMemory } from './secret-key.ts';

async function setUp(t: TestContext) {
  const f = await fixture({
    name: 'sqlite in memory',
    create: async () => ({ engine: () => sqliteEngine({ folder: ':memory:' }), destroy: async () => {} }),
  });
  t.after(() => f.end());
  const { engine, clock } = f;
  const ids = new Ids({ shard: engine.features.shard, storeKey: f.opened.storeKey });
  const secrets = new CallbackSecrets({ engine, key: keyInMemory(), clock, log: silentLog });
  const budget = new BodyBudget(1);
  const wall = manualClock(Date.now());
  const envelopes = new Envelopes({ engine, ids, secrets, budget, wallNow: () => wall.now() });
  const of = (lease: LeasedDelivery) => envelopes.of(lease, new AbortController().signal);
  return { f, ids, secrets, budget, wall, of };
}

const answer = (body: string | Uint8Array, type: string, status = 200): ResultContent => ({
  status,
  headers: ['Content-Type', type, 'X-Twice', '1', 'X-Twice', '2'],
  body: Buffer.from(body as string),
  hash: randomBytes(8).toString('hex'),
});

/** Ends one and gives what is told of it. */
async function ended(f: Fixture, wanted: CallbackWanted, transition: Transition, more = {}): Promise<LeasedDelivery> {
  await f.submit({ callback: wanted, ...more });
  const [lease] = await f.lease();
  await f.settle(lease!, transition);
  const [delivery, ...others] = await leaseDeliveries(f);
  assert.deepEqual(others, []);
  return delivery!;
}

test('the end is told with the result, and all that every other outlet tells', async (t) => {
  const { f, ids, of } = await setUp(t);
  const json = '{"a":1e999,"a":9007199254740993, "b" : "é"}';
  const submitted = f.clock.now();
  const head = JSON.stringify({
    method: 'POST',
    path: '',
    query: '',
    headers: [
      ['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
      ['tracestate', 'a=b'],
      ['authorization', 'secret'],
    ],
  });
  f.clock.advance(1000);
  const wanted = callback('shop', { correlationId: 'mine "✓"' });
  const delivery = await ended(
    f,
    wanted,
    { to: 'succeeded', result: answer(json, 'application/json') },
    { correlationId: 'of the first', createdAt: submitted, head },
  );
  const id = ids.operationId(delivery.operation);
  const envelope = (await of(delivery))!;
  const text = Buffer.from(envelope.body).toString();
  assert.ok(
    text.endsWith(
      `"result":{"status":200,"headers":[["Content-Type","application/json"],["X-Twice","1"],["X-Twice","2"]],"body":${json}}}}`,
    ),
    text,
  );
  const at = new Date(f.clock.now()).toISOString();
  const { data, ...event } = JSON.parse(text) as { data: Record<string, unknown> };
  assert.deepEqual(event, {
    specversion: '1.0',
    id: `${id}_3`,
    source: 'http://waitless.example/v1/operations',
    type: 'waitless.operation.succeeded',
    subject: id,
    time: at,
    datacontenttype: 'application/json',
  });
  const { result, expiresAt, ...members } = data;
  assert.ok(result !== undefined && typeof expiresAt === 'string');
  assert.deepEqual(members, {
    eventId: `${id}_3`,
    type: 'waitless.operation.succeeded',
    id,
    service: 'work',
    correlationId: 'mine "✓"',
    status: 'succeeded',
    done: true,
    version: 3,
    updatedAt: at,
    attempt: 1,
    runAt: null,
    finishedAt: at,
    resourceLocation: `http://waitless.example/v1/operations/${id}/result`,
    error: null,
  });
  const headers = Object.fromEntries(envelope.headers);
  assert.deepEqual(Object.keys(headers).sort(), [
    'Content-Type',
    'User-Agent',
    'traceparent',
    'tracestate',
    'webhook-id',
    'webhook-signature',
    'webhook-timestamp',
  ]);
  assert.deepEqual([headers['Content-Type'], headers['webhook-id']], [noticeType, `${id}_3`]);
});

test('which results stand in a notice, and how', async (t) => {
  const { f, of } = await setUp(t);
  const large = 'x'.repeat(65_536);
  const failed = { code: 'backend-error', message: 'it said 404' };
  const gone: Transition = { to: 'failed', error: failed, result: answer('no such', 'text/plain', 404) };
  const success = (body: string | Uint8Array, type: string): Transition => ({
    to: 'succeeded',
    result: answer(body, type),
  });
  const table: [what: string, CallbackWanted, Transition, result: unknown][] = [
    ['text', callback(), success('hello', 'text/plain'), { body: 'hello' }],
    ['bytes', callback(), success(Buffer.from([255, 0]), 'application/pdf'), { bodyBase64: '/wA=' }],
    ['nothing', callback(), success('', 'text/plain'), { body: '' }],
    ['as large as may be', callback(), success(large, 'text/plain'), { body: large }],
    ['a byte more', callback(), success(`${large}x`, 'text/plain'), undefined],
    ['thin', callback('shop', { thin: true }), success('hello', 'text/plain'), undefined],
    ['the answer that it failed with', callback(), gone, { body: 'no such', status: 404 }],
    ['failed without an answer', callback(), { to: 'failed', error: failed, result: null }, undefined],
  ];
  for (const [what, wanted, transition, expected] of table) {
    const delivery = await ended(f, wanted, transition);
    const { data } = JSON.parse(Buffer.from((await of(delivery))!.body).toString()) as {
      data: { result?: { headers: unknown }; error: { type: string } | null };
    };
    if (expected === undefined) assert.equal(data.result, undefined, what);
    else {
      const { headers, ...result } = data.result!;
      assert.ok(Array.isArray(headers), what);
      assert.deepEqual(result, { status: 200, ...(expected as object) }, what);
    }
    assert.equal(data.error === null, transition.to === 'succeeded', what);
    await settleDelivery(f, delivery);
  }
});

test('progress is told as it was, also when much has happened since', async (t) => {
  const { f, of, budget } = await setUp(t);
  await f.submit({ callback: callback('live', { progress: true, correlationId: 'mine' }) });
  const [lease] = await f.lease();
  const times: number[] = [];
  for (const percent of [10, 20]) {
    f.clock.advance(1000);
    times.push(f.clock.now());
    await f.engine.extend({ ...lease!, leaseMs: null, progress: { percent, data: '{"x":1e999}' } }, f.clock.now());
  }
  f.clock.advance(1000);
  await f.settle(lease!, { to: 'succeeded', result: answer('x', 'text/plain') });
  const told = await leaseDeliveries(f);
  assert.equal(told.length, 3);
  const texts = await Promise.all(told.map(async (one) => Buffer.from((await of(one))!.body).toString()));
  const first = texts.find((text) => text.includes('"percent":10'))!;
  assert.match(first, /"type":"waitless\.operation\.progress"/);
  assert.match(first, /"progress":\{[^{}]*"data":\{"x":1e999\}\}/);
  assert.ok(first.includes(`"time":"${new Date(times[0]!).toISOString()}"`), first);
  assert.ok(first.includes('"correlationId":"mine"') && !first.includes('"result"'), first);
  // Bodies on their way are counted until they are let go.
  const held = budget.used;
  assert.equal(
    held,
    texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0),
  );
});

test('G13: through a rotation every notice is verified by who knows the old or the new secret, and later by the new one alone', async (t) => {
  const { f, secrets, wall, of } = await setUp(t);
  const delivery = await ended(f, callback(), { to: 'succeeded', result: answer('{"a":1}', 'application/json') });
  const verifies = async (secret: string): Promise<boolean> => {
    const { headers, body, release } = (await of(delivery))!;
    release();
    try {
      new Webhook(secret).verify(Buffer.from(body), Object.fromEntries(headers));
      return true;
    } catch {
      return false;
    }
  };
  const first = (await secrets.current('default'))[0]!.secret;
  const foreign = await secrets.current('other');
  assert.deepEqual([await verifies(first), await verifies(foreign[0]!.secret)], [true, false]);
  const { secret: second, previous } = await secrets.rotate('default', { overlapMs: 3_600_000 });
  assert.deepEqual([await verifies(first), await verifies(second)], [true, true]);
  f.clock.notBefore(previous!.validUntil - 1);
  assert.deepEqual([await verifies(first), await verifies(second)], [true, true]);
  f.clock.advance(1);
  assert.deepEqual([await verifies(first), await verifies(second)], [false, true]);

  const fieldsOf = async () => Object.fromEntries((await of(delivery))!.headers);
  const before = await fieldsOf();
  wall.advance(5000);
  const after = await fieldsOf();
  assert.equal(after['webhook-id'], before['webhook-id'], 'the same message');
  assert.equal(Number(after['webhook-timestamp']) - Number(before['webhook-timestamp']), 5, 'signed anew');
  assert.notEqual(after['webhook-signature'], before['webhook-signature']);
});

test('what is not kept any more has no envelope', async (t) => {
  const { f, of, budget } = await setUp(t);
  const delivery = await ended(f, callback(), { to: 'succeeded', result: answer('x', 'text/plain') });
  assert.equal(await of({ ...delivery, namespace: 'other' }), undefined);
  assert.equal(await of({ ...delivery, version: delivery.version + 1 }), undefined);
  await f.engine.purge({ ...delivery.operation, namespace: 'default' });
  assert.equal(await of(delivery), undefined);
  assert.equal(budget.used, 0);
});
