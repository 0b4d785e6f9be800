// The one contract of everything that runs for long: loops, listeners, threads.

export interface Service {
  readonly name: string;
  /** Resolves when it truly runs. */
  start(): Promise<void>;
  /** Resolves when it has truly stopped. Safe to call twice and before start. */
  stop(): Promise<void>;
}

/** Resolves after `ms`, or at once when the signal aborts; never rejects. Delays past 2^31-1 ms would fire at once, so they are cut. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, Math.min(Math.max(ms, 0), 0x7fffffff));
    signal.addEventListener('abort', done, { once: true });
  });
}
