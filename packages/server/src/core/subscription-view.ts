// What people see of a subscription: its document, its state, how far behind it is, and the events that it has taken and not done with.
import type { SubscriptionConfig } from '../config/api-subscription.ts';
import type { OpenEvent, SubscriptionEngine, SubscriptionRecord } from '../engine/subscriptions.ts';
import type { TopicEngine, TopicRecord } from '../engine/topics.ts';
import { type Clock, isoTime } from '../lib/clock.ts';
import { TopicNames } from '../lib/topic-trie.ts';
import { structuredJson } from './event-words.ts';
import type { SubscriptionKey, Subscriptions } from './subscriptions.ts';

/** Events of its topics that a subscription has not looked at; what its filter will leave out counts with them. */
export interface Lag {
  atLeast: number;
  atMost: number;
}

export interface SubscriptionViewDependencies {
  engine: Pick<TopicEngine, 'topics' | 'read'> &
    Pick<SubscriptionEngine, 'openEvents' | 'redriveEvents' | 'forgetDead'>;
  subscriptions: Subscriptions;
  /** The document as people may see it. */
  shown: (config: SubscriptionConfig) => Record<string, unknown>;
  clock: Clock;
}

export interface OpenPage {
  items: OpenEvent[];
  /** Position of the last one, where there may be more. */
  next: number | null;
}

/** Counted one by one up to here, in one look that reads little of their data. */
const mostCounted = 1000;
const countedBytes = 256 * 1024;
/** Their data comes along, which may be 1 MB each. */
const openStep = 16;
/** Of dead letters in one answer: it is built in memory. */
const pageBytes = 4 * 1024 * 1024;
/** In one go, so that others are not held up. */
const changeStep = 500;
const mostDead = 1_000_000;

export class SubscriptionView {
  readonly #d: SubscriptionViewDependencies;

  constructor(dependencies: SubscriptionViewDependencies) {
    this.#d = dependencies;
  }

  async one(key: SubscriptionKey): Promise<Record<string, unknown>> {
    const { subscriptions, engine } = this.#d;
    const [record, topics] = await Promise.all([subscriptions.record(key), engine.topics(key.namespace)]);
    return this.#shown(record, await this.#counted(record, lagOf(record, namesOf(topics))));
  }

  async all(namespace: string): Promise<Record<string, unknown>[]> {
    const { subscriptions, engine } = this.#d;
    const [records, topics] = await Promise.all([subscriptions.list(namespace), engine.topics(namespace)]);
    const names = namesOf(topics);
    return records.map((record) => this.#shown(record, lagOf(record, names)));
  }

  #shown(record: SubscriptionRecord, lag: Lag): Record<string, unknown> {
    const { subscriptions, shown, clock } = this.#d;
    const { name, paused, blockedUntil, readTo, waiting, sending, held, dead, oldestOpen, oldestOpenAt } = record;
    const problem = subscriptions.problemOf(record.number);
    const isBlocked = blockedUntil !== null && blockedUntil > clock.now();
    let document: Record<string, unknown> | null = null;
    try {
      document = shown(subscriptions.configOf(record));
    } catch {
      // Its problem tells why.
    }
    return {
      name,
      state: problem !== undefined ? 'unusable' : paused ? 'paused' : isBlocked ? 'blocked' : 'active',
      ...(problem === undefined ? {} : { problem }),
      blockedUntil: isBlocked ? isoTime(blockedUntil) : null,
      createdAt: isoTime(record.createdAt),
      savedAt: isoTime(record.savedAt),
      readTo,
      lag,
      oldestUnacknowledged: oldestOpen === null ? null : { position: oldestOpen, since: isoTime(oldestOpenAt) },
      open: { waiting, sending, held, dead },
      document,
    };
  }

  /** Counters tell a range; where that is wide, a look at the log narrows it. */
  async #counted({ namespace, topics, readTo }: SubscriptionRecord, lag: Lag): Promise<Lag> {
    if (lag.atLeast === lag.atMost) return lag;
    const page = await this.#d.engine.read({
      namespace,
      topics,
      after: readTo,
      limit: mostCounted,
      maxBytes: countedBytes,
    });
    const counted = page.events.length;
    if (page.readTo >= page.last) return { atLeast: counted, atMost: counted };
    return { atLeast: Math.max(lag.atLeast, counted), atMost: Math.max(lag.atMost, counted) };
  }

  /** In order of position. With their data they may be many bytes, so a page may be shorter than its limit. */
  async open(
    key: SubscriptionKey,
    {
      states,
      limit,
      after,
      withData,
    }: { states: readonly OpenEvent['state'][]; limit: number; after: number; withData: boolean },
  ): Promise<OpenPage> {
    const { number } = await this.#d.subscriptions.record(key);
    const items: OpenEvent[] = [];
    let bytes = 0;
    for (let from = after; ;) {
      const step = Math.min(openStep, limit + 1 - items.length);
      // oxlint-disable-next-line no-await-in-loop -- each step begins where the one before has ended
      const found = await this.#d.engine.openEvents({ subscription: number, states, limit: step, after: from });
      for (const one of found) {
        if (items.length === limit || bytes > pageBytes) return { items, next: items.at(-1)!.position };
        if (withData) bytes += one.event?.body.length ?? 0;
        // What nobody reads is not held until the page is whole.
        else if (one.event) one.event = { ...one.event, body: new Uint8Array(0) };
        items.push(one);
      }
      if (found.length < step) return { items, next: null };
      from = found.at(-1)!.position;
    }
  }

  /** Has dead letters tried again: these, or all there are now. How many. */
  async redrive(key: SubscriptionKey, positions: readonly number[] | undefined): Promise<number> {
    const { engine, clock } = this.#d;
    return this.#change(key, positions, (of) => engine.redriveEvents(of, clock.now()));
  }

  async forget(key: SubscriptionKey, positions: readonly number[] | undefined): Promise<number> {
    return this.#change(key, positions, (of) => this.#d.engine.forgetDead(of));
  }

  async #change(
    key: SubscriptionKey,
    positions: readonly number[] | undefined,
    change: (of: { subscription: number; positions?: readonly number[]; limit: number }) => Promise<number>,
  ): Promise<number> {
    const { number, dead } = await this.#d.subscriptions.record(key);
    if (positions) return change({ subscription: number, positions, limit: mostDead });
    let changed = 0;
    // No further than there were when this began: one that dies anew at once is not brought back without end.
    while (changed < dead) {
      const limit = Math.min(changeStep, dead - changed);
      // oxlint-disable-next-line no-await-in-loop -- in steps, so that others come in between
      const some = await change({ subscription: number, limit });
      if (some === 0) break;
      changed += some;
    }
    return changed;
  }
}

function namesOf(topics: readonly TopicRecord[]): TopicNames<TopicRecord> {
  const names = new TopicNames<TopicRecord>();
  for (const topic of topics) names.add(topic.name, topic);
  return names;
}

/** What the counters of the topics say, without a look at any event. Pure. */
export function lagOf(
  { topics, readTo }: Pick<SubscriptionRecord, 'topics' | 'readTo'>,
  names: Pick<TopicNames<TopicRecord>, 'matching'>,
): Lag {
  const lag = { atLeast: 0, atMost: 0 };
  for (const topic of new Set(topics.flatMap((pattern) => names.matching(pattern)))) {
    if (topic.last <= readTo || topic.events === 0) continue;
    // All that are kept came after what was removed.
    if (readTo <= topic.removedTo) lag.atLeast += topic.events;
    else lag.atLeast++;
    lag.atMost += readTo <= topic.removedTo ? topic.events : Math.min(topic.events, topic.last - readTo);
  }
  return lag;
}

/** One that was taken and is not done with, without its data. */
export const shownOpen = (one: OpenEvent): Record<string, unknown> => ({
  position: one.position,
  state: one.state,
  topic: one.event?.topic ?? null,
  orderingKey: one.event?.orderingKey ?? one.orderingKey,
  attempt: one.attempt,
  worker: one.worker,
  takenAt: isoTime(one.takenAt),
  nextAt: isoTime(one.nextAt),
  expiresAt: isoTime(one.leaseUntil),
  code: one.code,
  detail: one.detail,
});

/** JSON text of a dead letter, with its event; null where its topic had lost it before it was given up. */
export const deadLetterJson = ({ position, attempt, takenAt, code, detail, event }: OpenEvent): string =>
  `${JSON.stringify({
    position,
    topic: event?.topic ?? null,
    orderingKey: event?.orderingKey ?? null,
    attempt,
    takenAt: isoTime(takenAt),
    code,
    detail,
  }).slice(0, -1)},"event":${event ? structuredJson(event) : 'null'}}`;

/** Over all subscriptions, so that the number of series does not grow with them. */
export function subscriptionTotals(
  records: readonly SubscriptionRecord[],
  nowMs: number,
): { subscriptions: { state: string; count: number }[]; subscriptionEvents: { state: string; count: number }[] } {
  const states = { active: 0, paused: 0, blocked: 0 };
  const events = { waiting: 0, sending: 0, held: 0, dead: 0 };
  for (const { paused, blockedUntil, ...counts } of records) {
    states[paused ? 'paused' : (blockedUntil ?? 0) > nowMs ? 'blocked' : 'active']++;
    for (const state of ['waiting', 'sending', 'held', 'dead'] as const) events[state] += counts[state];
  }
  const listed = (sums: Record<string, number>) => Object.entries(sums).map(([state, count]) => ({ state, count }));
  return { subscriptions: listed(states), subscriptionEvents: listed(events) };
}
