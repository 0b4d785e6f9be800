// From an operation's record to what clients read. Pure.
import { isUtf8 } from 'node:buffer';
import { errorTable, type Operation, type TimelineEntry } from '@waitless/protocol';
import type { ServiceConfig } from '../config/config-shape.ts';
import type { DeliveryRecord } from '../engine/deliveries.ts';
import type { Labels, OperationRecord, TimelineRow } from '../engine/engine.ts';
import { isoTime } from '../lib/clock.ts';
import { valueAt } from './json-pointer.ts';
import type { Outlook } from './outlook.ts';

/** What the receipt, the immutable part of the status document, is made of. */
export interface ReceiptParts {
  id: string;
  service: string;
  correlationId: string | null;
  labels: Labels | null;
  /** Business key. */
  key: string | null;
  createdAt: number;
  /** Where the result is, once it is elsewhere. */
  reference?: string | null;
}

/** JSON of the receipt, the body of a 202: put together by hand because it is on the path of every submit, and byte-identical for a repeat. */
export function receiptJson(parts: ReceiptParts, base: string): string {
  return `{${receiptMembers(parts, base)}}`;
}

function receiptMembers(
  { id, service, correlationId, labels, key, createdAt, reference }: ReceiptParts,
  base: string,
): string {
  const self = `${base}/v1/operations/${id}`;
  const correlation = correlationId === null ? `"${id}"` : JSON.stringify(correlationId);
  return (
    `"id":"${id}","service":"${service}","correlationId":${correlation},"key":${JSON.stringify(key)},"labels":${labels === null ? '{}' : JSON.stringify(labels)},` +
    `"createdAt":"${new Date(createdAt).toISOString()}","resourceLocation":${reference == null ? `"${self}/result"` : JSON.stringify(reference)},"links":{"self":"${self}","result":"${self}/result","timeline":"${self}/timeline","deliveries":"${self}/deliveries"}`
  );
}

export interface DocumentContext {
  id: string;
  base: string;
  service: ServiceConfig | undefined;
  /** Left out in lists, where it would cost a look at the store for each. */
  outlook?: Pick<Outlook, 'queuePosition' | 'estimatedCompletionAt'>;
  /** JSON of the result, where it was asked for. */
  result?: string;
}

/** The part of the status document that changes. `data` of the progress is inserted as the source text it came as. */
export function operationJson(
  record: OperationRecord,
  { id, base, service, outlook, result }: DocumentContext,
): string {
  const done = record.finishedAt !== null;
  const changing: Omit<
    Operation,
    | 'id'
    | 'service'
    | 'correlationId'
    | 'key'
    | 'labels'
    | 'createdAt'
    | 'resourceLocation'
    | 'links'
    | 'progress'
    | 'result'
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
    queuePosition: outlook?.queuePosition ?? null,
    estimatedCompletionAt: isoTime(outlook?.estimatedCompletionAt),
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
      key: record.key,
      createdAt: record.createdAt,
      reference: record.reference,
    },
    base,
  );
  return `{${receipt},${JSON.stringify(changing).slice(1, -1)},"progress":${progressJson(record.progress)}${result === undefined ? '' : `,"result":${result}`}}`;
}

/** A larger result is fetched by itself. */
export const mostIncludedBytes = 65_536;

/** A result as a member of the status document: JSON as the source text it is, other UTF-8 as a string, anything else as base64. */
export function includedResultJson(
  { status, headers }: { status: number; headers: readonly string[] },
  body: Uint8Array,
): string {
  const pairs = [];
  for (let i = 0; i < headers.length; i += 2) pairs.push([headers[i]!, headers[i + 1]!] as const);
  const type = pairs.find(([name]) => name.toLowerCase() === 'content-type')?.[1];
  return `{"status":${status},"headers":${JSON.stringify(pairs)},${includedBody(body, type)}}`;
}

function includedBody(body: Uint8Array, type: string | undefined): string {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  if (!isUtf8(bytes)) return `"bodyBase64":"${bytes.toString('base64')}"`;
  const text = bytes.toString('utf8');
  // A JSON string would be taken for the bytes of a text: as in every envelope, a string means its UTF-8.
  const verbatim =
    type !== undefined && /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i.test(type) && isJsonButNoString(bytes);
  return `"body":${verbatim ? text : JSON.stringify(text)}`;
}

function isJsonButNoString(bytes: Uint8Array): boolean {
  try {
    valueAt(bytes, '', 0);
    return bytes.find((byte) => byte > 32) !== 34;
  } catch {
    return false;
  }
}

export function progressJson(progress: OperationRecord['progress']): string {
  if (!progress) return 'null';
  const { data, ...rest } = progress;
  const text = JSON.stringify(rest);
  return data === undefined ? text : `${text.slice(0, -1)},"data":${data}}`;
}

/**
 * Everything that happened, in its order: the rows stand in theirs, and an attempt comes before its progress. Times do not decide, since
 * nodes of one store may be some milliseconds apart; an attempt that began on one that is behind is told to begin when what was before it ended. Every lease that did not end the operation has a row; the columns tell of the one
 * that did or still runs. A delivery stands behind what it tells.
 */
export function timelineJson(
  record: OperationRecord,
  rows: readonly TimelineRow[],
  {
    backendStatus,
    deliveries = [],
    deliveryId = String,
  }: {
    backendStatus: number | null;
    /** Oldest first. */
    deliveries?: readonly DeliveryRecord[];
    deliveryId?: (number: number) => string;
  },
): string {
  const tellers = Map.groupBy(deliveries, ({ version }) => version);
  const deliveriesOf = (version: number): string[] => {
    const some = tellers.get(version) ?? [];
    tellers.delete(version);
    return some.map((one) => JSON.stringify(deliveryEntry(one, deliveryId)));
  };
  const entries: string[] = [];
  const add = (entry: TimelineEntry): void => void entries.push(JSON.stringify(entry));
  /** Latest time told so far. */
  let toldAt = record.createdAt;
  add({ type: 'accepted', at: isoTime(toldAt)! });
  /** Of the attempt whose entry comes next. */
  let progressed: string[] = [];
  for (const row of rows) {
    if (row.kind === 'progress') {
      const { at, attempt, progress, version } = row;
      progressed.push(
        `{"type":"progress","at":"${isoTime(at)}","attempt":${attempt},"progress":${progressJson(progress)}}`,
        ...deliveriesOf(version),
      );
    } else {
      add(attemptEntry(row, toldAt));
      toldAt = Math.max(toldAt, row.at);
      entries.push(...progressed);
      progressed = [];
    }
  }
  const ended = record.finishedAt !== null;
  const leasesEnded = rows.filter((row) => row.kind === 'attempt').length;
  if (record.attemptAt !== null && leasesEnded < record.leaseNo) {
    add({
      type: 'attempt',
      at: isoTime(Math.max(record.attemptAt, toldAt))!,
      attempt: record.attempt,
      endedAt: isoTime(record.finishedAt),
      worker: record.worker,
      outcome: !ended ? null : record.status === 'succeeded' ? 'succeeded' : (record.error?.code ?? record.status),
      backendStatus,
    });
  }
  entries.push(...progressed);
  if (ended) {
    const { status, finishedAt, error } = record;
    add({ type: 'finished', at: isoTime(finishedAt)!, status, detail: error?.message ?? null });
  }
  for (const version of tellers.keys()) entries.push(...deliveriesOf(version));
  return `{"items":[${entries.join(',')}],"next":null}`;
}

const deliveryEntry = (
  { number, createdAt, endedAt, nextAt, attempt, state, code }: DeliveryRecord,
  deliveryId: (number: number) => string,
): TimelineEntry => ({
  type: 'delivery',
  at: isoTime(createdAt)!,
  delivery: deliveryId(number),
  attempt,
  endedAt: isoTime(endedAt),
  outcome: state === 'delivered' || state === 'dead' ? state : null,
  detail: code,
  nextAt: isoTime(nextAt),
});

const attemptEntry = (row: TimelineRow, toldAt: number): TimelineEntry => ({
  type: 'attempt',
  at: isoTime(Math.max(row.startedAt ?? row.at, toldAt))!,
  attempt: row.attempt,
  endedAt: isoTime(row.at),
  worker: row.worker,
  outcome: row.outcome,
  backendStatus: row.backendStatus,
  detail: row.detail,
  nextAt: isoTime(row.nextAt),
});
