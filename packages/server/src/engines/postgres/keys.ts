// Idempotency keys: what a key stands for, and keys that stand for an operation which another submit has made.
import { stage, toRecord, type RecordColumns } from '../rows.ts';
import type { Idempotency, Submission, SubmitOutcome } from '../../engine/engine.ts';
import { int4Array, int8Array, textArray } from './arrays.ts';
import type { Connection, Row, Statement } from './connections.ts';
import type { Queues } from './queues.ts';
import { recordColumns, recordTables } from './read.ts';

const findKeys: Statement = {
  name: 'keys',
  text: `SELECT i.queue, i.key, i.fingerprint, i.expires_at, i.seq, i.early, i.told, ${recordColumns}
    FROM unnest($1::int4[], $2::text[]) AS w (queue, key)
    CROSS JOIN LATERAL (SELECT * FROM idempotency k WHERE k.queue = w.queue AND k.key = w.key LIMIT 1) i
    LEFT JOIN (${recordTables}) ON o.seq = i.seq`,
};

/** Gives a key that stands for nothing any more back, so that the next try can take it. */
const dropKey: Statement = {
  name: 'key-drop',
  text: 'DELETE FROM idempotency WHERE queue = $1::int4 AND key = $2 AND seq = $3::int8',
};

/**
 * Keys of submits that were answered with an operation of another. It is locked first and kept as long as the keys are: one that is gone meanwhile
 * gets none. Answers the places of those that took their key.
 */
const tellKeys: Statement = {
  name: 'keys-told',
  text: `
WITH input AS MATERIALIZED (
  SELECT * FROM unnest($1::int4[], $2::text[], $3::text[], $4::int8[], $5::int8[], $6::int4[])
    WITH ORDINALITY AS i (queue, key, fingerprint, seq, expires_at, told, ord) ORDER BY seq
), held AS MATERIALIZED (
  SELECT i.* FROM input i CROSS JOIN LATERAL (SELECT FROM operation o WHERE o.seq = i.seq FOR NO KEY UPDATE) h
), told AS (
  INSERT INTO idempotency (queue, key, fingerprint, seq, expires_at, told, early)
  SELECT queue, key, fingerprint, seq, expires_at, told, $7::bool FROM held ORDER BY queue, key
  ON CONFLICT (queue, key) DO NOTHING RETURNING queue, key, seq, expires_at
), kept AS (
  UPDATE operation o SET keep_until = greatest(o.keep_until, t.until), wake_at = CASE WHEN o.stage > 2 THEN greatest(o.wake_at, t.until) ELSE o.wake_at END
  FROM (SELECT seq, max(expires_at) AS until FROM told GROUP BY seq) t
  WHERE o.seq = t.seq AND (o.keep_until IS NULL OR o.keep_until < t.until)
)
SELECT h.ord FROM held h JOIN told t ON t.queue = h.queue AND t.key = h.key`,
};

/** A commit that waits for the disk, and by that for all that was written before. */
const flushLog: Statement = { name: 'flush', text: "SELECT pg_logical_emit_message(true, 'waitless', '') IS NULL" };

export const flush = (connection: Connection): Promise<unknown> => connection.run(flushLog, []);

/** What was written without waiting is on the disk after three rounds of the server's writer, each of ten seconds at most. */
export const syncedAfterMs = 60_000;

/** What the first submit with a key was told, as stored. */
export const toldCodes = { new: 0, joined: 1, stored: 2 } as const;
const toldNames = ['new', 'joined', 'stored'] as const;

export type KeyedSubmission = Submission & { idempotency: Idempotency };
export const hasKey = (s: Submission): s is KeyedSubmission => s.idempotency !== null;

export interface KeysContext {
  connection: Connection;
  queues: Queues;
  nowMs: number;
}

/** What stands under a key. */
export interface KeyState {
  /** undefined where the key is free again. */
  answer: SubmitOutcome | undefined;
  /** Number of the operation it stood for. */
  seq: number;
  /** What it answers may not be on the disk yet. */
  unsynced: boolean;
}

function stateOf({ idempotency }: KeyedSubmission, row: Row, { queues, nowMs }: KeysContext): KeyState {
  const [, , fingerprint, expiresAt, seq, early, told, ...columns] = row as [
    number,
    string,
    string,
    number,
    number,
    boolean,
    number,
    ...unknown[],
  ];
  const free = { answer: undefined, seq, unsynced: false };
  const record = columns[0] === null ? undefined : (columns as unknown as RecordColumns);
  // A key without its operation belongs to one that was removed.
  if (expiresAt <= nowMs || !record) return free;
  if (fingerprint !== idempotency.fingerprint) return { ...free, answer: { kind: 'mismatch' } };
  if (idempotency.retryFailed && record[3] === stage.failed) return free;
  const operation = toRecord(record, queues.known(record[2])!);
  return {
    answer: { kind: 'replayed', operation, as: toldNames[told]! },
    seq,
    unsynced: early && nowMs - operation.createdAt < syncedAfterMs,
  };
}

/** What the keys of these submissions stand for; undefined where nobody has used one. */
export async function keyStates(
  submissions: readonly KeyedSubmission[],
  context: KeysContext,
): Promise<(KeyState | undefined)[]> {
  if (submissions.length === 0) return [];
  const rows = await context.connection.run(findKeys, [
    int4Array(submissions.map((s) => s.queue)),
    textArray(submissions.map((s) => s.idempotency.key)),
  ]);
  const found = new Map(rows.map((row) => [`${String(row[0])}/${String(row[1])}`, row]));
  return submissions.map((s) => {
    const row = found.get(`${s.queue}/${s.idempotency.key}`);
    return row && stateOf(s, row, context);
  });
}

/** Answers those whose key is taken; keys that are free again are given back, and theirs are not answered. */
export async function replay(
  submissions: readonly KeyedSubmission[],
  { early, ...context }: KeysContext & { early: boolean },
): Promise<(SubmitOutcome | undefined)[]> {
  const states = await keyStates(submissions, context);
  for (const [i, s] of submissions.entries()) {
    const state = states[i];
    if (state && !state.answer) await giveBackKey(s, state.seq, context.connection);
  }
  if (!early && states.some((state) => state?.unsynced)) await flush(context.connection);
  return states.map((state) => state?.answer);
}

export async function giveBackKey(
  { queue, idempotency }: KeyedSubmission,
  seq: number,
  connection: Connection,
): Promise<void> {
  await connection.run(dropKey, [queue, idempotency.key, seq]);
}

export interface Told {
  submission: KeyedSubmission;
  seq: number;
  told: number;
}

/** Has the keys of submissions stand for operations that others have made; true for each that took its key. */
export async function takeToldKeys(
  all: readonly Told[],
  { connection, early }: { connection: Connection; early: boolean },
): Promise<boolean[]> {
  if (all.length === 0) return [];
  const rows = (await connection.run(tellKeys, [
    int4Array(all.map(({ submission: s }) => s.queue)),
    textArray(all.map(({ submission: s }) => s.idempotency.key)),
    textArray(all.map(({ submission: s }) => s.idempotency.fingerprint)),
    int8Array(all.map(({ seq }) => seq)),
    int8Array(all.map(({ submission: s }) => s.idempotency.expiresAt)),
    int4Array(all.map(({ told }) => told)),
    early,
  ])) as [number][];
  const took = new Set(rows.map(([ord]) => ord - 1));
  return all.map((_, i) => took.has(i));
}
