// Deliveries on several nodes: each is sent by one at a time, whoever wants to be told is told, and what a node was sending that is gone is sent again.
import assert from 'node:assert/strict';
import { type DeliverySettleOutcome, interrupted, type LeasedDelivery } from '../deliveries.ts';
import type { SubmitOutcome } from '../engine.ts';
import { type Case, type Fixture, result, within } from './fixture.ts';
import { ask } from './keyed-submits.ts';
import { decisionOn, seconds } from './rounds.ts';
import { heard } from './shared-lease-cases.ts';
import {
  callback,
  deliveriesOf,
  deliveryOf,
  ill,
  later,
  leaseDeliveries,
  leaseOne,
  numbersOf,
  type Place,
  settleDelivery,
  settlement,
  tell,
  tellMany,
} from './tellings.ts';

/** Two nodes beside the one that is there, each with the clock of the case. */
const three = async (f: Fixture): Promise<Place[]> =>
  [f, await f.another(), await f.another()].map((node) => ({ ...node, clock: f.clock }));

const done = { to: 'succeeded' as const, result: result('x') };

export const sharedDeliveryCases: Case[] = [
  {
    name: 'senders on several nodes never hold one delivery at once, nor more of one outlet than its limit, and each is sent once',
    sharedOnly: true,
    async run(f) {
      const nodes = await three(f);
      for (const at of ['one', 'two', 'three']) await tellMany(f, 25, at);
      const maxInFlight = 4;
      const held = new Map<number, string>();
      const sent: number[] = [];
      const take = (lease: LeasedDelivery): void => {
        const { number, attempt } = lease;
        const { outlet } = lease.callback;
        assert.ok(!held.has(number), `${number} is held by one`);
        assert.equal(attempt, 1);
        held.set(number, outlet);
        assert.ok([...held.values()].filter((name) => name === outlet).length <= maxInFlight, `${outlet} is full`);
      };
      const send = async (node: Place): Promise<void> => {
        for (let idle = 0; idle < 3;) {
          const leases = await leaseDeliveries(node, { max: 3, maxInFlight });
          leases.forEach(take);
          idle = leases.length === 0 && sent.length + held.size === 75 ? idle + 1 : 0;
          for (const { number } of leases) held.delete(number);
          const outcomes = await node.engine.settleDeliveries(
            leases.map((lease) => settlement(node, lease)),
            f.clock.now(),
          );
          assert.ok(outcomes.every(({ kind }) => kind === 'recorded'));
          sent.push(...numbersOf(leases));
        }
      };
      await within(Promise.all([...nodes, ...nodes].map(send)), 'everything is sent');
      assert.equal(new Set(sent).size, 75);
      assert.equal((await f.engine.deliveries({ namespace: 'default', state: 'delivered', limit: 100 })).length, 75);
    },
  },
  {
    name: 'of settlements of one outlet that reach several nodes at once each counts, and its room is right afterwards',
    sharedOnly: true,
    async run(f) {
      const nodes = await three(f);
      await tellMany(f, 30);
      const leases = await leaseDeliveries(f);
      assert.equal(leases.length, 30);
      const outcomes = await Promise.all(
        leases.map((lease, i) =>
          settleDelivery(nodes[i % 3]!, lease, i < 18 ? later(f, 1000) : undefined, ill(f, { tripAt: 30 })),
        ),
      );
      const counts = outcomes.map((outcome) => (outcome.kind === 'recorded' ? outcome.outlet?.failures : undefined));
      assert.deepEqual(
        counts.sort((a, b) => a! - b!),
        leases.map((_, i) => i + 1),
      );
      assert.ok(outcomes.some((o) => o.kind === 'recorded' && o.outlet?.blockedUntil === f.clock.now() + 10_000));
      f.clock.advance(9999);
      for (const node of nodes) assert.deepEqual(await leaseDeliveries(node), []);
      f.clock.advance(1);
      const probe = await leaseOne(nodes[1]!, { max: 100 });
      assert.deepEqual(await leaseDeliveries(nodes[2]!), []);
      await settleDelivery(nodes[2]!, probe);
      assert.equal((await leaseDeliveries(f)).length, 17);
    },
  },
  {
    name: 'of answers to one try that reach several nodes at once one is recorded',
    sharedOnly: true,
    async run(f) {
      const nodes = await three(f);
      await tellMany(f, 10);
      for (const lease of await leaseDeliveries(f)) {
        const outcomes: DeliverySettleOutcome[] = await Promise.all(
          nodes.map((node, i) => settleDelivery(node, lease, i === 1 ? { to: 'dead' } : undefined)),
        );
        assert.deepEqual(outcomes.map(({ kind }) => kind).sort(), ['lost', 'lost', 'recorded']);
        assert.equal((await f.engine.delivery(lease.number, 'default'))?.attempts.length, 1);
        const { state } = await deliveryOf(f, lease.number);
        assert.equal(state, outcomes[1]!.kind === 'recorded' ? 'dead' : 'delivered');
      }
    },
  },
  {
    name: 'who joins while the operation ends on another node is told of the end, or has an answer and is told of nothing',
    sharedOnly: true,
    async run(f) {
      const [a, b, c] = await three(f);
      /** Lets so many join while each of their operations ends in its own way, and looks at who is told. */
      const race = async (turn: string, end: (seqs: number[]) => Promise<unknown>, deadlineMs = 600_000) => {
        const keys = Array.from({ length: 8 }, (_, i) => `${turn} ${i}`);
        const seqs: number[] = [];
        for (const key of keys) {
          const deadlineAt = f.clock.now() + deadlineMs;
          const outcome = await ask(f, key, { callback: callback(`first-${key}`.replace(' ', '-')), deadlineAt });
          assert.ok(outcome.kind === 'new');
          seqs.push(outcome.seq);
        }
        const join = async (node: Place, key: string, i: number): Promise<[string, SubmitOutcome]> => {
          const name = `${i}-${key}`.replace(' ', '-');
          return [callback(name).outlet, await ask(node, key, { callback: callback(name) })];
        };
        const joining = [b!, c!].flatMap((node, n) =>
          [0, 1].flatMap((i) => keys.map((key) => join(node, key, 2 * n + i))),
        );
        await end(seqs);
        const joined = await Promise.all(joining);
        for (const seq of seqs) {
          const told = (await deliveriesOf(f, seq)).map(({ callback: { outlet } }) => outlet);
          const wanted = joined.flatMap(([outlet, o]) =>
            o.kind === 'joined' && o.operation.seq === seq ? outlet : [],
          );
          assert.equal(told.length, wanted.length + 1, 'the first one and those who joined');
          for (const outlet of wanted) assert.ok(told.includes(outlet), `${outlet} is told of ${seq}`);
        }
        // Those who came too late have made new work.
        for (let leases = await f.lease({ max: 100 }); leases.length > 0; leases = await f.lease({ max: 100 }))
          for (const lease of leases) await f.settle(lease, done);
      };
      for (let turn = 0; turn < 3; turn++) {
        await race(`settled ${turn}`, async () =>
          Promise.all((await a!.lease({ max: 8 })).map((lease) => a!.settle(lease, done))),
        );
        await race(`cancelled ${turn}`, async (seqs) =>
          Promise.all(
            (await f.engine.recordsOf(seqs)).map(async ({ seq, nonce }) => {
              const key = { seq, nonce, namespace: 'default' };
              assert.equal((await a!.engine.cancel(key, f.clock.now())).kind, 'cancelled');
            }),
          ),
        );
        await race(
          `late ${turn}`,
          async (seqs) => {
            f.clock.advance(1000);
            for (let left = seqs.length; left > 0;) {
              const { due } = await a!.engine.sweep(f.clock.now(), { removeExpired: true });
              const decided = await a!.engine.applyClock(
                due.map((one) => decisionOn(one, f.clock.now())),
                f.clock.now(),
              );
              left -= decided.filter(Boolean).length;
            }
          },
          1000,
        );
      }
    },
  },
  {
    name: 'what a closed node was sending is given out at once by another, and its own settlement is too late',
    sharedOnly: true,
    async run(f) {
      const b = { ...(await f.another()), clock: f.clock };
      await tell(f);
      const first = await leaseOne(b, { leaseMs: 3_600_000 });
      assert.deepEqual(await leaseDeliveries(f), []);
      const told = heard(f, 1, (signal) => (signal.kind === 'deliveries' ? signal.kind : undefined));
      await b.engine.close();
      await within(told, 'a signal that something is to be told again');
      const again = await leaseOne(f);
      assert.deepEqual([again.number, again.attempt, again.failures], [first.number, 2, 0]);
      assert.equal((await settleDelivery(f, first)).kind, 'lost');
      assert.equal((await settleDelivery(f, again)).kind, 'recorded');
      const { attempts } = (await f.engine.delivery(first.number, 'default'))!;
      assert.deepEqual(
        attempts.map(({ code, durationMs }) => [code, durationMs]),
        [
          [interrupted, null],
          [null, 5],
        ],
      );
    },
  },
  {
    name: 'what a silent node was sending is sent again by another after a while, and not at the first beat it misses',
    sharedOnly: true,
    async run(f) {
      const b = { ...(await f.another()), clock: f.clock };
      await tell(f);
      const first = await leaseOne(b, { leaseMs: 3_600_000 });
      await seconds(f, 3, [f, b]);
      await seconds(f, 3, [f]);
      assert.deepEqual(await leaseDeliveries(f), []);
      let again = await leaseDeliveries(f);
      for (let i = 0; i < 40 && again.length === 0; i++) {
        await seconds(f, 1, [f]);
        again = await leaseDeliveries(f);
      }
      assert.deepEqual(numbersOf(again), [first.number]);
      assert.equal((await settleDelivery(b, first)).kind, 'lost');
      assert.equal((await settleDelivery(f, again[0]!)).kind, 'recorded');
    },
  },
  {
    name: 'what is to be told is signalled on another node, which may send it',
    sharedOnly: true,
    async run(f) {
      const b = { ...(await f.another()), clock: f.clock };
      const told = heard(b, 1, (signal) => (signal.kind === 'deliveries' ? signal.kind : undefined));
      await tell(f);
      await within(told, 'a signal on the other node');
      assert.equal((await leaseDeliveries(b)).length, 1);
      assert.deepEqual(await leaseDeliveries(f), []);
    },
  },
];
