// Where an event comes from, for an operation that it starts: the conversation that goes on, and how many operations and events led to it, so that events
// that start operations whose events start operations come to an end.
import { WaitlessError } from '@waitless/protocol';
import type { Engine, RequestHead } from '../engine/engine.ts';
import type { LoggedEvent } from '../engine/topics.ts';
import { TopicPatterns } from '../lib/topic-trie.ts';
import type { Attributes } from './event-filter.ts';
import { attributesOf } from './event-taking.ts';
import type { Ids } from './ids.ts';

/** Attribute of events and, with `ce-` before it, field of the requests that they start: who publishes because of a request passes it on. */
export const hopsAttribute = 'waitlesshops';
/** Longer chains of service after service are unheard of; a loop in which each operation tells of three changes has started some thousands by then. */
export const mostHops = 8;

export interface EventOrigin {
  hops: number;
  correlationId: string | null;
}

const hopsOf = (value: unknown): number =>
  /^\d{1,9}$/.test(typeof value === 'number' || typeof value === 'string' ? String(value) : '') ? Number(value) : 0;

/** What must be visible ASCII is left out where it is not. */
const asCorrelationId = (value: unknown): string | null =>
  typeof value === 'string' && /^[\x20-\x7e]{1,255}$/.test(value) ? value : null;

/** A change of an operation's state tells of itself; its topic belongs to the server. */
const transitionsOf = (topic: string): string | undefined => /^operations\.([^.]+)\./.exec(topic)?.[1];

/** What a service is told of its own operations never starts another one of it. */
export const isOwnTransition = ({ topic }: Pick<LoggedEvent, 'topic'>, service: string): boolean =>
  transitionsOf(topic) === service;

/** Throws for a service that would start an operation for each change of its own operations. */
export function refuseOwnTransitions(service: string, topics: readonly string[]): void {
  for (const topic of topics) {
    if (!topic.startsWith('operations.')) continue;
    const patterns = new TopicPatterns<true>();
    patterns.add(topic, true);
    const all = ['queued', 'running', 'succeeded', 'failed', 'cancelled'];
    if (!all.every((status) => patterns.matching(`operations.${service}.${status}`).size === 0)) {
      const detail = `the topic ${topic} tells of the operations of ${service} itself, and each would start the next; take another service, or name the services whose operations are meant`;
      throw new WaitlessError('invalid-parameter', `/target/service: ${detail}`, {
        members: { errors: [{ pointer: '/target/service', detail }] },
      });
    }
  }
}

export class EventOrigins {
  readonly #engine: Pick<Engine, 'operation' | 'request'>;
  readonly #ids: Pick<Ids, 'operationKey'>;

  constructor({ engine, ids }: { engine: Pick<Engine, 'operation' | 'request'>; ids: Pick<Ids, 'operationKey'> }) {
    this.#engine = engine;
    this.#ids = ids;
  }

  async of(event: LoggedEvent, namespace: string): Promise<EventOrigin> {
    const attributes = attributesOf(event);
    const told = transitionsOf(event.topic) === undefined ? undefined : await this.#operation(attributes, namespace);
    return (
      told ?? {
        hops: hopsOf(attributes[hopsAttribute]),
        correlationId: asCorrelationId(attributes['correlationid']) ?? asCorrelationId(attributes['id']),
      }
    );
  }

  /** Of the operation that a transition tells of, by the request that it was started with; undefined where it is not kept any more. */
  async #operation({ subject }: Attributes, namespace: string): Promise<EventOrigin | undefined> {
    const key = this.#ids.operationKey(String(subject));
    const record = key && (await this.#engine.operation({ ...key, namespace }));
    const request = record && (await this.#engine.request(record.seq));
    if (!record || !request) return undefined;
    const { headers } = JSON.parse(request.head) as RequestHead;
    const field = headers.find(([name]) => name.toLowerCase() === `ce-${hopsAttribute}`);
    return { hops: hopsOf(field?.[1]), correlationId: record.correlationId ?? String(subject) };
  }
}
