// Subscriptions in PostgreSQL: who asks for what is due, and nothing is, waits for nobody and writes nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { subscribe, takeAll } from '../../packages/server/src/engine/conformance/subscription-cases.ts';
import { event } from '../../packages/server/src/engine/conformance/log-race.ts';
import { postgresStore, skip } from './postgres-store.ts';

test('a pull that finds nothing due waits for no other one and has nothing to commit', { skip }, async (t) => {
  const store = await postgresStore(t);
  const node = await store.node();
  const { engine, clock } = node;
  const { number } = await subscribe(node);
  const due = () =>
    engine.leaseDue(
      { subscription: number, max: 10, maxBytes: 1e6, kind: 'pull', worker: null, leaseMs: 1000 },
      clock.now(),
    );
  const other = await store.session();
  await other.query('BEGIN');
  await other.query('SELECT FROM subscription FOR UPDATE');
  assert.deepEqual(await due(), []);
  await other.query('COMMIT');
  await engine.append([event({ namespace: 'default' })], clock.now());
  const [lease] = await takeAll(node, node);
  const verdict = { to: 'waiting', at: clock.now() + 10, attemptUsed: true, code: 'nack', detail: null } as const;
  await engine.settleEvents([{ ...lease!, verdict }], clock.now());
  assert.deepEqual(await due(), []);
  clock.advance(10);
  assert.deepEqual(
    (await due()).map(({ lease: { position } }) => position),
    [lease!.position],
  );
});
