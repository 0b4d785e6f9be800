// Where an event comes from: its own words, or for a transition those of the operation that it tells of.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Fixture } from '../engine/conformance/fixture.ts';
import { fixture } from '../engine/conformance/fixture.ts';
import type { LoggedEvent } from '../engine/topics.ts';
import { sqliteEngine } from '../engines/sqlite/engine.ts';
import { EventOrigins, isOwnTransition, refuseOwnTransitions } from './event-origins.ts';
import { Ids } from './ids.ts';

const eventOn = (topic: string, attributes: Record<string, unknown>): LoggedEvent => ({
  position: 1,
  topic,
  head: JSON.stringify({ specversion: '1.0', id: 'e1', source: '/shop', type: 't', ...attributes }),
  body: Buffer.alloc(0),
  orderingKey: null,
  appendedAt: 1,
});

test('a published event is a conversation of its own, or goes on with the one that it names', async () => {
  const never = (): never => assert.fail('nothing is looked up');
  const origins = new EventOrigins({
    engine: { operation: never, request: never },
    ids: new Ids({ shard: 0, storeKey: 'key' }),
  });
  const of = (attributes: Record<string, unknown>) => origins.of(eventOn('orders.placed', attributes), 'default');
  assert.deepEqual(await of({}), { hops: 0, correlationId: 'e1' });
  assert.deepEqual(await of({ correlationid: 'c', waitlesshops: 3 }), { hops: 3, correlationId: 'c' });
  assert.deepEqual(await of({ correlationid: '\u00e9', waitlesshops: '4' }), { hops: 4, correlationId: 'e1' });
  assert.deepEqual(await of({ id: '\u00e9', waitlesshops: '-1' }), { hops: 0, correlationId: null });
  assert.deepEqual(await of({ waitlesshops: 1.5 }), { hops: 0, correlationId: 'e1' });
});

test('a transition goes on with the conversation of its operation, and counts what led to that', async (t) => {
  const f: Fixture = await fixture({
    name: 'sqlite in memory',
    create: async () => ({ engine: () => sqliteEngine({ folder: ':memory:' }), destroy: async () => {} }),
  });
  t.after(() => f.end());
  const ids = new Ids({ shard: f.engine.features.shard, storeKey: f.opened.storeKey });
  const origins = new EventOrigins({ engine: f.engine, ids });
  const head = '{"method":"POST","path":"","query":"","headers":[["Ce-WaitlessHops","5"]]}';
  const submission = await f.submission({ head, correlationId: 'conversation' });
  const [outcome] = await f.engine.submit([submission], f.clock.now());
  assert.equal(outcome!.kind, 'new');
  const id = ids.operationId({ seq: outcome!.kind === 'new' ? outcome!.seq : 0, nonce: submission.nonce });
  const told = (subject: string) => eventOn('operations.work.succeeded', { subject });
  assert.deepEqual(await origins.of(told(id), 'default'), { hops: 5, correlationId: 'conversation' });
  assert.deepEqual(await origins.of(told(id), 'other'), { hops: 0, correlationId: 'e1' }, 'of its own namespace alone');
  assert.deepEqual(await origins.of(told('nonsense'), 'default'), { hops: 0, correlationId: 'e1' });
});

test('topics that tell of a service are refused for that service, whatever the pattern says, and no others', () => {
  for (const topic of ['operations.jobs.succeeded', 'operations.*.failed', 'operations.**', 'operations.jobs.*'])
    assert.throws(() => refuseOwnTransitions('jobs', ['a', topic]), { code: 'invalid-parameter' }, topic);
  refuseOwnTransitions('jobs', ['operations.other.*', 'orders.**', '**', 'operations']);
  assert.equal(isOwnTransition({ topic: 'operations.jobs.queued' }, 'jobs'), true);
  for (const topic of ['operations.jobs2.queued', 'orders.jobs.queued'])
    assert.equal(isOwnTransition({ topic }, 'jobs'), false);
});
