// What becomes of deliveries over time: tries that were interrupted, restarts, and sending again by hand.
import assert from 'node:assert/strict';
import { interrupted } from '../deliveries.ts';
import { type Case, type Fixture } from './fixture.ts';
import { seconds } from './rounds.ts';
import {
  callback,
  deliveriesOf,
  deliveryOf,
  later,
  leaseDeliveries,
  leaseOne,
  numbersOf,
  settleDelivery,
  tell,
} from './tellings.ts';

async function attemptsOf(f: Fixture, number: number) {
  return (await f.engine.delivery(number, 'default'))!.attempts.map(({ attempt, at, durationMs, status, code }) => ({
    attempt,
    at,
    durationMs,
    status,
    code,
  }));
}

export const deliveryKeepingCases: Case[] = [
  {
    name: 'a try of which nothing is heard in time is written down as interrupted and made again, and costs the schedule nothing',
    async run(f) {
      const seq = await tell(f);
      const first = await leaseOne(f, { leaseMs: 1000 });
      const firstAt = f.clock.now();
      f.clock.advance(999);
      await f.engine.sweep(f.clock.now(), { removeExpired: true });
      assert.deepEqual(await leaseDeliveries(f), []);
      f.clock.advance(2);
      await f.engine.sweep(f.clock.now(), { removeExpired: true });
      const [waiting] = await deliveriesOf(f, seq);
      assert.deepEqual([waiting!.state, waiting!.attempt, waiting!.failures], ['waiting', 1, 0]);
      assert.deepEqual([waiting!.code, waiting!.nextAt], [interrupted, f.clock.now()]);
      const second = await leaseOne(f);
      assert.deepEqual([second.number, second.attempt], [first.number, 2]);
      assert.equal((await settleDelivery(f, first)).kind, 'lost');
      assert.equal((await settleDelivery(f, second)).kind, 'recorded');
      assert.deepEqual(await attemptsOf(f, first.number), [
        { attempt: 1, at: firstAt, durationMs: null, status: null, code: interrupted },
        { attempt: 2, at: f.clock.now(), durationMs: 5, status: 204, code: null },
      ]);
    },
  },
  {
    name: 'a process that stood still takes no try for interrupted before its time',
    async run(f) {
      await tell(f);
      const { number } = await leaseOne(f, { leaseMs: 10_000 });
      f.clock.advance(30_000);
      await f.engine.sweep(f.clock.now(), { removeExpired: true, pausedMs: 29_000 });
      await seconds(f, 7, [f]);
      assert.equal((await deliveryOf(f, number)).state, 'sending');
      await seconds(f, 5, [f]);
      assert.equal((await deliveryOf(f, number)).state, 'waiting');
      await leaseOne(f, { leaseMs: 1000 });
      f.clock.advance(999);
      await f.engine.sweep(f.clock.now(), { removeExpired: true });
      assert.equal((await deliveryOf(f, number)).state, 'sending', 'begun after the pause');
      f.clock.advance(2);
      await f.engine.sweep(f.clock.now(), { removeExpired: true });
      assert.equal((await deliveryOf(f, number)).state, 'waiting');
    },
  },
  {
    name: 'what was being sent when the process ended is sent again after the restart, and the log has both tries',
    durableOnly: true,
    async run(f) {
      await tell(f);
      await tell(f, callback('done'));
      const [first, done] = await leaseDeliveries(f);
      await settleDelivery(f, done!);
      const firstAt = f.clock.now();
      f.clock.advance(10);
      await f.reopen();
      const again = await leaseDeliveries(f, { maxInFlight: 1 });
      assert.deepEqual(
        again.map(({ number, attempt, failures }) => [number, attempt, failures]),
        [[first!.number, 2, 0]],
      );
      assert.equal((await settleDelivery(f, first!)).kind, 'lost');
      await settleDelivery(f, again[0]!);
      assert.deepEqual(await attemptsOf(f, first!.number), [
        { attempt: 1, at: firstAt, durationMs: null, status: null, code: interrupted },
        { attempt: 2, at: f.clock.now(), durationMs: 5, status: 204, code: null },
      ]);
      assert.equal((await deliveryOf(f, done!.number)).state, 'delivered');
    },
  },
  {
    name: 'a restart shortens no wait, neither of a delivery nor of an outlet, and forgets no failure',
    durableOnly: true,
    async run(f) {
      await tell(f);
      await tell(f, callback('dead'));
      const leases = await leaseDeliveries(f);
      const dead = leases.find((lease) => lease.callback.outlet === callback('dead').outlet)!;
      const shop = leases.find((lease) => lease !== dead)!;
      const nextAt = f.clock.now() + 5000;
      await settleDelivery(f, shop, { to: 'waiting', at: nextAt, failed: true });
      const blockUntil = f.clock.now() + 9000;
      await settleDelivery(f, dead, later(f, 100), { kind: 'ill', tripAt: 1, blockUntil });
      await f.reopen();
      const kept = await deliveryOf(f, shop.number);
      assert.deepEqual([kept.nextAt, kept.failures, kept.attempt], [nextAt, 1, 1]);
      f.clock.advance(nextAt - 1 - f.clock.now());
      assert.deepEqual(await leaseDeliveries(f), []);
      f.clock.advance(1);
      assert.deepEqual(numbersOf(await leaseDeliveries(f)), [shop.number]);
      f.clock.advance(blockUntil - 1 - f.clock.now());
      assert.deepEqual(await leaseDeliveries(f), []);
      f.clock.advance(1);
      const probe = await leaseOne(f);
      assert.equal(probe.number, dead.number);
      const outcome = await settleDelivery(f, probe, later(f, 100), { kind: 'ill', tripAt: 9, blockUntil });
      assert.equal(outcome.kind === 'recorded' && outcome.outlet?.failures, 2);
    },
  },
  {
    name: 'a delivery is sent again by hand, whatever became of it, unless it is on its way just now',
    async run(f) {
      const seq = await tell(f);
      const send = (number: number, namespace = 'default') => f.engine.redeliver(number, namespace, f.clock.now());
      const first = await leaseOne(f);
      assert.deepEqual(await send(first.number), { kind: 'sending' });
      await settleDelivery(f, first, later(f, 60_000));
      f.clock.advance(10);
      const waiting = await send(first.number);
      assert.ok(waiting.kind === 'waiting');
      assert.deepEqual(waiting.delivery, await deliveryOf(f, first.number));
      const { state, failures, nextAt, attempt } = waiting.delivery;
      assert.deepEqual([state, failures, nextAt, attempt], ['waiting', 0, f.clock.now(), 1]);
      await settleDelivery(f, await leaseOne(f), { to: 'dead' });
      assert.deepEqual(await leaseDeliveries(f), []);
      const dead = await send(first.number);
      assert.ok(dead.kind === 'waiting');
      assert.deepEqual([dead.delivery.endedAt, dead.delivery.failures], [null, 0]);
      await settleDelivery(f, await leaseOne(f));
      assert.equal((await send(first.number)).kind, 'waiting');
      await settleDelivery(f, await leaseOne(f));
      assert.deepEqual(
        (await attemptsOf(f, first.number)).map(({ attempt: of, status }) => [of, status]),
        [
          [1, 500],
          [2, 500],
          [3, 204],
          [4, 204],
        ],
      );
      assert.deepEqual(await send(first.number, 'other'), { kind: 'unknown' });
      assert.deepEqual(await send(9e12), { kind: 'unknown' });
      assert.equal((await deliveriesOf(f, seq)).length, 1);
      assert.deepEqual(await leaseDeliveries(f), []);
    },
  },
  {
    name: 'what is sent again by hand goes through its outlet as any other: not while that is blocked',
    async run(f) {
      await tell(f);
      const first = await leaseOne(f);
      await tell(f);
      const blockUntil = f.clock.now() + 1000;
      await settleDelivery(f, first, { to: 'dead' }, { kind: 'ill', tripAt: 1, blockUntil });
      assert.equal((await f.engine.redeliver(first.number, 'default', f.clock.now())).kind, 'waiting');
      assert.deepEqual(await leaseDeliveries(f), []);
      f.clock.advance(1000);
      assert.equal((await leaseDeliveries(f)).length, 1);
    },
  },
];
