// Those who read a stream: a socket each and little more, one timer for all of them, and an end for whoever does not read.
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Piece, StreamReader } from './exchange.ts';
import { takeOver } from './take-over.ts';

/** A stream that is silent for longer is taken for dead by proxies, some after 30 s. */
export const heartbeatMs = 15_000;
/** Ten thousand signs of life at once would hold up everything else. */
const slots = 15;
/** What may lie unread for a reader before it is cut off, to come back by its last event. */
const mostEvents = 1000;
const mostBytes = 1024 * 1024;
/** A reader that takes nothing of the past, or of the end, for so long is dropped. */
const stalledMs = 60_000;

/** Bytes of a stream, put together once for all who are sent them; framed as a chunk of HTTP/1.1 for sockets that are written to directly. */
export function pieceOf(text: string, events: number): Piece {
  const bytes = Buffer.byteLength(text);
  const head = `${bytes.toString(16)}\r\n`;
  const chunk = Buffer.allocUnsafeSlow(head.length + bytes + 2);
  chunk.write(head, 0, 'latin1');
  chunk.write(text, head.length);
  chunk.write('\r\n', head.length + bytes, 'latin1');
  return { chunk, from: head.length, events };
}

const bytesOf = ({ chunk, from }: Piece): Buffer => chunk.subarray(from, -2);

const heartbeat = pieceOf(': still here\n\n', 0);
/** Sends the head on its way at once, and has an EventSource come back after a second instead of its own three or more. */
const opening = pieceOf('retry: 1000\n: events follow\n\n', 0);
const lastChunk = '0\r\n\r\n';

export class Watchers {
  readonly #slots = Array.from({ length: slots }, () => new Set<Watcher>());
  readonly #everyMs: number;
  #entered = 0;
  #turn = 0;
  #count = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor({ everyMs = heartbeatMs }: { everyMs?: number } = {}) {
    this.#everyMs = everyMs;
  }

  get count(): number {
    return this.#count;
  }

  /** Begins the stream of an answer whose head is written and not yet sent. @param alone no other request of its connection is in hand */
  begin(response: ServerResponse, { alone }: { alone: boolean }): Watcher {
    const { socket } = response;
    socket?.cork();
    response.flushHeaders();
    const own = alone ? takeOver(response) : undefined;
    const slot = this.#slots[this.#entered++ % slots]!;
    const watcher = new Watcher(own ?? response, {
      framed: own !== undefined,
      left: () => {
        slot.delete(watcher);
        if (--this.#count > 0) return;
        clearInterval(this.#timer);
        this.#timer = undefined;
      },
    });
    slot.add(watcher);
    this.#count++;
    this.#timer ??= setInterval(() => this.#signsOfLife(), this.#everyMs / slots);
    watcher.send(opening);
    socket?.uncork();
    return watcher;
  }

  #signsOfLife(): void {
    for (const watcher of this.#slots[this.#turn++ % slots]!) watcher.signOfLife();
  }

  cutAll(): void {
    for (const slot of this.#slots) for (const watcher of slot) watcher.cut();
  }
}

export class Watcher implements StreamReader {
  readonly #out: Socket | ServerResponse;
  /** It writes to the socket itself, in chunks. */
  readonly #framed: boolean;
  #gone: (() => void) | undefined;
  #isGone = false;
  /** Events that came while it was behind. */
  #behind = 0;
  /** What lay unread when it fell behind. */
  #before = 0;

  constructor(out: Socket | ServerResponse, { framed, left }: { framed: boolean; left: () => void }) {
    this.#out = out;
    this.#framed = framed;
    out.on('error', ignore);
    if (framed) out.on('end', leave);
    out.once('close', () => {
      this.#isGone = true;
      left();
      this.#gone?.();
    });
  }

  /** The answer that it began with is over for node:http. */
  get ownsSocket(): boolean {
    return this.#framed;
  }

  onGone(gone: () => void): void {
    if (this.#isGone) gone();
    else this.#gone = gone;
  }

  send(piece: Piece): void {
    const out = this.#out;
    const { chunk, events } = piece;
    if (!out.writableNeedDrain) {
      // However much comes at once, a reader that has taken all before it has not been slow.
      this.#behind = 0;
      this.#before = out.writableLength + chunk.length;
    } else if ((this.#behind += events) > mostEvents || out.writableLength + chunk.length > this.#before + mostBytes)
      return this.cut();
    out.write(this.#framed ? chunk : bytesOf(piece));
  }

  signOfLife(): void {
    if (this.#out.writableLength === 0) this.send(heartbeat);
  }

  taken(): Promise<void> | undefined {
    const out = this.#out;
    if (!out.writableNeedDrain) return undefined;
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        out.off('drain', done).off('close', done);
        resolve();
      };
      const timer = setTimeout(() => this.cut(), stalledMs);
      out.on('drain', done).on('close', done);
    });
  }

  end(): void {
    const out = this.#out;
    if (!this.#framed) return void (out as ServerResponse).end();
    const socket = out as Socket;
    if (socket.writableEnded) return;
    socket.setTimeout(stalledMs, () => socket.destroy());
    socket.write(lastChunk);
    socket.destroySoon();
  }

  cut(): void {
    this.#out.destroy();
  }
}

const ignore = (): void => {};

/** One that closes its side reads no more. */
function leave(this: Socket | ServerResponse): void {
  this.destroy();
}
