// What a handler gets and gives: plain objects, so that it can be called without a socket.
import type { IncomingMessage } from 'node:http';

export interface Exchange {
  method: string;
  /** Path on the wire, checked, without the query. */
  path: string;
  /** Query on the wire, without the question mark. */
  query: string;
  /** Raw parameters of the route, still percent-encoded. */
  params: Readonly<Record<string, string | undefined>>;
  headers: FieldLookup;
  /** Name and value in turn, as they came. */
  rawHeaders: readonly string[];
  namespace: string;
  /** How long the caller may see this namespace, where a token lets it in: nothing is held or streamed for longer. */
  mostMs?: number | undefined;
  /** Base of the URLs in the answer, without a slash at its end. */
  base: string;
  requestId: string;
  /** Reads the whole body, bounded by `limit`; throws 413 beyond. The memory is counted until the exchange ends. */
  body(limit: number): Promise<Buffer>;
  /** The body is no longer needed: its memory counts for others. At the latest this happens when the exchange ends. */
  releaseBody(): void;
  /** Aborts when the client is gone. */
  signal: AbortSignal;
}

export interface Answer {
  status: number;
  /** Name and value in turn. */
  headers: string[];
  body?: string | Uint8Array | AsyncIterable<Uint8Array>;
  /** Of a body that streams; sent as Content-Length. */
  bodyBytes?: number;
  /** In the place of a body: begins what goes on for as long as its reader stays. The last answer of its connection. */
  stream?: (reader: StreamReader) => void;
}

/** Bytes of a stream, made once and sent to many. */
export interface Piece {
  /** With the framing of a chunk around it. */
  chunk: Buffer;
  /** Where the bytes themselves begin; two after them are framing again. */
  from: number;
  /** How many events it tells. */
  events: number;
}

export interface StreamReader {
  /** At once; a reader that has fallen too far behind is cut off. */
  send(piece: Piece): void;
  /** Undefined where the reader keeps up; otherwise resolves when it has caught up, or is gone. */
  taken(): Promise<void> | undefined;
  /** In good order, after all that was sent. */
  end(): void;
  /** What came is not all. */
  cut(): void;
  /** Called once, whoever ended it; at once where that has happened. */
  onGone(gone: () => void): void;
}

export type Handler = (exchange: Exchange) => Promise<Answer> | Answer;

/** First value of a field by lower-case name. Built lazily: most requests ask for four or five of theirs. */
export interface FieldLookup {
  (lowerName: string): string | undefined;
}

export function fieldLookup(request: Pick<IncomingMessage, 'headers'>): FieldLookup {
  const { headers } = request;
  return (name) => {
    const value = headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  };
}

export const jsonHeaders = (): string[] => [
  'Content-Type',
  'application/json; charset=utf-8',
  'Cache-Control',
  'no-store',
];

export const jsonAnswer = (status: number, body: string, more: string[] = []): Answer => ({
  status,
  headers: [...jsonHeaders(), ...more],
  body,
});
