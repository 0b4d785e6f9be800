// What stands under a share, and what that means for a submit: a stored result, a twin under way, or work. Only looks.
import type { OperationRecord, StoredResult, Submission, SubmitOutcome } from '../../engine/engine.ts';
import { judgeShare } from '../../engine/sharing.ts';
import { type RecordColumns, stage, toRecord } from '../rows.ts';
import { int4Array, textArray } from './arrays.ts';
import type { Row, Statement } from './connections.ts';
import type { Claim } from './insert.ts';
import { type KeysContext, syncedAfterMs } from './keys.ts';
import { type ResultColumns, recordColumns, recordTables, resultColumns, toResult } from './read.ts';

/** Two rows for each share that is there: what runs and what is stored, with its result as far as it may still answer. */
const findShares: Statement = {
  name: 'shares',
  text: `SELECT k.queue, k.share, k.running, k.stored, k.stored_at, k.fresh_until, k.stale_until, k.early, p.role, ${resultColumns('x')}, ${recordColumns}
    FROM unnest($1::int4[], $2::text[]) AS w (queue, share)
    CROSS JOIN LATERAL (SELECT * FROM keyed k WHERE k.queue = w.queue AND k.share = w.share LIMIT 1) k
    CROSS JOIN (VALUES (0), (1)) AS p (role)
    LEFT JOIN (${recordTables}) ON o.seq = CASE p.role WHEN 0 THEN k.running ELSE k.stored END
    LEFT JOIN result x ON p.role = 1 AND x.seq = k.stored AND greatest(k.fresh_until, k.stale_until) > $3::int8`,
};

type ShareColumns = [
  queue: number,
  share: string,
  running: number | null,
  stored: number | null,
  storedAt: number | null,
  freshUntil: number | null,
  staleUntil: number | null,
  early: boolean,
  role: number,
];
const shareColumns = 9;
const resultWidth = 6;

interface Share {
  row: Omit<Claim, 'take'>;
  running: { operation: OperationRecord; untouched: boolean; early: boolean } | null;
  /** `found` is missing where the result is too old to answer. */
  stored: { storedAt: number; freshUntil: number | null; staleUntil: number | null; found: StoredResult | null } | null;
}

const nothing: Share = { row: { running: null, stored: null }, running: null, stored: null };

function readShare(share: Share | undefined, row: Row, { queues }: KeysContext): Share {
  const [, , running, stored, storedAt, freshUntil, staleUntil, early, role] = row as unknown as ShareColumns;
  const at = share ?? { ...nothing, row: { running, stored } };
  const result = row.slice(shareColumns, shareColumns + resultWidth) as unknown as ResultColumns;
  const columns = row.slice(shareColumns + resultWidth) as unknown as RecordColumns;
  // An operation that is not there, or not under way, is as good as none.
  if ((columns as unknown as Row)[0] === null) return at;
  if (role === 0) {
    if (columns[3] >= stage.succeeded) return at;
    const operation = toRecord(columns, queues.known(columns[2])!);
    return { ...at, running: { operation, untouched: columns[13] !== null && columns[5] === 0, early } };
  }
  const found: StoredResult | null =
    (result as unknown as Row)[0] === null
      ? null
      : {
          operation: toRecord(columns, queues.known(columns[2])!),
          result: toResult(result),
          storedAt: storedAt!,
          freshUntil,
        };
  return { ...at, stored: { storedAt: storedAt!, freshUntil, staleUntil, found } };
}

export interface Judged {
  /** What answers; with `makes` once its work is stored, or instead of that. */
  answer: SubmitOutcome | undefined;
  makes: boolean;
  /** There was a result that is too old. */
  expired: boolean;
  seen: Omit<Claim, 'take'>;
  /** What it answers may not be on the disk yet. */
  unsynced: boolean;
}

function judge(submission: Submission, share: Share, nowMs: number): Judged {
  const { row: seen, running, stored } = share;
  const judged: Judged = { answer: undefined, makes: false, expired: false, seen, unsynced: false };
  const { sharing } = submission;
  if (!sharing)
    return submission.mayMake === false ? { ...judged, answer: { kind: 'full' } } : { ...judged, makes: true };
  const verdict = judgeShare(sharing, share, nowMs, submission);
  switch (verdict.kind) {
    case 'serve':
      return { ...judged, answer: { kind: 'stored', stored: stored!.found!, refreshing: false } };
    case 'refresh':
      return { ...judged, answer: { kind: 'stored', stored: stored!.found!, refreshing: true }, makes: true };
    case 'join': {
      const { operation, early } = running!;
      const unsynced = early && nowMs - operation.createdAt < syncedAfterMs;
      return { ...judged, answer: { kind: 'joined', operation }, unsynced };
    }
    case 'not-stored':
    case 'full':
      return { ...judged, answer: { kind: verdict.kind } };
    case 'make':
      return { ...judged, makes: true, expired: verdict.expired };
  }
}

/** What the shares of these submissions say at this moment; a share that many ask for is looked up once. */
export async function judgeShares(submissions: readonly Submission[], context: KeysContext): Promise<Judged[]> {
  const { connection, nowMs } = context;
  const name = (queue: number, share: string): string => `${queue}/${share}`;
  const wanted = new Map<string, { queue: number; share: string }>();
  for (const { queue, sharing } of submissions)
    if (sharing) wanted.set(name(queue, sharing.share), { queue, share: sharing.share });
  const found = new Map<string, Share>();
  if (wanted.size > 0) {
    const keys = [...wanted.values()];
    const rows = await connection.run(findShares, [
      int4Array(keys.map(({ queue }) => queue)),
      textArray(keys.map(({ share }) => share)),
      nowMs,
    ]);
    for (const row of rows) {
      const key = name(row[0] as number, row[1] as string);
      found.set(key, readShare(found.get(key), row, context));
    }
  }
  return submissions.map((submission) => {
    const { queue, sharing } = submission;
    return judge(submission, (sharing && found.get(name(queue, sharing.share))) ?? nothing, nowMs);
  });
}
