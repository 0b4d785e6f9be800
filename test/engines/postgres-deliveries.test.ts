// Callbacks and deliveries where statements of several nodes meet on the same rows: each sees a view of its own and waits for the locks of others.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { within } from '../../packages/server/src/engine/conformance/fixture.ts';
import type { Sharing } from '../../packages/server/src/engine/engine.ts';
import {
  callbackTo,
  kindsOf,
  lease,
  leaseDeliveries,
  postgresStore,
  settle,
  settlementOf,
  skip,
  submit,
  tell,
  type TestNode,
  type TestStore,
  waits,
} from './postgres-store.ts';

const share = (name: string): Sharing => ({
  identity: name,
  share: name,
  use: 'stored',
  maxAgeMs: null,
  onlyStored: false,
});

/** Nodes that are told apart by what they wait for, and a session that holds rows until it is let go. */
async function stage(t: TestContext, names: readonly string[]) {
  const store = await postgresStore(t);
  const nodes = new Map<string, TestNode>();
  for (const name of names)
    nodes.set(name, await store.node({ url: `${store.url}&application_name=${name}`, hints: false }));
  const latest = Math.max(...[...nodes.values()].map(({ clock }) => clock.now()));
  for (const { clock } of nodes.values()) clock.notBefore(latest);
  const session = await store.session('holder');
  return {
    store,
    node: (name: string) => nodes.get(name)!,
    /** Holds what the statement locks while these begin one after another, each when the one before waits. */
    inTurn: async <T>(
      hold: string,
      begin: readonly (readonly [name: string, work: () => Promise<T>])[],
    ): Promise<T[]> => {
      await session.query('BEGIN');
      await session.query(hold);
      const running: Promise<T>[] = [];
      for (const [i, [name, work]] of begin.entries()) {
        running.push(work());
        // The first in line waits for the holder, who comes after it for the row.
        await Promise.race([waits(store, name, i === 0 ? 'transactionid' : 'tuple'), Promise.all(running)]);
      }
      await session.query('COMMIT');
      return Promise.all(running);
    },
  };
}

const outletsTold = async ({ engine }: TestNode, seq: number): Promise<string[]> =>
  (await engine.deliveries({ namespace: 'default', seq, limit: 1000 }))
    .map(({ callback: { outlet } }) => outlet)
    .sort();

/** Everything that follows from the deliveries is as it is written beside them. */
async function assertOutletsRight({ sql }: TestStore, { clock }: TestNode): Promise<void> {
  const wrong = await sql(
    `SELECT o.*, d.* FROM outlet o CROSS JOIN LATERAL (
      SELECT count(*) FILTER (WHERE state = 1) AS sending, min(at) FILTER (WHERE state = 0) AS waiting_at FROM delivery d WHERE d.outlet = o.id AND state < 2
    ) d WHERE o.in_flight <> d.sending OR (o.full_at IS NOT NULL AND o.in_flight = 0)
      OR (o.full_at IS NULL AND d.waiting_at IS NOT NULL AND (o.due_at > greatest(d.waiting_at, o.blocked_until, $1::int8)) IS NOT FALSE)`,
    [clock.now()],
  );
  assert.deepEqual(wrong, []);
  const homeless = `SELECT number FROM delivery d WHERE state < 2 AND NOT EXISTS (SELECT FROM outlet o WHERE o.id = d.outlet)`;
  assert.deepEqual(await sql(homeless), []);
}

for (const how of ['settled', 'cancelled'] as const) {
  test(`who joins while the end waits for the row is told of it: ${how}`, { skip }, async (t) => {
    const { store, node, inTurn } = await stage(t, ['joiner', 'ender']);
    const [joiner, ender] = [node('joiner'), node('ender')];
    await submit(ender, [{ key: 'k', sharing: share('k'), callback: callbackTo('first') }]);
    const [one] = await lease(ender);
    const record = { ...one!, namespace: 'default' };
    const outcomes = await inTurn<unknown>('SELECT FROM operation FOR UPDATE', [
      ['joiner', async () => kindsOf(await submit(joiner, [{ sharing: share('k'), callback: callbackTo('joined') }]))],
      [
        'ender',
        async () =>
          how === 'settled'
            ? kindsOf(await settle(ender, [one!]))
            : [(await ender.engine.cancel(record, ender.clock.now())).kind],
      ],
    ]);
    assert.deepEqual(outcomes, [['joined'], [how === 'settled' ? 'recorded' : 'cancelled']]);
    assert.deepEqual(await outletsTold(ender, one!.seq), ['https://first.example', 'https://joined.example']);
    await assertOutletsRight(store, ender);
  });
}

test('who would join an operation that ends just then is told of another one', { skip }, async (t) => {
  const { node, inTurn } = await stage(t, ['joiner', 'ender']);
  const [joiner, ender] = [node('joiner'), node('ender')];
  await submit(ender, [{ sharing: share('k'), callback: callbackTo('first') }]);
  const [one] = await lease(ender);
  const idempotency = { key: 'i', fingerprint: 'f', expiresAt: joiner.clock.now() + 60_000, retryFailed: false };
  const [, joined] = await inTurn<string[]>('SELECT FROM operation FOR UPDATE', [
    ['ender', async () => kindsOf(await settle(ender, [one!]))],
    [
      'joiner',
      async () => kindsOf(await submit(joiner, [{ sharing: share('k'), callback: callbackTo('late'), idempotency }])),
    ],
  ]);
  assert.deepEqual(joined, ['new']);
  assert.deepEqual(await outletsTold(ender, one!.seq), ['https://first.example']);
  const [other] = await lease(ender);
  await settle(ender, [other!]);
  assert.deepEqual(await outletsTold(ender, other!.seq), ['https://late.example']);
});

for (const first of ['settler', 'sweeper'] as const) {
  test(`of a settlement and the end of its lease one counts: the ${first} comes first`, { skip }, async (t) => {
    const { store, node, inTurn } = await stage(t, ['settler', 'sweeper']);
    const [settler, sweeper] = [node('settler'), node('sweeper')];
    await tell(settler, 1);
    const [one] = await leaseDeliveries(settler, { leaseMs: 1000 });
    for (let i = 0; i < 2; i++) {
      sweeper.clock.advance(501);
      // Signs of life, so that the time counts; what has ended is looked for in the last of them.
      if (i === 0) await sweeper.engine.sweep(sweeper.clock.now(), { removeExpired: false });
    }
    const works = {
      settler: async () =>
        kindsOf(await settler.engine.settleDeliveries([settlementOf(settler, one!)], settler.clock.now())),
      sweeper: async () => {
        await sweeper.engine.sweep(sweeper.clock.now(), { removeExpired: false });
        return ['swept'];
      },
    };
    const order = first === 'settler' ? (['settler', 'sweeper'] as const) : (['sweeper', 'settler'] as const);
    const outcomes = await inTurn(
      'SELECT FROM outlet FOR UPDATE',
      order.map((name) => [name, works[name]] as const),
    );
    assert.deepEqual(outcomes[order.indexOf('settler')], [first === 'settler' ? 'recorded' : 'lost']);
    const found = await settler.engine.delivery(one!.number, 'default');
    assert.equal(found?.delivery.state, first === 'settler' ? 'delivered' : 'waiting');
    assert.deepEqual(
      found?.attempts.map(({ code }) => code),
      [first === 'settler' ? null : 'interrupted'],
    );
    await assertOutletsRight(store, sweeper);
  });
}

test(
  'what is added to an outlet while somebody waits for it is found, although he could not see it',
  { skip },
  async (t) => {
    const { store, node } = await stage(t, ['sender', 'ender']);
    const [sender, ender] = [node('sender'), node('ender')];
    await tell(ender, 1);
    await submit(ender, [{ sharing: share('k'), callback: callbackTo('shop') }]);
    const [one] = await lease(ender);
    const session = await store.session();
    await session.query('BEGIN');
    await session.query('SELECT FROM keyed FOR UPDATE');
    // The end has added its delivery and waits for its share; the sender has begun before it is over and waits for the outlet.
    const ended = settle(ender, [one!]);
    await waits(store, 'ender', 'transactionid');
    const taken = leaseDeliveries(sender);
    await waits(store, 'sender', 'transactionid');
    const look = new Promise<void>((resolve) =>
      sender.engine.onSignal(({ kind }) => kind === 'deliveries' && resolve()),
    );
    await session.query('COMMIT');
    assert.deepEqual(kindsOf(await ended), ['recorded']);
    const first = await taken;
    await within(look, 'the sender is told to look again');
    const second = await leaseDeliveries(sender);
    assert.deepEqual([first.length, second.length], [1, 1]);
    assert.notEqual(first[0]!.number, second[0]!.number);
    await assertOutletsRight(store, sender);
  },
);

test(
  'submitting, joining, ending, sending, purging and going away at once: nobody is forgotten, outlets stay right, no deadlock',
  { skip },
  async (t) => {
    const store = await postgresStore(t, { alone: true });
    const nodes = [await store.node(), await store.node(), await store.node({ hints: false })];
    const over: { seq: number; nonce: string }[] = [];
    let purged = 0;
    let left = 40;
    async function work(node: TestNode, turn: number): Promise<void> {
      const { engine, clock } = node;
      const other = nodes[(turn + 1) % nodes.length]!;
      const callbacks = [0, 1, 2].map((i) =>
        callbackTo(`p${(turn + i) % 5}`, { progress: i === 0, correlationId: `${turn} ${i}` }),
      );
      const shared = { key: `k${turn % 4}`, sharing: share(`k${turn % 4}`) };
      await Promise.all([
        submit(node, [
          ...callbacks.map((callback) => ({ callback, runAt: clock.now() })),
          { ...shared, callback: callbacks[0]! },
          {},
        ]),
        submit(other, [
          { ...shared, callback: callbacks[1]! },
          { deadlineAt: clock.now() + 100, callback: callbacks[2]! },
        ]),
      ]);
      const leases = await lease(node, { max: 5, leaseMs: 60_000 });
      await Promise.all([
        ...leases.map((one) =>
          engine.extend({ ...one, leaseMs: null, progress: { percent: turn % 100 } }, clock.now()),
        ),
        submit(other, [{ ...shared, callback: callbacks[0]! }]),
        settle(node, leases.slice(0, 2)),
        settle(other, leases.slice(2, 4), { to: 'failed', error: { code: 'no', message: 'm' }, result: null }),
        ...leases.slice(4).map((one) => engine.cancel({ ...one, namespace: 'default' }, clock.now())),
        send(node, turn),
        send(other, turn + 1),
        sweep(node),
        ...over.splice(0, turn % 3).map(async (one) => {
          if (await other.engine.purge({ ...one, namespace: 'default' })) purged++;
        }),
        ...(turn % 10 === 0 ? [store.sql('DELETE FROM node WHERE id = (SELECT min(id) FROM node)')] : []),
      ]);
      over.push(...leases.slice(0, 2));
    }
    async function send({ engine, clock }: TestNode, turn: number): Promise<void> {
      const taken = await leaseDeliveries(
        { engine, clock },
        { max: 6, maxInFlight: 4, leaseMs: turn % 3 === 0 ? 100 : 60_000 },
      );
      const settlements = taken.map((one, i) =>
        settlementOf({ clock }, one, {
          ...(i % 3 === 0 ? { verdict: { to: 'waiting', at: clock.now() + 50, failed: true } } : {}),
          ...(i % 4 === 0 ? { outlet: { kind: 'ill', tripAt: 2, blockUntil: clock.now() + 100 } } : {}),
        }),
      );
      await engine.settleDeliveries(settlements.slice(1), clock.now());
      for (const { number } of taken.slice(0, 2)) await engine.redeliver(number, 'default', clock.now());
    }
    async function sweep({ engine, clock }: TestNode): Promise<void> {
      clock.advance(150);
      const { due } = await engine.sweep(clock.now(), { removeExpired: true });
      const failed = { to: 'failed' as const, error: { code: 'due', message: 'm' }, result: null };
      await engine.applyClock(
        due.map(({ seq, version }) => ({ seq, version, transition: failed })),
        clock.now(),
      );
    }
    await Promise.all(
      [0, 1, 2, 3].map(async (turn) => {
        for (; left > 0; turn += 4) {
          left--;
          await work(nodes[turn % nodes.length]!, turn);
        }
      }),
    );
    const untold = `SELECT o.seq, o.callbacks, d.told FROM operation o CROSS JOIN LATERAL (
      SELECT count(*) AS told FROM delivery d WHERE d.seq = o.seq AND d.version = o.version
    ) d WHERE o.stage > 2 AND coalesce(o.callbacks, 0) <> d.told`;
    assert.deepEqual(await store.sql(untold), []);
    const [{ ended } = {}] = await store.sql(
      'SELECT count(*) AS ended FROM operation WHERE stage > 2 AND callbacks IS NOT NULL',
    );
    assert.ok(Number(ended) > 100, `${String(ended)} have ended and tell somebody`);
    assert.ok(purged > 10, `${purged} were purged`);
    // Whatever was left under way or blocked: with time everything is sent.
    const [last] = nodes;
    const clock = last!.clock;
    for (const node of nodes) clock.notBefore(node.clock.now());
    await assertOutletsRight(store, last!);
    for (let i = 0; i < 120; i++) {
      clock.advance(1000);
      await last!.engine.sweep(clock.now(), { removeExpired: false });
      const taken = await leaseDeliveries(last!);
      await last!.engine.settleDeliveries(
        taken.map((one) => settlementOf(last!, one)),
        clock.now(),
      );
    }
    assert.deepEqual(await store.sql('SELECT number, state FROM delivery WHERE state < 2'), []);
    assert.deepEqual(await store.sql('SELECT * FROM outlet'), []);
    const strangers = ['callback', 'delivery'].map(
      (table) =>
        `SELECT '${table}' AS of FROM ${table} x WHERE NOT EXISTS (SELECT FROM operation o WHERE o.seq = x.seq)`,
    );
    strangers.push(
      `SELECT 'delivery_attempt' AS of FROM delivery_attempt a WHERE NOT EXISTS (SELECT FROM delivery d WHERE d.number = a.delivery)`,
    );
    assert.deepEqual(await store.sql(strangers.join(' UNION ALL ')), []);
    const gaps = `SELECT number FROM delivery d WHERE attempt <> (SELECT count(*) FROM delivery_attempt a WHERE a.delivery = d.number)`;
    assert.deepEqual(await store.sql(gaps), [], 'each try is in the log');
    const [{ deadlocks } = {}] = await store.sql(
      'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()',
    );
    assert.equal(deadlocks, '0');
  },
);
