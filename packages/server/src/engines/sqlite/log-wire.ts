// Events as cells and bytes, between the server's thread and the store's.
import type { AppendOutcome, EventPage, NewEvent, ReadWanted } from '../../engine/topics.ts';
import { type StoreError, toCallerError } from './store-error.ts';
import type { AppendRow } from './log.ts';
import type { Reader, Writer } from './wire.ts';

/** An event to be written, in the store's thread. */
export interface NewEventRow {
  namespace: string;
  topic: string;
  head: string;
  body: Buffer;
  /** Answered before the commit. */
  memory: boolean;
  orderingKey: string | null;
  identity: string | null;
  knownUntil: number;
}

export interface EventRow {
  position: number;
  topic: string;
  head: string;
  appendedAt: number;
  orderingKey: string | null;
  body: Buffer;
}

export interface PageRow {
  epoch: string;
  last: number;
  readTo: number;
  removedTo: number;
  events: EventRow[];
}

export function writeNewEvent(to: Writer, e: NewEvent): void {
  to.cells.push(
    e.namespace,
    e.topic,
    e.head,
    e.durability === 'memory' ? 1 : 0,
    e.orderingKey,
    e.identity,
    e.knownUntil,
  );
  to.bytes(e.body);
}

export const readNewEvent = (from: Reader): NewEventRow => ({
  namespace: from.text(),
  topic: from.text(),
  head: from.text(),
  memory: from.number() === 1,
  orderingKey: from.maybeText(),
  identity: from.maybeText(),
  knownUntil: from.number(),
  body: from.bytes(),
});

/** A position is one cell, that of a repeat a negative one; the rare refusal is a zero and an object. */
export function writeAppended(to: Writer, outcome: AppendRow): void {
  if (outcome.kind === 'appended') to.cells.push(outcome.position);
  else if (outcome.kind === 'repeated') to.cells.push(-outcome.position);
  else to.cells.push(0, outcome.error);
}

export function readAppended(from: Reader): AppendOutcome {
  const position = from.number();
  if (position !== 0) return position > 0 ? { kind: 'appended', position } : { kind: 'repeated', position: -position };
  return { kind: 'refused', error: toCallerError(from.object<StoreError>()) };
}

export const writeReadWanted = (to: Writer, w: ReadWanted): void =>
  void to.cells.push(w.namespace, [...w.topics], w.after, w.limit, w.maxBytes);

export const readReadWanted = (from: Reader): ReadWanted => ({
  namespace: from.text(),
  topics: from.object<string[]>(),
  after: from.number(),
  limit: from.number(),
  maxBytes: from.number(),
});

export function writePage(to: Writer, { epoch, last, readTo, removedTo, events }: PageRow): void {
  to.cells.push(epoch, last, readTo, removedTo);
  for (const e of events) {
    to.cells.push(e.position, e.topic, e.head, e.appendedAt, e.orderingKey);
    to.bytes(e.body);
  }
}

export const readPage = (from: Reader, count: number): EventPage => ({
  epoch: from.text(),
  last: from.number(),
  readTo: from.number(),
  removedTo: from.number(),
  events: Array.from({ length: count }, () => ({
    position: from.number(),
    topic: from.text(),
    head: from.text(),
    appendedAt: from.number(),
    orderingKey: from.maybeText(),
    body: from.bytes(),
  })),
});
