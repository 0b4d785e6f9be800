// Subscriptions: one cursor each, what is taken from it held once, tried again, given up and brought back.
import assert from 'node:assert/strict';
import type {
  Claim,
  EventSettlement,
  LeasedEvent,
  OpenEvent,
  StartFrom,
  SubscriptionRecord,
} from '../subscriptions.ts';
import { type Case, type Fixture, type Node, within } from './fixture.ts';
import { append } from './log-race.ts';

export const subscribe = async (
  f: { engine: Fixture['engine']; clock: Fixture['clock'] },
  more: { name?: string; namespace?: string; topics?: string[]; from?: StartFrom } = {},
): Promise<SubscriptionRecord> =>
  (
    await f.engine.saveSubscription(
      {
        namespace: more.namespace ?? 'default',
        name: more.name ?? 'sub',
        text: '{"topic":"**"}',
        topics: more.topics ?? ['**'],
        savedAt: f.clock.now(),
      },
      more.from ?? 'now',
    )
  ).subscription;

/** Reads on and takes all of it, as the core does, without a filter. */
export async function takeAll(
  node: Pick<Node, 'engine'>,
  f: Pick<Fixture, 'clock'>,
  name = 'sub',
  more: Partial<Claim> = {},
): Promise<LeasedEvent[]> {
  for (;;) {
    const s = (await node.engine.subscription({ namespace: 'default', name }))!;
    const page = await node.engine.read({
      namespace: 'default',
      topics: s.topics,
      after: s.readTo,
      limit: 1000,
      maxBytes: 1e8,
    });
    const outcome = await node.engine.claim(
      {
        subscription: s.number,
        readFrom: s.readTo,
        readTo: page.readTo,
        take: page.events.map(({ position, orderingKey }) => ({ position, orderingKey })),
        ordered: false,
        kind: 'pull',
        worker: 'w',
        leaseMs: 30_000,
        ...more,
      },
      f.clock.now(),
    );
    if (outcome.kind === 'claimed') return outcome.leases;
    assert.equal(outcome.kind, 'moved');
  }
}

const due = (f: Fixture, { number }: SubscriptionRecord, max = 100) =>
  f.engine.leaseDue(
    { subscription: number, max, maxBytes: 1e8, kind: 'pull', worker: 'w', leaseMs: 30_000 },
    f.clock.now(),
  );

const settle = (f: Fixture, { subscription, position, leaseNo }: LeasedEvent, verdict: EventSettlement['verdict']) =>
  f.engine.settleEvents([{ subscription, position, leaseNo, verdict }], f.clock.now());

const acked = { to: 'acked' } as const;
const dead = { to: 'dead', code: 'attempts-exhausted', detail: 'gave up' } as const;
const later = (at: number) => ({ to: 'waiting', at, attemptUsed: true, code: 'nack', detail: null }) as const;
const sub = (f: Fixture, name = 'sub') => f.engine.subscription({ namespace: 'default', name });
const open = (f: Fixture, { number }: SubscriptionRecord, ...states: OpenEvent['state'][]) =>
  f.engine.openEvents({
    subscription: number,
    states: states.length > 0 ? states : ['waiting', 'sending', 'held', 'dead'],
    limit: 100,
  });
const positionsOf = (some: readonly { position: number }[]): number[] => some.map((one) => one.position);

export const subscriptionCases: Case[] = [
  {
    name: 'a subscription begins now, at the start or at a position, and a change of it moves no cursor',
    async run(f) {
      const p = await append(f, f.clock.now(), {}, {}, {});
      assert.equal((await subscribe(f, { name: 'a', from: 'now' })).readTo, p[2]);
      assert.equal((await subscribe(f, { name: 'b', from: 'start' })).readTo, 0);
      assert.equal((await subscribe(f, { name: 'c', from: { position: p[1]! } })).readTo, p[1]);
      assert.equal((await subscribe(f, { name: 'd', from: { position: 1e12 } })).readTo, p[2]);
      const changed = await f.engine.saveSubscription(
        { namespace: 'default', name: 'b', text: '{"x":1}', topics: ['a.*', 'b'], savedAt: f.clock.now() + 5 },
        'now',
      );
      assert.equal(changed.kind, 'changed');
      const { readTo, text, topics, version, epoch } = changed.subscription;
      assert.deepEqual([readTo, text, topics, version], [0, '{"x":1}', ['a.*', 'b'], 2]);
      const page = await f.engine.read({ namespace: 'default', topics: ['**'], after: 0, limit: 1, maxBytes: 1 });
      assert.equal(epoch, page.epoch);
      const names = (await f.engine.subscriptions('default')).map((s) => s.name);
      assert.deepEqual(names, ['a', 'b', 'c', 'd']);
      assert.deepEqual(await f.engine.subscriptions('other'), []);
      assert.equal((await f.engine.subscriptions()).length, 4);
    },
  },
  {
    name: 'every subscription has its own copy, and what one takes the other has still before it',
    async run(f) {
      const [a, b] = [await subscribe(f, { name: 'a' }), await subscribe(f, { name: 'b' })];
      const p = await append(f, f.clock.now(), {}, {});
      const leases = await takeAll(f, f, 'a');
      assert.deepEqual(positionsOf(leases), p);
      for (const lease of leases) assert.equal((await settle(f, lease, acked))[0]?.kind, 'recorded');
      assert.deepEqual(await open(f, a), []);
      assert.deepEqual(await open(f, b), []);
      assert.equal((await sub(f, 'a'))!.readTo, p[1]);
      assert.ok((await sub(f, 'b'))!.readTo < p[0]!);
      assert.deepEqual(positionsOf(await takeAll(f, f, 'b')), p);
    },
  },
  {
    name: 'of those who take from one place of the cursor one gets it, and the other is told where it is now',
    async run(f) {
      const s = await subscribe(f);
      const [position] = await append(f, f.clock.now(), {});
      const claim: Claim = {
        subscription: s.number,
        readFrom: s.readTo,
        readTo: position!,
        take: [{ position: position!, orderingKey: null }],
        ordered: false,
        kind: 'pull',
        worker: 'w',
        leaseMs: 30_000,
      };
      const outcomes = await Promise.all([f.engine.claim(claim, f.clock.now()), f.engine.claim(claim, f.clock.now())]);
      assert.deepEqual(outcomes.map((o) => o.kind).toSorted(), ['claimed', 'moved']);
      assert.deepEqual(
        outcomes.find((o) => o.kind === 'moved'),
        { kind: 'moved', readTo: position },
      );
      assert.deepEqual(await f.engine.claim({ ...claim, subscription: 999_999 }, f.clock.now()), { kind: 'gone' });
    },
  },
  {
    name: 'what a filter leaves out is passed by, and costs no row',
    async run(f) {
      const s = await subscribe(f);
      const p = await append(f, f.clock.now(), {}, {}, {});
      await takeAll(f, f, 'sub', { take: [{ position: p[1]!, orderingKey: null }] });
      assert.deepEqual(positionsOf(await open(f, s)), [p[1]]);
      assert.equal((await sub(f))!.readTo, p[2]);
    },
  },
  {
    name: 'what is given back comes again at its time, with the event and one more attempt',
    async run(f) {
      const s = await subscribe(f);
      const [position] = await append(f, f.clock.now(), { topic: 'a.b', head: '{"n":1}', orderingKey: 'k' });
      const [lease] = await takeAll(f, f);
      assert.deepEqual([lease!.attempt, lease!.position], [1, position]);
      await settle(f, lease!, later(f.clock.now() + 5000));
      assert.deepEqual(await due(f, s), []);
      f.clock.advance(5000);
      const [again] = await due(f, s);
      assert.equal(again?.lease.attempt, 2);
      assert.ok(again.lease.leaseNo > lease!.leaseNo);
      const { topic, head, orderingKey, body } = again.event;
      assert.deepEqual([topic, head, orderingKey, Buffer.from(body).toString()], ['a.b', '{"n":1}', 'k', 'fact']);
      await settle(f, again.lease, { ...later(f.clock.now()), attemptUsed: false });
      assert.equal((await due(f, s))[0]?.lease.attempt, 2, 'released: no attempt was used');
    },
  },
  {
    name: 'a lease that is lost settles and extends nothing, and an acknowledgement may be repeated',
    async run(f) {
      const s = await subscribe(f);
      await append(f, f.clock.now(), {}, {});
      const [first, second] = await takeAll(f, f);
      await settle(f, first!, later(f.clock.now()));
      const [again] = await due(f, s);
      assert.equal((await settle(f, first!, acked))[0]?.kind, 'lost');
      assert.equal((await f.engine.extendEvent({ ...first!, leaseMs: 1000 }, f.clock.now())).kind, 'lost');
      assert.equal((await settle(f, again!.lease, acked))[0]?.kind, 'recorded');
      assert.equal((await settle(f, again!.lease, acked))[0]?.kind, 'repeated');
      assert.equal((await settle(f, again!.lease, later(0)))[0]?.kind, 'lost');
      // In steps: a time in which nobody lived lengthens leases.
      for (let i = 0; i < 16; i++) {
        f.clock.advance(2000);
        await f.engine.sweep(f.clock.now(), { removeExpired: false });
      }
      assert.equal((await settle(f, second!, acked))[0]?.kind, 'lost', 'its lease has run out');
      const [late] = await due(f, s);
      assert.deepEqual([late?.lease.position, late?.lease.attempt], [second!.position, 2]);
      assert.equal((await settle(f, { ...late!.lease, subscription: 999_999 }, acked))[0]?.kind, 'gone');
    },
  },
  {
    name: 'a lease that is kept lasts longer',
    async run(f) {
      const s = await subscribe(f);
      await append(f, f.clock.now(), {});
      const [lease] = await takeAll(f, f);
      for (let i = 0; i < 10; i++) {
        f.clock.advance(2000);
        await f.engine.sweep(f.clock.now(), { removeExpired: false });
      }
      const kept = await f.engine.extendEvent({ ...lease!, leaseMs: 30_000 }, f.clock.now());
      assert.deepEqual(kept, { kind: 'extended', leaseUntil: f.clock.now() + 30_000 });
      for (let i = 0; i < 10; i++) {
        f.clock.advance(2000);
        await f.engine.sweep(f.clock.now(), { removeExpired: false });
      }
      assert.deepEqual(await due(f, s), []);
      assert.equal((await settle(f, lease!, acked))[0]?.kind, 'recorded');
    },
  },
  {
    name: 'an ordered subscription has one of each key out, in order, and a retry holds its key',
    async run(f) {
      const s = await subscribe(f);
      const p = await append(
        f,
        f.clock.now(),
        { orderingKey: 'a' },
        { orderingKey: 'b' },
        { orderingKey: 'a' },
        { orderingKey: null },
        { orderingKey: 'a' },
      );
      const leases = await takeAll(f, f, 'sub', { ordered: true });
      assert.deepEqual(positionsOf(leases), [p[0], p[1], p[3]]);
      assert.deepEqual(positionsOf(await open(f, s, 'held')), [p[2], p[4]]);
      await settle(f, leases[0]!, later(f.clock.now() + 1000));
      assert.deepEqual(await due(f, s), [], 'the key is held by the one that failed');
      f.clock.advance(1000);
      const [retried] = await due(f, s);
      assert.equal(retried?.lease.position, p[0]);
      await settle(f, retried!.lease, acked);
      const [next, ...more] = await due(f, s);
      assert.deepEqual([next?.lease.position, more.length], [p[2], 0]);
      // A dead letter frees its key as well.
      await settle(f, next!.lease, dead);
      const [last] = await due(f, s);
      assert.equal(last?.lease.position, p[4]);
      const [added] = await append(f, f.clock.now(), { orderingKey: 'a' });
      assert.deepEqual(await takeAll(f, f, 'sub', { ordered: true }), [], 'what comes later is behind it too');
      await settle(f, last!.lease, acked);
      assert.equal((await due(f, s))[0]?.lease.position, added);
    },
  },
  {
    name: 'what is given up keeps its event though its topic loses it, and can be brought back or forgotten',
    async run(f) {
      const s = await subscribe(f);
      const p = await append(f, f.clock.now(), { body: Buffer.from('one') }, { body: Buffer.from('two') }, {});
      for (const lease of await takeAll(f, f)) await settle(f, lease, dead);
      const [topic] = await f.engine.topics();
      await f.engine.trim(
        { topic: topic!.number, olderThan: null, keepBytes: 0, notBeyond: Number.MAX_SAFE_INTEGER, limit: 100 },
        f.clock.now(),
      );
      const letters = await open(f, s, 'dead');
      assert.deepEqual(positionsOf(letters), p);
      const [first] = letters;
      assert.deepEqual([first?.code, first?.detail, first?.attempt], ['attempts-exhausted', 'gave up', 1]);
      assert.equal(Buffer.from(first!.event!.body).toString(), 'one');
      assert.deepEqual(await due(f, s), []);
      assert.equal(await f.engine.forgetDead({ subscription: s.number, positions: [p[2]!], limit: 100 }), 1);
      assert.equal(
        await f.engine.redriveEvents({ subscription: s.number, positions: [p[1]!, p[2]!], limit: 100 }, f.clock.now()),
        1,
      );
      const [back] = await due(f, s);
      assert.deepEqual([back?.lease.position, back?.lease.attempt], [p[1], 1]);
      assert.equal(Buffer.from(back!.event.body).toString(), 'two');
      await settle(f, back!.lease, acked);
      assert.equal(await f.engine.redriveEvents({ subscription: s.number, limit: 100 }, f.clock.now()), 1);
      assert.equal((await due(f, s))[0]?.lease.position, p[0]);
      assert.equal((await sub(f))!.dead, 0);
    },
  },
  {
    name: 'a limit counts the dead letters that were named, and not those before them',
    async run(f) {
      const s = await subscribe(f);
      const p = await append(f, f.clock.now(), {}, {}, {}, {}, {});
      const [alive, ...leases] = await takeAll(f, f);
      for (const lease of leases) await settle(f, lease, dead);
      const of = { subscription: s.number };
      const { position } = alive!;
      assert.equal(
        await f.engine.redriveEvents({ ...of, positions: [p[4]!, p[4]!, position], limit: 1 }, f.clock.now()),
        1,
      );
      assert.equal(await f.engine.forgetDead({ ...of, positions: [p[3]!, position, p[2]!], limit: 1 }), 1);
      assert.deepEqual(positionsOf(await open(f, s, 'dead')), [p[1], p[3]], 'of several the oldest');
      assert.deepEqual(positionsOf(await open(f, s, 'waiting', 'sending')), [p[0], p[4]]);
      assert.equal(await f.engine.redriveEvents({ ...of, positions: [p[3]!], limit: 1 }, f.clock.now()), 1);
      assert.equal(await f.engine.forgetDead({ ...of, positions: [p[4]!, 9999], limit: 5 }), 0);
    },
  },
  {
    name: 'what a topic lost before it was tried again is not delivered, and stands in nobody’s way',
    async run(f) {
      const s = await subscribe(f);
      const p = await append(f, f.clock.now(), { orderingKey: 'a' }, { orderingKey: 'a' });
      const [lease] = await takeAll(f, f, 'sub', { ordered: true });
      await settle(f, lease!, later(f.clock.now()));
      const [topic] = await f.engine.topics();
      await f.engine.trim(
        { topic: topic!.number, olderThan: null, keepBytes: 0, notBeyond: p[0]!, limit: 100 },
        f.clock.now(),
      );
      assert.deepEqual(await due(f, s), []);
      assert.equal((await due(f, s))[0]?.lease.position, p[1]);
    },
  },
  {
    name: 'the record tells what is open and since when, and a breaker counts failures in a row',
    async run(f) {
      await subscribe(f);
      const p = await append(f, f.clock.now(), {}, {}, {});
      f.clock.advance(1000);
      const at = f.clock.now();
      const [one, two, three] = await takeAll(f, f);
      await settle(f, one!, dead);
      f.clock.advance(500);
      const ill = { kind: 'ill', tripAt: 2, blockUntil: f.clock.now() + 9000 } as const;
      const retry = later(f.clock.now() + 100);
      await f.engine.settleEvents([{ ...two!, verdict: retry, outlet: ill }], f.clock.now());
      const after = (await sub(f))!;
      assert.deepEqual(
        [after.waiting, after.sending, after.held, after.dead, after.oldestOpen, after.oldestOpenAt],
        [1, 1, 0, 1, p[1], at],
      );
      assert.deepEqual([after.failures, after.blockedUntil], [1, null]);
      await f.engine.settleEvents([{ ...three!, verdict: retry, outlet: ill }], f.clock.now());
      assert.deepEqual([(await sub(f))!.failures, (await sub(f))!.blockedUntil], [2, ill.blockUntil]);
      f.clock.advance(100);
      const [again] = await due(f, (await sub(f))!);
      await f.engine.settleEvents([{ ...again!.lease, verdict: acked, outlet: { kind: 'well' } }], f.clock.now());
      assert.deepEqual([(await sub(f))!.failures, (await sub(f))!.blockedUntil], [0, null]);
    },
  },
  {
    name: 'of a paused one nothing is given out, neither from the log nor of what waits, and resumed it goes on where it was',
    async run(f) {
      const s = await subscribe(f);
      const key = { namespace: 'default', name: 'sub' };
      const [waits] = await append(f, f.clock.now(), {});
      const [one] = await takeAll(f, f);
      await settle(f, one!, later(f.clock.now()));
      const [next] = await append(f, f.clock.now(), {});
      await f.engine.pauseSubscription(key, true);
      const claim: Claim = {
        subscription: s.number,
        readFrom: waits!,
        readTo: next!,
        take: [{ position: next!, orderingKey: null }],
        ordered: false,
        kind: 'pull',
        worker: null,
        leaseMs: 1000,
      };
      assert.deepEqual(await f.engine.claim(claim, f.clock.now()), { kind: 'paused' });
      assert.deepEqual(await due(f, s), []);
      assert.equal((await sub(f))!.readTo, waits);
      await f.engine.pauseSubscription(key, false);
      assert.equal((await f.engine.claim(claim, f.clock.now())).kind, 'claimed');
      assert.deepEqual(
        (await due(f, s)).map(({ lease }) => lease.position),
        [waits],
      );
    },
  },
  {
    name: 'pausing is remembered, and removing takes everything along',
    async run(f) {
      const s = await subscribe(f);
      const key = { namespace: 'default', name: 'sub' };
      assert.equal((await f.engine.pauseSubscription(key, true))?.paused, true);
      assert.equal((await f.engine.pauseSubscription(key, false))?.paused, false);
      assert.equal(await f.engine.pauseSubscription({ ...key, name: 'none' }, true), undefined);
      await append(f, f.clock.now(), {}, {});
      const [one, two] = await takeAll(f, f);
      await settle(f, one!, dead);
      assert.equal(await f.engine.removeSubscription({ ...key, namespace: 'other' }), false);
      assert.equal(await f.engine.removeSubscription(key), true);
      assert.equal(await f.engine.removeSubscription(key), false);
      assert.equal((await settle(f, two!, acked))[0]?.kind, 'gone');
      const anew = await subscribe(f, { from: 'start' });
      assert.notEqual(anew.number, s.number);
      assert.deepEqual(await open(f, anew), []);
    },
  },
  {
    name: 'cursors, leases of workers and what waits outlive a restart; what the server itself carried is taken again',
    durableOnly: true,
    async run(f) {
      const s = await subscribe(f);
      await append(f, f.clock.now(), {}, {}, {});
      const [pulled, given] = await takeAll(f, f, 'sub');
      await settle(f, given!, later(f.clock.now() + 60_000));
      const pushed = await subscribe(f, { name: 'push', from: 'start' });
      const carried = await takeAll(f, f, 'push', { kind: 'push' });
      const before = (await sub(f))!;
      await f.reopen();
      assert.deepEqual(await sub(f), before);
      assert.equal((await settle(f, pulled!, acked))[0]?.kind, 'recorded');
      assert.equal((await settle(f, carried[0]!, acked))[0]?.kind, 'lost');
      const again = await due(f, pushed);
      assert.deepEqual(positionsOf(again.map(({ lease }) => lease)), positionsOf(carried));
      assert.deepEqual(await due(f, s), []);
    },
  },
  {
    name: 'who listens is told when there is something to take again',
    async run(f) {
      const s = await subscribe(f);
      await append(f, f.clock.now(), {});
      const [lease] = await takeAll(f, f);
      const told = new Promise<void>((resolve) =>
        f.engine.onSignal((signal) => signal.kind === 'subscriptions' && resolve()),
      );
      await settle(f, lease!, later(f.clock.now()));
      await within(told, 'a signal that something waits');
      assert.equal((await due(f, s)).length, 1);
    },
  },
];
