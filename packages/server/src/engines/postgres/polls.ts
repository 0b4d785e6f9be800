// When backends that answer later are to be asked: written with the answer that says so, and given to one node when due.
import type { DuePoll } from '../../engine/engine.ts';
import { stage } from '../rows.ts';
import type { Connection, Statement } from './connections.ts';
import type { Marks } from './marks.ts';
import { leaseNow } from './time-line.ts';

/** A look that was given out and never answered for is given out again after this; less would ask twice a backend that is slow to say where it stands. */
const againMs = 30_000;
/** Given out in one go. */
const mostPolls = 200;

/** Sets the next look at each backend; `which` gives number, lease, time and URL. */
export const setPolls = (which: string): string => `INSERT INTO poll (seq, lease_no, at, url) ${which} ORDER BY seq
  ON CONFLICT (seq) DO UPDATE SET lease_no = excluded.lease_no, at = excluded.at, url = excluded.url`;

/** SQL for the next look that is due within so many milliseconds. */
export const nextPoll = (withinMs: number): string =>
  `SELECT at FROM poll WHERE at > $1::int8 AND at <= $1::int8 + ${withinMs} ORDER BY at LIMIT 1`;

/** Looks that are due are put off in the same statement, so that no other node finds them; those of leases that have ended go. */
const takeDue: Statement = {
  name: 'due-polls',
  text: `
WITH due AS MATERIALIZED (
  SELECT seq, lease_no, url FROM poll WHERE at BETWEEN $2::int8 AND $1::int8 ORDER BY at LIMIT ${mostPolls} FOR UPDATE SKIP LOCKED
), looked AS MATERIALIZED (
  SELECT d.seq, d.lease_no, d.url, h.queue, h.attempt, h.attempt_at, h.deadline_at FROM due d CROSS JOIN time_line LEFT JOIN LATERAL (
    SELECT o.queue, o.attempt, o.attempt_at, o.deadline_at FROM operation o
    WHERE o.seq = d.seq AND o.lease_no = d.lease_no AND o.stage + 0 = ${stage.running} AND o.lease_until > ${leaseNow('$1::int8')} LIMIT 1
  ) h ON true
), moved AS (
  UPDATE poll p SET at = $1::int8 + ${againMs} FROM looked l WHERE p.seq = l.seq AND l.queue IS NOT NULL
), ended AS (
  DELETE FROM poll p USING looked l WHERE p.seq = l.seq AND l.queue IS NULL
)
SELECT l.seq, l.lease_no, l.queue, l.url, l.attempt, l.attempt_at, r.nonce, r.correlation, l.deadline_at, r.head FROM looked l LEFT JOIN request r ON r.seq = l.seq`,
};

type PollColumns = [
  seq: number,
  leaseNo: number,
  queue: number | null,
  url: string,
  attempt: number,
  attemptAt: number,
  nonce: string,
  correlationId: string | null,
  deadlineAt: number,
  head: string,
];

/** Takes the looks that are due for this node. */
export async function duePolls(
  connection: Connection,
  { nowMs, marks }: { nowMs: number; marks: Marks },
): Promise<{ polls: DuePoll[]; more: boolean }> {
  const rows = (await connection.run(takeDue, [nowMs, marks.polls])) as unknown as PollColumns[];
  const more = rows.length === mostPolls;
  marks.sawPolls(nowMs, more);
  const polls = rows.flatMap(
    ([seq, leaseNo, queue, url, attempt, attemptAt, nonce, correlationId, deadlineAt, head]): DuePoll[] =>
      queue === null ? [] : [{ seq, leaseNo, queue, url, attempt, attemptAt, nonce, correlationId, deadlineAt, head }],
  );
  return { polls, more };
}
