// Server-Sent Events: from events to the bytes of a stream, put together once for all who read the same.
import { eventIdOf, eventJson, type OperationEvent } from '../../core/operation-events.ts';
import type { Answer } from './exchange.ts';

/** A stream that is silent for longer is taken for dead by proxies, some after 30 s. */
export const heartbeatMs = 15_000;
const heartbeat = Buffer.from(': still here\n\n');
/** Sends the head on its way at once. */
const opening = Buffer.from(': events follow\n\n');

export interface Frame {
  id: string;
  event: string;
  data: string;
}

/** One event. Whatever line ends stand in the data, each of its lines goes out as a line of data; nothing in it can begin a field of its own. */
export function frame({ id, event, data }: Frame): string {
  const lines = data.split(/\r\n|\r|\n/).map((line) => `data: ${line}\n`);
  return `id: ${oneLine(id)}\nevent: ${oneLine(event)}\n${lines.join('')}\n`;
}

/** An id or a name that could end its line, or that readers would drop for its NUL, is none of ours. */
function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are what ends a line, and NUL
  if (/[\r\n\0]/.test(text)) throw new Error('an id or name of an event has more than one line');
  return text;
}

const encoded = new WeakMap<OperationEvent, Map<string, Uint8Array>>();

/** The bytes of an event for all who know the server under one address. */
export function eventBytes(event: OperationEvent, { id, base }: { id: string; base: string }): Uint8Array {
  let ofBases = encoded.get(event);
  if (!ofBases) encoded.set(event, (ofBases = new Map<string, Uint8Array>()));
  let bytes = ofBases.get(base);
  if (!bytes) {
    const data = eventJson(event, { id, base });
    bytes = Buffer.from(frame({ id: eventIdOf(id, event.version), event: event.kind, data }));
    ofBases.set(base, bytes);
  }
  return bytes;
}

/** The body of a stream: an opening, what stands before the events, and the events as they come; an empty batch is a sign of life. */
export async function* streamBody(
  batches: AsyncIterable<readonly OperationEvent[]>,
  { id, base, before = '' }: { id: string; base: string; before?: string | undefined },
): AsyncGenerator<Uint8Array, void, void> {
  yield before === '' ? opening : Buffer.from(before);
  for await (const batch of batches) {
    if (batch.length === 1) yield eventBytes(batch[0]!, { id, base });
    else yield batch.length === 0 ? heartbeat : Buffer.concat(batch.map((event) => eventBytes(event, { id, base })));
  }
}

/** The answer that is such a stream. Proxies are told to keep nothing and to pass on each piece as it comes. */
export const streamAnswer = (body: AsyncIterable<Uint8Array>, cut: AbortSignal, more: string[] = []): Answer => ({
  status: 200,
  headers: ['Content-Type', 'text/event-stream', 'Cache-Control', 'no-store', 'X-Accel-Buffering', 'no', ...more],
  body,
  cut,
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
