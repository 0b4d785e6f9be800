// How a worker and a consumer end: nothing more is taken, handlers may end, what they did is told, and the rest is given back.
import { sleep } from './backoff.ts';

export interface StopOptions {
  graceSeconds?: number | undefined;
}

export interface Stopping {
  /** Aborts when nothing more is to be taken. */
  readonly taking: AbortSignal;
  /** Aborts when nothing is told any more. */
  readonly closing: AbortSignal;
  /** Resolves at the end of all; rejects with what made it impossible to go on. */
  readonly done: Promise<void>;
  stop: (options?: StopOptions) => Promise<void>;
  failForGood(error: unknown): void;
  /** A handler at work, which the grace period is for. */
  handling(run: Promise<void>): void;
  /** A request under way that must have ended first. */
  telling(request: Promise<void>): void;
}

/** After the handlers have ended their answers must still travel, perhaps to a server that is just starting. */
const deliverySeconds = 5;
const defaultGraceSeconds = 25;

export function stopping(
  { who, signal }: { who: string; signal: AbortSignal | undefined },
  parts: {
    /** Tells what there is to tell. Called until no request is under way. */
    turn: () => void;
    /** Gives back what is still held when the grace period is over. */
    giveBack: (reason: Error) => void;
    closed?: () => void;
  },
): Stopping {
  const runs = new Set<Promise<void>>();
  const requests = new Set<Promise<void>>();
  const taking = new AbortController();
  const closing = new AbortController();
  let fatal: unknown;
  let begin: (graceSeconds: number) => void;
  const done = new Promise<number>((resolve) => (begin = resolve)).then(async (graceSeconds) => {
    const reason = new Error(`the ${who} stops`);
    taking.abort(reason);
    parts.turn();
    await within(graceSeconds, async () => {
      while (runs.size > 0) await Promise.all(runs);
    });
    parts.giveBack(reason);
    await within(deliverySeconds, async () => {
      for (parts.turn(); requests.size > 0; parts.turn()) await Promise.all(requests);
    });
    closing.abort(new Error(`the ${who} has stopped`));
    parts.closed?.();
    signal?.removeEventListener('abort', onAbort);
    if (fatal !== undefined) throw fatal;
  });
  const onAbort = (): void => begin(defaultGraceSeconds);
  if (signal?.aborted) onAbort();
  else signal?.addEventListener('abort', onAbort, { once: true });
  return {
    taking: taking.signal,
    closing: closing.signal,
    done,
    stop({ graceSeconds = defaultGraceSeconds } = {}) {
      begin(graceSeconds);
      return done;
    },
    failForGood(error) {
      fatal ??= error;
      // Nobody catches here, so that a failure which no one waits for is not lost in silence.
      begin(defaultGraceSeconds);
    },
    handling: (run) => hold(runs, run),
    telling: (request) => hold(requests, request),
  };
}

function hold(all: Set<Promise<void>>, one: Promise<void>): void {
  all.add(one);
  void one.finally(() => all.delete(one));
}

/** Resolves when the work is done or the time is up, whichever comes first. */
async function within(seconds: number, task: () => Promise<void>): Promise<void> {
  const done = new AbortController();
  const timeIsUp = sleep(Math.min(seconds * 1_000, 2_147_483_647), done.signal).catch(() => {});
  await Promise.race([task(), timeIsUp]);
  done.abort();
}
