// The one contract of everything that runs for long: loops, listeners, threads.

export interface Service {
  readonly name: string;
  /** Resolves when it truly runs. */
  start(): Promise<void>;
  /** Resolves when it has truly stopped. Safe to call twice and before start. */
  stop(): Promise<void>;
}

/** Starts one after another. Where one cannot start, those before it are stopped again, and its error is thrown. */
export async function startAll(parts: readonly Service[]): Promise<void> {
  const started: Service[] = [];
  try {
    for (const part of parts) {
      // oxlint-disable-next-line no-await-in-loop -- each needs those before it
      await part.start();
      started.push(part);
    }
  } catch (error) {
    await stopAll(started);
    throw error;
  }
}

/** In the opposite order. */
export async function stopAll(parts: readonly Service[]): Promise<void> {
  // oxlint-disable-next-line no-await-in-loop -- each may need those that started before it
  for (const part of [...parts].reverse()) await part.stop();
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
