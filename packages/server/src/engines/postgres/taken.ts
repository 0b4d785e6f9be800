// What was taken from the log for a subscription: given out, kept, settled, given up and brought back.
//
// Where the order of keys is decided, the subscription is locked in a statement before, so that what the last one wrote is seen; nothing of one
// subscription ever waits for another.
//
// A join with `taken` names the subscription as a column of the other side and not as the parameter: to a plan made while the table is empty, reading all that
// is taken of one subscription once looks cheaper than looking up each row, and a thousand acknowledgements took a second instead of 20 ms.
import type {
  Claim,
  ClaimOutcome,
  DueWanted,
  EventSettlement,
  EventSettleOutcome,
  LeasedEvent,
} from '../../engine/subscriptions.ts';
import type { LoggedEvent } from '../../engine/topics.ts';
import { int8Array, textArray } from './arrays.ts';
import type { Connection, Statement } from './connections.ts';
import { leaseNow } from './time-line.ts';
import { inTransaction } from './transaction.ts';
import { readableEvent } from './transitions.ts';

const kinds = { push: 1, pull: 2 } as const;
/** Rows whose lease ran out, looked at in one go. */
const sweepRows = 500;

/** Those whose key is out already, or comes a second time here, are held. */
const claim: Statement = {
  name: 'claim',
  text: `
WITH s AS MATERIALIZED (
  SELECT id, read_to, paused FROM subscription WHERE id = $2::int8 FOR NO KEY UPDATE
), moved AS (
  UPDATE subscription SET read_to = $4::int8 FROM s WHERE subscription.id = s.id AND s.read_to = $3::int8 AND NOT s.paused RETURNING subscription.id
), input AS MATERIALIZED (
  SELECT i.position, i.ordering, i.ordering IS NOT NULL AND (
      row_number() OVER (PARTITION BY i.ordering ORDER BY i.position) > 1
      OR EXISTS (SELECT FROM taken t WHERE t.subscription = s.id AND t.ordering = i.ordering AND t.state < 3)) AS held
  FROM s CROSS JOIN unnest($5::int8[], $6::text[]) AS i (position, ordering)
), written AS (
  INSERT INTO taken (subscription, position, at, taken_at, state, attempt, lease_no, kind, lease_until, worker, node, ordering)
  SELECT moved.id, i.position, $1::int8, $1::int8, CASE WHEN i.held THEN 2 ELSE 1 END, CASE WHEN i.held THEN 0 ELSE 1 END, CASE WHEN i.held THEN 0 ELSE 1 END,
    CASE WHEN NOT i.held THEN $7::int2 END, CASE WHEN NOT i.held THEN ${leaseNow('$1::int8')} + $8::int8 END, CASE WHEN NOT i.held THEN $9::text END,
    CASE WHEN NOT i.held THEN $10::int4 END, i.ordering
  FROM input i CROSS JOIN moved CROSS JOIN time_line RETURNING position, state
)
SELECT (SELECT read_to FROM s), EXISTS (SELECT FROM moved), (SELECT paused FROM s), ARRAY(SELECT position FROM written WHERE state = 1 ORDER BY position)::text`,
};

const lockSubscription: Statement = {
  name: 'subscription-lock',
  text: 'SELECT id FROM subscription WHERE id = $1::int8 FOR NO KEY UPDATE',
};

/**
 * With their events; what its topic has lost meanwhile is dropped, and the next of its key may go. The row is locked only where something is due: each
 * pull asks this first, and a lock alone is a commit that is synced.
 */
const leaseDue: Statement = {
  name: 'lease-due',
  text: `
WITH s AS MATERIALIZED (
  SELECT s.id, l.id AS log FROM subscription s LEFT JOIN log l ON l.namespace = s.namespace
  WHERE s.id = $2::int8 AND NOT s.paused AND (SELECT at FROM taken t WHERE t.subscription = s.id AND t.state = 0 ORDER BY t.at, t.position LIMIT 1) <= $1::int8
  FOR NO KEY UPDATE OF s
), due AS MATERIALIZED (
  SELECT s.id AS subscription, s.log, t.position, t.ordering, t.at FROM s CROSS JOIN LATERAL (
    SELECT * FROM taken WHERE subscription = s.id AND state = 0 AND at <= $1::int8 ORDER BY at, position LIMIT $3::int4
  ) t
), found AS MATERIALIZED (
  SELECT d.subscription, d.position, d.at, coalesce(p.name, c.topic) AS topic, coalesce(e.head, c.head) AS head, coalesce(e.body, c.body) AS body,
    coalesce(e.appended_at, c.appended_at) AS appended_at, coalesce(e.ordering, c.ordering) AS ordering,
    sum(octet_length(coalesce(e.body, c.body))) OVER (ORDER BY d.at, d.position) AS bytes, row_number() OVER (ORDER BY d.at, d.position) AS place
  FROM due d LEFT JOIN event e ON e.log = d.log AND e.position = d.position LEFT JOIN topic p ON p.id = e.topic
    LEFT JOIN dead_event c ON c.subscription = d.subscription AND c.position = d.position
  WHERE e.position IS NOT NULL OR c.position IS NOT NULL
), leased AS (
  UPDATE taken t SET state = 1, attempt = t.attempt + 1, lease_no = t.lease_no + 1, kind = $5::int2, worker = $6::text, node = $8::int4,
    lease_until = ${leaseNow('$1::int8')} + $7::int8
  FROM found f CROSS JOIN time_line
  WHERE t.subscription = f.subscription AND t.position = f.position AND t.state + 0 = 0 AND (f.bytes <= $4::int8 OR f.place = 1)
  RETURNING f.at, t.position, t.lease_no, t.attempt, f.topic, f.head, f.body, f.appended_at, f.ordering
), lost AS (
  DELETE FROM taken t USING due d WHERE t.subscription = d.subscription AND t.position = d.position AND d.position NOT IN (SELECT position FROM found)
  RETURNING t.subscription, t.ordering
), freed AS (
  UPDATE taken t SET state = 0, at = $1::int8 FROM (SELECT DISTINCT subscription, ordering FROM lost WHERE ordering IS NOT NULL) o
  CROSS JOIN LATERAL (SELECT position FROM taken n WHERE n.subscription = o.subscription AND n.ordering = o.ordering AND n.state = 2 AND n.state < 3 ORDER BY n.position LIMIT 1) n
  WHERE t.subscription = o.subscription AND t.position = n.position
)
SELECT position, lease_no, attempt, topic, head, body, appended_at, ordering FROM leased ORDER BY at, position`,
};

const extend: Statement = {
  name: 'taken-extend',
  text: `UPDATE taken SET lease_until = greatest(lease_until, ${leaseNow('$1::int8')} + $5::int8) FROM time_line
    WHERE subscription = $2::int8 AND position = $3::int8 AND lease_no = $4::int4 AND state = 1 AND lease_until > ${leaseNow('$1::int8')}
    RETURNING lease_until + time_line.paused_ms`,
};

const isThere: Statement = { name: 'subscription-there', text: 'SELECT read_to FROM subscription WHERE id = $1::int8' };

/** to: 0 waits again, 3 dead, 4 acknowledged */
const settle: Statement = {
  name: 'taken-settle',
  text: `
WITH input AS MATERIALIZED (
  SELECT $2::int8 AS subscription, * FROM unnest($3::int8[], $4::int8[], $5::int8[], $6::int8[], $7::int8[], $8::text[], $9::text[])
    WITH ORDINALITY AS i (position, lease_no, to_state, at, give_back, code, detail, ord)
), held AS MATERIALIZED (
  SELECT i.*, t.ordering, t.attempt FROM input i CROSS JOIN time_line CROSS JOIN LATERAL (
    SELECT * FROM taken WHERE subscription = i.subscription AND position = i.position LIMIT 1 FOR UPDATE
  ) t WHERE t.state = 1 AND t.lease_no = i.lease_no AND t.lease_until > ${leaseNow('$1::int8')}
), acked AS (
  DELETE FROM taken t USING held h WHERE h.to_state = 4 AND t.subscription = h.subscription AND t.position = h.position
), unburied AS (
  DELETE FROM dead_event d USING held h WHERE h.to_state = 4 AND d.subscription = h.subscription AND d.position = h.position
), buried AS (
  INSERT INTO dead_event (subscription, position, appended_at, topic, ordering, head, body)
  SELECT s.id, e.position, e.appended_at, p.name, e.ordering, e.head, e.body FROM held h JOIN subscription s ON s.id = $2::int8
    JOIN log l ON l.namespace = s.namespace JOIN event e ON e.log = l.id AND e.position = h.position JOIN topic p ON p.id = e.topic WHERE h.to_state = 3
  ON CONFLICT (subscription, position) DO NOTHING
), changed AS (
  UPDATE taken t SET state = h.to_state, at = h.at, attempt = t.attempt - h.give_back, kind = NULL, lease_until = NULL, node = NULL, code = h.code, detail = h.detail
  FROM held h WHERE h.to_state < 4 AND t.subscription = h.subscription AND t.position = h.position
), freed AS (
  UPDATE taken t SET state = 0, at = $1::int8 FROM (SELECT DISTINCT subscription, ordering FROM held WHERE ordering IS NOT NULL AND to_state > 2) o
  CROSS JOIN LATERAL (SELECT position FROM taken n WHERE n.subscription = o.subscription AND n.ordering = o.ordering AND n.state = 2 AND n.state < 3 ORDER BY n.position LIMIT 1) n
  WHERE t.subscription = o.subscription AND t.position = n.position RETURNING 1
)
SELECT h.ord, (SELECT count(*) FROM freed) FROM held h`,
};

const rowsThere: Statement = {
  name: 'taken-there',
  text: 'SELECT position FROM taken WHERE subscription = $1::int8 AND position = ANY ($2::int8[])',
};

const well: Statement = {
  name: 'subscription-well',
  text: 'UPDATE subscription SET failures = 0, blocked_until = NULL WHERE id = $1::int8 AND (failures > 0 OR blocked_until IS NOT NULL)',
};
const ill: Statement = {
  name: 'subscription-ill',
  text: `UPDATE subscription SET failures = failures + 1, blocked_until = CASE WHEN failures + 1 >= $2::int4 THEN $3::int8 ELSE blocked_until END WHERE id = $1::int8`,
};

const chosenDead = `SELECT subscription, position, ordering FROM taken WHERE subscription = $2::int8 AND state = 3 AND ($3::int8[] IS NULL OR position = ANY ($3::int8[]))
    ORDER BY position LIMIT $4::int4`;
const redrive: Statement = {
  name: 'taken-redrive',
  text: `
WITH chosen AS MATERIALIZED (
  ${chosenDead}
), judged AS MATERIALIZED (
  SELECT subscription, position, ordering IS NOT NULL AND (
    row_number() OVER (PARTITION BY ordering ORDER BY position) > 1
    OR EXISTS (SELECT FROM taken t WHERE t.subscription = chosen.subscription AND t.ordering = chosen.ordering AND t.state < 3)) AS held FROM chosen
)
UPDATE taken t SET state = CASE WHEN j.held THEN 2 ELSE 0 END, at = $1::int8, attempt = 0, code = NULL, detail = NULL
FROM judged j WHERE t.subscription = j.subscription AND t.position = j.position RETURNING 1`,
};
const forgetDead: Statement = {
  name: 'taken-forget',
  text: `
WITH chosen AS MATERIALIZED (
  ${chosenDead}
), copies AS (
  DELETE FROM dead_event d USING chosen c WHERE d.subscription = c.subscription AND d.position = c.position
)
DELETE FROM taken t USING chosen c WHERE $1::int8 IS NOT NULL AND t.subscription = c.subscription AND t.position = c.position RETURNING 1`,
};

/** What nodes carried that are gone, and what was held for longer than its lease. */
const expire: Statement = {
  name: 'taken-expire',
  text: `UPDATE taken t SET state = 0, at = $1::int8, kind = NULL, lease_until = NULL, node = NULL, code = 'lease-expired' FROM time_line CROSS JOIN LATERAL (
      SELECT x.subscription, x.position, x.lease_no FROM taken x WHERE x.state = 1 AND x.lease_until <= ${leaseNow('$1::int8')}
      ORDER BY x.lease_until LIMIT ${sweepRows}
    ) e WHERE t.subscription = e.subscription AND t.position = e.position AND t.lease_no = e.lease_no AND t.state + 0 = 1 RETURNING 1`,
};
const voidPushed: Statement = {
  name: 'taken-void',
  text: `UPDATE taken SET state = 0, at = $1::int8, kind = NULL, lease_until = NULL, node = NULL, code = 'interrupted'
    WHERE state = 1 AND kind = ${kinds.push} AND NOT EXISTS (SELECT FROM node n WHERE n.id = taken.node) RETURNING 1`,
};

/** What is due already waits for somebody to take it, and not for the clock. */
const nextTimer: Statement = {
  name: 'taken-next',
  text: `SELECT least((SELECT at FROM taken WHERE state = 0 AND at > $1::int8 ORDER BY at LIMIT 1),
    (SELECT lease_until - ${leaseNow('$1::int8')} + $1::int8 FROM taken WHERE state = 1 ORDER BY lease_until LIMIT 1)) FROM time_line`,
};

export interface TakeContext {
  connection: Connection;
  nowMs: number;
  nodeId: number;
}

export async function claimFrom(c: Claim, { connection, nowMs, nodeId }: TakeContext): Promise<ClaimOutcome> {
  const values = [
    nowMs,
    c.subscription,
    c.readFrom,
    c.readTo,
    int8Array(c.take.map(({ position }) => position)),
    textArray(c.take.map(({ orderingKey }) => (c.ordered ? orderingKey : null))),
    kinds[c.kind],
    c.leaseMs,
    c.worker,
    nodeId,
  ];
  const [row] = c.ordered
    ? await inTransaction(connection, async () => {
        await connection.run(lockSubscription, [c.subscription]);
        return connection.run(claim, values);
      })
    : await connection.run(claim, values);
  const [readTo, moved, paused, taken] = row as [number | null, boolean, boolean | null, string];
  if (readTo === null) return { kind: 'gone' };
  if (paused) return { kind: 'paused' };
  if (!moved) return { kind: 'moved', readTo };
  const leases = numbersOf(taken).map((position) => ({
    subscription: c.subscription,
    position,
    leaseNo: 1,
    attempt: 1,
    leaseUntil: nowMs + c.leaseMs,
  }));
  return { kind: 'claimed', leases };
}

/** `{1,2,3}` as the database writes an array. */
const numbersOf = (text: string): number[] => (text === '{}' ? [] : text.slice(1, -1).split(',').map(Number));

export async function leaseDueFrom(
  { subscription, max, maxBytes, kind, worker, leaseMs }: DueWanted,
  { connection, nowMs, nodeId }: TakeContext,
): Promise<{ lease: LeasedEvent; event: LoggedEvent }[]> {
  const values = [nowMs, subscription, max, maxBytes, kinds[kind], worker, leaseMs, nodeId];
  const rows = await connection.run(leaseDue, values);
  return rows.map(([position, leaseNo, attempt, topic, head, body, appendedAt, orderingKey]) => ({
    lease: {
      subscription,
      position: position as number,
      leaseNo: leaseNo as number,
      attempt: attempt as number,
      leaseUntil: nowMs + leaseMs,
    },
    event: readableEvent({
      position: position as number,
      topic: topic as string,
      head: head as string,
      body: body as Buffer,
      appendedAt: appendedAt as number,
      orderingKey: orderingKey as string | null,
    }),
  }));
}

export async function extendTaken(
  {
    subscription,
    position,
    leaseNo,
    leaseMs,
  }: Pick<LeasedEvent, 'subscription' | 'position' | 'leaseNo'> & { leaseMs: number },
  { connection, nowMs }: Pick<TakeContext, 'connection' | 'nowMs'>,
): Promise<{ kind: 'extended'; leaseUntil: number } | { kind: 'lost' } | { kind: 'gone' }> {
  const [row] = await connection.run(extend, [nowMs, subscription, position, leaseNo, leaseMs]);
  if (row) return { kind: 'extended', leaseUntil: row[0] as number };
  const [there] = await connection.run(isThere, [subscription]);
  return { kind: there ? 'lost' : 'gone' };
}

/** Those of one subscription. */
async function settleOf(
  subscription: number,
  batch: readonly EventSettlement[],
  { connection, nowMs }: Pick<TakeContext, 'connection' | 'nowMs'>,
): Promise<{ outcomes: EventSettleOutcome[]; freed: boolean }> {
  const values = [
    nowMs,
    subscription,
    int8Array(batch.map(({ position }) => position)),
    int8Array(batch.map(({ leaseNo }) => leaseNo)),
    int8Array(batch.map(({ verdict }) => (verdict.to === 'acked' ? 4 : verdict.to === 'dead' ? 3 : 0))),
    int8Array(batch.map(({ verdict }) => (verdict.to === 'waiting' ? verdict.at : nowMs))),
    int8Array(batch.map(({ verdict }) => (verdict.to === 'waiting' && !verdict.attemptUsed ? 1 : 0))),
    textArray(batch.map(({ verdict }) => (verdict.to === 'acked' ? null : verdict.code))),
    textArray(batch.map(({ verdict }) => (verdict.to === 'acked' ? null : verdict.detail))),
  ];
  const [locked] = await connection.run(lockSubscription, [subscription]);
  if (!locked) return { outcomes: batch.map(() => ({ kind: 'gone' })), freed: false };
  const rows = (await connection.run(settle, values)) as [number, number][];
  const recorded = new Set(rows.map(([ord]) => ord - 1));
  for (const [i, { outlet }] of batch.entries()) {
    if (!outlet || !recorded.has(i)) continue;
    if (outlet.kind === 'well') await connection.run(well, [subscription]);
    else await connection.run(ill, [subscription, outlet.tripAt, outlet.blockUntil]);
  }
  const others = batch.filter((_, i) => !recorded.has(i));
  let there = new Set<number>();
  let readTo = 0;
  if (others.length > 0) {
    [[readTo] = [0]] = (await connection.run(isThere, [subscription])) as [number][];
    const found = await connection.run(rowsThere, [subscription, int8Array(others.map(({ position }) => position))]);
    there = new Set(found.map(([position]) => position as number));
  }
  const outcomes = batch.map(({ position, verdict }, i): EventSettleOutcome => {
    if (recorded.has(i)) return { kind: 'recorded' };
    // A row that is not there was acknowledged; to say so once more changes nothing.
    return { kind: verdict.to === 'acked' && !there.has(position) && position <= readTo ? 'repeated' : 'lost' };
  });
  return { outcomes, freed: (rows[0]?.[1] ?? 0) > 0 };
}

export async function settleTaken(
  batch: readonly EventSettlement[],
  context: Pick<TakeContext, 'connection' | 'nowMs'>,
): Promise<{ outcomes: EventSettleOutcome[]; freed: boolean }> {
  const outcomes: EventSettleOutcome[] = [];
  let freed = false;
  const bySubscription = Map.groupBy(
    batch.map((one, i) => ({ one, i })),
    ({ one }) => one.subscription,
  );
  // In one order everywhere, so that two batches never wait for each other's subscriptions.
  for (const [subscription, of] of [...bySubscription].toSorted(([a], [b]) => a - b)) {
    const ofIt = of.map(({ one }) => one);
    const settled = await inTransaction(context.connection, () => settleOf(subscription, ofIt, context));
    freed ||= settled.freed;
    for (const [n, { i }] of of.entries()) outcomes[i] = settled.outcomes[n]!;
  }
  return { outcomes, freed };
}

type Of = { subscription: number; positions?: readonly number[]; limit: number };
const chosen = ({ subscription, positions, limit }: Of, nowMs: number): unknown[] => [
  nowMs,
  subscription,
  positions ? int8Array(positions) : null,
  limit,
];

export async function redriveTaken(
  of: Of,
  { connection, nowMs }: Pick<TakeContext, 'connection' | 'nowMs'>,
): Promise<number> {
  return inTransaction(connection, async () => {
    await connection.run(lockSubscription, [of.subscription]);
    return (await connection.run(redrive, chosen(of, nowMs))).length;
  });
}

export const forgetDeadOf = async (of: Of, connection: Connection): Promise<number> =>
  (await connection.run(forgetDead, chosen(of, 0))).length;

/** True when there is more. */
export async function expireTaken(connection: Connection, nowMs: number): Promise<{ expired: number; more: boolean }> {
  const expired = (await connection.run(expire, [nowMs])).length;
  return { expired, more: expired === sweepRows };
}

/** What nodes carried that are gone is to be taken again; how many. */
export const voidTaken = async (connection: Connection, nowMs: number): Promise<number> =>
  (await connection.run(voidPushed, [nowMs])).length;

export async function nextTaken(connection: Connection, nowMs: number): Promise<number | undefined> {
  const [[at] = [null]] = (await connection.run(nextTimer, [nowMs])) as [number | null][];
  return at ?? undefined;
}
