// What one edge hands to another, without either knowing the other: a connection that asks to speak WebSocket.
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Caller } from './auth.ts';

/** What the holder of a read-only token may do: read these operations and topics, for so long. */
export interface Visit {
  namespace: string;
  opens(id: string | undefined): boolean;
  /** A topic or pattern, as it is named. */
  opensTopic(topic: string): boolean;
  /** Milliseconds until the token expires. */
  leftMs: number;
}

/** A request with `Upgrade: websocket`. Its form, Host and Origin have been judged as those of every request; whose it is has not. */
export interface Upgrade {
  request: IncomingMessage;
  socket: Socket;
  /** What came behind the request. */
  head: Buffer;
  caller: Caller;
  /** Base of the URLs in what is told, without a slash at its end. */
  base: string;
  requestId: string;
  /** Values of `?token=`. */
  tokens: readonly string[];
  /** Throws for a token that is none of ours or has expired. */
  visit: (token: string) => Visit;
  /** The answer is this problem, and the connection ends. */
  refuse(error: unknown): void;
  /** 101 is the answer. */
  taken(): void;
  /** Slows down whoever tries one id or token after the other: the same error, or 429 in its place. */
  asGuess: (error: unknown, guess: string) => unknown;
}
