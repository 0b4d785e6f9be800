// What stands under shares and business keys: parts of the statements that end and remove operations, the look-up by key, and forgetting.
//
// A row of `keyed` names at most one operation that runs and at most one whose result is stored. It stays while an operation that points to it is
// there: of several under way at once one may fail and another still bring a result. Every statement that takes several
// rows does it in the order of their shares, or two could each hold a row that the other waits for.
import type { KeyFound, KeyName, StoredResult } from '../../engine/engine.ts';
import { stage } from '../rows.ts';
import type { Connections, Statement } from './connections.ts';
import { type ResultColumns, type Reads, recordColumns, recordTables, resultColumns, toResult } from './read.ts';
import { notBefore } from './time-line.ts';

/**
 * SQL for until when a result is kept for others, null where it is not: of operation `o` that ends by the input `h`. What was forgotten meanwhile has no
 * row any more and is kept no longer for it. Not as EXISTS: the planner might read the whole table once instead of looking each row up.
 */
export const sharedUntil = `CASE WHEN h.fresh_ms > 0 AND (SELECT true FROM keyed k WHERE k.id = o.keyed LIMIT 1) THEN ${notBefore('$1::int8')} + h.fresh_ms + h.stale_ms END`;

/** Operations `e` by their rows, in the order of shares. */
const ordered =
  'CROSS JOIN LATERAL (SELECT queue, share FROM keyed WHERE id = e.keyed LIMIT 1) s GROUP BY e.keyed, s.queue, s.share ORDER BY s.queue, s.share';

/**
 * Part of a statement that ends operations: they run no more, and the newest of them whose result is kept (`kept`, which begins with its number) is the stored one.
 * `which` gives number, row, when it ended, and for how long its result is fresh and stale: null where nobody else gets it.
 */
export const endShares = (which: string): string => `ended_shares AS (
  SELECT e.keyed, array_agg(e.seq) AS seqs,
    max(ARRAY[e.seq, e.updated_at, e.updated_at + e.fresh_ms, e.updated_at + e.fresh_ms + e.stale_ms, e.fresh_ms]) FILTER (WHERE e.fresh_ms IS NOT NULL) AS kept
  FROM (${which}) e ${ordered}
), shares AS (
  UPDATE keyed k SET running = CASE WHEN k.running = ANY (v.seqs) THEN NULL ELSE k.running END,
    stored = CASE WHEN v.kept IS NULL THEN k.stored ELSE v.kept[1] END,
    stored_at = CASE WHEN v.kept IS NULL THEN k.stored_at ELSE v.kept[2] END,
    fresh_until = CASE WHEN v.kept IS NULL THEN k.fresh_until WHEN v.kept[5] > 0 THEN v.kept[3] END,
    stale_until = CASE WHEN v.kept IS NULL THEN k.stale_until WHEN v.kept[5] > 0 THEN v.kept[4] END
  FROM ended_shares v WHERE k.id = v.keyed AND (v.kept IS NOT NULL OR k.running = ANY (v.seqs))
)`;

/** Part of a statement that removes operations: no row names them any more, and one that names none goes with them. `which` gives number and row. */
export const leaveShares = (which: string): string => `pointed AS MATERIALIZED (
  SELECT k.* FROM (SELECT e.keyed, array_agg(e.seq) AS seqs FROM (${which}) e ${ordered}) g CROSS JOIN LATERAL (
    SELECT k.id, k.running IS NULL OR k.running = ANY (g.seqs) AS idle, k.stored IS NULL OR k.stored = ANY (g.seqs) AS bare,
      k.running = ANY (g.seqs) OR k.stored = ANY (g.seqs) AS named
    FROM keyed k WHERE k.id = g.keyed FOR UPDATE
  ) k
), dropped AS (
  DELETE FROM keyed k USING pointed p WHERE k.id = p.id AND p.idle AND p.bare
), shares AS (
  UPDATE keyed k SET running = CASE WHEN p.idle THEN NULL ELSE k.running END, stored = CASE WHEN p.bare THEN NULL ELSE k.stored END,
    stored_at = CASE WHEN p.bare THEN NULL ELSE k.stored_at END, fresh_until = CASE WHEN p.bare THEN NULL ELSE k.fresh_until END,
    stale_until = CASE WHEN p.bare THEN NULL ELSE k.stale_until END
  FROM pointed p WHERE k.id = p.id AND p.named AND NOT (p.idle AND p.bare)
)`;

/** In one look, or what ends between two would be found by neither. */
const lookUpKey: Statement = {
  name: 'look-up',
  text: `
WITH named AS MATERIALIZED (
  SELECT k.running, k.stored, k.stored_at, k.fresh_until, k.stale_until FROM keyed k WHERE k.queue = $1::int4 AND k.identity = $2
), best AS MATERIALIZED (
  SELECT n.stored, n.stored_at, n.fresh_until FROM named n JOIN operation o ON o.seq = n.stored
  WHERE CASE WHEN n.fresh_until IS NULL THEN o.wake_at ELSE greatest(n.fresh_until, n.stale_until) END > $3::int8
  ORDER BY n.stored_at DESC, n.stored DESC LIMIT 1
), busy AS MATERIALIZED (
  SELECT o.seq FROM named n JOIN operation o ON o.seq = n.running WHERE o.stage + 0 < ${stage.succeeded} ORDER BY o.seq DESC LIMIT 1
)
SELECT b.stored_at, b.fresh_until, ${resultColumns('x')}, ${recordColumns}
FROM best b JOIN (${recordTables}) ON o.seq = b.stored JOIN result x ON x.seq = b.stored
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, ${recordColumns} FROM busy JOIN (${recordTables}) ON o.seq = busy.seq`,
};

const forgetKey: Statement = {
  name: 'forget',
  text: `
WITH doomed AS MATERIALIZED (
  SELECT id, running IS NOT NULL OR stored IS NOT NULL AS named FROM keyed WHERE queue = $1::int4 AND identity = $2 ORDER BY queue, share FOR UPDATE
), gone AS (
  DELETE FROM keyed k USING doomed d WHERE k.id = d.id
)
SELECT coalesce(bool_or(named), false) FROM doomed`,
};

const timeColumns = 2;
const resultWidth = 6;

export async function lookUpIn(
  connections: Connections,
  reads: Reads,
  { queue, identity }: KeyName,
  nowMs: number,
): Promise<KeyFound | undefined> {
  const rows = await connections.run(lookUpKey, [queue, identity, nowMs]);
  // A stored result before one that is being computed.
  const row = rows.find(([storedAt]) => storedAt !== null) ?? rows[0];
  if (!row) return undefined;
  const [operation] = await reads.records([row.slice(timeColumns + resultWidth)]);
  const [storedAt, freshUntil] = row as [number | null, number | null];
  if (storedAt === null) return { kind: 'running', operation: operation! };
  const result = toResult(row.slice(timeColumns, timeColumns + resultWidth) as unknown as ResultColumns);
  const stored: StoredResult = { operation: operation!, result, storedAt, freshUntil };
  return { kind: 'stored', stored };
}

export async function forgetIn(connections: Connections, { queue, identity }: KeyName): Promise<boolean> {
  const [row] = await connections.use((connection) => connection.run(forgetKey, [queue, identity]));
  return row?.[0] === true;
}
