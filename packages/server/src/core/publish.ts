// Publish: facts go to the log of their namespace, each for every subscription that wants it, without knowing any of them.
import { hash } from 'node:crypto';
import type { Durability } from '@waitless/protocol';
import { WaitlessError } from '@waitless/protocol';
import type { NewEvent, TopicEngine } from '../engine/topics.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import { limitFields } from '../lib/rate-limit-fields.ts';
import type { Service } from '../lib/service.ts';
import { isTopicName, mostTopicLength } from '../lib/topic-trie.ts';
import type { Attributes } from './event-filter.ts';

export interface PublishRequest {
  namespace: string;
  topic: string;
  /** Of CloudEvents; id, source and type are there. */
  attributes: Attributes;
  data: Uint8Array;
  orderingKey: string | null;
  durability: Durability;
  /** Nobody else can have its id, so it is no repeat. */
  isNamedHere?: boolean;
}

export interface Published {
  /** The event's own. */
  id: string;
  position: number;
  /** It was published before, with this source and id: where it stands. */
  repeated: boolean;
}

/** How long a repeat of source and id is known: longer than any client goes on to repeat a publish, and each event costs a row for so long. */
export const knownForMs = 10 * 60_000;
/** Events of durability none that wait to be written: above, a stalled store would eat the memory of everyone; below, a short burst is refused. */
const mostForgotten = 10_000;
const mostForgottenBytes = 64 * 1024 * 1024;
/** Written in one go. */
const forgottenBatch = 500;

export interface PublishDependencies {
  engine: Pick<TopicEngine, 'append'>;
  clock: Clock;
  log: Log;
  metrics: Pick<Metrics, 'published'>;
}

/** Topics of transitions belong to the server: what others wrote there would be taken for the truth. */
const ownTopics = /^operations(?:\.|$)/;

/** Throws for what is no name of a topic. */
export function checkTopicName(topic: string): void {
  if (!isTopicName(topic))
    throw new WaitlessError(
      'invalid-name',
      `the topic ${JSON.stringify(topic.slice(0, 64))} must be words of letters, digits, "_" and "-" joined by dots, ${mostTopicLength} characters at most`,
      { members: { accepted: false } },
    );
}

/** Throws for a name that no event may be published under. */
export function checkTopic(topic: string): void {
  checkTopicName(topic);
  if (ownTopics.test(topic))
    throw new WaitlessError(
      'reserved-topic',
      `topics under operations. tell of operations and are published by the server alone; choose another name than ${topic.slice(0, 64)}`,
      { members: { accepted: false } },
    );
}

/** What a repeat would have too. Each part with its length, so that no two pairs share one. */
const identityOf = ({ source, id }: Attributes): string =>
  hash('sha256', `${String(source).length}:${String(source)}${String(id)}`, 'base64url');

export class Publish implements Service {
  readonly name = 'publish';
  readonly #d: PublishDependencies;
  readonly #forgotten: NewEvent[] = [];
  /** Of those that were forgotten, the ones that are being written. */
  #inHand = 0;
  #forgottenBytes = 0;
  #writing: Promise<void> | undefined;
  #isStopping = false;

  constructor(dependencies: PublishDependencies) {
    this.#d = dependencies;
  }

  /** Resolves once the promise of the durability holds; with `none` at once, and with nothing. All of one call are of one durability and one commit. */
  async publish(requests: readonly PublishRequest[]): Promise<Published[]> {
    const { engine, clock, metrics } = this.#d;
    const now = clock.now();
    const [first] = requests;
    if (!first) return [];
    // Those of one request are of one topic mostly.
    for (const [i, { topic }] of requests.entries()) if (topic !== requests[i - 1]?.topic) checkTopic(topic);
    const events = requests.map((request) => toEvent(request, now));
    if (first.durability === 'none') {
      this.#forget(events);
      metrics.published.none += events.length;
      return [];
    }
    const outcomes = await engine.append(events, now);
    metrics.published[first.durability] += outcomes.filter(({ kind }) => kind === 'appended').length;
    return outcomes.map((outcome, i) => {
      if (outcome.kind === 'refused') throw outcome.error;
      return {
        id: String(requests[i]!.attributes['id']),
        position: outcome.position,
        repeated: outcome.kind === 'repeated',
      };
    });
  }

  /** Nobody waits for it, and it is lost with the process where it is not written by then. */
  #forget(events: readonly NewEvent[]): void {
    const bytes = events.reduce((sum, { body }) => sum + body.length, 0);
    if (
      this.#forgotten.length + this.#inHand + events.length > mostForgotten ||
      this.#forgottenBytes + bytes > mostForgottenBytes
    )
      throw new WaitlessError(
        'queue-full',
        `the memory queue for durability none is full (${mostForgotten} events or ${mostForgottenBytes} bytes)`,
        {
          retryAfterSeconds: 1,
          members: { accepted: false },
          headers: limitFields({ name: 'memory-queue', quota: mostForgotten, remaining: 0, untilMs: 1000 }),
        },
      );
    for (const event of events) this.#forgotten.push(event);
    this.#forgottenBytes += bytes;
    this.#writing ??= this.#write();
  }

  async #write(): Promise<void> {
    const { engine, clock, log } = this.#d;
    // What comes in this turn goes together.
    await new Promise<void>((resolve) => void setImmediate(resolve));
    while (this.#forgotten.length > 0) {
      const batch = this.#forgotten.splice(0, forgottenBatch);
      this.#inHand = batch.length;
      try {
        // oxlint-disable-next-line no-await-in-loop -- one after another, so that their order stays
        const outcomes = await engine.append(batch, clock.now());
        const refused = outcomes.filter(({ kind }) => kind === 'refused').length;
        if (refused > 0) log.warn('publish.lost', { events: refused });
      } catch (error) {
        // A store that is away must not hold up a stop, one batch after another.
        const more = this.#isStopping ? this.#forgotten.splice(0) : [];
        log.warn('publish.lost', { events: batch.length + more.length, error });
      }
      this.#inHand = 0;
      this.#forgottenBytes -= batch.reduce((sum, { body }) => sum + body.length, 0);
    }
    this.#writing = undefined;
  }

  start(): Promise<void> {
    this.#isStopping = false;
    return Promise.resolve();
  }

  /** What nobody waits for is written all the same where that is possible. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#writing;
  }
}

function toEvent(
  { namespace, topic, attributes, data, orderingKey, durability, isNamedHere = false }: PublishRequest,
  now: number,
): NewEvent {
  return {
    namespace,
    topic,
    head: JSON.stringify(attributes),
    body: data,
    durability: durability === 'none' ? 'memory' : durability,
    orderingKey,
    identity: durability === 'none' || isNamedHere ? null : identityOf(attributes),
    knownUntil: now + knownForMs,
  };
}
