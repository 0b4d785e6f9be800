// What a PostgreSQL client sends, message by message: for cutting a connection at an exact place of the conversation.
import type { Cut, Inspect } from './tcp-proxy.ts';

export interface FrontendMessage {
  /** The protocol's own letter, such as Q, P, B, E or S; `startup` for those without, at the beginning. */
  type: string;
  /** Without letter and length. */
  body: Buffer;
}

/** Requests that may come before the real startup message and have its form. */
const beforeStartup = new Set([80877103, 80877104]);

/** Takes the stream of one connection apart: gives the messages that end in a chunk, each with the place in the chunk where it ends. */
export function frontendMessages(): (chunk: Buffer) => { message: FrontendMessage; end: number }[] {
  let rest: Buffer = Buffer.alloc(0);
  let started = false;
  return (chunk) => {
    const before = rest.length;
    const bytes = Buffer.concat([rest, chunk]);
    const found: { message: FrontendMessage; end: number }[] = [];
    let at = 0;
    for (;;) {
      const letter = started ? 1 : 0;
      if (bytes.length < at + letter + 4) break;
      const end = at + letter + bytes.readInt32BE(at + letter);
      if (bytes.length < end) break;
      const body = bytes.subarray(at + letter + 4, end);
      const type = started ? String.fromCharCode(bytes[at]!) : 'startup';
      if (!started) started = !beforeStartup.has(body.readInt32BE(0));
      found.push({ message: { type, body }, end: end - before });
      at = end;
    }
    rest = bytes.subarray(at);
    return found;
  };
}

export interface MessageCutter {
  /** For the proxy. Counts on all connections together. */
  inspect: () => Inspect;
  /** Messages seen so far, those of the startup included. */
  readonly seen: number;
  /**
   * Cuts the connection that sends the next message that matches, or the `nth` from now: the server gets it whole, the client no answer.
   * Resolves with the message when that has been decided.
   */
  cutAfter(wanted?: {
    nth?: number;
    matches?: (message: FrontendMessage) => boolean;
    ending?: Cut['ending'];
  }): Promise<FrontendMessage>;
}

/** Sits in a proxy before a PostgreSQL server and cuts where it is told to. */
export function messageCutter(): MessageCutter {
  let seen = 0;
  let onMessage: (message: FrontendMessage) => Cut['ending'] | undefined = () => undefined;
  return {
    get seen() {
      return seen;
    },
    inspect: () => {
      const messages = frontendMessages();
      return (chunk) => {
        for (const { message, end } of messages(chunk)) {
          seen++;
          const ending = onMessage(message);
          if (ending) return { pass: end, ending };
        }
        return undefined;
      };
    },
    cutAfter({ nth = 1, matches = () => true, ending = 'reset' } = {}) {
      let left = nth;
      return new Promise((resolve) => {
        onMessage = (message) => {
          if (!matches(message) || --left > 0) return undefined;
          onMessage = () => undefined;
          resolve(message);
          return ending;
        };
      });
    },
  };
}
