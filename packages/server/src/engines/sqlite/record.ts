// An operation's columns and how they become a record, for every statement that reads one.
import type { OperationStatus } from '@waitless/protocol';
import { headerOf } from '../../core/lifecycle.ts';
import type { OperationRecord, Queue } from '../../engine/engine.ts';
import { stage } from './store.ts';
import { parseLabels } from './wire.ts';

/** Follows `FROM operation o JOIN request r ON r.seq = o.seq`; the order is that of `RecordColumns`. */
export const recordColumns =
  'o.seq, o.nonce, o.queue, o.stage, o.version, o.attempt, o.lease_no, r.correlation, r.labels, o.created_at, o.updated_at, o.started_at, o.finished_at, o.run_at, ' +
  'o.deadline_at, o.lease_until, o.wake_at, o.error_code, o.error_message, o.progress_seq, o.progress, o.attempt_at, o.worker, ' +
  // Only an operation that succeeded can have ended by reference, so nobody else pays for the look.
  `CASE WHEN o.stage = ${stage.succeeded} THEN (SELECT x.headers FROM result x WHERE x.seq = o.seq AND x.status = 303) END`;

export type RecordColumns = [
  seq: number,
  nonce: string,
  queue: number,
  stage: number,
  version: number,
  attempt: number,
  leaseNo: number,
  correlation: string | null,
  labels: string | null,
  createdAt: number,
  updatedAt: number,
  startedAt: number | null,
  finishedAt: number | null,
  runAt: number | null,
  deadlineAt: number,
  leaseUntil: number | null,
  wakeAt: number,
  errorCode: string | null,
  errorMessage: string | null,
  progressSeq: number | null,
  progress: string | null,
  attemptAt: number | null,
  worker: string | null,
  referenceHeaders: string | null,
];

export const statusOfStage: readonly OperationStatus[] = [
  'queued',
  'queued',
  'running',
  'succeeded',
  'failed',
  'cancelled',
];

export function toRecord(row: RecordColumns, queues: ReadonlyMap<number, Queue>): OperationRecord {
  const queue = queues.get(row[2])!;
  const done = row[3] >= stage.succeeded;
  return {
    seq: row[0],
    nonce: row[1],
    queue: row[2],
    namespace: queue.namespace,
    service: queue.service,
    status: statusOfStage[row[3]]!,
    version: row[4],
    attempt: row[5],
    leaseNo: row[6],
    correlationId: row[7],
    labels: parseLabels(row[8]),
    createdAt: row[9],
    updatedAt: row[10],
    startedAt: row[11],
    finishedAt: row[12],
    runAt: row[13],
    deadlineAt: row[14],
    attemptAt: row[21],
    worker: row[22],
    expiresAt: done ? row[16] : null,
    error: row[17] === null ? null : { code: row[17], message: row[18] ?? '' },
    progress: row[19] === null ? null : { sequence: row[19], ...(JSON.parse(row[20] ?? '{}') as object) },
    reference: row[23] === null ? null : (headerOf(JSON.parse(row[23]) as string[], 'location') ?? null),
  };
}
