// The verbs of events: what a client does with topics.
import type { EventAttributes, EventData, NewTopicEvent } from './cloud-event.ts';
import { publish, type PublishedEvent, type PublishOptions } from './publish.ts';
import type { Seams } from './seams.ts';
import type { StandardSchema } from './standard-schema.ts';
import { type Topic, topicOf } from './topic.ts';
import { history, type HistoryOptions, type HistoryPage } from './topics.ts';
import type { Wire } from './wire.ts';

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
  readonly topics: {
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
    topics: {
      history: (topic, options) => history(wire, topic, options),
    },
  };
}
