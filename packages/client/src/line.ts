// A WebSocket that is there for as long as it is wanted: lost, it comes back after a pause, and where none comes through that is said once.
import { type ClientFrame, closeCodes, type ServerFrame, streamPath, WaitlessError } from '@waitless/protocol';
import { pauseMs } from './backoff.ts';
import type { Seams } from './seams.ts';
import { connect, type Connection, type Dial } from './socket.ts';
import type { Wire } from './wire.ts';

export interface Line {
  /** Frames can be sent now. */
  readonly open: boolean;
  /** False where it was found not long ago that no WebSocket comes through. */
  readonly promising: boolean;
  /** Connects, unless it is connected or about to be. */
  start(): void;
  /** Closes it; it may be started again. */
  stop(): void;
  send(frames: readonly ClientFrame[]): void;
}

export interface LineEvents {
  opened(): void;
  frame(frame: ServerFrame): void;
  /** What was open is gone. */
  closed(): void;
  /** The server is away and is tried again after a pause. */
  away(error: WaitlessError, pauseMs: number): void;
  /** No WebSocket comes through; nothing is tried until `start`. */
  refused(): void;
}

/** A proxy that strips upgrades goes on doing so; one that was replaced shall be noticed the same hour. */
const refusedMs = 300_000;
/** A server that stops refuses new connections while another one behind the same address answers. */
const mostRefusals = 3;
/** How long a server may take to say why it gave no WebSocket. */
const probeMs = 10_000;
/** A connection that lived for so long was a good one, and its loss is no reason for longer pauses. */
const goodMs = 5_000;

export function createLine(
  { wire, dial, seams }: { wire: Wire; dial: Dial | undefined; seams: Seams },
  on: LineEvents,
): Line {
  let wanted = false;
  let connection: Connection | undefined;
  let open = false;
  let openedAt = 0;
  let failures = 0;
  /** Aborts what is done between two connections. */
  let between: AbortController | undefined;
  /** One has come through before. */
  let proven = false;
  let refusals = 0;
  let refusedUntil = Number.NEGATIVE_INFINITY;

  function start(): void {
    wanted = true;
    if (connection || between) return;
    if (!dial) return refuse();
    try {
      connection = connect({ dial, after: seams.after }, { opened, frame: (frame) => on.frame(frame), lost });
    } catch {
      refuse();
    }
  }

  function opened(): void {
    open = true;
    openedAt = seams.now();
    on.opened();
  }

  function refuse(): void {
    wanted = false;
    refusedUntil = seams.now() + refusedMs;
    on.refused();
  }

  function lost({ spoke, code }: { spoke: boolean; code: number }): void {
    const wasOpen = open;
    connection = undefined;
    open = false;
    if (wasOpen && seams.now() - openedAt > goodMs) failures = 0;
    if (spoke) {
      proven = true;
      refusals = 0;
    }
    // More of what the server calls abuse would be no better.
    const hopeless = code === closeCodes.abuse;
    if (!hopeless) between = new AbortController();
    if (wasOpen) on.closed();
    if (!between) return refuse();
    const { signal } = between;
    void again(spoke, signal).then((may) => {
      between = undefined;
      if (!wanted) return;
      if (may || signal.aborted) start();
      else refuse();
    });
  }

  /** Resolves when it may be tried again, with false where that is of no use. */
  async function again(spoke: boolean, signal: AbortSignal): Promise<boolean> {
    let trouble = new WaitlessError('unreachable', `the connection to ${wire.url} was lost.`, { status: 503 });
    try {
      // A page is not told why it got no WebSocket, so the same is asked without one.
      const away = spoke ? trouble : await whyNot(signal);
      if (away) trouble = away;
      else if (!proven || ++refusals >= mostRefusals) return false;
      const ms = pauseMs({ failures: failures++, random: seams.random, retryAfterSeconds: trouble.retryAfterSeconds });
      on.away(trouble, ms);
      await seams.sleep(ms, signal);
      return true;
    } catch {
      // It was stopped meanwhile.
      return false;
    }
  }

  /** The failure of a server that is away for now; undefined where one answers, and it is the WebSocket that does not come through. */
  async function whyNot(signal: AbortSignal): Promise<WaitlessError | undefined> {
    try {
      const response = await wire.send({ path: streamPath, signal, headersTimeoutMs: probeMs });
      await response.body?.cancel();
      return undefined;
    } catch (error) {
      signal.throwIfAborted();
      return error instanceof WaitlessError && error.retry && error.status >= 500 ? error : undefined;
    }
  }

  return {
    get open() {
      return open;
    },
    get promising() {
      return dial !== undefined && seams.now() >= refusedUntil;
    },
    start,
    stop() {
      wanted = false;
      between?.abort(new Error('not wanted any more'));
      connection?.close();
      connection = undefined;
      open = false;
    },
    send: (frames) => connection?.send(frames),
  };
}
