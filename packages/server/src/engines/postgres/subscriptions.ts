// Subscriptions in the database: their documents, their cursors, and what the operator sees of them.
import type {
  OpenEvent,
  OpenFilter,
  StartFrom,
  SubscriptionDocument,
  SubscriptionRecord,
} from '../../engine/subscriptions.ts';
import { int8Array } from './arrays.ts';
import type { Connection, Connections, Row, Statement } from './connections.ts';
import { publishingAfter, readableEvent } from './transitions.ts';

type Key = { namespace: string; name: string };

export const takenStates = { waiting: 0, sending: 1, held: 2, dead: 3 } as const;
const stateNames = ['waiting', 'sending', 'held', 'dead'] as const;

/** Of a subscription `s`, with what is open of it counted. */
const columns = `s.id, s.namespace, s.name, s.text, s.topics, s.saved_at, s.created_at, s.version, s.paused, s.read_to, s.failures, s.blocked_until,
  c.waiting, c.sending, c.held, c.dead, c.oldest, (SELECT taken_at FROM taken t WHERE t.subscription = s.id AND t.position = c.oldest)`;
const counted = `CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE state = 0) AS waiting, count(*) FILTER (WHERE state = 1) AS sending, count(*) FILTER (WHERE state = 2) AS held,
      count(*) FILTER (WHERE state = 3) AS dead, min(position) FILTER (WHERE state < 3) AS oldest FROM taken WHERE subscription = s.id
  ) c`;

const select: Statement = {
  name: 'subscriptions',
  text: `SELECT ${columns} FROM subscription s ${counted} WHERE ($1::text IS NULL OR s.namespace = $1) ORDER BY s.namespace, s.name`,
};
const selectOne: Statement = {
  name: 'subscription',
  text: `SELECT ${columns} FROM subscription s ${counted} WHERE s.namespace = $1 AND s.name = $2`,
};
/** The cursor of a new one is read behind the counter of its log: what is appended after its commit is after it. */
const save: Statement = {
  name: 'subscription-save',
  text: `
WITH l AS MATERIALIZED (
  SELECT last FROM log WHERE namespace = $1 FOR NO KEY UPDATE
)
INSERT INTO subscription AS s (namespace, name, text, topics, saved_at, created_at, read_to)
VALUES ($1, $2, $3, $4, $5::int8, $5::int8, least($6::int8, coalesce((SELECT last FROM l), 0)))
ON CONFLICT (namespace, name) DO UPDATE SET text = excluded.text, topics = excluded.topics, saved_at = excluded.saved_at, version = s.version + 1,
  failures = 0, blocked_until = NULL
RETURNING version = 1`,
};
const startNow: Statement = {
  name: 'subscription-start-now',
  text: `UPDATE subscription s SET read_to = l.last FROM log l WHERE l.namespace = $1 AND s.namespace = $1 AND s.name = $2`,
};
const pause: Statement = {
  name: 'subscription-pause',
  text: `UPDATE subscription SET paused = $3::boolean, version = version + 1, failures = 0, blocked_until = NULL
    WHERE namespace = $1 AND name = $2 AND paused <> $3::boolean`,
};
const remove: Statement = {
  name: 'subscription-remove',
  text: `
WITH gone AS (
  DELETE FROM subscription WHERE namespace = $1 AND name = $2 RETURNING id
), rows AS (
  DELETE FROM taken WHERE subscription IN (SELECT id FROM gone)
), copies AS (
  DELETE FROM dead_event WHERE subscription IN (SELECT id FROM gone)
)
SELECT count(*) FROM gone`,
};

const open: Statement = {
  name: 'taken-list',
  text: `SELECT t.position, t.state, t.attempt, t.ordering, t.worker, t.at, t.lease_until + time_line.paused_ms, t.taken_at, t.code, t.detail,
      coalesce(p.name, d.topic), coalesce(e.head, d.head), coalesce(e.body, d.body), coalesce(e.appended_at, d.appended_at), coalesce(e.ordering, d.ordering)
    FROM taken t JOIN subscription s ON s.id = t.subscription JOIN log l ON l.namespace = s.namespace CROSS JOIN time_line
      LEFT JOIN event e ON e.log = l.id AND e.position = t.position LEFT JOIN topic p ON p.id = e.topic
      LEFT JOIN dead_event d ON d.subscription = t.subscription AND d.position = t.position
    WHERE t.subscription = $1::int8 AND t.state = ANY ($2::int8[]) AND t.position > $3::int8 ORDER BY t.position LIMIT $4::int4`,
};

const toRecord =
  (epoch: string) =>
  (row: Row): SubscriptionRecord => {
    const [number, namespace, name, text, topics, savedAt, createdAt, version, paused, readTo, failures, blockedUntil] =
      row;
    const [waiting, sending, held, dead, oldestOpen, oldestOpenAt] = row.slice(12);
    return {
      number: number as number,
      namespace: namespace as string,
      name: name as string,
      text: text as string,
      topics: JSON.parse(topics as string) as string[],
      savedAt: savedAt as number,
      createdAt: createdAt as number,
      version: version as number,
      paused: paused as boolean,
      epoch,
      readTo: readTo as number,
      waiting: waiting as number,
      sending: sending as number,
      held: held as number,
      dead: dead as number,
      oldestOpen: oldestOpen as number | null,
      oldestOpenAt: oldestOpenAt as number | null,
      failures: failures as number,
      blockedUntil: blockedUntil as number | null,
    };
  };

/** The reading half, and what changes documents. */
export class SubscriptionTables {
  readonly #reading: Connections;
  readonly #epoch: () => string;

  constructor({ reading, epoch }: { reading: Connections; epoch: () => string }) {
    this.#reading = reading;
    this.#epoch = epoch;
  }

  async list(namespace: string | undefined): Promise<SubscriptionRecord[]> {
    return (await this.#reading.run(select, [namespace ?? null])).map(toRecord(this.#epoch()));
  }

  async get({ namespace, name }: Key): Promise<SubscriptionRecord | undefined> {
    const [row] = await this.#reading.run(selectOne, [namespace, name]);
    return row && toRecord(this.#epoch())(row);
  }

  async open({ subscription, states, limit, after = 0 }: OpenFilter): Promise<OpenEvent[]> {
    const numbers = int8Array(states.map((state) => takenStates[state]));
    const rows = await this.#reading.run(open, [subscription, numbers, after, limit]);
    return rows.map((row) => {
      const [position, state, attempt, orderingKey, worker, at, leaseUntil, takenAt, code, detail] = row;
      const [topic, head, body, appendedAt, ordering] = row.slice(10);
      return {
        position: position as number,
        state: stateNames[state as 0]!,
        attempt: attempt as number,
        orderingKey: orderingKey as string | null,
        worker: worker as string | null,
        nextAt: state === takenStates.waiting ? (at as number) : null,
        leaseUntil: leaseUntil as number | null,
        takenAt: takenAt as number,
        code: code as string | null,
        detail: detail as string | null,
        event:
          topic === null
            ? null
            : readableEvent({
                position: position as number,
                topic: topic as string,
                head: head as string,
                body: body as Buffer,
                appendedAt: appendedAt as number,
                orderingKey: ordering as string | null,
              }),
      };
    });
  }
}

const beyond = 2 ** 53;

/** Whether it is new, and whether it may have changed which queues publish. */
export async function saveSubscription(
  connection: Connection,
  { namespace, name, text, topics, savedAt }: SubscriptionDocument,
  from: StartFrom,
): Promise<{ isNew: boolean; isDecided: boolean }> {
  const start = from === 'now' ? beyond : from === 'start' ? 0 : from.position;
  const { answer: isNew, isDecided } = await publishingAfter(connection, {
    namespace,
    name,
    topics,
    async change() {
      const [[made] = [false]] = await connection.run(save, [
        namespace,
        name,
        text,
        JSON.stringify(topics),
        savedAt,
        start,
      ]);
      return made as boolean;
    },
    // What the saving itself has written is not for it.
    afterwards: (made) => (made && from === 'now' ? connection.run(startNow, [namespace, name]) : Promise.resolve()),
  });
  return { isNew, isDecided };
}

export async function pauseSubscription(
  connection: Connection,
  { namespace, name }: Key,
  paused: boolean,
): Promise<void> {
  await connection.run(pause, [namespace, name, paused]);
}

export async function removeSubscription(connection: Connection, { namespace, name }: Key): Promise<boolean> {
  const { answer } = await publishingAfter(connection, {
    namespace,
    name,
    topics: [],
    change: () => connection.run(remove, [namespace, name]),
  });
  return (answer[0]?.[0] as number) > 0;
}
