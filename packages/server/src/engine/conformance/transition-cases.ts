// Transitions of operations as events: each change of state in the log, in the commit that makes it, from the moment in which somebody wants it.
import assert from 'node:assert/strict';
import type { LoggedEvent } from '../topics.ts';
import { type Case, type Fixture, type Node, result } from './fixture.ts';

const done = { to: 'succeeded' as const, result: result('done') };
const document = (more: object = {}) => ({
  namespace: 'default',
  name: 'ends',
  text: '{}',
  topics: ['operations.*.*'],
  savedAt: 1,
  ...more,
});

async function events(f: Node, topics = ['operations.**'], namespace = 'default'): Promise<LoggedEvent[]> {
  const page = await f.engine.read({ namespace, topics, after: 0, limit: 1000, maxBytes: 1e8 });
  return page.events;
}
const topicsOf = (all: readonly LoggedEvent[]): string[] => all.map(({ topic }) => topic.split('.').slice(1).join(' '));
const headOf = ({ head }: LoggedEvent) => JSON.parse(head) as Record<string, string>;
const dataOf = ({ body }: LoggedEvent) => JSON.parse(Buffer.from(body).toString()) as Record<string, unknown>;

async function finish(f: Fixture): Promise<number> {
  const seq = await f.submit();
  const [lease] = await f.lease();
  await f.settle(lease!, done);
  return seq;
}

/** Which of these queues publish just now, by what a submit to each of them writes. */
async function publishing(
  f: Fixture,
  queues: readonly (readonly [namespace: string, service: string])[],
): Promise<string[]> {
  const last = async (): Promise<Map<string, number>> =>
    new Map((await f.engine.topics()).map((topic) => [`${topic.namespace} ${topic.name}`, topic.last]));
  const before = await last();
  for (const [namespace, service] of queues) await f.submit({ queue: (await f.engine.queue(namespace, service)).id });
  const after = await last();
  return queues
    .filter(([namespace, service]) => {
      const name = `${namespace} operations.${service}.queued`;
      return (after.get(name) ?? 0) > (before.get(name) ?? 0);
    })
    .map(([namespace, service]) => `${namespace}/${service}`);
}

export const transitionCases: Case[] = [
  {
    name: 'every change of state of an operation is an event of its own topic, in order, with the id and the words of the other outlets',
    async run(f) {
      await f.engine.publishTransitions({ work: true });
      const submission = await f.submission({ correlationId: 'mine' });
      await f.engine.submit([submission], f.clock.now());
      const [lease] = await f.lease();
      const again = {
        to: 'queued' as const,
        rank: 0,
        attemptUsed: true,
        error: { code: 'later', message: 'not "yet"' },
      };
      f.clock.advance(10);
      await f.settle(lease!, { ...again, runAt: f.clock.now() });
      const [second] = await f.lease();
      await f.engine.extend({ ...second!, leaseMs: null, progress: { percent: 5 } }, f.clock.now());
      f.clock.advance(10);
      await f.settle(second!, done);
      const all = await events(f);
      assert.deepEqual(topicsOf(all), ['work queued', 'work running', 'work queued', 'work running', 'work succeeded']);
      const [record] = await f.engine.recordsOf([lease!.seq]);
      const id = headOf(all[0]!)['subject']!;
      assert.ok(id.startsWith(record!.nonce));
      assert.deepEqual(
        all.map((event) => headOf(event)['id']),
        [1, 2, 3, 4, 6].map((version) => `${id}_${version}`),
      );
      const end = all.at(-1)!;
      assert.deepEqual(headOf(end), {
        specversion: '1.0',
        id: `${id}_6`,
        source: '/v1/operations',
        type: 'waitless.operation.succeeded',
        subject: id,
        time: new Date(record!.finishedAt!).toISOString(),
        datacontenttype: 'application/json',
      });
      const {
        eventId,
        status,
        version,
        attempt,
        correlationId,
        service,
        resourceLocation,
        error,
        done: over,
      } = dataOf(end);
      assert.deepEqual(
        { eventId, status, version, attempt, correlationId, service, resourceLocation, error, over },
        {
          eventId: `${id}_6`,
          status: 'succeeded',
          version: 6,
          attempt: 2,
          correlationId: 'mine',
          service: 'work',
          resourceLocation: `/v1/operations/${id}/result`,
          error: null,
          over: true,
        },
      );
      const { lastAttempt, attempt: used } = dataOf(all[2]!);
      assert.deepEqual(
        [used, lastAttempt],
        [1, { attempt: 1, outcome: 'later', backendStatus: 200, detail: 'not "yet"' }],
      );
      assert.deepEqual(new Set(all.map(({ orderingKey }) => orderingKey)), new Set([id]));
      const positions = all.map(({ position }) => position);
      assert.deepEqual(
        positions,
        positions.toSorted((a, b) => a - b),
      );
    },
  },
  {
    name: 'an operation that fails, is cancelled or runs out of time tells of it, and one that is leased as it is stored tells of both',
    async run(f) {
      await f.engine.publishTransitions({ work: true });
      await f.submit();
      const [lease] = await f.lease();
      await f.settle(lease!, { to: 'failed', error: { code: 'e', message: 'm' }, result: null });
      const cancelled = await f.submission();
      const [outcome] = await f.engine.submit([cancelled], f.clock.now());
      const seq = outcome!.kind === 'new' ? outcome!.seq : 0;
      await f.engine.cancel({ seq, nonce: cancelled.nonce, namespace: 'default' }, f.clock.now());
      const late = await f.submit({ deadlineAt: f.clock.now() + 1000 });
      f.clock.advance(1000);
      const { due } = await f.engine.sweep(f.clock.now(), { removeExpired: false });
      const transition = { to: 'failed' as const, error: { code: 'timed-out', message: 'm' }, result: null };
      await f.engine.applyClock([{ seq: late, version: due[0]!.version, transition }], f.clock.now());
      const waiting = f.lease({ wait: true, max: 1 });
      await f.submit();
      await waiting;
      assert.deepEqual(topicsOf(await events(f)), [
        'work queued',
        'work running',
        'work failed',
        'work queued',
        'work cancelled',
        'work queued',
        'work failed',
        'work queued',
        'work running',
      ]);
      const [failed] = await events(f, ['operations.work.failed']);
      const { code, message } = dataOf(failed!)['error'] as Record<string, string>;
      assert.deepEqual({ code, message }, { code: 'e', message: 'm' });
    },
  },
  {
    name: 'nothing is written where nobody wants it, and the history begins when a subscription names the topics',
    async run(f) {
      await finish(f);
      assert.deepEqual(await events(f, ['**']), []);
      assert.deepEqual(await f.engine.topics(), []);
      const from = await f.engine.saveSubscription(document({ topics: ['**', 'orders.*'] }), 'now');
      await finish(f);
      assert.deepEqual(await events(f, ['**']), [], 'a pattern that begins with a wildcard means what others publish');
      await f.engine.saveSubscription(document({ topics: ['operations.*.succeeded'] }), 'now');
      const start = await f.engine.saveSubscription(document({ name: 'all' }), 'start');
      const now = await f.engine.saveSubscription(document({ name: 'new' }), 'now');
      await finish(f);
      assert.deepEqual(topicsOf(await events(f)), ['work queued', 'work running', 'work succeeded']);
      const page = await f.engine.read({
        namespace: 'default',
        topics: ['operations.**'],
        after: 0,
        limit: 1,
        maxBytes: 1,
      });
      assert.ok(page.removedTo > start.subscription.readTo, 'who wants the beginning is told that it is not there');
      assert.ok(page.removedTo <= now.subscription.readTo, 'who begins now has missed nothing');
      assert.equal(from.kind, 'made');
      for (const name of ['ends', 'all', 'new']) await f.engine.removeSubscription({ namespace: 'default', name });
      await finish(f);
      assert.equal((await events(f)).length, 3, 'and it ends with the last that wants it');
    },
  },
  {
    name: 'only the queues that are wanted publish: those of a namespace for its subscription, those of a service in all, new ones from their first operation',
    async run(f) {
      await f.engine.saveSubscription(document({ topics: ['operations.work.*'] }), 'now');
      await f.submit();
      await f.submit({ queue: (await f.engine.queue('default', 'other')).id });
      await f.submit({ queue: (await f.engine.queue('shop', 'work')).id });
      assert.deepEqual(topicsOf(await events(f, ['**'])), ['work queued']);
      assert.deepEqual(await events(f, ['**'], 'shop'), []);
      await f.engine.publishTransitions({ other: true, work: false });
      await f.submit({ queue: (await f.engine.queue('shop', 'other')).id });
      assert.deepEqual(topicsOf(await events(f, ['**'], 'shop')), ['other queued']);
      await f.submit();
      assert.equal((await events(f)).length, 2, 'the subscription still wants it');
    },
  },
  {
    name: 'after any changes of subscriptions and services the queues publish that somebody still wants, and no others',
    async run(f) {
      const queues = ['default', 'shop'].flatMap((namespace) =>
        ['work', 'other'].map((service) => [namespace, service] as const),
      );
      const patterns: Record<string, readonly string[]> = {
        'orders.*': [],
        '**': [],
        'operations.work.*': ['work'],
        'operations.other.failed': ['other'],
        'operations.#': ['work', 'other'],
        'operations.*.running': ['work', 'other'],
        'operations.nobody.*': [],
      };
      const all = Object.keys(patterns);
      const subscribed = new Map<string, string[]>();
      const services = new Set<string>();
      const wanted = (): string[] =>
        queues
          .filter(
            ([namespace, service]) =>
              services.has(service) ||
              [...subscribed].some(
                ([key, topics]) =>
                  key.startsWith(`${namespace} `) && topics.some((topic) => patterns[topic]!.includes(service)),
              ),
          )
          .map(([namespace, service]) => `${namespace}/${service}`);
      // A walk through the changes that is the same each time.
      let at = 7;
      const draw = (below: number): number => {
        at = (at * 1103515245 + 12345) % 2147483648;
        return Math.floor((at / 2147483648) * below);
      };
      for (let step = 0; step < 60; step++) {
        const [namespace] = queues[draw(queues.length)]!;
        const name = ['a', 'b'][draw(2)]!;
        const kind = draw(8);
        if (kind === 0) {
          const service = ['work', 'other'][draw(2)]!;
          const wants = draw(2) === 1;
          if (wants) services.add(service);
          else services.delete(service);
          await f.engine.publishTransitions({ [service]: wants });
        } else if (kind < 3) {
          subscribed.delete(`${namespace} ${name}`);
          await f.engine.removeSubscription({ namespace, name });
        } else {
          const topics = [...new Set([all[draw(all.length)]!, all[draw(all.length)]!])];
          subscribed.set(`${namespace} ${name}`, topics);
          await f.engine.saveSubscription(document({ namespace, name, topics }), 'now');
        }
        const told = [...subscribed].map(([key, topics]) => `${key}: ${topics.join(' ')}`).join(', ');
        assert.deepEqual(await publishing(f, queues), wanted(), `step ${step}: ${told}; ${[...services].join(' ')}`);
      }
    },
  },
  {
    name: 'an event of a transition outlives its operation, and is claimed, leased and kept as every other',
    async run(f) {
      const { subscription } = await f.engine.saveSubscription(document({ topics: ['operations.*.succeeded'] }), 'now');
      const seq = await finish(f);
      const [record] = await f.engine.recordsOf([seq]);
      assert.equal(await f.engine.purge({ ...record!, namespace: 'default' }), true);
      const [event] = await events(f, ['operations.*.succeeded']);
      assert.equal(dataOf(event!)['status'], 'succeeded');
      const { number, readTo } = subscription;
      const { position, orderingKey } = event!;
      const lease = { kind: 'pull' as const, worker: null, leaseMs: 1000 };
      const claimed = await f.engine.claim(
        {
          subscription: number,
          readFrom: readTo,
          readTo: position,
          take: [{ position, orderingKey }],
          ordered: true,
          ...lease,
        },
        f.clock.now(),
      );
      assert.equal(claimed.kind === 'claimed' && claimed.leases.length, 1);
      const dead = { to: 'dead' as const, code: 'x', detail: null };
      await f.engine.settleEvents([{ subscription: number, position, leaseNo: 1, verdict: dead }], f.clock.now());
      const [open] = await f.engine.openEvents({ subscription: number, states: ['dead'], limit: 5 });
      assert.deepEqual(open!.event && [open!.event.head, Buffer.from(open!.event.body)], [
        event!.head,
        Buffer.from(event!.body),
      ]);
      await f.engine.redriveEvents({ subscription: number, limit: 5 }, f.clock.now());
      const [due] = await f.engine.leaseDue({ subscription: number, max: 1, maxBytes: 1e6, ...lease }, f.clock.now());
      assert.equal(due!.event.head, event!.head);
    },
  },
  {
    name: 'what is wanted, and what was written, outlives a restart; what a dead process had under way is told as queued again',
    durableOnly: true,
    async run(f) {
      await f.engine.publishTransitions({ work: true });
      await f.submit();
      await f.lease({ kind: 'push' });
      await f.reopen();
      assert.deepEqual(topicsOf(await events(f)), ['work queued', 'work running', 'work queued']);
      await f.lease();
      assert.deepEqual(topicsOf(await events(f)).slice(3), ['work running']);
    },
  },
];
