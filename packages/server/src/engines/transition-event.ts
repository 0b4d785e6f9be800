// An operation's change of state as an event of its topic: the same id and the same words as on every other outlet. Pure, and one for all engines.
//
// It stands by itself: who reads it later than the operation is kept still has all of it. Addresses in it are relative, since nobody knows yet under which
// one its readers know the server. It has no result: that is fetched at the operation's `resourceLocation`, as long as it is kept.
import { operationIdOf } from '../core/ids.ts';
import { eventIdOf, eventJson, eventsOf } from '../core/operation-events.ts';
import type { OperationRecord, TimelineRow } from '../engine/engine.ts';
import { isoTime } from '../lib/clock.ts';
import { isPlain, TopicPatterns } from '../lib/topic-trie.ts';

export interface TransitionEvent {
  topic: string;
  head: string;
  body: Buffer;
  /** The operation's id: who takes in order gets the events of one operation in order. */
  orderingKey: string;
}

const firstWord = 'operations';
const statuses = ['queued', 'running', 'succeeded', 'failed', 'cancelled'] as const;

/** What the change to this version is told as. The rows are those of this version and the one before. */
export function transitionEvent(
  record: OperationRecord,
  rows: readonly TimelineRow[],
  { version, shard }: { version: number; shard: number },
): TransitionEvent {
  const id = operationIdOf(record, shard);
  const [event] = eventsOf(record, rows, { id, after: version - 1, upTo: version });
  if (!event) throw new Error(`operation ${id} has no version ${version}`);
  const head = JSON.stringify({
    specversion: '1.0',
    id: eventIdOf(id, version),
    source: '/v1/operations',
    type: `waitless.operation.${event.kind}`,
    subject: id,
    time: isoTime(event.at),
    datacontenttype: 'application/json',
  });
  return {
    topic: `${firstWord}.${record.service}.${event.kind}`,
    head,
    body: Buffer.from(eventJson(event, { id, base: '' })),
    orderingKey: id,
  };
}

/** Topics of a service's transitions. */
export const transitionTopics = (service: string): string[] =>
  statuses.map((status) => `${firstWord}.${service}.${status}`);

/** Whether a subscription to this topic may want transitions of some service. */
export const isOfTransitions = (topic: string): boolean => topic.split('.')[0] === firstWord;

/**
 * Of which services subscriptions to these topics want the transitions to be written. A pattern must begin with the word itself: one that begins with
 * a wildcard means what others publish, and must not write events of the operations that it starts.
 */
export function wantsTransitions(topics: readonly string[]): (service: string) => boolean {
  const patterns = new TopicPatterns<true>();
  for (const topic of topics) if (isOfTransitions(topic)) patterns.add(topic, true);
  return (service) => transitionTopics(service).some((topic) => patterns.matching(topic).size > 0);
}

/** The only services whose transitions these topics may want; undefined where that may be any. */
export function servicesOfTransitions(topics: readonly string[]): string[] | undefined {
  const services = topics.filter(isOfTransitions).map((topic) => topic.split('.')[1] ?? '');
  return services.every(isPlain) ? services : undefined;
}
