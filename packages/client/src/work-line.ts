// A worker's own WebSocket: the server sends work while the worker holds less than it said it can, and the worker tells it of each lease.
import {
  type ClientFrame,
  type ErrorFrame,
  type ExtendFrame,
  type FailFrame,
  type Lease,
  type ProgressFrame,
  type ReleaseFrame,
  type ReplyFrame,
  type ServerFrame,
  streamLimits,
  WaitlessError,
} from '@waitless/protocol';
import { settlementOf, type Verdict } from './job.ts';
import { createLine, type LineEvents } from './line.ts';
import type { Seams } from './seams.ts';
import type { Dial } from './socket.ts';
import type { Wire } from './wire.ts';

export interface WorkLine {
  readonly open: boolean;
  /** False where it was found not long ago that no WebSocket comes through. */
  readonly promising: boolean;
  start(): void;
  stop(): void;
  /** How many leases of this line may be held at once, from now on. */
  room(credits: number): void;
  /** Resolves when the server has recorded it. Throws WaitlessError: what it was refused with, or `unreachable` when the line was lost before. */
  tell(frame: LeaseFrames): Promise<void>;
  /** A lease that was answered another way does not take up room any more. */
  free(token: string): void;
}

type LeaseFrames = ReplyFrame | FailFrame | ReleaseFrame | ExtendFrame | ProgressFrame;

export interface WorkLineEvents extends Pick<LineEvents, 'opened' | 'closed' | 'away' | 'refused'> {
  lease(lease: Lease): void;
  /** The server gives this worker no work. */
  noWork(error: WaitlessError): void;
}

interface Asked {
  resolve(): void;
  reject(error: WaitlessError): void;
}

/** A body above this goes over HTTP: in base64 and with its fields it might be more than a message may have. */
export const mostOnTheLine = streamLimits.messageBytes / 2;
/** A message that is too large would end the line with all that is held on it; over HTTP it is refused alone. */
export const fitsTheLine = (report: object): boolean => JSON.stringify(report).length < streamLimits.messageBytes / 4;
/** The lease stands for a request that nobody keeps: the server wants to know when it is done, and nothing else. */
export const isNobodys = (token: string): boolean => token.startsWith('none.');

export function createWorkLine(
  { wire, dial, seams }: { wire: Wire; dial: Dial | undefined; seams: Seams },
  { service, worker, leaseSeconds }: { service: string; worker: string; leaseSeconds: number },
  on: WorkLineEvents,
): WorkLine {
  const asked = new Map<string, Asked>();
  let refs = 0;
  /** As the server knows it. */
  let credits: number | undefined;

  const line = createLine(
    { wire, dial, seams },
    {
      opened: () => on.opened(),
      frame: hear,
      closed() {
        credits = undefined;
        const lost = new WaitlessError('unreachable', `the connection to ${wire.url} was lost.`, { status: 503 });
        for (const one of asked.values()) one.reject(lost);
        asked.clear();
        on.closed();
      },
      away: (error, pauseMs) => on.away(error, pauseMs),
      refused: () => on.refused(),
    },
  );

  function hear(frame: ServerFrame): void {
    if (frame.type === 'lease') return on.lease(frame);
    const one = frame.ref === undefined ? undefined : asked.get(frame.ref);
    if (!one || (frame.type !== 'ok' && frame.type !== 'error')) return;
    asked.delete(frame.ref!);
    if (frame.type === 'ok') one.resolve();
    else one.reject(errorOf(frame));
  }

  function ask(frame: ClientFrame): Promise<void> {
    const ref = String(++refs);
    return new Promise((resolve, reject) => {
      asked.set(ref, { resolve, reject });
      line.send([{ ...frame, ref }]);
    });
  }

  return {
    get open() {
      return line.open;
    },
    get promising() {
      return line.promising;
    },
    start: () => line.start(),
    stop() {
      line.stop();
    },
    room(wanted) {
      const most = Math.min(wanted, streamLimits.credits);
      if (!line.open || most === credits) return;
      credits = most;
      ask({ type: 'work', service, credits: most, leaseSeconds, worker }).catch((error: WaitlessError) => {
        if (error.code === 'unreachable') return;
        credits = undefined;
        on.noWork(error);
      });
    },
    tell: ask,
    free(token) {
      if (line.open) line.send([{ type: 'release', token }]);
    },
  };
}

const errorOf = ({ problem, retryAfter }: ErrorFrame): WaitlessError =>
  new WaitlessError(problem.code, problem.detail ?? problem.title, {
    status: problem.status,
    ...(retryAfter === undefined ? {} : { retryAfterSeconds: retryAfter }),
  });

/** The frame that answers a lease. */
export function answerFrame(token: string, verdict: Verdict): ReplyFrame | FailFrame | ReleaseFrame {
  const { reply, fail } = settlementOf(token, verdict) as { reply?: ReplyFrame; fail?: FailFrame };
  if (reply) return { ...reply, type: 'reply', token };
  if (fail) return { ...fail, type: 'fail', token };
  return { type: 'release', token };
}
