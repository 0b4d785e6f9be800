// Deliveries that wait again without an answer: tries that were interrupted, and those that somebody wants to be made anew. And outlets that nothing waits for.
import { interrupted } from '../../engine/deliveries.ts';
import { keptAfterDeliveryMs, stage } from '../rows.ts';
import { reachOutlets } from './callbacks.ts';
import type { Connection, Statement } from './connections.ts';
import { leaseNow } from './time-line.ts';

/** Taken back in one statement, so that it is over long before its limit. */
const mostBack = 500;
/** Outlets removed in one sweep: a row of one is small, and the next end may need it again. */
const mostIdle = 200;

/** `found` gives number, lease and outlet of deliveries under way. What is settled meanwhile, or leased anew, stays as it is. Answers how many wait again. */
const interruptText = (found: string, why: string): string => `
WITH found AS MATERIALIZED (
  ${found} LIMIT ${mostBack}
), places AS MATERIALIZED (
  SELECT s.id FROM (
    SELECT o.id FROM (SELECT DISTINCT outlet FROM found) f
    CROSS JOIN LATERAL (SELECT id, namespace, name FROM outlet o WHERE o.id = f.outlet LIMIT 1) o ORDER BY o.namespace, o.name
  ) s CROSS JOIN LATERAL (SELECT FROM outlet o WHERE o.id = s.id FOR NO KEY UPDATE) o
), held AS MATERIALIZED (
  SELECT f.number, f.outlet, d.attempt, d.at FROM found f JOIN places p ON p.id = f.outlet CROSS JOIN LATERAL (
    SELECT attempt, at FROM delivery d WHERE d.number = f.number AND d.outlet = p.id AND d.lease_no = f.lease_no AND d.state + 0 = 1 FOR NO KEY UPDATE
  ) d
), moved AS (
  UPDATE delivery d SET state = 0, at = $1::int8, lease_until = NULL, node = NULL, code = '${interrupted}' FROM held h WHERE d.number = h.number
), tries AS (
  INSERT INTO delivery_attempt (delivery, attempt, at, code, detail, next_at) SELECT number, attempt, at, '${interrupted}', '${why}', $1::int8 FROM held
  ON CONFLICT (delivery, attempt) DO NOTHING
), outlets AS (
  UPDATE outlet o SET rev = o.rev + 1, in_flight = o.in_flight - h.count, full_at = NULL, due_at = greatest($1::int8, o.blocked_until)
  FROM (SELECT outlet, count(*)::int4 AS count FROM held GROUP BY outlet) h WHERE o.id = h.outlet
)
SELECT count(*) FROM held`;

const interruptLate: Statement = {
  name: 'interrupt-late',
  text: interruptText(
    `SELECT d.number, d.lease_no, d.outlet FROM time_line CROSS JOIN LATERAL (
    SELECT number, lease_no, outlet FROM delivery WHERE state = 1 AND lease_until <= ${leaseNow('$1::int8')} ORDER BY lease_until LIMIT ${mostBack}
  ) d`,
    'nothing was heard of this try in time',
  ),
};

/** From the first that is under way: there are no more of them than nodes carry. */
const interruptGone: Statement = {
  name: 'interrupt-gone',
  text: interruptText(
    `SELECT number, lease_no, outlet FROM delivery d WHERE state = 1 AND NOT EXISTS (SELECT FROM node n WHERE n.id = d.node)`,
    'the server stopped during this try',
  ),
};

/** Nothing waits in them and nothing is under way. One that is blocked is kept until that is over. */
const dropIdle: Statement = {
  name: 'drop-outlets',
  text: `DELETE FROM outlet WHERE id = ANY (ARRAY(
    SELECT id FROM outlet WHERE due_at IS NULL AND in_flight = 0 AND (blocked_until IS NULL OR blocked_until <= $1::int8) ORDER BY id
    LIMIT ${mostIdle} FOR UPDATE SKIP LOCKED))`,
};

/** When the next outlet is due, also one that is due now. */
const nextDue: Statement = {
  name: 'next-outlet',
  text: 'SELECT due_at FROM outlet WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1',
};

async function takeBack(connection: Connection, statement: Statement, nowMs: number): Promise<boolean> {
  let some = false;
  for (let back = mostBack; back === mostBack;) {
    const [[count] = [0]] = (await connection.run(statement, [nowMs])) as [number][];
    back = count;
    some ||= back > 0;
  }
  return some;
}

/** Takes back what nodes carried that are gone; true where that was something. */
export const takeBackOfGone = (connection: Connection, nowMs: number): Promise<boolean> =>
  takeBack(connection, interruptGone, nowMs);

/** Takes back what was not answered for in time, and removes idle outlets. Answers when the next outlet is due. */
export async function sweepDeliveries(connection: Connection, nowMs: number): Promise<number | null> {
  await takeBack(connection, interruptLate, nowMs);
  await connection.run(dropIdle, [nowMs]);
  const [row] = await connection.run(nextDue, []);
  return (row?.[0] ?? null) as number | null;
}

/**
 * An ended operation is kept as long as after any delivery: whoever is about to remove it sees its row change and lets go. One that is on its way is left
 * alone; that its outlet is looked at in vain then costs one look.
 */
const again: Statement = {
  name: 'redeliver',
  text: `
WITH found AS MATERIALIZED (
  SELECT d.number, d.seq, d.namespace, c.outlet FROM delivery d JOIN callback c ON c.seq = d.seq AND c.n = d.callback
  WHERE d.number = $2::int8 AND d.namespace = $3 AND d.state + 0 <> 1
), kept AS (
  UPDATE operation o SET wake_at = greatest(o.wake_at, $1::int8 + ${keptAfterDeliveryMs}) FROM found f WHERE o.seq = f.seq AND o.stage + 0 >= ${stage.succeeded}
  RETURNING o.seq
), outlets AS (
  ${reachOutlets('SELECT namespace, outlet, $1::int8 FROM found WHERE (SELECT count(*) FROM kept) >= 0')}
), moved AS (
  UPDATE delivery d SET state = 0, at = $1::int8, failures = 0, ended_at = NULL, outlet = o.id
  FROM outlets o CROSS JOIN found f WHERE d.number = f.number AND d.state + 0 <> 1
  RETURNING d.number
)
SELECT number FROM moved`,
};

/** True when it waits now; false when it is on its way, or there is none. */
export async function sendAgain(
  connection: Connection,
  { number, namespace, nowMs }: { number: number; namespace: string; nowMs: number },
): Promise<boolean> {
  return (await connection.run(again, [nowMs, number, namespace])).length > 0;
}
