// Transitions of operations as events, in the transaction of the change, for the queues of which somebody wants them.
import type { OperationRecord } from '../../engine/engine.ts';
import { isOfTransitions, transitionEvent, transitionTopics, wantsTransitions } from '../transition-event.ts';
import type { LogStatements } from './log.ts';
import type { ReadStatements } from './read.ts';
import type { Store } from './store.ts';

const shard = 0;

export interface TransitionStatements {
  /** An operation has changed its state: it is as it is told. */
  tell(seq: number, queue: number): void;
  /** It is new, and perhaps leased at once. */
  tellNew(seq: number, queue: number): void;
  publish(wanted: Readonly<Record<string, boolean>>): void;
  /** A subscription to these topics was saved, or (none) one was removed. */
  changed(topics: readonly string[]): void;
  /** Nothing of the group has happened. */
  rolledBack(): void;
}

export function transitionStatements(
  store: Store,
  {
    log,
    reads,
  }: { log: Pick<LogStatements, 'append' | 'begin'>; reads: Pick<ReadStatements, 'recordsOf' | 'timeline'> },
): TransitionStatements {
  const { db, publishing } = store;
  const services = db.prepare<[], string>('SELECT service FROM publisher').pluck();
  const add = db.prepare('INSERT OR IGNORE INTO publisher (service) VALUES (?)');
  const remove = db.prepare('DELETE FROM publisher WHERE service = ?');
  const subscriptions = db
    .prepare<[], [namespace: string, topics: string]>('SELECT namespace, topics FROM subscription')
    .raw();

  /** Some subscription may want transitions. */
  let isFollowed = false;

  /** To read all subscriptions for each that is saved would cost the square of them. */
  function changed(topics: readonly string[]): void {
    if (isFollowed || topics.some(isOfTransitions)) decideAnew();
  }

  function decideAnew(): void {
    const before = new Set(publishing);
    decide();
    for (const id of publishing) {
      const { namespace, service } = store.queues.get(id)!;
      if (!before.has(id)) log.begin(namespace, transitionTopics(service));
    }
  }

  function decide(): void {
    const wanting = new Set(services.all());
    const topics = new Map<string, string[]>();
    for (const [namespace, text] of subscriptions.all()) {
      const of = topics.get(namespace);
      if (of) of.push(...(JSON.parse(text) as string[]));
      else topics.set(namespace, JSON.parse(text) as string[]);
    }
    isFollowed = [...topics.values()].some((of) => of.some(isOfTransitions));
    const following = new Map([...topics].map(([namespace, of]) => [namespace, wantsTransitions(of)]));
    store.onQueue = ({ id, namespace, service }) => {
      if (wanting.has(service) || following.get(namespace)?.(service)) publishing.add(id);
    };
    publishing.clear();
    for (const queue of store.queues.values()) store.onQueue(queue);
  }
  decide();

  function write(record: OperationRecord, version: number): void {
    const rows = reads.timeline(record.seq, { from: version - 1, limit: 2 });
    const event = transitionEvent(record, rows, { version, shard });
    const outcome = log.append({
      ...event,
      namespace: record.namespace,
      memory: false,
      identity: null,
      knownUntil: 0,
    });
    // Without its event the change is none.
    if (outcome.kind === 'refused') throw Object.assign(new Error(outcome.error.message), { code: outcome.error.code });
  }

  return {
    tell(seq, queue) {
      if (!publishing.has(queue)) return;
      const [record] = reads.recordsOf([seq]);
      write(record!, record!.version);
    },
    tellNew(seq, queue) {
      if (!publishing.has(queue)) return;
      const [record] = reads.recordsOf([seq]);
      for (let version = 1; version <= record!.version; version++) write(record!, version);
    },
    publish(wanted) {
      for (const [service, wants] of Object.entries(wanted)) (wants ? add : remove).run(service);
      decideAnew();
    },
    changed,
    rolledBack: decide,
  };
}
