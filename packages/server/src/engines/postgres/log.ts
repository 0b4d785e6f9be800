// The log of a namespace: events under positions that only grow and become visible in their order.
//
// A batch first moves the counter of each of its namespaces, in the order of their names, and holds these rows until its commit. So a smaller
// position is always committed before a larger one can be taken, and a reader never passes one that comes late. Positions from a sequence would not
// need to wait, and would lose events to readers; the benchmark row `log` says what the waiting costs.
import type { AppendOutcome, EventPage, NewEvent, ReadWanted } from '../../engine/engine.ts';
import { byteaArray, textArray } from './arrays.ts';
import { type Connection, type Connections, extraMs, type Statement, statementTimeoutMs } from './connections.ts';

const takePositions: Statement = {
  name: 'append',
  text: `
WITH input AS MATERIALIZED (
  SELECT i.*, row_number() OVER (PARTITION BY namespace ORDER BY ord) AS n
  FROM unnest($2::text[], $3::text[], $4::text[], $5::bytea[]) WITH ORDINALITY AS i (namespace, topic, head, body, ord)
), moved AS (
  INSERT INTO log AS l (namespace, last) SELECT namespace, count(*) FROM input GROUP BY namespace ORDER BY namespace
  ON CONFLICT (namespace) DO UPDATE SET last = l.last + excluded.last RETURNING l.id, l.namespace, l.last
), counts AS (
  SELECT namespace, count(*) AS n FROM input GROUP BY namespace
), written AS (
  INSERT INTO event (log, position, appended_at, topic, head, body)
  SELECT m.id, m.last - c.n + i.n, $1::int8, i.topic, i.head, i.body
  FROM input i JOIN moved m ON m.namespace = i.namespace JOIN counts c ON c.namespace = i.namespace
)
SELECT i.ord, m.last - c.n + i.n FROM input i JOIN moved m ON m.namespace = i.namespace JOIN counts c ON c.namespace = i.namespace`,
};

/** Up to the bytes wanted: bodies beyond them are not even read. The counter is read by the same snapshot, so nothing up to it is missing. */
const readAfter: Statement = {
  name: 'read-log',
  text: `
SELECT e.position, e.topic, e.head, e.body, e.appended_at, l.last FROM log l LEFT JOIN LATERAL (
  SELECT * FROM (
    SELECT x.*, sum(octet_length(body)) OVER (ORDER BY position) AS bytes, row_number() OVER (ORDER BY position) AS place FROM (
      SELECT * FROM event WHERE log = l.id AND position > $2::int8 ORDER BY position LIMIT $3::int4
    ) x
  ) y WHERE bytes <= $4::int8 OR place = 1
) e ON true WHERE l.namespace = $1 ORDER BY e.position`,
};

export async function appendBatch(
  batch: readonly NewEvent[],
  { connection, nowMs }: { connection: Connection; nowMs: number },
): Promise<AppendOutcome[]> {
  const bytes = batch.reduce((sum, e) => sum + e.body.length, 0);
  const values = [
    nowMs,
    textArray(batch.map((e) => e.namespace)),
    textArray(batch.map((e) => e.topic)),
    textArray(batch.map((e) => e.head)),
    byteaArray(batch.map((e) => e.body)),
  ];
  const rows = (await connection.run(takePositions, values, statementTimeoutMs + extraMs(bytes))) as [number, number][];
  const positions = new Map(rows);
  return batch.map((_, i) => ({ kind: 'appended', position: positions.get(i + 1)! }));
}

export async function readEvents(
  connections: Connections,
  { namespace, after, limit, maxBytes }: ReadWanted,
): Promise<Omit<EventPage, 'epoch'>> {
  const rows = await connections.run(readAfter, [namespace, after, limit, maxBytes]);
  return {
    last: (rows[0]?.[5] ?? 0) as number,
    events: rows
      .filter((row) => row[0] !== null)
      .map(([position, topic, head, body, appendedAt]) => ({
        position: position as number,
        topic: topic as string,
        head: head as string,
        body: body as Buffer,
        appendedAt: appendedAt as number,
      })),
  };
}
