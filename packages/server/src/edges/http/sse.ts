// Server-Sent Events: from events to the bytes of a stream, put together once for all who read the same.
import { eventIdOf, eventJson, type OperationEvent } from '../../core/operation-events.ts';
import type { Answer, Piece, StreamReader } from './exchange.ts';
import { pieceOf } from './watchers.ts';

export interface Frame {
  id: string;
  event: string;
  data: string;
}

/** One event. Whatever line ends stand in the data, each of its lines goes out as a line of data; nothing in it can begin a field of its own. */
export const frame = ({ id, event, data }: Frame): string => `id: ${oneLine(id)}\n${fieldsOf(event, data)}`;

export function fieldsOf(event: string, data: string): string {
  const lines = data.split(/\r\n|\r|\n/).map((line) => `data: ${line}\n`);
  return `event: ${oneLine(event)}\n${lines.join('')}\n`;
}

/** An id or a name that could end its line, or that readers would drop for its NUL, is none of ours. */
function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are what ends a line, and NUL
  if (/[\r\n\0]/.test(text)) throw new Error('an id or name of an event has more than one line');
  return text;
}

/** What is made of something once for all who know the server under one address. */
class Made<T extends object, M> {
  readonly #of = new WeakMap<T, Map<string, M>>();

  get(one: T, base: string, make: () => M): M {
    let ofBases = this.#of.get(one);
    if (!ofBases) this.#of.set(one, (ofBases = new Map<string, M>()));
    let made = ofBases.get(base);
    if (made === undefined) ofBases.set(base, (made = make()));
    return made;
  }
}

export interface Place {
  /** Of the operation. */
  id: string;
  base: string;
}

const fields = new Made<OperationEvent, string>();
const pieces = new Made<readonly OperationEvent[], Piece>();

/** An event under an id of the reader's own: where it stands in what it reads. */
export function eventText(event: OperationEvent, { id, base, at }: Place & { at: string }): string {
  return `id: ${at}\n${fields.get(event, base, () => fieldsOf(event.kind, eventJson(event, { id, base })))}`;
}

/** Events of one operation that came together, for all who read that operation alone. */
export const piecesOf = (events: readonly OperationEvent[], { id, base }: Place): Piece =>
  pieces.get(events, base, () => {
    const text = events.map((event) => eventText(event, { id, base, at: eventIdOf(id, event.version) }));
    return pieceOf(text.join(''), events.length);
  });

/** The answer that is a stream. Proxies are told to keep nothing and to pass on each piece as it comes. */
export const streamAnswer = (stream: (reader: StreamReader) => void, more: string[] = []): Answer => ({
  status: 200,
  headers: ['Content-Type', 'text/event-stream', 'Cache-Control', 'no-store', 'X-Accel-Buffering', 'no', ...more],
  stream,
});

/** How much a client would like a media type: its `q`, 0 where it does not want it, and undefined where it does not say. */
function wish(accept: string, type: string): number | undefined {
  const [family] = type.split('/');
  const found = new Map<string, number>();
  for (const range of accept.toLowerCase().split(',')) {
    const [name, ...parameters] = range.split(';').map((part) => part.trim());
    const q = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2);
    const value = q === undefined ? 1 : Number(q);
    if (name !== undefined && !found.has(name)) found.set(name, Number.isNaN(value) ? 1 : value);
  }
  return found.get(type) ?? found.get(`${family}/*`) ?? found.get('*/*');
}

/** Of the two forms of an operation's events: the stream, unless JSON is preferred. */
export const prefersJson = (accept: string | undefined): boolean =>
  accept !== undefined && (wish(accept, 'application/json') ?? 0) > (wish(accept, 'text/event-stream') ?? 0);

/** Whether somebody who can only be told a stream takes one. */
export const acceptsStream = (accept: string | undefined): boolean =>
  accept === undefined || accept.trim() === '' || (wish(accept, 'text/event-stream') ?? 0) > 0;

/** A submit is answered with a stream only where that is named and nothing else is wanted as much: many a client lists it beside JSON. */
export function asksForStream(accept: string | undefined): boolean {
  if (accept === undefined || !/\btext\/event-stream\b/i.test(accept)) return false;
  const stream = wish(accept, 'text/event-stream') ?? 0;
  const others = accept
    .split(',')
    .map((range) => range.split(';')[0]!.trim().toLowerCase())
    .filter((name) => name !== 'text/event-stream' && name !== '*/*' && name !== '');
  return stream > 0 && others.every((name) => (wish(accept, name) ?? 0) < stream);
}
