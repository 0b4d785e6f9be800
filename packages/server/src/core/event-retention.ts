// How long events are kept: by age and size of their topic, and longer while a durable subscription has still to read them, up to a hard limit.
import type { TopicRetention } from '../config/api-topic.ts';
import type { SubscriptionEngine } from '../engine/subscriptions.ts';
import type { TopicEngine, TopicRecord } from '../engine/topics.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import { pause, type Service } from '../lib/service.ts';
import { TopicNames } from '../lib/topic-trie.ts';
import type { TopicSettings } from './topic-settings.ts';

/** One cut that is to be made. Pure data, so that the decision is a table. */
export interface Cut {
  olderThan: number | null;
  keepBytes: number | null;
  notBeyond: number;
}

/** The soft limits go up to what everybody has read; the hard ones go over everybody. */
export function cutsOf(
  { oldestAt, bytes }: Pick<TopicRecord, 'oldestAt' | 'bytes'>,
  { retention, floor, nowMs }: { retention: TopicRetention; floor: number; nowMs: number },
): { soft: Cut | undefined; hard: Cut | undefined } {
  if (oldestAt === null) return { soft: undefined, hard: undefined };
  const { maxAgeMs, maxBytes, hardAgeMs, hardBytes } = retention;
  const cut = (ageMs: number, most: number | undefined, notBeyond: number): Cut | undefined => {
    const isOld = oldestAt < nowMs - ageMs;
    const isLarge = most !== undefined && bytes > most;
    if (!isOld && !isLarge) return undefined;
    return { olderThan: isOld ? nowMs - ageMs : null, keepBytes: isLarge ? most : null, notBeyond };
  };
  return {
    soft: floor > 0 ? cut(maxAgeMs, maxBytes, floor) : undefined,
    hard: cut(
      Math.max(hardAgeMs, maxAgeMs),
      hardBytes === undefined ? undefined : Math.max(hardBytes, maxBytes ?? 0),
      Number.MAX_SAFE_INTEGER,
    ),
  };
}

export interface EventRetentionDependencies {
  engine: Pick<TopicEngine, 'topics' | 'trim'> & Pick<SubscriptionEngine, 'subscriptions'>;
  settings: Pick<TopicSettings, 'read' | 'retentionOf'>;
  clock: Clock;
  log: Log;
  metrics: Pick<Metrics, 'eventsRemoved' | 'eventsMissed'>;
  /** Something is gone that may be at hand somewhere. */
  onRemoved?: () => void;
  everyMs?: number | undefined;
}

/** An event is kept this much longer than it has to be, at most; a round reads every topic's counters. */
const usualMs = 10_000;
/** Removed in one call: more and those who publish feel it. */
const trimEvents = 500;

export class EventRetention implements Service {
  readonly name = 'event-retention';
  readonly #d: EventRetentionDependencies;
  #stop = new AbortController();
  /** Ends the pause before the next round. */
  #due = new AbortController();
  #loop: Promise<void> | undefined;

  constructor(dependencies: EventRetentionDependencies) {
    this.#d = dependencies;
  }

  start(): Promise<void> {
    this.#stop = new AbortController();
    this.#loop = this.#run(this.#stop.signal);
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.soon();
    await this.#loop;
  }

  /** What is to be kept has changed: the next round begins as soon as this one is over. */
  soon(): void {
    this.#due.abort();
  }

  async #run(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      this.#due = new AbortController();
      await this.once(stop).catch((error: unknown) => this.#d.log.warn('event-retention.failed', { error }));
      if (!stop.aborted) await pause(this.#d.everyMs ?? usualMs, this.#due.signal);
    }
  }

  /** One round over all topics. */
  async once(stop?: AbortSignal): Promise<void> {
    const { engine, settings, clock, log, metrics } = this.#d;
    const [topics, subscriptions] = await Promise.all([engine.topics(), engine.subscriptions(), settings.read()]);
    const floors = floorsOf(topics, subscriptions);
    for (const topic of topics) {
      if (stop?.aborted) return;
      const floor = floors.get(topic.number) ?? Number.MAX_SAFE_INTEGER;
      const retention = settings.retentionOf({ namespace: topic.namespace, topic: topic.name });
      const { soft, hard } = cutsOf(topic, { retention, floor, nowMs: clock.now() });
      if (soft) metrics.eventsRemoved += await this.#cut(topic, soft, stop);
      if (!hard) continue;
      const missed = await this.#cut(topic, hard, stop);
      metrics.eventsRemoved += missed;
      if (missed === 0 || floor === Number.MAX_SAFE_INTEGER) continue;
      metrics.eventsMissed += missed;
      log.warn('events.missed', {
        namespace: topic.namespace,
        topic: topic.name,
        events: missed,
        detail:
          'the hard limit of the topic was reached before every subscription had read them; theirs go on after a reset',
      });
    }
  }

  async #cut({ number }: TopicRecord, cut: Cut, stop: AbortSignal | undefined): Promise<number> {
    let removed = 0;
    for (let more = true; more && !stop?.aborted;) {
      const step = await this.#d.engine.trim({ topic: number, ...cut, limit: trimEvents }, this.#d.clock.now());
      removed += step.removed;
      more = step.more;
    }
    if (removed > 0) this.#d.onRemoved?.();
    return removed;
  }
}

/** By topic the position up to which every durable subscription that reads it is done. */
export function floorsOf(
  topics: readonly Pick<TopicRecord, 'number' | 'namespace' | 'name'>[],
  subscriptions: readonly { namespace: string; topics: readonly string[]; readTo: number; oldestOpen: number | null }[],
): Map<number, number> {
  const names = new Map<string, TopicNames<number>>();
  for (const { namespace, name, number } of topics) {
    let of = names.get(namespace);
    if (!of) names.set(namespace, (of = new TopicNames()));
    of.add(name, number);
  }
  const floors = new Map<number, number>();
  for (const { namespace, topics: patterns, readTo, oldestOpen } of subscriptions) {
    const floor = Math.min(readTo, (oldestOpen ?? Number.MAX_SAFE_INTEGER) - 1);
    for (const pattern of patterns)
      for (const number of names.get(namespace)?.matching(pattern) ?? [])
        floors.set(number, Math.min(floors.get(number) ?? Number.MAX_SAFE_INTEGER, floor));
  }
  return floors;
}
