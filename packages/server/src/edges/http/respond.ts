// Writes an answer to the socket, whole or streamed, never faster than it is read.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Answer } from './exchange.ts';
import type { Watchers } from './watchers.ts';

/** How long a refused body is read on and thrown away, so that its sender gets to read the refusal. */
const lingerMs = 2000;

/** A body beyond this goes out in pieces of it: handed over whole, a reader that takes nothing would not be noticed. */
const pieceBytes = 65_536;

/** A reader that takes nothing for this long is dropped: it holds a socket and a piece of a body. */
const stalledReaderMs = 60_000;

/** Memory that an answer takes until its reader has it; small ones are not worth counting. */
export function heldBytes({ body }: Answer): number {
  return (typeof body === 'string' || body instanceof Uint8Array) && body.length > pieceBytes ? body.length : 0;
}

export interface RespondOptions {
  headOnly: boolean;
  unread: IncomingMessage | undefined;
  /** Where answers may be streams. */
  watchers?: Watchers;
  /** No other request of the connection is in hand. */
  alone?: boolean;
}

export async function respond(
  response: ServerResponse,
  answer: Answer,
  { headOnly, unread, watchers, alone = false }: RespondOptions,
): Promise<void> {
  const { status, headers, stream } = answer;
  const body =
    typeof answer.body === 'string' && answer.body.length > pieceBytes ? Buffer.from(answer.body) : answer.body;
  if (response.destroyed) return;
  if (stream) {
    response.writeHead(status, headers);
    if (headOnly) return void response.end();
    const watcher = watchers!.begin(response, { alone });
    stream(watcher);
    if (!watcher.ownsSocket) await new Promise<void>((resolve) => response.once('close', resolve));
    return;
  }
  if (body === undefined) {
    if (status !== 204 && status !== 304) headers.push('Content-Length', '0');
    response.writeHead(status, headers);
    response.end();
    return;
  }
  if (typeof body === 'string' || body instanceof Uint8Array) {
    headers.push('Content-Length', String(typeof body === 'string' ? Buffer.byteLength(body) : body.length));
    response.writeHead(status, headers);
    if (typeof body !== 'string' && body.length > pieceBytes && !headOnly) {
      for (let at = 0; at < body.length; at += pieceBytes) {
        if (!response.write(body.subarray(at, at + pieceBytes)) && !(await drained(response)))
          return void response.destroy();
      }
      response.end();
      return;
    }
    if (unread && !headOnly) {
      // Closing a socket with unread bytes in it resets the connection, and the client would never see the answer.
      response.write(body);
      await drainedRequest(unread);
    }
    if (headOnly || unread) response.end();
    else if (typeof body === 'string') response.end(body);
    // As text of one byte a character: node then sends head and body in one write; bytes of their own would cost a second one.
    else response.end(Buffer.from(body.buffer, body.byteOffset, body.length).toString('latin1'), 'latin1');
    return;
  }
  if (answer.bodyBytes !== undefined) headers.push('Content-Length', String(answer.bodyBytes));
  response.writeHead(status, headers);
  if (!headOnly) {
    for await (const chunk of body) {
      if (!response.write(chunk) && !(await drained(response))) return void response.destroy();
    }
  }
  response.end();
}

/** Reads the rest of a request and drops it, for a while. */
function drainedRequest(request: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      request.off('end', end).off('close', end).off('error', end);
      resolve();
    };
    const timer = setTimeout(end, lingerMs);
    request.on('end', end).on('close', end).on('error', end).resume();
  });
}

/** False when the reader is gone or takes nothing. Waits on close too: a reader that leaves never drains. */
function drained(response: ServerResponse): Promise<boolean> {
  // One that has left already closes no second time.
  if (response.destroyed) return Promise.resolve(false);
  return new Promise((resolve) => {
    const end = (ok: boolean) => (): void => {
      clearTimeout(timer);
      response.off('drain', onDrain).off('close', onClose);
      resolve(ok);
    };
    const onDrain = end(true);
    const onClose = end(false);
    const timer = setTimeout(onClose, stalledReaderMs);
    response.on('drain', onDrain).on('close', onClose);
  });
}
