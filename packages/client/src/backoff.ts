// Pauses between tries of a long-lived read, so that a thousand watchers do not all come back in the moment a server does.

/** Below this a dead server is asked many times a second. */
const firstPauseMs = 200;
/** Above this a watcher notices a server that is back too late for a person who looks at it. */
const longestPauseMs = 5_000;
/** A Retry-After beyond a day is read as a day: a timer holds no more than 24 of them, and a longer one would fire at once. */
const longestObeyedSeconds = 86_400;

/**
 * Milliseconds to pause before try `failures + 1`: exponential from 200 ms to 5 s with full jitter, never below a tenth
 * of the step so that bad luck does not become a busy loop, and never below what the server asked for.
 */
export function pauseMs(options: {
  failures: number;
  random: () => number;
  retryAfterSeconds?: number | undefined;
}): number {
  const step = Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(options.failures, 10));
  return Math.max(
    step * Math.max(0.1, options.random()),
    Math.min(options.retryAfterSeconds ?? 0, longestObeyedSeconds) * 1_000,
  );
}

/** Resolves after `ms`; rejects with the signal's reason as soon as it aborts. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
