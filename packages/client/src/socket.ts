// One WebSocket: frames out and in, and a pulse that tells a connection that has died from one on which nothing happens.
import {
  type ClientFrame,
  decodeFrames,
  encodeFrames,
  type ServerFrame,
  streamPath,
  streamProtocol,
  streamTokenPrefix,
} from '@waitless/protocol';
import type { Seams } from './seams.ts';

/** What is used of a WebSocket, whatever its own types call the events. */
export interface SocketLike {
  readonly protocol: string;
  addEventListener(type: never, listener: never): void;
  send(data: string): void;
  close(code?: number): void;
}

/** A class as the global `WebSocket` is one, of browsers, Node or anybody. */
export type SocketClass = new (url: string, protocols?: never) => SocketLike;

/** Browsers take protocols; Node, Deno and Bun also take headers beside them, for which a browser throws. */
type Protocols = string[] | { protocols: string[]; headers: Record<string, string> };

/** Opens a WebSocket with the client's credential. Throws where that cannot be sent along, as an API key from a browser. */
export type Dial = () => SocketLike;

export interface DialOptions {
  url: string;
  apiKey: string | undefined;
  token: string | undefined;
  socketClass: SocketClass;
}

export function dialer({ url, apiKey, token, socketClass: Socket }: DialOptions): Dial {
  const address = url.replace(/^http/, 'ws') + streamPath;
  const protocols = [streamProtocol, ...(token === undefined ? [] : [streamTokenPrefix + token])];
  return () => {
    const given: Protocols =
      apiKey === undefined ? protocols : { protocols, headers: { Authorization: `Bearer ${apiKey}` } };
    return new Socket(address, given as never);
  };
}

/** A proxy that does not know upgrades may keep one waiting for ever, and whoever waits for a result is not told of it meanwhile. */
const handshakeMs = 5_000;
/** Well below the minute after which proxies take a silent connection for dead. */
const pulseMs = 15_000;
/** The first answer: a proxy that opens a connection and passes nothing on is found out soon. */
const firstSignMs = 5_000;
const normalClosure = 1000;

export interface Connection {
  /** Frames that belong together, in one message. */
  send(frames: readonly ClientFrame[]): void;
  /** Nothing is told any more after this. */
  close(): void;
}

export interface ConnectionEvents {
  opened(): void;
  frame(frame: ServerFrame): void;
  /** `spoke`: something has come through it. */
  lost(how: { spoke: boolean; code: number }): void;
}

/** Connects. Throws where that cannot even be tried. */
export function connect({ dial, after }: { dial: Dial; after: Seams['after'] }, on: ConnectionEvents): Connection {
  const socket = dial();
  let spoke = false;
  let over = false;
  /** Something came since the last beat. */
  let heard = false;

  function close(): void {
    over = true;
    forgetLimit();
    socket.close(normalClosure);
  }
  function end(code = 0): void {
    if (over) return;
    close();
    on.lost({ spoke, code });
  }
  function send(frames: readonly ClientFrame[]): void {
    if (!over) socket.send(encodeFrames(frames));
  }
  function beat(ms: number): void {
    forgetLimit();
    heard = false;
    send([{ type: 'ping' }]);
    forgetLimit = after(ms, () => (heard ? beat(pulseMs) : end()));
  }
  function hear(type: string, listener: (event: { data: unknown; code: number }) => void): void {
    socket.addEventListener(type as never, listener as never);
  }
  let forgetLimit = after(handshakeMs, end);

  hear('open', () => {
    if (over) return;
    // Something else that speaks WebSocket at this address.
    if (socket.protocol !== streamProtocol) return end();
    beat(firstSignMs);
    on.opened();
  });
  hear('message', ({ data }) => {
    if (over) return;
    heard = true;
    spoke = true;
    let frames: ServerFrame[];
    try {
      frames = decodeFrames(data as string);
    } catch {
      return end();
    }
    for (const frame of frames) if (!over) on.frame(frame);
  });
  // A page is not told what an error was; the close that follows it is all there is to know.
  hear('error', () => {});
  hear('close', ({ code }) => end(code));
  return { send, close };
}
