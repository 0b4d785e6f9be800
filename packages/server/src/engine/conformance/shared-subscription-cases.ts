// Subscriptions on several nodes: what one takes no other takes, an ordering key is out once, a cursor never goes back, and what a node had that is gone
// is taken again.
import assert from 'node:assert/strict';
import type { LoggedEvent } from '../topics.ts';
import { type Case, type Fixture, type Node, result, within } from './fixture.ts';
import { append } from './log-race.ts';
import { seconds } from './rounds.ts';
import { heard } from './shared-lease-cases.ts';
import { subscribe } from './subscription-cases.ts';

const key = { namespace: 'default', name: 'sub' };
const lease = { kind: 'pull' as const, worker: 'w', leaseMs: 600_000 };

/** What is out now: of an ordered subscription one of each key. */
class Out {
  readonly #keys = new Map<string, number>();
  readonly #newest = new Map<string, number>();
  readonly acked = new Map<number, number>();

  take(position: number, orderingKey: string): void {
    assert.equal(this.#keys.get(orderingKey), undefined, `${position} of ${orderingKey} beside another one of it`);
    assert.ok((this.#newest.get(orderingKey) ?? 0) <= position, `${position} of ${orderingKey} after a later one`);
    this.#keys.set(orderingKey, position);
    this.#newest.set(orderingKey, position);
  }

  back(orderingKey: string): void {
    this.#keys.delete(orderingKey);
  }

  ack(position: number): void {
    this.acked.set(position, (this.acked.get(position) ?? 0) + 1);
  }
}

/** Reads, claims, leases what is due and settles, as the core of one node does, until everything is acknowledged. Some of it at the second try. */
async function consume(f: Fixture, node: Node, { out, total }: { out: Out; total: number }): Promise<void> {
  const { number } = (await node.engine.subscription(key))!;
  let cursor = 0;
  while (out.acked.size < total) {
    const subscription = (await node.engine.subscription(key))!;
    assert.ok(subscription.readTo >= cursor, `the cursor went from ${cursor} to ${subscription.readTo}`);
    cursor = subscription.readTo;
    const page = await node.engine.read({
      namespace: 'default',
      topics: ['**'],
      after: cursor,
      limit: 7,
      maxBytes: 1e6,
    });
    const take = page.events.map(({ position, orderingKey }) => ({ position, orderingKey }));
    const claimed = await node.engine.claim(
      { subscription: number, readFrom: cursor, readTo: page.readTo, take, ordered: true, ...lease },
      f.clock.now(),
    );
    const due = await node.engine.leaseDue({ subscription: number, max: 5, maxBytes: 1e6, ...lease }, f.clock.now());
    const events = new Map<number, LoggedEvent>(page.events.map((event) => [event.position, event]));
    const leases = [
      ...(claimed.kind === 'claimed' ? claimed.leases : []).map((one) => ({
        lease: one,
        event: events.get(one.position)!,
      })),
      ...due,
    ];
    for (const { event } of leases) out.take(event.position, event.orderingKey!);
    // While these are out the other nodes try for more.
    await node.engine.subscription(key);
    for (const { event } of leases) out.back(event.orderingKey!);
    const outcomes = await node.engine.settleEvents(
      leases.map(({ lease: { position, leaseNo, attempt } }) => ({
        subscription: number,
        position,
        leaseNo,
        verdict:
          attempt === 1 && position % 4 === 0
            ? { to: 'waiting' as const, at: f.clock.now(), attemptUsed: true, code: 'nack', detail: null }
            : { to: 'acked' as const },
      })),
      f.clock.now(),
    );
    for (const [
      i,
      {
        lease: { attempt, position },
      },
    ] of leases.entries()) {
      assert.equal(outcomes[i]!.kind, 'recorded');
      if (attempt > 1 || position % 4 !== 0) out.ack(position);
    }
  }
}

export const sharedSubscriptionCases: Case[] = [
  {
    name: 'nodes that claim, lease and settle one ordered subscription at once have nothing twice, no two of a key, leave none behind, and its cursor never goes back',
    sharedOnly: true,
    async run(f) {
      const nodes = [f, await f.another(), await f.another()];
      await subscribe(f);
      const out = new Out();
      const keys = ['a', 'b', 'c', 'd', 'e'];
      const total = 150;
      const publishing = (async () => {
        for (let i = 0; i < total; i += 10) {
          const some = Array.from({ length: 10 }, (_, n) => ({ topic: `t.${n % 3}`, orderingKey: keys[(i + n) % 5]! }));
          await append(nodes[i % 3]!, f.clock.now(), ...some);
        }
      })();
      const consuming = nodes.map((node) => consume(f, node, { out, total }));
      await within(Promise.all([publishing, ...consuming]), 'everything is acknowledged');
      assert.deepEqual(new Set(out.acked.values()), new Set([1]), 'each is acknowledged once');
      const { waiting, sending, held, dead, oldestOpen } = (await f.engine.subscription(key))!;
      assert.deepEqual(
        { waiting, sending, held, dead, oldestOpen },
        { waiting: 0, sending: 0, held: 0, dead: 0, oldestOpen: null },
      );
    },
  },
  {
    name: 'what a silent node was sending to a subscriber is taken again by another after a while, and its late word is not heard',
    sharedOnly: true,
    async run(f) {
      const b = await f.another();
      const { number } = await subscribe(f);
      const [position, behind] = await append(f, f.clock.now(), { orderingKey: 'a' }, { orderingKey: 'a' });
      const push = { ...lease, kind: 'push' as const, worker: null, leaseMs: 3_600_000 };
      const take = [position!, behind!].map((at) => ({ position: at, orderingKey: 'a' }));
      const claimed = await b.engine.claim(
        { subscription: number, readFrom: 0, readTo: behind!, take, ordered: true, ...push },
        f.clock.now(),
      );
      const [first] = claimed.kind === 'claimed' ? claimed.leases : [];
      assert.equal(first!.position, position);
      const due = () => f.engine.leaseDue({ subscription: number, max: 5, maxBytes: 1e6, ...push }, f.clock.now());
      await seconds(f, 3, [f, b]);
      await seconds(f, 3, [f]);
      assert.deepEqual(await due(), [], 'not at the first beat that it misses');
      let again = await due();
      for (let i = 0; i < 40 && again.length === 0; i++) {
        await seconds(f, 1, [f]);
        again = await due();
      }
      assert.deepEqual(
        again.map(({ lease: one }) => one.position),
        [position],
        'and the one behind it waits on',
      );
      const settle = (node: Node, leaseNo: number) =>
        node.engine.settleEvents(
          [{ subscription: number, position: position!, leaseNo, verdict: { to: 'acked' } }],
          f.clock.now(),
        );
      assert.deepEqual(
        (await settle(b, first!.leaseNo)).map(({ kind }) => kind),
        ['lost'],
      );
      assert.deepEqual(
        (await settle(f, again[0]!.lease.leaseNo)).map(({ kind }) => kind),
        ['recorded'],
      );
      assert.deepEqual(
        (await due()).map(({ lease: one }) => one.position),
        [behind],
      );
    },
  },
  {
    name: 'a reader of a pattern sees events of a topic that another node has made just now',
    sharedOnly: true,
    async run(f) {
      const b = await f.another();
      const read = (node: Node, after: number) =>
        node.engine.read({ namespace: 'default', topics: ['orders.*', '*.paid'], after, limit: 10, maxBytes: 1e6 });
      let after = 0;
      for (let i = 0; i < 10; i++) {
        const [maker, reader] = i % 2 === 0 ? [f, b] : [b, f];
        await append(maker, f.clock.now(), { topic: `orders.t${i}` }, { topic: `x${i}.paid` }, { topic: `x${i}.open` });
        const page = await read(reader, after);
        assert.deepEqual(
          page.events.map(({ topic }) => topic),
          [`orders.t${i}`, `x${i}.paid`],
        );
        assert.equal(page.readTo, page.last, 'there is nothing more of them');
        after = page.readTo;
      }
    },
  },
  {
    name: 'transitions that a subscription has turned on at one node are written by all of them, from its commit on, and other nodes hear that the log has grown',
    sharedOnly: true,
    async run(f) {
      const b = await f.another();
      await b.submit();
      const topics = ['operations.*.*'];
      const read = (node: Node) =>
        node.engine.read({ namespace: 'default', topics, after: 0, limit: 100, maxBytes: 1e6 });
      await subscribe(f, { topics });
      const told = heard(f, 1, (signal) => (signal.kind === 'events' ? signal.namespace : undefined));
      const [leased] = await b.lease();
      await b.settle(leased!, { to: 'succeeded', result: result('done') });
      assert.deepEqual(
        (await read(f)).events.map(({ topic }) => topic.split('.')[2]),
        ['running', 'succeeded'],
      );
      await within(told, 'a signal on the other node');
      await b.engine.removeSubscription(key);
      const count = (await read(f)).events.length;
      await f.submit();
      assert.equal((await read(b)).events.length, count);
    },
  },
];
