// The verbs of events: what a client does with topics and subscriptions.
import { type ConsumeOptions, type Consumer, consume, type EventHandler } from './consume.ts';
import type { EventAttributes, EventData, NewTopicEvent } from './cloud-event.ts';
import { publish, type PublishedEvent, type PublishOptions } from './publish.ts';
import type { Seams } from './seams.ts';
import type { StandardSchema } from './standard-schema.ts';
import { type LiveEvent, subscribe, type SubscribeOptions } from './subscribe.ts';
import { type SubscriptionVerbs, subscriptionVerbs } from './subscriptions.ts';
import { type Topic, topicOf } from './topic.ts';
import {
  getTopic,
  history,
  type HistoryOptions,
  type HistoryPage,
  listTopics,
  setTopic,
  type TopicSettings,
  type TopicSummary,
} from './topics.ts';
import type { Wire } from './wire.ts';

interface Abortable {
  signal?: AbortSignal | undefined;
}

export interface EventVerbs {
  /**
   * Publishes an event: text and bytes as they are, anything else as JSON. Resolves once it is stored for every subscription there is. A lost connection
   * is no reason to publish twice: the event keeps its id, and what was stored is not stored again.
   */
  publish(topic: string, data?: EventData, options?: EventAttributes & PublishOptions): Promise<PublishedEvent>;
  /** Up to 1,000 events as one, in their order: all of them are stored, or none is. */
  publishAll(topic: string, events: readonly NewTopicEvent[], options?: PublishOptions): Promise<PublishedEvent[]>;
  /** A topic whose data is typed and checked by a schema of any Standard Schema library. */
  topic<Schema extends StandardSchema<unknown, unknown>>(name: string, schema: Schema): Topic<Schema>;
  /**
   * The events of a topic, or of all that a pattern matches (`*` one word, `**` any number), as they happen: for as long as one follows, and for this one
   * alone. Lost connections are taken up without a gap. What must not be missed while nobody follows is for `consume`.
   */
  subscribe(topic: string, options?: SubscribeOptions): AsyncIterable<LiveEvent>;
  /**
   * Takes and does the events of a subscription that the server keeps (one with the target `{ pull: true }`), from now until it is stopped: each at least
   * once, whoever was away meanwhile. The consumers of one subscription share its events.
   */
  consume(subscription: string, handler: EventHandler, options?: ConsumeOptions): Consumer;
  readonly subscriptions: SubscriptionVerbs;
  readonly topics: {
    /** By name. */
    list(options?: Abortable): Promise<TopicSummary[]>;
    /** Throws `not-found` where nothing was published yet and nothing is set. */
    get(topic: string, options?: Abortable): Promise<TopicSummary>;
    /** How long and how much a topic keeps; what is left out is as for every topic. */
    set(topic: string, settings: TopicSettings, options?: Abortable): Promise<TopicSummary>;
    /** One page of what is kept of a topic or a pattern of topics, oldest first. */
    history(topic: string, options?: HistoryOptions): Promise<HistoryPage>;
  };
}

export function eventVerbs({ wire, seams }: { wire: Wire; seams: Seams }): EventVerbs {
  const publishOne: EventVerbs['publish'] = async (topic, data, options) => {
    const [published] = await publish({ wire, seams }, topic, { events: [{ ...options, data }], options });
    return published!;
  };
  return {
    publish: publishOne,
    publishAll: (topic, events, options) => publish({ wire, seams }, topic, { events, options }),
    topic: (name, schema) => topicOf(name, schema, publishOne),
    subscribe: (topic, options = {}) => subscribe({ wire, seams }, topic, options),
    consume: (subscription, handler, options = {}) => consume({ wire, seams }, { subscription, handler, options }),
    subscriptions: subscriptionVerbs(wire),
    topics: {
      list: ({ signal } = {}) => listTopics(wire, signal),
      get: (topic, { signal } = {}) => getTopic(wire, topic, signal),
      set: (topic, settings, { signal } = {}) => setTopic(wire, topic, { settings, signal }),
      history: (topic, options) => history(wire, topic, options),
    },
  };
}
