// Writing new operations: a batch is one statement, which takes the idempotency keys first and stores what won them.
//
// Twins of one key in one batch never meet (the batcher keeps them apart); twins of two nodes meet in the unique index, where the second waits for
// the first one's commit. Rows go in the order of their keys, or two nodes could each hold a key that the other waits for.
import { WaitlessError } from '@waitless/protocol';
import type { LeasedOperation, Submission, SubmitOutcome } from '../../engine/engine.ts';
import { leaseKinds, type RecordColumns, stage, toRecord } from '../rows.ts';
import { byteaArray, int4Array, int8Array, textArray, uuidArray } from './arrays.ts';
import { type Connection, extraMs, type Row, type Statement, statementTimeoutMs } from './connections.ts';
import { toCallerError } from './errors.ts';
import { recordColumns, recordTables } from './read.ts';
import { leaseNow } from './time-line.ts';
import type { Node } from './node.ts';
import type { Taker } from './takers.ts';

/** What a statement does beyond storing: each costs processor, and most batches need neither. */
interface Shape {
  keyed: boolean;
  labelled: boolean;
}

const insertText = ({ keyed, labelled }: Shape): string => `
WITH input AS MATERIALIZED (
  SELECT nextval('operation_seq') AS seq, i.*
  FROM unnest($3::int4[], $4::uuid[], $5::int4[], $6::int8[], $7::int8[], $8::int8[], $9::int8[], $10::int8[], $11::int8[], $12::int8[], $13::int8[],
    $14::int4[], $15::int8[], $16::text[], $17::text[], $18::text[], $19::text[], $20::bytea[], $21::text[], $22::text[], $23::int8[])
    WITH ORDINALITY AS i (queue, nonce, stage, rank, wake_at, created_at, deadline_at, retention_ms, keep_until, run_at, start_by_at,
      lease_kind, lease_ms, worker, correlation, labels, head, body, key, fingerprint, key_expires_at, ord)
)${
  keyed
    ? `, keyed AS (
  INSERT INTO idempotency (queue, key, fingerprint, seq, expires_at, early)
  SELECT queue, key, fingerprint, seq, key_expires_at, $25::bool FROM input WHERE key IS NOT NULL ORDER BY queue, key
  ON CONFLICT (queue, key) DO NOTHING RETURNING seq
), accepted AS MATERIALIZED (
  SELECT * FROM input WHERE key IS NULL OR seq IN (SELECT seq FROM keyed)
)`
    : ', accepted AS (SELECT * FROM input)'
}, operations AS (
  INSERT INTO operation (seq, rank, wake_at, created_at, updated_at, deadline_at, retention_ms, keep_until, run_at, start_by_at, started_at, attempt_at,
    lease_until, queue, version, attempt, lease_no, request_bytes, node, stage, lease_kind, worker)
  SELECT seq, rank, wake_at, created_at, $1::int8, deadline_at, retention_ms, keep_until, run_at, start_by_at,
    CASE WHEN stage = 2 THEN $1::int8 END, CASE WHEN stage = 2 THEN $1::int8 END, ${leaseNow('$1::int8')} + lease_ms,
    queue, CASE WHEN stage = 2 THEN 2 ELSE 1 END, CASE WHEN stage = 2 THEN 1 ELSE 0 END, CASE WHEN stage = 2 THEN 1 ELSE 0 END, octet_length(body),
    CASE WHEN stage = 2 THEN $24::int4 END, stage, lease_kind, worker
  FROM accepted, time_line
), requests AS (
  INSERT INTO request (seq, nonce, correlation, labels, head, idempotency, body) SELECT seq, nonce, correlation, labels, head, key, body FROM accepted
)${
  labelled
    ? `, labels AS (
  INSERT INTO label (name, value, seq) SELECT e.key, e.value, a.seq FROM accepted a CROSS JOIN LATERAL jsonb_each_text(a.labels::jsonb) e WHERE a.labels IS NOT NULL
)`
    : ''
}, counted AS (
  INSERT INTO counter AS c (queue, slot, queued, running)
  SELECT queue, $2::int4, count(*) FILTER (WHERE stage < 2), count(*) FILTER (WHERE stage = 2) FROM accepted GROUP BY queue
  ON CONFLICT (queue, slot) DO UPDATE SET queued = c.queued + excluded.queued, running = c.running + excluded.running
)
SELECT seq, ord FROM accepted`;

const shapes = [
  { keyed: false, labelled: false },
  { keyed: false, labelled: true },
  { keyed: true, labelled: false },
  { keyed: true, labelled: true },
].map((shape) => ({
  shape,
  statement: {
    name: `submit${shape.keyed ? '-keyed' : ''}${shape.labelled ? '-labelled' : ''}`,
    text: insertText(shape),
  } satisfies Statement,
}));

const findKeys: Statement = {
  name: 'keys',
  text: `SELECT i.queue, i.key, i.fingerprint, i.expires_at, i.seq, i.early, ${recordColumns}
    FROM unnest($1::int4[], $2::text[]) AS w (queue, key)
    CROSS JOIN LATERAL (SELECT * FROM idempotency k WHERE k.queue = w.queue AND k.key = w.key LIMIT 1) i
    LEFT JOIN (${recordTables}) ON o.seq = i.seq`,
};

/** Gives a key that stands for nothing any more back, so that the next try can take it. */
const dropKey: Statement = {
  name: 'key-drop',
  text: 'DELETE FROM idempotency WHERE queue = $1::int4 AND key = $2 AND seq = $3::int8',
};

/** A commit that waits for the disk, and by that for all that was written before. */
const flush: Statement = { name: 'flush', text: "SELECT pg_logical_emit_message(true, 'waitless', '') IS NULL" };

/** A submission with the taker it is stored for, if somebody waits. */
export interface SubmitItem {
  submission: Submission;
  taker: Taker | undefined;
}

export interface SubmitContext {
  /** The connection does not wait for the disk. */
  early: boolean;
  node: Node;
  nowMs: number;
  connection: Connection;
}

/** What was written without waiting is on the disk after three rounds of the server's writer, each of ten seconds at most. */
const syncedAfterMs = 60_000;
const never = Number.POSITIVE_INFINITY;
/** A key can be given back and taken anew by another again and again; that often means that something else is wrong. */
const rounds = 10;

interface Times {
  stage: number;
  wakeAt: number;
  leaseMs: number | null;
}

/** Where a new operation stands and when the clock looks at it first. */
function timesOf({ submission: s, taker }: SubmitItem, now: number): Times {
  const ready = s.runAt <= now;
  const startBy = s.startByAt ?? never;
  const leaseMs = taker?.wanted.leaseMs ?? null;
  const wakeAt = Math.min(s.deadlineAt, leaseMs === null ? startBy : now + leaseMs, ready ? never : s.runAt);
  return { stage: taker ? stage.running : ready ? stage.ready : stage.waiting, wakeAt, leaseMs };
}

async function insert(
  items: readonly SubmitItem[],
  { connection, node, nowMs, early }: SubmitContext,
): Promise<Map<number, number>> {
  const all = items.map((item) => item.submission);
  const times = items.map((item) => timesOf(item, nowMs));
  const keyed = all.some((s) => s.idempotency !== null);
  const labelled = all.some((s) => s.labels !== null);
  const { statement } = shapes.find(({ shape }) => shape.keyed === keyed && shape.labelled === labelled)!;
  const bytes = all.reduce((sum, s) => sum + s.body.length, 0);
  const values = [
    nowMs,
    connection.slot,
    int4Array(all.map((s) => s.queue)),
    uuidArray(all.map((s) => s.nonce)),
    int4Array(times.map((t) => t.stage)),
    int8Array(all.map((s) => s.rank)),
    int8Array(times.map((t) => t.wakeAt)),
    int8Array(all.map((s) => s.createdAt)),
    int8Array(all.map((s) => s.deadlineAt)),
    int8Array(all.map((s) => s.retentionMs)),
    int8Array(all.map((s) => s.idempotency?.expiresAt ?? null)),
    int8Array(times.map((t, i) => (t.stage === stage.waiting ? all[i]!.runAt : null))),
    int8Array(all.map((s) => s.startByAt)),
    int4Array(items.map(({ taker }) => (taker ? leaseKinds[taker.wanted.kind] : null))),
    int8Array(times.map((t) => t.leaseMs)),
    textArray(items.map(({ taker }) => taker?.wanted.worker ?? null)),
    textArray(all.map((s) => s.correlationId)),
    textArray(all.map((s) => (s.labels === null ? null : JSON.stringify(s.labels)))),
    textArray(all.map((s) => s.head)),
    byteaArray(all.map((s) => s.body)),
    textArray(all.map((s) => s.idempotency?.key ?? null)),
    textArray(all.map((s) => s.idempotency?.fingerprint ?? null)),
    int8Array(all.map((s) => s.idempotency?.expiresAt ?? null)),
    node.id,
    ...(keyed ? [early] : []),
  ];
  const rows = await connection.run(statement, values, statementTimeoutMs + extraMs(bytes));
  return new Map((rows as [number, number][]).map(([seq, ord]) => [ord - 1, seq]));
}

/** What the key of a submission stands for: an answer, or undefined where it is free again. */
function answerOf(s: Submission, row: Row, node: Node, nowMs: number): SubmitOutcome | undefined {
  const [, , fingerprint, expiresAt, , , ...columns] = row as [
    number,
    string,
    string,
    number,
    number,
    boolean,
    ...unknown[],
  ];
  const record = columns[0] === null ? undefined : (columns as unknown as RecordColumns);
  // A key without its operation belongs to one that was removed.
  if (expiresAt <= nowMs || !record) return undefined;
  const same = fingerprint === s.idempotency!.fingerprint;
  if (same && s.idempotency!.retryFailed && record[3] === stage.failed) return undefined;
  return same ? { kind: 'replayed', operation: toRecord(record, node.queues.known(record[2])!) } : { kind: 'mismatch' };
}

/** Stores a batch in which no key stands twice. */
export async function submitBatch(items: readonly SubmitItem[], context: SubmitContext): Promise<SubmitOutcome[]> {
  const outcomes: SubmitOutcome[] = [];
  const isOpen = (i: number): boolean => outcomes[i] === undefined;
  let open = items.map((_, i) => i);
  try {
    for (let round = 0; open.length > 0 && round < rounds; round++) {
      const stored = await insert(
        open.map((i) => items[i]!),
        context,
      );
      for (const [at, i] of open.entries()) {
        const seq = stored.get(at);
        if (seq !== undefined) outcomes[i] = { kind: 'new', seq };
      }
      open = open.filter(isOpen);
      if (open.length > 0) open = await replay(open, items, outcomes, context);
    }
  } catch (error) {
    // What was stored stays stored: the batch as a whole must not be tried again.
    if (!outcomes.some((outcome) => outcome?.kind === 'new')) throw error;
    for (const i of open.filter(isOpen)) outcomes[i] = await submitAlone(items[i]!, context);
    return outcomes;
  }
  for (const i of open) {
    const error = new WaitlessError('storage-unavailable', 'its idempotency key never came to rest', {
      members: { accepted: false },
    });
    outcomes[i] = { kind: 'refused', error };
  }
  return outcomes;
}

async function submitAlone(item: SubmitItem, context: SubmitContext): Promise<SubmitOutcome> {
  try {
    return (await submitBatch([item], context))[0]!;
  } catch (error) {
    return { kind: 'refused', error: toCallerError(error, { sent: true }) };
  }
}

/** Answers those whose key was taken; the rest, whose key is free again, is tried once more. */
async function replay(
  lost: readonly number[],
  items: readonly SubmitItem[],
  outcomes: SubmitOutcome[],
  { connection, node, nowMs, early }: SubmitContext,
): Promise<number[]> {
  const again: number[] = [];
  let unsynced = false;
  const rows = await connection.run(findKeys, [
    int4Array(lost.map((i) => items[i]!.submission.queue)),
    textArray(lost.map((i) => items[i]!.submission.idempotency!.key)),
  ]);
  const found = new Map(rows.map((row) => [`${String(row[0])}/${String(row[1])}`, row]));
  for (const i of lost) {
    const { queue, idempotency } = items[i]!.submission;
    const row = found.get(`${queue}/${idempotency!.key}`);
    const answer = row && answerOf(items[i]!.submission, row, node, nowMs);
    if (answer) {
      outcomes[i] = answer;
      unsynced ||=
        answer.kind === 'replayed' && (row[5] as boolean) && nowMs - answer.operation.createdAt < syncedAfterMs;
    } else {
      if (row) await connection.run(dropKey, [queue, idempotency!.key, row[4]]);
      again.push(i);
    }
  }
  if (unsynced && !early) await connection.run(flush, []);
  return again;
}

/** What the taker of a stored submission gets. */
export function leasedOf(
  s: Submission,
  seq: number,
  taker: Taker,
  nowMs: number,
  inlineBytes: number,
): LeasedOperation {
  return {
    seq,
    nonce: s.nonce,
    queue: s.queue,
    leaseNo: 1,
    attempt: 1,
    correlationId: s.correlationId,
    labels: s.labels,
    createdAt: s.createdAt,
    deadlineAt: s.deadlineAt,
    leaseUntil: nowMs + taker.wanted.leaseMs,
    head: s.head,
    body: s.body.length <= inlineBytes ? s.body : null,
    bodyBytes: s.body.length,
  };
}
