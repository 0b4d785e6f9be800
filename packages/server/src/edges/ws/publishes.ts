// publish: events go to the log as those of HTTP do, and what comes in one turn shares a commit there.
import { WaitlessError } from '@waitless/protocol';
import type { BodyBudget } from '../../core/body-budget.ts';
import { checkTopic, type Publish, type PublishRequest } from '../../core/publish.ts';
import { type Naming, readEvents } from '../json/cloud-event.ts';
import { orderOf, publishedMembers } from '../json/published.ts';
import { fieldError, Shape } from '../json/shape.ts';
import type { Frame } from './read-frames.ts';
import type { Session } from './session.ts';

export interface PublishesDependencies {
  publish: Pick<Publish, 'publish'>;
  budget: BodyBudget;
}

export class Publishes {
  readonly #d: PublishesDependencies;

  constructor(dependencies: PublishesDependencies) {
    this.#d = dependencies;
  }

  /** The frame `publish`. Throws for one that is wrong. */
  async take({ connection }: Session, frame: Frame): Promise<void> {
    const { publish, budget } = this.#d;
    const requests = requestsIn(frame, connection.namespace);
    const bytes = requests.reduce((sum, { data }) => sum + data.length, 0);
    budget.take(bytes);
    connection.begin();
    try {
      connection.ok(frame.ref, `,${publishedMembers(await publish.publish(requests))}`);
    } catch (error) {
      connection.fail(error, frame.ref);
    } finally {
      budget.release(bytes);
      connection.done();
    }
  }
}

function requestsIn({ at, value, event, events }: Frame, namespace: string): PublishRequest[] {
  const shape = new Shape(value, at, ['topic', 'event', 'events']);
  const topic = shape.needText('topic', { most: Number.POSITIVE_INFINITY });
  checkTopic(topic);
  const source = event ?? events;
  if (!source || (event && events))
    throw fieldError('invalid-parameter', at, 'must have one of event, a CloudEvent, and events, an array of them');
  const type = `application/cloudevents${event ? '' : '-batch'}+json`;
  const read = readEvents(
    { body: source, headers: (name) => (name === 'content-type' ? type : undefined), rawHeaders: [] },
    unnamed,
  );
  return read.map(({ attributes, data }, i) => ({
    namespace,
    topic,
    attributes,
    data,
    orderingKey: orderOf(attributes, { ordering: null, at: event ? '' : `/${i}/` }),
    durability: 'stored',
  }));
}

/** A CloudEvent has its names already. */
const unnamed: Naming = {
  id: () => {
    throw new WaitlessError('invalid-cloudevent', 'the event has no id');
  },
  source: '',
  type: '',
  time: () => '',
};
