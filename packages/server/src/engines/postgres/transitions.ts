// Transitions of operations as events: which queues publish them, and the triggers that write them in the commit of the change.
//
// Whoever changes what decides it, a subscription, a service's wish or a new queue, holds one lock and decides for all queues, so that nodes agree. Making a
// trigger waits for the statements that are under way on the table: from its commit on no change is missed, on any node.
import type { LoggedEvent } from '../../engine/topics.ts';
import type { TimelineRow } from '../../engine/engine.ts';
import { type RecordColumns, toRecord } from '../rows.ts';
import { transitionEvent, transitionTopics, wantsTransitions } from '../transition-event.ts';
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
const services: Statement = { name: 'publishers', text: 'SELECT service FROM publisher' };
const topics: Statement = { name: 'subscription-topics', text: 'SELECT namespace, topics FROM subscription' };
const queues: Statement = { name: 'queues-publishing', text: 'SELECT id, namespace, service, publishes FROM queue' };
const mark: Statement = {
  name: 'queues-publish',
  text: 'UPDATE queue SET publishes = (id = ANY ($1::int4[])) WHERE publishes <> (id = ANY ($1::int4[]))',
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
const switchOver: Statement = { name: 'switch-transitions', text: 'SELECT switch_transitions($1::bool)' };

interface Change<T> {
  change: () => Promise<T>;
  /** What else belongs to it once it is decided. */
  afterwards?: (answer: T) => Promise<unknown>;
  /** The queue that is made by it: of the others nothing changes, and this one has lost no history. */
  makes?: { namespace: string; service: string };
}

/** Carries out a change of what decides which queues publish, and decides, in one commit. */
export function publishingAfter<T>(connection: Connection, { change, afterwards, makes }: Change<T>): Promise<T> {
  return inTransaction(connection, async () => {
    await connection.run(lock, []);
    const answer = await change();
    await decide(connection, makes);
    await afterwards?.(answer);
    return answer;
  });
}

/**
 * Makes a queue, and says whether it publishes. Any number are made at once, unless somebody decides: only one that is wanted needs a decision, and is made
 * with it.
 */
export async function makeQueue(
  connection: Connection,
  makes: { namespace: string; service: string },
  change: () => Promise<unknown>,
): Promise<boolean> {
  const isWanted = await inTransaction(connection, async () => {
    await connection.run(lockShared, []);
    const wanted = (await wishes(connection))(makes.namespace, makes.service);
    if (!wanted) await change();
    return wanted;
  });
  if (isWanted) await publishingAfter(connection, { change, makes });
  return isWanted;
}

/** Whether somebody wants the transitions of a queue. */
async function wishes(connection: Connection): Promise<(namespace: string, service: string) => boolean> {
  const wanting = new Set((await connection.run(services, [])).map(([service]) => service as string));
  const topicsOf = new Map<string, string[]>();
  for (const [namespace, text] of (await connection.run(topics, [])) as [string, string][])
    topicsOf.set(namespace, [...(topicsOf.get(namespace) ?? []), ...(JSON.parse(text) as string[])]);
  return (namespace, service) => wanting.has(service) || wantsTransitions(topicsOf.get(namespace) ?? [], service);
}

async function decide(connection: Connection, made: Change<unknown>['makes']): Promise<void> {
  const wants = await wishes(connection);
  if (made && !wants(made.namespace, made.service)) return;
  const all = (await connection.run(queues, [])) as [number, string, string, boolean][];
  const publishing = all.filter(([, namespace, service]) => wants(namespace, service));
  const is = new Set(publishing.map(([id]) => id));
  if (all.some(([id, , , publishes]) => publishes !== is.has(id))) await connection.run(mark, [int4Array([...is])]);
  const begun = made ? [] : publishing.filter(([, , , publishes]) => !publishes);
  const names = begun.flatMap(([, namespace, service]) =>
    transitionTopics(service).map((topic) => ({ namespace, topic })),
  );
  if (names.length > 0)
    await connection.run(begin, [
      textArray(names.map(({ namespace }) => namespace)),
      textArray(names.map(({ topic }) => topic)),
    ]);
  await connection.run(switchOver, [is.size > 0]);
}

export function setPublishers(connection: Connection, wanted: Readonly<Record<string, boolean>>): Promise<void> {
  const names = (wants: boolean): Buffer => textArray(Object.keys(wanted).filter((name) => wanted[name] === wants));
  return publishingAfter(connection, {
    async change() {
      await connection.run(addServices, [names(true)]);
      await connection.run(removeServices, [names(false)]);
    },
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
