// Leases as cells and bytes: what is asked for, and what is given out.
import type { LeasedOperation, LeaseWanted } from '../../engine/engine.ts';
import type { Reader, Writer } from './wire.ts';

export function writeLeaseWanted(to: Writer, w: LeaseWanted): void {
  to.cells.push(
    w.service,
    w.namespace,
    w.kind === 'push' ? 1 : 2,
    w.worker,
    w.max,
    w.maxBytes,
    w.leaseMs,
    w.wait ? 1 : 0,
  );
}

/** A leased operation as the store's thread has it. */
export interface LeasedRow {
  seq: number;
  nonce: string;
  queue: number;
  leaseNo: number;
  attempt: number;
  correlationId: string | null;
  labels: string | null;
  createdAt: number;
  deadlineAt: number;
  leaseUntil: number;
  head: string;
  bodyBytes: number;
  /** Null when it stands in parts. */
  body: Buffer | null;
}

export function writeLeased(to: Writer, l: LeasedRow): void {
  to.cells.push(
    l.seq,
    l.nonce,
    l.queue,
    l.leaseNo,
    l.attempt,
    l.correlationId,
    l.labels,
    l.createdAt,
    l.deadlineAt,
    l.leaseUntil,
    l.head,
    l.bodyBytes,
    l.body ? 1 : 0,
  );
  if (l.body) to.bytes(l.body);
}

export function readLeased(from: Reader): LeasedOperation {
  const leased: LeasedOperation = {
    seq: from.number(),
    nonce: from.text(),
    queue: from.number(),
    leaseNo: from.number(),
    attempt: from.number(),
    correlationId: from.maybeText(),
    labels: parseLabels(from.maybeText()),
    createdAt: from.number(),
    deadlineAt: from.number(),
    leaseUntil: from.number(),
    head: from.text(),
    bodyBytes: from.number(),
    body: null,
  };
  if (from.number() === 1) leased.body = from.bytes();
  return leased;
}

const parseLabels = (text: string | null): Record<string, string> | null =>
  text === null ? null : (JSON.parse(text) as Record<string, string>);
