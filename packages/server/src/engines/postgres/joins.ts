// Submits that join an operation under way and want to be told of its end: their callback, and the idempotency key that stands for what they were told.
//
// The operation's row is held while both are written, so it has either not ended, and its end tells them, or it has, and they look again.
import { type CallbackWanted, mostCallbacks } from '../../engine/deliveries.ts';
import type { Submission } from '../../engine/engine.ts';
import { stage } from '../rows.ts';
import { int4Array, int8Array, textArray } from './arrays.ts';
import { callbackColumns, callbackParameters, callbackValues, storeCallbacks } from './callbacks.ts';
import type { Connection, Statement } from './connections.ts';
import { toldCodes } from './keys.ts';

/** How many an operation has is read from its row, under the lock: the table of callbacks is seen as it was when the statement began. */
const joinText = `
WITH input AS MATERIALIZED (
  SELECT * FROM unnest($2::int8[], $3::int4[], $4::text[], $5::text[], $6::int8[], ${callbackParameters(7)})
    WITH ORDINALITY AS i (seq, queue, key, fingerprint, expires_at, ${callbackColumns}, ord)
), held AS MATERIALIZED (
  SELECT s.seq, h.callbacks FROM (SELECT DISTINCT seq FROM input ORDER BY seq) s CROSS JOIN LATERAL (
    SELECT coalesce(o.callbacks, 0) AS callbacks FROM operation o WHERE o.seq = s.seq AND o.stage + 0 < ${stage.succeeded} FOR NO KEY UPDATE
  ) h
), room AS MATERIALIZED (
  SELECT i.*, h.callbacks, h.callbacks + row_number() OVER (PARTITION BY i.seq ORDER BY i.ord) <= ${mostCallbacks} AS fits
  FROM input i JOIN held h ON h.seq = i.seq
), told AS (
  INSERT INTO idempotency (queue, key, fingerprint, seq, expires_at, told, early)
  SELECT queue, key, fingerprint, seq, expires_at, ${toldCodes.joined}, $1::bool FROM room WHERE fits AND key IS NOT NULL ORDER BY queue, key
  ON CONFLICT (queue, key) DO NOTHING RETURNING queue, key
), joined AS MATERIALIZED (
  SELECT r.*, r.callbacks + row_number() OVER (PARTITION BY r.seq ORDER BY r.ord) AS n
  FROM room r LEFT JOIN told t ON t.queue = r.queue AND t.key = r.key WHERE r.fits AND (r.key IS NULL OR t.key IS NOT NULL)
), stored AS (
  ${storeCallbacks('joined', 'n')}
), counted AS (
  UPDATE operation o SET callbacks = j.callbacks, reports = coalesce(j.reports, o.reports), keep_until = greatest(o.keep_until, j.until)
  FROM (
    SELECT seq, max(n) AS callbacks, bool_or(cb_progress = 1 OR NULL) AS reports, max(expires_at) AS until FROM joined GROUP BY seq
  ) j WHERE o.seq = j.seq
)
SELECT r.ord, r.fits, j.ord IS NOT NULL FROM room r LEFT JOIN joined j ON j.ord = r.ord`;

const join: Statement = { name: 'join', text: joinText };

export interface Join {
  submission: Submission & { callback: CallbackWanted };
  /** The operation under way. */
  seq: number;
}

/** `again`: the operation has ended, or the key was taken meanwhile. `full`: as many as may be are told of its end already. */
export type JoinOutcome = 'joined' | 'full' | 'again';

export async function joinAll(
  joins: readonly Join[],
  { connection, early }: { connection: Connection; early: boolean },
): Promise<JoinOutcome[]> {
  if (joins.length === 0) return [];
  const rows = (await connection.run(join, [
    early,
    int8Array(joins.map(({ seq }) => seq)),
    int4Array(joins.map(({ submission: s }) => s.queue)),
    textArray(joins.map(({ submission: s }) => s.idempotency?.key ?? null)),
    textArray(joins.map(({ submission: s }) => s.idempotency?.fingerprint ?? null)),
    int8Array(joins.map(({ submission: s }) => s.idempotency?.expiresAt ?? null)),
    ...callbackValues(joins.map(({ submission: s }) => s.callback)),
  ])) as [number, boolean, boolean][];
  const outcomes = new Map(
    rows.map(([ord, fits, joined]) => [ord - 1, joined ? 'joined' : fits ? 'again' : 'full'] as const),
  );
  return joins.map((_, i) => outcomes.get(i) ?? 'again');
}
