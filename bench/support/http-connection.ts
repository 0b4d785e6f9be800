// The client's end of HTTP/1.1, as cheap as Node allows: it shares two cores with the server it measures.
//
// One request outstanding per connection, requests written as prepared bytes, answers framed by Content-Length and otherwise unread.
import { connect, type Socket } from 'node:net';

export interface HttpAnswer {
  status: number;
  /** A view that is overwritten by the next answer: read it inside `onAnswer`. */
  body: Buffer;
}

export interface HttpConnectionOptions {
  port: number;
  onAnswer: (answer: HttpAnswer) => void;
  /** The connection ended by itself, or the answer was not understood. */
  onBroken: (error: Error) => void;
  /** Bytes taken from the socket at once. Answers that are larger are put together from pieces. */
  readBytes?: number;
}

const newline = 10;
const carriageReturn = 13;
const space = 32;
const dash = 45;
const zero = 48;
const colon = 58;
const letterC = 99;
const letterL = 108;

/** Digits after optional spaces; no text is made of them, as this runs once per answer. */
function readNumber(bytes: Buffer, from: number): number {
  let at = from;
  while (bytes[at] === space) at++;
  let value = 0;
  for (; bytes[at]! >= zero && bytes[at]! <= zero + 9; at++) value = value * 10 + bytes[at]! - zero;
  return value;
}

export class HttpConnection {
  readonly #socket: Socket;
  readonly #onAnswer: (answer: HttpAnswer) => void;
  readonly #onBroken: (error: Error) => void;
  /** An answer that has arrived in part. */
  #held: Buffer = Buffer.alloc(0);
  #heldBytes = 0;
  #closed = false;

  private constructor(options: HttpConnectionOptions, opened: () => void) {
    this.#onAnswer = options.onAnswer;
    this.#onBroken = options.onBroken;
    // A buffer that is read into again and again: without it every answer would cost an allocation of 64 KB.
    const buffer = Buffer.allocUnsafe(options.readBytes ?? 8192);
    this.#socket = connect({
      port: options.port,
      host: '127.0.0.1',
      noDelay: true,
      onread: {
        buffer,
        callback: (bytes) => {
          this.#read(buffer, bytes);
          return true;
        },
      },
    });
    this.#socket.once('connect', opened);
    this.#socket.once('error', (error) => this.#break(error));
    this.#socket.once('close', () => this.#break(new Error('the server closed the connection')));
  }

  static open(options: HttpConnectionOptions): Promise<HttpConnection> {
    return new Promise((resolve, reject) => {
      let open = false;
      const onBroken = (error: Error): void => (open ? options.onBroken(error) : reject(error));
      const connection = new HttpConnection({ ...options, onBroken }, () => {
        open = true;
        resolve(connection);
      });
    });
  }

  send(request: Buffer | string): void {
    this.#socket.write(request, 'latin1');
  }

  close(): void {
    this.#closed = true;
    this.#socket.destroy();
  }

  #break(error: Error): void {
    if (this.#closed) return;
    this.close();
    this.#onBroken(error);
  }

  #read(fresh: Buffer, freshBytes: number): void {
    if (this.#closed) return;
    let bytes = fresh;
    let length = freshBytes;
    if (this.#heldBytes > 0) {
      this.#hold(fresh, freshBytes);
      bytes = this.#held;
      length = this.#heldBytes;
    }
    let bodyBytes = -1;
    let bodyStart = -1;
    // The head line by line; only Content-Length and the empty line are looked at.
    for (let line = bytes.indexOf(newline) + 1; line > 0 && line < length; line = bytes.indexOf(newline, line) + 1) {
      if (bytes[line] === carriageReturn) {
        if (line + 1 < length) bodyStart = line + 2;
        break;
      }
      if (
        (bytes[line]! | 32) === letterC &&
        bytes[line + 7] === dash &&
        (bytes[line + 8]! | 32) === letterL &&
        bytes[line + 14] === colon
      ) {
        bodyBytes = readNumber(bytes, line + 15);
      }
    }
    if (bodyStart >= 0 && bodyBytes < 0)
      return this.#break(new Error(`an answer without Content-Length: ${bytes.toString('latin1', 0, bodyStart)}`));
    if (bodyStart < 0 || bodyStart + bodyBytes > length) {
      if (this.#heldBytes === 0) this.#hold(fresh, freshBytes);
      return;
    }
    if (bodyStart + bodyBytes < length) return this.#break(new Error('more bytes than one answer'));
    this.#heldBytes = 0;
    const status = readNumber(bytes, 9);
    this.#onAnswer({ status, body: bytes.subarray(bodyStart, length) });
  }

  #hold(fresh: Buffer, freshBytes: number): void {
    if (this.#heldBytes + freshBytes > this.#held.length) {
      const larger = Buffer.allocUnsafe((this.#heldBytes + freshBytes) * 2);
      this.#held.copy(larger, 0, 0, this.#heldBytes);
      this.#held = larger;
    }
    fresh.copy(this.#held, this.#heldBytes, 0, freshBytes);
    this.#heldBytes += freshBytes;
  }
}

/** One request on a connection of its own; for set-up and checks, not for load. */
export function requestOnce(port: number, request: Buffer): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const opening = HttpConnection.open({
      port,
      onBroken: reject,
      onAnswer: ({ status, body }) => {
        const text = body.toString('utf8');
        opening.then((connection) => connection.close(), reject);
        resolve({ status, body: text });
      },
    });
    opening.then((connection) => connection.send(request), reject);
  });
}
