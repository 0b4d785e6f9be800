// Follows one operation to its end by long-polling, across lost connections and restarts of the server.
import { type Operation, WaitlessError } from '@waitless/protocol';
import { pauseMs } from './backoff.ts';
import { operation } from './operations.ts';
import { defaultSeams, type Seams } from './seams.ts';
import type { Wire } from './wire.ts';

/** The most a server holds by default, below the 60 s at which proxies cut; more would only be capped. */
export const pollSeconds = 50;
/** A poll that comes back unchanged sooner than this was not held (a server that stops, a cap on waiters), so asking again at once would spin. */
export const heldAtLeastMs = 500;

export interface WatchOptions {
  signal?: AbortSignal | undefined;
  /** Called before each pause after a failed look, so that a person can be told. */
  onRetry?: ((error: WaitlessError, pauseMs: number) => void) | undefined;
}

/**
 * Yields the state at once, then again after every change of state or progress, and ends after the terminal one. Lost
 * connections and answers that say "later" are retried until the signal aborts, whose reason is then thrown. Throws
 * WaitlessError for whatever waiting cannot mend, such as `not-found`.
 */
export async function* watch(
  wire: Wire,
  id: string,
  options: WatchOptions,
  seams: Seams = defaultSeams,
): AsyncGenerator<Operation, void, void> {
  const { signal, onRetry } = options;
  let etag: string | undefined;
  let version = 0;
  let failures = 0;
  let idle = 0;
  for (;;) {
    const askedAt = seams.now();
    let snapshot;
    try {
      snapshot = await operation(wire, id, {
        signal,
        etag,
        ...(etag === undefined ? {} : { waitSeconds: pollSeconds }),
      });
      failures = 0;
    } catch (error) {
      if (!(error instanceof WaitlessError) || !error.retry) throw error;
      const ms = pauseMs({ failures: failures++, random: seams.random, retryAfterSeconds: error.retryAfterSeconds });
      onRetry?.(error, ms);
      await seams.sleep(ms, signal);
      continue;
    }
    if (snapshot !== undefined) {
      etag = snapshot.etag;
      if (snapshot.operation.version !== version || snapshot.operation.done) {
        version = snapshot.operation.version;
        idle = 0;
        yield snapshot.operation;
        if (snapshot.operation.done) return;
        continue;
      }
    }
    if (seams.now() - askedAt < heldAtLeastMs)
      await seams.sleep(
        pauseMs({ failures: idle++, random: seams.random, retryAfterSeconds: snapshot?.retryAfterSeconds }),
        signal,
      );
    else idle = 0;
  }
}
