// Transitions of operations as events: which queues publish them, and the triggers that write them in the commit of the change.
//
// Whoever changes what decides it, a subscription, a service's wish or a new queue, holds one lock and decides for the queues that it may concern, so that
// nodes agree. A change that concerns none holds it together with others of its kind: who follows no transitions waits for nobody, however many queues there
// are. Making a trigger waits for the statements that are under way on the table: from its commit on no change is missed, on any node.
import type { LoggedEvent } from '../../engine/topics.ts';
import type { TimelineRow } from '../../engine/engine.ts';
import { type RecordColumns, toRecord } from '../rows.ts';
import {
  isOfTransitions,
  servicesOfTransitions,
  transitionEvent,
  transitionTopics,
  wantsTransitions,
} from '../transition-event.ts';
import { int4Array, textArray } from './arrays.ts';
import type { Connection, Row, Statement } from './connections.ts';
import { toTimelineRow } from './read.ts';
import { inTransaction } from './transaction.ts';

const shard = 0;

/** The number of the lock is any that nothing else takes. */
const lock: Statement = { name: 'publishing-lock', text: 'SELECT pg_advisory_xact_lock(7065482310946)' };
const lockShared: Statement = {
  name: 'publishing-lock-shared',
  text: 'SELECT pg_advisory_xact_lock_shared(7065482310946)',
};
const addServices: Statement = {
  name: 'publishers-add',
  text: 'INSERT INTO publisher (service) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING',
};
const removeServices: Statement = {
  name: 'publishers-remove',
  text: 'DELETE FROM publisher WHERE service = ANY ($1::text[])',
};
const publishersAmong: Statement = {
  name: 'publishers-among',
  text: 'SELECT service FROM publisher WHERE service = ANY ($1::text[])',
};
const followedIn: Statement = {
  name: 'topics-followed',
  text: `SELECT namespace, topics FROM subscription WHERE namespace = ANY ($1::text[]) AND topics LIKE '%"operations.%'`,
};
const topicsBefore: Statement = {
  name: 'subscription-topics',
  text: 'SELECT topics FROM subscription WHERE namespace = $1 AND name = $2',
};
const queueColumns = 'SELECT id, namespace, service, publishes FROM queue';
const queuesIn: Statement = { name: 'queues-in', text: `${queueColumns} WHERE namespace = $1` };
const queuesNamed: Statement = {
  name: 'queues-named',
  text: `${queueColumns} WHERE namespace = $1 AND service = ANY ($2::text[])`,
};
const queuesOfServices: Statement = {
  name: 'queues-of-services',
  text: `${queueColumns} WHERE service = ANY ($1::text[])`,
};
const toggle: Statement = {
  name: 'queues-toggle',
  text: 'UPDATE queue SET publishes = NOT publishes WHERE id = ANY ($1::int4[])',
};
/** Who wants what came before is told that it is not there. Of the beginning of an empty log nothing could be missing. */
const begin: Statement = {
  name: 'topics-begin',
  text: `
WITH input AS MATERIALIZED (
  SELECT * FROM unnest($1::text[], $2::text[]) AS i (namespace, name)
), logs AS (
  INSERT INTO log AS l (namespace, last) SELECT DISTINCT namespace, 1 FROM input ORDER BY namespace
  ON CONFLICT (namespace) DO UPDATE SET last = greatest(l.last, 1) RETURNING l.id, l.namespace, l.last
)
INSERT INTO topic AS t (log, name, removed_to) SELECT l.id, i.name, l.last FROM input i JOIN logs l ON l.namespace = i.namespace ORDER BY l.id, i.name
ON CONFLICT (log, name) DO UPDATE SET removed_to = excluded.removed_to`,
};
/** Makes or drops the triggers, where it has to. */
const switchOver: Statement = {
  name: 'switch-transitions',
  text: 'SELECT switch_transitions(EXISTS (SELECT FROM queue WHERE publishes))',
};

interface NamedQueue {
  namespace: string;
  service: string;
}

interface KnownQueue extends NamedQueue {
  id: number;
  publishes: boolean;
}

async function queuesBy(connection: Connection, statement: Statement, values: unknown[]): Promise<KnownQueue[]> {
  const rows = (await connection.run(statement, values)) as [number, string, string, boolean][];
  return rows.map(([id, namespace, service, publishes]) => ({ id, namespace, service, publishes }));
}

const unique = (texts: readonly string[]): Buffer => textArray([...new Set(texts)]);

/** Of which of these queues somebody wants the transitions. */
async function wishes(connection: Connection, of: readonly NamedQueue[]): Promise<(queue: NamedQueue) => boolean> {
  if (of.length === 0) return () => false;
  const publishers = await connection.run(publishersAmong, [unique(of.map(({ service }) => service))]);
  const wanting = new Set(publishers.map(([service]) => service as string));
  const followed = await connection.run(followedIn, [unique(of.map(({ namespace }) => namespace))]);
  const topics = Map.groupBy(followed as [string, string][], ([namespace]) => namespace);
  const following = new Map(
    [...topics].map(([namespace, rows]) => [
      namespace,
      wantsTransitions(rows.flatMap(([, text]) => JSON.parse(text) as string[])),
    ]),
  );
  return ({ namespace, service }) => wanting.has(service) || following.get(namespace)?.(service) === true;
}

/** Has those publish that are wanted, and the others not. @param isNew they have lost no history, for there was none */
async function decide(
  connection: Connection,
  {
    queues,
    wants,
    isNew = false,
  }: { queues: readonly KnownQueue[]; wants: (queue: NamedQueue) => boolean; isNew?: boolean },
): Promise<void> {
  const changed = queues.filter((queue) => queue.publishes !== wants(queue));
  if (changed.length === 0) return;
  await connection.run(toggle, [int4Array(changed.map(({ id }) => id))]);
  const begun = isNew ? [] : changed.filter(({ publishes }) => !publishes);
  const names = begun.flatMap(({ namespace, service }) =>
    transitionTopics(service).map((topic) => ({ namespace, topic })),
  );
  if (names.length > 0)
    await connection.run(begin, [
      textArray(names.map(({ namespace }) => namespace)),
      textArray(names.map(({ topic }) => topic)),
    ]);
  await connection.run(switchOver, []);
}

/** Decides for the queues that a subscription may want by its topics, or did before. Of all others nothing changes. */
async function decideFor(
  connection: Connection,
  { namespace, before, after }: { namespace: string; before: readonly string[]; after: readonly string[] },
): Promise<void> {
  const services = servicesOfTransitions([...before, ...after]);
  const queues = services
    ? await queuesBy(connection, queuesNamed, [namespace, unique(services)])
    : await queuesBy(connection, queuesIn, [namespace]);
  const itself = wantsTransitions(after);
  // Only of what it wants no more does it matter who else does.
  const others = await wishes(
    connection,
    queues.filter(({ publishes, service }) => publishes && !itself(service)),
  );
  await decide(connection, { queues, wants: (queue) => itself(queue.service) || others(queue) });
}

interface SubscriptionChange<T> {
  namespace: string;
  name: string;
  /** What it is to subscribe to from now on. */
  topics: readonly string[];
  change: () => Promise<T>;
  /** What else belongs to it once it is decided. */
  afterwards?: (answer: T) => Promise<unknown>;
}

/** Carries out a change of a subscription, and decides which queues publish, in one commit; whether there was anything to decide. */
export async function publishingAfter<T>(
  connection: Connection,
  { namespace, name, topics, change, afterwards }: SubscriptionChange<T>,
): Promise<{ answer: T; isDecided: boolean }> {
  const read = async (): Promise<string[]> => {
    const [row] = await connection.run(topicsBefore, [namespace, name]);
    return row ? (JSON.parse(row[0] as string) as string[]) : [];
  };
  if (!topics.some(isOfTransitions)) {
    const done = await inTransaction(connection, async () => {
      await connection.run(lockShared, []);
      // Nobody gives it topics of transitions while this lock is held.
      return (await read()).some(isOfTransitions) ? undefined : { answer: await change() };
    });
    if (done) return { ...done, isDecided: false };
  }
  return inTransaction(connection, async () => {
    await connection.run(lock, []);
    const before = await read();
    const answer = await change();
    await decideFor(connection, { namespace, before, after: topics });
    await afterwards?.(answer);
    return { answer, isDecided: true };
  });
}

/**
 * Makes a queue, and says whether it publishes. Any number are made at once, unless somebody decides: only one that is wanted needs a decision, and is made
 * with it.
 */
export async function makeQueue(
  connection: Connection,
  queue: NamedQueue,
  change: () => Promise<unknown>,
): Promise<boolean> {
  const isWanted = await inTransaction(connection, async () => {
    await connection.run(lockShared, []);
    const wanted = (await wishes(connection, [queue]))(queue);
    if (!wanted) await change();
    return wanted;
  });
  if (isWanted)
    await inTransaction(connection, async () => {
      await connection.run(lock, []);
      await change();
      const queues = await queuesBy(connection, queuesNamed, [queue.namespace, textArray([queue.service])]);
      await decide(connection, { queues, wants: await wishes(connection, queues), isNew: true });
    });
  return isWanted;
}

export function setPublishers(connection: Connection, wanted: Readonly<Record<string, boolean>>): Promise<void> {
  const names = (wants: boolean): Buffer => textArray(Object.keys(wanted).filter((name) => wanted[name] === wants));
  return inTransaction(connection, async () => {
    await connection.run(lock, []);
    await connection.run(addServices, [names(true)]);
    await connection.run(removeServices, [names(false)]);
    const queues = await queuesBy(connection, queuesOfServices, [textArray(Object.keys(wanted))]);
    await decide(connection, { queues, wants: await wishes(connection, queues) });
  });
}

interface Told {
  version: number;
  service: string;
  columns: RecordColumns;
  rows: Row[] | null;
}

/** An event as it is read: of a transition its columns are there, and it is made of them. */
export function readableEvent(event: LoggedEvent): LoggedEvent {
  if (event.head !== '') return event;
  const { version, service, columns, rows } = JSON.parse(Buffer.from(event.body).toString()) as Told;
  const [seq, nonce, queue, ...rest] = columns;
  const own: RecordColumns = [seq, nonce.replaceAll('-', ''), queue, ...rest];
  const record = toRecord(own, { id: queue, namespace: '', service });
  const timeline: TimelineRow[] = (rows ?? []).map(toTimelineRow);
  const { head, body, orderingKey } = transitionEvent(record, timeline, { version, shard });
  return { ...event, head, body, orderingKey };
}

/** Queues that publish, for hints to those who follow the log. */
export const publishingQueues: Statement = {
  name: 'publishing-queues',
  text: 'SELECT id FROM queue WHERE publishes',
};
