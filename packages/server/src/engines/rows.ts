// How both engines write an operation's states, and how its columns become a record.
import type { OperationStatus } from '@waitless/protocol';
import { headerOf } from '../core/lifecycle.ts';
import type { DeliveryState } from '../engine/deliveries.ts';
import type { LeaseKind, OperationFilter, OperationRecord, Queue } from '../engine/engine.ts';

/** States as stored. `ready` and `waiting` are both `queued`; every stage from `succeeded` on is an end. */
export const stage = { ready: 0, waiting: 1, running: 2, succeeded: 3, failed: 4, cancelled: 5 } as const;
export const leaseKinds = { push: 1, pull: 2, later: 3 } as const;

export const statusOfStage: readonly OperationStatus[] = [
  'queued',
  'queued',
  'running',
  'succeeded',
  'failed',
  'cancelled',
];

/** In the order of the numbers they are stored as. */
export const deliveryStates: readonly DeliveryState[] = ['waiting', 'sending', 'delivered', 'dead'];
/** An operation is kept for so long after the last delivery that tells of it has ended. */
export const keptAfterDeliveryMs = 86_400_000;

export const kindOf = (code: number | null): LeaseKind | null =>
  code === leaseKinds.push ? 'push' : code === leaseKinds.pull ? 'pull' : code === leaseKinds.later ? 'later' : null;

/** What a statement that reads operations selects, in this order. */
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
  /** Of a result with status 303, as its JSON text. */
  referenceHeaders: string | null,
  key: string | null,
];

export function toRecord(row: RecordColumns, queue: Queue): OperationRecord {
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
    labels: row[8] === null ? null : (JSON.parse(row[8]) as Record<string, string>),
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
    key: row[24],
  };
}

/** What a list's filter asks beyond the index that was walked. */
export function matches(record: OperationRecord, filter: OperationFilter): boolean {
  if (record.namespace !== filter.namespace) return false;
  if (filter.service !== undefined && record.service !== filter.service) return false;
  if (filter.key !== undefined && record.key !== filter.key) return false;
  if (filter.statuses && !filter.statuses.includes(record.status)) return false;
  if (filter.createdAfter !== undefined && record.createdAt <= filter.createdAfter) return false;
  if (filter.createdBefore !== undefined && record.createdAt >= filter.createdBefore) return false;
  const labels = record.labels ?? {};
  return Object.entries(filter.labels ?? {}).every(
    ([name, value]) => Object.hasOwn(labels, name) && labels[name] === value,
  );
}
