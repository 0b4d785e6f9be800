// Events as cells and bytes, between the server's thread and the store's.
import type { AppendOutcome, EventPage, NewEvent, ReadWanted } from '../../engine/engine.ts';
import { type StoreError, toCallerError } from './store-error.ts';
import type { AppendRow } from './log.ts';
import type { Reader, Writer } from './wire.ts';

/** An event to be written, in the store's thread. */
export interface NewEventRow {
  namespace: string;
  topic: string;
  head: string;
  body: Buffer;
}

export interface EventRow {
  position: number;
  topic: string;
  head: string;
  appendedAt: number;
  body: Buffer;
}

export interface PageRow {
  epoch: string;
  last: number;
  events: EventRow[];
}

export function writeNewEvent(to: Writer, e: NewEvent): void {
  to.cells.push(e.namespace, e.topic, e.head);
  to.bytes(e.body);
}

export const readNewEvent = (from: Reader): NewEventRow => ({
  namespace: from.text(),
  topic: from.text(),
  head: from.text(),
  body: from.bytes(),
});

/** A position is one cell; the rare refusal is a zero and an object. */
export function writeAppended(to: Writer, outcome: AppendRow): void {
  if (outcome.kind === 'appended') to.cells.push(outcome.position);
  else to.cells.push(0, outcome.error);
}

export function readAppended(from: Reader): AppendOutcome {
  const position = from.number();
  if (position > 0) return { kind: 'appended', position };
  return { kind: 'refused', error: toCallerError(from.object<StoreError>()) };
}

export const writeReadWanted = (to: Writer, w: ReadWanted): void =>
  void to.cells.push(w.namespace, w.after, w.limit, w.maxBytes);

export const readReadWanted = (from: Reader): ReadWanted => ({
  namespace: from.text(),
  after: from.number(),
  limit: from.number(),
  maxBytes: from.number(),
});

export function writePage(to: Writer, { epoch, last, events }: PageRow): void {
  to.cells.push(epoch, last);
  for (const e of events) {
    to.cells.push(e.position, e.topic, e.head, e.appendedAt);
    to.bytes(e.body);
  }
}

export const readPage = (from: Reader, count: number): EventPage => ({
  epoch: from.text(),
  last: from.number(),
  events: Array.from({ length: count }, () => ({
    position: from.number(),
    topic: from.text(),
    head: from.text(),
    appendedAt: from.number(),
    body: from.bytes(),
  })),
});
