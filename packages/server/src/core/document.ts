// From an operation's record to what clients read. Pure.
import { errorTable, type Operation, type TimelineEntry } from '@waitless/protocol';
import type { ServiceConfig } from '../config/config-shape.ts';
import type { Labels, OperationRecord, TimelineRow } from '../engine/engine.ts';
import { isoTime } from '../lib/clock.ts';

/** What the receipt, the immutable part of the status document, is made of. */
export interface ReceiptParts {
  id: string;
  service: string;
  correlationId: string | null;
  labels: Labels | null;
  createdAt: number;
}

/** JSON of the receipt, the body of a 202: put together by hand because it is on the path of every submit, and byte-identical for a repeat. */
export function receiptJson(parts: ReceiptParts, base: string): string {
  return `{${receiptMembers(parts, base)}}`;
}

function receiptMembers({ id, service, correlationId, labels, createdAt }: ReceiptParts, base: string): string {
  const self = `${base}/v1/operations/${id}`;
  const correlation = correlationId === null ? `"${id}"` : JSON.stringify(correlationId);
  return (
    `"id":"${id}","service":"${service}","correlationId":${correlation},"key":null,"labels":${labels === null ? '{}' : JSON.stringify(labels)},` +
    `"createdAt":"${new Date(createdAt).toISOString()}","resourceLocation":"${self}/result","links":{"self":"${self}","result":"${self}/result","timeline":"${self}/timeline"}`
  );
}

export interface DocumentContext {
  id: string;
  base: string;
  service: ServiceConfig | undefined;
}

/** The part of the status document that changes. `data` of the progress is inserted as the source text it came as. */
export function operationJson(record: OperationRecord, { id, base, service }: DocumentContext): string {
  const done = record.finishedAt !== null;
  const changing: Omit<
    Operation,
    'id' | 'service' | 'correlationId' | 'key' | 'labels' | 'createdAt' | 'resourceLocation' | 'links' | 'progress'
  > = {
    status: record.status,
    done,
    version: record.version,
    eventId: `${id}_${record.version}`,
    startedAt: isoTime(record.startedAt),
    updatedAt: isoTime(record.updatedAt)!,
    finishedAt: isoTime(record.finishedAt),
    attempt: record.attempt,
    maxAttempts: service?.retry.maxAttempts ?? Math.max(1, record.attempt),
    runAt: isoTime(record.runAt),
    deadline: isoTime(record.deadlineAt),
    queuePosition: null,
    estimatedCompletionAt: null,
    expiresAt: isoTime(record.expiresAt),
    error: record.error && {
      ...record.error,
      ...(record.error.code in errorTable ? { type: `${base}/problems/${record.error.code}` } : {}),
    },
  };
  const receipt = receiptMembers(
    {
      id,
      service: record.service,
      correlationId: record.correlationId,
      labels: record.labels,
      createdAt: record.createdAt,
    },
    base,
  );
  return `{${receipt},${JSON.stringify(changing).slice(1, -1)},"progress":${progressJson(record.progress)}}`;
}

export function progressJson(progress: OperationRecord['progress']): string {
  if (!progress) return 'null';
  const { data, ...rest } = progress;
  const text = JSON.stringify(rest);
  return data === undefined ? text : `${text.slice(0, -1)},"data":${data}}`;
}

/** Oldest first: accepted, what happened in between, the attempt that runs or ended it, the end. */
export function timelineJson(
  record: OperationRecord,
  rows: readonly TimelineRow[],
  lastAttempt: { startedAt: number | null; worker: string | null; backendStatus: number | null },
): string {
  const entries: (TimelineEntry | string)[] = [{ type: 'accepted', at: isoTime(record.createdAt)! }];
  for (const row of rows) {
    if (row.kind === 'progress')
      entries.push(
        `{"type":"progress","at":"${isoTime(row.at)}","attempt":${row.attempt},"progress":${progressJson(row.progress)}}`,
      );
    else {
      entries.push({
        type: 'attempt',
        at: isoTime(row.startedAt ?? row.at)!,
        attempt: row.attempt,
        endedAt: isoTime(row.at),
        worker: row.worker,
        outcome: row.outcome,
        backendStatus: row.backendStatus,
        detail: row.detail,
        nextAt: isoTime(row.nextAt),
      });
    }
  }
  const running = record.status === 'running';
  if (lastAttempt.startedAt !== null && (running || record.finishedAt !== null)) {
    entries.push({
      type: 'attempt',
      at: isoTime(lastAttempt.startedAt)!,
      attempt: record.attempt,
      endedAt: running ? null : isoTime(record.finishedAt),
      worker: lastAttempt.worker,
      outcome: running ? null : record.status === 'succeeded' ? 'succeeded' : (record.error?.code ?? record.status),
      backendStatus: lastAttempt.backendStatus,
    });
  }
  if (record.finishedAt !== null)
    entries.push({
      type: 'finished',
      at: isoTime(record.finishedAt)!,
      status: record.status,
      detail: record.error?.message ?? null,
    });
  return `{"items":[${entries.map((entry) => (typeof entry === 'string' ? entry : JSON.stringify(entry))).join(',')}],"next":null}`;
}
