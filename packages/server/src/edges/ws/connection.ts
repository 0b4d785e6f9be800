// One WebSocket: what goes out is gathered for a turn and written at once; who does not read is waited for, and then let go.
import type { Socket } from 'node:net';
import { closeCodes, streamLimits, WaitlessError } from '@waitless/protocol';
import type { WebSocket } from 'ws';
import type { Upgrade, Visit } from '../edge.ts';
import { type ProblemContext, problemOf } from '../json/problem.ts';
import { Allowance } from './allowance.ts';
import { messageOf, refMember, textFrame } from './text-frame.ts';

/** Frames are put into one message up to about so much. */
const messageCharacters = 64 * 1024;
/** What a client has asked for and was not answered yet: beyond it nothing more is read until half of it is done. */
const mostInHand = 4000;
/** A peer that takes nothing for so long is gone. */
const stalledMs = 60_000;
/** Honest clients ping every few seconds at most. */
const pings = { most: 100, perSecond: 5 };
/** Frames that are none, or that nobody knows. */
const faults = { most: 50, perSecond: 1 };

export interface ConnectionParts {
  ws: WebSocket;
  socket: Socket;
  namespace: string;
  /** What a read-only token opens, where that is all that this connection has. */
  visit: Visit | undefined;
  upgrade: Pick<Upgrade, 'base' | 'requestId' | 'asGuess'>;
  outbox: Outbox;
}

/** Those with something to write: all of them are written at the end of the turn. */
export class Outbox {
  #waiting: Connection[] = [];

  add(connection: Connection): void {
    if (this.#waiting.length === 0) setImmediate(() => this.#flush());
    this.#waiting.push(connection);
  }

  #flush(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const connection of waiting) connection.flush();
  }
}

export class Connection {
  readonly namespace: string;
  readonly visit: Visit | undefined;
  readonly base: string;
  /** Aborts when it is over. */
  readonly #gone = new AbortController();
  readonly #parts: ConnectionParts;
  readonly #context: ProblemContext;
  readonly #pings: Allowance;
  readonly #faults: Allowance;
  readonly #atEnd = new Set<() => void>();
  /** JSON of frames, and messages that are framed already, in their order. */
  #out: (string | Buffer)[] = [];
  /** Their length together. */
  #gathered = 0;
  #blocked = false;
  #paused = false;
  #inHand = 0;
  /** Events that were to be told while the peer did not read. */
  #unread = 0;
  #closing = false;
  readonly #unblocked: (() => void)[] = [];
  #heardBytes = 0;
  #silent = 0;

  constructor(parts: ConnectionParts) {
    this.#parts = parts;
    this.namespace = parts.namespace;
    this.visit = parts.visit;
    this.base = parts.upgrade.base;
    this.#context = { base: parts.upgrade.base, requestId: parts.upgrade.requestId };
    const now = (): number => performance.now();
    this.#pings = new Allowance(pings, now);
    this.#faults = new Allowance(faults, now);
    parts.socket.on('drain', () => this.#drained());
    parts.socket.on('timeout', () => parts.ws.terminate());
    parts.ws.on('ping', (data) => this.#pong(data));
    // What breaks the protocol is closed with its code by the parser; a lost peer closes by itself.
    parts.ws.on('error', () => {});
    parts.ws.on('close', () => this.#over());
  }

  /** It is closing, or closed: nothing more is told. */
  get over(): boolean {
    return this.#closing;
  }

  get signal(): AbortSignal {
    return this.#gone.signal;
  }

  /** The peer has not read what it was sent. */
  get blocked(): boolean {
    return this.#blocked;
  }

  /** More is on its way than a client may leave unread. */
  get full(): boolean {
    return this.#parts.socket.writableLength + this.#gathered > streamLimits.unreadBytes;
  }

  /** Called once when it is over, unless the function that this returns is called before. */
  atEnd(act: () => void): () => void {
    this.#atEnd.add(act);
    return () => void this.#atEnd.delete(act);
  }

  /** @param frame its JSON */
  send(frame: string): void {
    this.#push(frame);
  }

  /** A message of events that many may get. Closes a connection that leaves too much unread. */
  sendEvents(message: Buffer, count: number): void {
    if (this.#blocked) {
      this.#unread += count;
      const bytes = this.#parts.socket.writableLength + message.length;
      // However much comes at once, who has taken all before it has not been slow.
      if (this.#unread > streamLimits.unreadEvents || bytes > streamLimits.unreadBytes)
        return this.close(closeCodes.tooSlow, 'too much is unread; connect again and watch on after the last event');
    }
    this.#push(message);
  }

  #push(piece: string | Buffer): void {
    if (this.#closing) return;
    this.#gathered += piece.length;
    if (this.#out.push(piece) === 1) this.#parts.outbox.add(this);
  }

  ok(ref: string | undefined, members = ''): void {
    if (ref !== undefined) this.send(`{"type":"ok"${refMember(ref)}${members}}`);
  }

  /** @param members more of the frame, each with a comma before it */
  fail(thrown: unknown, ref: string | undefined, members = ''): void {
    const { problem, retryAfter } = problemOf(thrown, this.#context);
    const pause = retryAfter === undefined ? '' : `,"retryAfter":${retryAfter}`;
    this.send(`{"type":"error"${refMember(ref)}${members}${pause},"problem":${JSON.stringify(problem)}}`);
  }

  /** The same for an id or token that was asked for and is none. */
  failGuess(
    thrown: unknown,
    { ref, guess, members }: { ref: string | undefined; guess: string; members?: string },
  ): void {
    const wrong = thrown instanceof WaitlessError && thrown.code === 'not-found';
    this.fail(wrong ? this.#parts.upgrade.asGuess(thrown, guess) : thrown, ref, members);
  }

  /** A frame that is none is told so, until there are too many of them. */
  fault(error: unknown, ref: string | undefined): void {
    this.fail(error, ref);
    if (!this.#faults.take()) this.close(closeCodes.abuse, 'too many frames that are none');
  }

  countPing(): void {
    if (!this.#pings.take()) this.close(closeCodes.abuse, 'too many pings');
  }

  /** A peer that pings and reads nothing gets no answers to keep for it. */
  #pong(data: Buffer): void {
    this.countPing();
    if (!this.#closing && !this.#blocked) this.#parts.ws.pong(data);
  }

  /** Something was asked for that takes a while; the answer says that it is done. */
  begin(): void {
    if (++this.#inHand >= mostInHand) this.#pace();
  }

  done(count = 1): void {
    this.#inHand -= count;
    if (this.#paused) this.#pace();
  }

  get inHand(): number {
    return this.#inHand;
  }

  /** Nothing is read from a peer that reads nothing, or that asks for more than is answered. */
  #pace(): void {
    const wait = this.#blocked || this.#inHand >= (this.#paused ? mostInHand / 2 : mostInHand);
    if (wait === this.#paused || this.#closing) return;
    this.#paused = wait;
    if (wait) this.#parts.ws.pause();
    else this.#parts.ws.resume();
  }

  /** Resolves once the peer reads again; undefined while it does. */
  ready(): Promise<void> | undefined {
    if (!this.#blocked || this.#closing) return undefined;
    return new Promise((resolve) => this.#unblocked.push(resolve));
  }

  flush(): void {
    const out = this.#out;
    this.#out = [];
    this.#gathered = 0;
    const { socket } = this.#parts;
    if (out.length === 0 || socket.destroyed) return;
    if (out.length > 1) socket.cork();
    let open = true;
    let frames: string[] = [];
    let characters = 0;
    const put = (): void => {
      if (frames.length > 0) open = socket.write(textFrame(messageOf(frames)));
      frames = [];
      characters = 0;
    };
    for (const piece of out) {
      if (typeof piece === 'string') {
        if (characters + piece.length > messageCharacters) put();
        frames.push(piece);
        characters += piece.length;
      } else {
        put();
        open = socket.write(piece);
      }
    }
    put();
    if (out.length > 1) socket.uncork();
    if (open || this.#blocked) return;
    this.#blocked = true;
    socket.setTimeout(stalledMs);
    this.#pace();
  }

  #drained(): void {
    this.#blocked = false;
    this.#unread = 0;
    this.#parts.socket.setTimeout(0);
    this.#pace();
    for (const resolve of this.#unblocked.splice(0)) resolve();
  }

  /** Called every so often: a peer that says nothing is asked whether it is there, and given up where it never answers. */
  beat(): void {
    if (this.#paused || this.#closing) return;
    const { bytesRead } = this.#parts.socket;
    const heard = bytesRead !== this.#heardBytes;
    this.#heardBytes = bytesRead;
    this.#silent = heard ? 0 : this.#silent + 1;
    if (this.#silent >= 3) this.#parts.ws.terminate();
    else if (!heard) this.#parts.ws.ping();
  }

  /** Sends what is to be sent, and closes; a peer that does not answer is cut off after a while. */
  close(code: number, reason: string): void {
    if (this.#closing) return;
    this.flush();
    this.#closing = true;
    this.#out = [];
    const { ws } = this.#parts;
    // Its answer to the close has to be read.
    if (this.#paused) ws.resume();
    ws.close(code, reason);
    this.#end();
  }

  /** Cuts it off at once. */
  terminate(): void {
    this.#parts.ws.terminate();
  }

  #over(): void {
    this.#closing = true;
    this.#out = [];
    this.#end();
  }

  #end(): void {
    if (this.#gone.signal.aborted) return;
    this.#gone.abort();
    for (const act of this.#atEnd) act();
    this.#atEnd.clear();
    for (const resolve of this.#unblocked.splice(0)) resolve();
  }
}
