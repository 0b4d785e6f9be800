// Repeats a call over lost connections and answers that say "later": what lets waiting and working survive a restart of the server.
import { WaitlessError } from '@waitless/protocol';
import { pauseMs } from './backoff.ts';
import type { Seams } from './seams.ts';

export interface PersistOptions {
  signal?: AbortSignal | undefined;
  /** Called before each pause after a failed try, so that a person can be told. */
  onRetry?: ((error: WaitlessError, pauseMs: number) => void) | undefined;
  /** Failures in a row for longer than this end it with the last one. No end by default. */
  reconnectSeconds?: number | undefined;
}

/** Long enough for a restart, an update or a failover; short enough that a wrong address is told the same minute. */
export const defaultReconnectSeconds = 120;

/** Resolves with the first answer. Throws the signal's reason, or a WaitlessError that repeating cannot mend. */
export async function persist<T>(call: () => Promise<T>, options: PersistOptions, seams: Seams): Promise<T> {
  const { signal, onRetry, reconnectSeconds = Number.POSITIVE_INFINITY } = options;
  let giveUpAt: number | undefined;
  for (let failures = 0; ; failures++) {
    signal?.throwIfAborted();
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof WaitlessError) || !error.retry) throw error;
      const ms = pauseMs({ failures, random: seams.random, retryAfterSeconds: error.retryAfterSeconds });
      giveUpAt ??= seams.now() + reconnectSeconds * 1_000;
      if (seams.now() + ms > giveUpAt) throw error;
      onRetry?.(error, ms);
      await seams.sleep(ms, signal);
    }
  }
}
