// Keeping leases: until when they hold, what their holders say about the work, and when a backend is to be asked again.
import type { ExtendOutcome, Extension } from '../../engine/engine.ts';
import { stage, statusOfStage } from '../rows.ts';
import { int4Array, int8Array, textArray } from './arrays.ts';
import { tellCallbacks } from './callbacks.ts';
import type { Statement } from './connections.ts';
import { setPolls } from './polls.ts';
import { type SettleContext, standingOf } from './settle.ts';
import { leaseNow, notBefore } from './time-line.ts';

/**
 * Keeps leases and reports progress. wake_at stays: the clock looks at lease_until when it is due, and the update touches no indexed column.
 */
const extendText = ({ polls, reports }: { polls: boolean; reports: boolean }): string => `
WITH input AS MATERIALIZED (
  SELECT * FROM unnest($2::int8[], $3::int4[], $4::int8[], $5::text[]${polls ? ', $6::int8[], $7::text[]' : ''})
    WITH ORDINALITY AS i (seq, lease_no, lease_ms, report${polls ? ', poll_at, poll_url' : ''}, ord) ORDER BY seq
), held AS MATERIALIZED (
  SELECT i.*, h.* FROM input i CROSS JOIN time_line CROSS JOIN LATERAL (
    SELECT ${leaseNow('$1::int8')} AS lease_now FROM operation o
    WHERE o.seq = i.seq AND o.lease_no = i.lease_no AND o.stage + 0 = ${stage.running} AND o.lease_until > ${leaseNow('$1::int8')} FOR NO KEY UPDATE
  ) h
), extended AS (
  UPDATE operation o SET lease_until = greatest(o.lease_until, h.lease_now + h.lease_ms),
    extended_no = CASE WHEN h.lease_ms > 0 THEN o.lease_no ELSE o.extended_no END,
    version = o.version + CASE WHEN h.report IS NULL THEN 0 ELSE 1 END,
    updated_at = CASE WHEN h.report IS NULL THEN o.updated_at ELSE ${notBefore('$1::int8')} END,
    progress_seq = CASE WHEN h.report IS NULL THEN o.progress_seq ELSE coalesce(o.progress_seq, 0) + 1 END,
    progress = coalesce(h.report, o.progress)
  FROM held h WHERE o.seq = h.seq
  RETURNING o.seq, h.ord, o.lease_until - h.lease_now + $1::int8 AS until, o.version, coalesce(o.progress_seq, 0) AS progress_seq, o.attempt, o.updated_at, o.queue, o.reports, h.report${
    polls ? ', o.lease_no, h.poll_at, h.poll_url' : ''
  }
), noted AS (
  INSERT INTO happening (seq, n, kind, at, attempt, progress)
  SELECT seq, version, 1, updated_at, attempt, '{"sequence":' || progress_seq || CASE report WHEN '{}' THEN '}' ELSE ',' || substr(report, 2) END
  FROM extended WHERE report IS NOT NULL
)${polls ? `, polls AS (${setPolls('SELECT seq, lease_no, poll_at, poll_url FROM extended WHERE poll_at IS NOT NULL')})` : ''}${reports ? `, ${tellCallbacks('SELECT seq, queue, version FROM extended WHERE reports AND report IS NOT NULL', 'AND progress')}` : ''}
SELECT ord, until, version, CASE WHEN report IS NULL THEN 0 ELSE progress_seq END, reports AND report IS NOT NULL FROM extended`;

const extendPlain: Statement = { name: 'extend', text: extendText({ polls: false, reports: false }) };
const extendReports: Statement = { name: 'extend-reports', text: extendText({ polls: false, reports: true }) };
const extendPolls: Statement = { name: 'extend-polls', text: extendText({ polls: true, reports: true }) };

/** Keeps the leases of a batch in which no operation stands twice. */
export async function extendBatch(
  batch: readonly Extension[],
  { connection, nowMs, changed, told, dueAt }: SettleContext,
): Promise<ExtendOutcome[]> {
  const polls = batch.some((e) => e.poll);
  const rows = (await connection.run(
    polls ? extendPolls : batch.some((e) => e.progress) ? extendReports : extendPlain,
    [
      nowMs,
      int8Array(batch.map((e) => e.seq)),
      int4Array(batch.map((e) => e.leaseNo)),
      int8Array(batch.map((e) => e.leaseMs ?? 0)),
      textArray(batch.map((e) => (e.progress ? JSON.stringify(e.progress) : null))),
      ...(polls
        ? [int8Array(batch.map((e) => e.poll?.at ?? null)), textArray(batch.map((e) => e.poll?.url ?? null))]
        : []),
    ],
  )) as [number, number, number, number, boolean | null][];
  // The statement numbers its rows before it sorts them.
  const extended = new Map(rows.map((row) => [row[0] - 1, row]));
  for (const [i, { poll }] of batch.entries()) if (poll && extended.has(i)) dueAt(poll.at);
  changed(batch.filter((e, i) => e.progress && extended.has(i)).map((e) => e.seq));
  if (rows.some((row) => row[4])) told();
  const losers = batch.filter((_, i) => !extended.has(i)).map((e) => e.seq);
  const standing = await standingOf(losers, connection);
  return batch.map(({ seq }, i): ExtendOutcome => {
    const row = extended.get(i);
    if (row) return { kind: 'extended', leaseUntil: row[1], version: row[2], progressSequence: row[3] };
    const at = standing.get(seq);
    if (!at) return { kind: 'unknown' };
    return at[1] >= stage.succeeded ? { kind: 'ended', status: statusOfStage[at[1]]! } : { kind: 'lost' };
  });
}
