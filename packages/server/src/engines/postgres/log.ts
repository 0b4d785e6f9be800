// The log of a namespace: events under positions that only grow and become visible in their order.
//
// A batch first moves the counter of each of its namespaces, in the order of their names, and holds these rows until its commit. So a smaller
// position is always committed before a larger one can be taken, and a reader never passes one that comes late. Positions from a sequence would not
// need to wait, and would lose events to readers; the benchmark row `log` says what the waiting costs. Whether an event is a repeat is asked behind
// the counter as well, so that two batches never wait for each other's.
//
// `memory` is kept as `stored` here: what another node has read must not be lost with this one, or its position would be given out again.
import type { AppendOutcome, EventPage, NewEvent, ReadWanted, TopicRecord, Trim } from '../../engine/topics.ts';
import { TopicNames } from '../../lib/topic-trie.ts';
import { byteaArray, int8Array, textArray } from './arrays.ts';
import { readableEvent } from './transitions.ts';
import { type Connection, type Connections, extraMs, type Statement, statementTimeoutMs } from './connections.ts';

const takePositions: Statement = {
  name: 'append',
  text: `
WITH input AS MATERIALIZED (
  SELECT i.*, row_number() OVER (PARTITION BY namespace ORDER BY ord) AS n, count(*) OVER (PARTITION BY namespace) AS total
  FROM unnest($2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::text[], $8::int8[])
    WITH ORDINALITY AS i (namespace, topic, head, body, ordering, identity, until, ord)
), moved AS (
  INSERT INTO log AS l (namespace, last) SELECT namespace, count(*) FROM input GROUP BY namespace ORDER BY namespace
  ON CONFLICT (namespace) DO UPDATE SET last = l.last + excluded.last RETURNING l.id, l.namespace, l.last
), placed AS MATERIALIZED (
  SELECT i.*, m.id AS log, m.last - i.total + i.n AS position FROM input i JOIN moved m ON m.namespace = i.namespace
), known AS (
  INSERT INTO known_event AS k (log, identity, position, until)
  SELECT log, identity, position, until FROM placed WHERE identity IS NOT NULL ORDER BY log, identity
  ON CONFLICT (log, identity) DO UPDATE SET position = excluded.position, until = excluded.until WHERE k.until <= $1::int8
  RETURNING k.log, k.identity
), kept AS MATERIALIZED (
  SELECT p.* FROM placed p WHERE p.identity IS NULL OR EXISTS (SELECT FROM known k WHERE k.log = p.log AND k.identity = p.identity)
), topics AS (
  INSERT INTO topic AS t (log, name, events, bytes, last)
  SELECT log, topic, count(*), sum(octet_length(head) + octet_length(body)), max(position) FROM kept GROUP BY log, topic ORDER BY log, topic
  ON CONFLICT (log, name) DO UPDATE SET events = t.events + excluded.events, bytes = t.bytes + excluded.bytes, last = excluded.last
  RETURNING t.id, t.log, t.name
), written AS (
  INSERT INTO event (log, position, topic, appended_at, ordering, head, body)
  SELECT k.log, k.position, t.id, $1::int8, k.ordering, k.head, k.body FROM kept k JOIN topics t ON t.log = k.log AND t.name = k.topic
)
SELECT ord, position, log FROM kept`,
};

const positionsKnown: Statement = {
  name: 'positions-known',
  text: `SELECT i.ord, k.position FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS i (namespace, identity, ord)
    JOIN log l ON l.namespace = i.namespace JOIN known_event k ON k.log = l.id AND k.identity = i.identity`,
};

/**
 * Up to the bytes wanted: bodies beyond them are not even read. Counters and topics are read by the same snapshot, so nothing up to `last` is missing.
 * A topic whose newest event is not after the cursor is not looked into.
 */
const readAfter: Statement = {
  name: 'read-log',
  text: `
WITH t AS MATERIALIZED (
  SELECT id, name, last, removed_to FROM topic WHERE id = ANY ($2::int8[])
), found AS MATERIALIZED (
  SELECT x.position, w.name FROM t w CROSS JOIN LATERAL (
    SELECT position FROM event e WHERE e.topic = w.id AND e.position > $3::int8 ORDER BY e.position LIMIT $4::int4
  ) x WHERE w.last > $3::int8 ORDER BY x.position LIMIT $4::int4
)
SELECT l.last, (SELECT max(id) FROM topic WHERE log = l.id), (SELECT max(removed_to) FROM t), (SELECT count(*) FROM found),
  e.position, e.name, e.head, e.body, e.appended_at, e.ordering
FROM log l LEFT JOIN LATERAL (
  SELECT * FROM (
    SELECT x.*, f.name, sum(octet_length(x.body)) OVER (ORDER BY f.position) AS bytes, row_number() OVER (ORDER BY f.position) AS place
    FROM found f JOIN event x ON x.log = l.id AND x.position = f.position
  ) y WHERE bytes <= $5::int8 OR place = 1
) e ON true WHERE l.namespace = $1 ORDER BY e.position`,
};

const newTopics: Statement = {
  name: 'new-topics',
  text: 'SELECT t.id, t.name FROM topic t JOIN log l ON l.id = t.log WHERE l.namespace = $1 AND t.id > $2::int8 ORDER BY t.id',
};

const listTopics: Statement = {
  name: 'topics',
  text: `SELECT t.id, l.namespace, t.name, t.events, t.bytes, t.last, t.removed_to,
      (SELECT e.appended_at FROM event e WHERE e.topic = t.id ORDER BY e.position LIMIT 1)
    FROM topic t JOIN log l ON l.id = t.log WHERE $1::text IS NULL OR l.namespace = $1 ORDER BY l.namespace, t.name`,
};

/** From the oldest on, up to the first that may stay. Its topic is locked, so that a size is not counted twice. */
const cutTopic: Statement = {
  name: 'trim',
  text: `
WITH t AS MATERIALIZED (
  SELECT id, log, bytes FROM topic WHERE id = $1::int8 FOR NO KEY UPDATE
), oldest AS MATERIALIZED (
  SELECT e.position, e.appended_at, octet_length(e.head) + octet_length(e.body) AS size FROM t CROSS JOIN LATERAL (
    SELECT * FROM event WHERE topic = t.id ORDER BY position LIMIT $5::int4
  ) e
), judged AS (
  SELECT o.position, o.size, o.position <= $4::int8 AND (coalesce(o.appended_at < $2::int8, false)
    OR coalesce(t.bytes - sum(o.size) OVER (ORDER BY o.position) + o.size > $3::int8, false)) AS goes
  FROM oldest o CROSS JOIN t
), going AS MATERIALIZED (
  SELECT position, size FROM judged WHERE goes AND position < coalesce((SELECT min(position) FROM judged WHERE NOT goes), 9223372036854775807)
), gone AS (
  DELETE FROM event e USING t WHERE e.log = t.log AND e.topic = t.id AND e.position IN (SELECT position FROM going) RETURNING e.position
), counted AS (
  UPDATE topic SET events = topic.events - g.n, bytes = greatest(0, topic.bytes - g.size), removed_to = g.last
  FROM (SELECT count(*) AS n, sum(size) AS size, max(position) AS last FROM going) g WHERE topic.id = $1::int8 AND g.n > 0
)
SELECT (SELECT count(*) FROM gone), coalesce((SELECT max(position) FROM going), (SELECT removed_to FROM topic WHERE id = $1::int8), 0)`,
};

/** Bounded, so that no sweep is long. */
const forgetRows = 500;
/** Lists of patterns whose topics are remembered: anybody may ask for as many as there are words. */
const mostFound = 1000;
const forgetKnown: Statement = {
  name: 'forget-known',
  text: `DELETE FROM known_event WHERE ctid = ANY (ARRAY(SELECT ctid FROM known_event WHERE until <= $1::int8 ORDER BY until LIMIT ${forgetRows} FOR UPDATE SKIP LOCKED)) RETURNING 1`,
};

/** For each event of a batch the place of the first with its identity, which is its own where it is none's repeat. */
function firsts(batch: readonly NewEvent[]): number[] {
  const seen = new Map<string, number>();
  return batch.map(({ namespace, identity }, i) => {
    if (identity === null) return i;
    const name = `${namespace} ${identity}`;
    const first = seen.get(name);
    if (first === undefined) seen.set(name, i);
    return first ?? i;
  });
}

export async function appendBatch(
  batch: readonly NewEvent[],
  { connection, nowMs }: { connection: Connection; nowMs: number },
): Promise<AppendOutcome[]> {
  const first = firsts(batch);
  const single = batch.map((event, i) => ({ event, i })).filter(({ i }) => first[i] === i);
  const bytes = single.reduce((sum, { event }) => sum + event.body.length, 0);
  const values = [
    nowMs,
    textArray(single.map(({ event }) => event.namespace)),
    textArray(single.map(({ event }) => event.topic)),
    textArray(single.map(({ event }) => event.head)),
    byteaArray(single.map(({ event }) => event.body)),
    textArray(single.map(({ event }) => event.orderingKey)),
    textArray(single.map(({ event }) => event.identity)),
    int8Array(single.map(({ event }) => event.knownUntil)),
  ];
  const rows = (await connection.run(takePositions, values, statementTimeoutMs + extraMs(bytes))) as [number, number][];
  const positions = new Map<number, number>();
  for (const [ord, position] of rows) positions.set(single[ord - 1]!.i, position);
  const written = new Set(positions.keys());
  const known = single.filter(({ i }) => !written.has(i));
  if (known.length > 0) {
    const found = (await connection.run(positionsKnown, [
      textArray(known.map(({ event }) => event.namespace)),
      textArray(known.map(({ event }) => event.identity)),
    ])) as [number, number][];
    for (const [ord, position] of found) positions.set(known[ord - 1]!.i, position);
  }
  return batch.map((_, i) => {
    const position = positions.get(first[i]!);
    if (position === undefined) throw new Error('an event is neither written nor known');
    return { kind: written.has(i) ? 'appended' : 'repeated', position };
  });
}

/** Topics that this node has heard of in a namespace. */
interface Known {
  names: TopicNames<number>;
  newest: number;
  /** By the patterns asked for, since the last new topic. */
  found: Map<string, number[]>;
}

export class Logs {
  readonly #connections: Connections;
  readonly #known = new Map<string, Known>();

  constructor(connections: Connections) {
    this.#connections = connections;
  }

  async #learn(namespace: string): Promise<void> {
    const known = this.#known.get(namespace) ?? { names: new TopicNames<number>(), newest: 0, found: new Map() };
    this.#known.set(namespace, known);
    const rows = (await this.#connections.run(newTopics, [namespace, known.newest])) as [number, string][];
    for (const [id, name] of rows) {
      // Another call may have learnt it meanwhile.
      if (id <= known.newest) continue;
      known.names.add(name, id);
      known.newest = id;
      known.found.clear();
    }
  }

  #matching({ names, found }: Known, patterns: readonly string[]): number[] {
    const asked = patterns.join(' ');
    let ids = found.get(asked);
    if (!ids) {
      if (found.size >= mostFound) found.clear();
      found.set(asked, (ids = [...new Set(patterns.flatMap((pattern) => names.matching(pattern)))]));
    }
    return ids;
  }

  async read({ namespace, topics, after, limit, maxBytes }: ReadWanted): Promise<Omit<EventPage, 'epoch'>> {
    for (;;) {
      const known = this.#known.get(namespace);
      const ids = known ? this.#matching(known, topics) : [];
      // Another call may learn of more while this one is under way.
      const knownTo = known?.newest ?? 0;
      const rows = await this.#connections.run(readAfter, [
        namespace,
        int8Array(ids),
        Math.max(after, 0),
        limit,
        maxBytes,
      ]);
      const [first] = rows;
      if (!first) return { last: 0, readTo: 0, removedTo: 0, events: [] };
      const [last, newest, removedTo, found] = first as [number, number | null, number | null, number];
      // A topic that was new to this node may match: the same look again with it.
      if ((newest ?? 0) > knownTo) {
        await this.#learn(namespace);
        continue;
      }
      const events = rows
        .filter((row) => row[4] !== null)
        .map(([, , , , position, topic, head, body, appendedAt, ordering]) =>
          readableEvent({
            position: position as number,
            topic: topic as string,
            head: head as string,
            body: body as Buffer,
            appendedAt: appendedAt as number,
            orderingKey: ordering as string | null,
          }),
        );
      const whole = found < limit && events.length === found;
      return { last, readTo: whole ? last : events.at(-1)!.position, removedTo: removedTo ?? 0, events };
    }
  }

  async topics(namespace: string | undefined): Promise<TopicRecord[]> {
    const rows = await this.#connections.run(listTopics, [namespace ?? null]);
    return rows.map(([number, of, name, events, bytes, last, removedTo, oldestAt]) => ({
      number: number as number,
      namespace: of as string,
      name: name as string,
      events: events as number,
      bytes: bytes as number,
      last: last as number,
      removedTo: removedTo as number,
      oldestAt: oldestAt as number | null,
    }));
  }
}

export async function trimTopic(
  connection: Connection,
  { topic, olderThan, keepBytes, notBeyond, limit }: Trim,
): Promise<{ removed: number; removedTo: number; more: boolean }> {
  const [row] = await connection.run(cutTopic, [topic, olderThan, keepBytes, Math.min(notBeyond, 2 ** 53), limit]);
  const [removed, removedTo] = row as [number, number];
  return { removed, removedTo, more: removed === limit };
}

/** True when there are more. */
export const forgetKnownEvents = async (connection: Connection, nowMs: number): Promise<boolean> =>
  (await connection.run(forgetKnown, [nowMs])).length === forgetRows;
