// Follows operations to their ends, across lost connections and restarts of the server: by their events, or by long-polling where none come through.
import { type Operation, WaitlessError } from '@waitless/protocol';
import { pauseMs } from './backoff.ts';
import type { Link, Told } from './channel.ts';
import { events } from './events.ts';
import { merged } from './merged.ts';
import { operation } from './operations.ts';
import { persist } from './persist.ts';

/** The most a server holds by default, below the 60 s at which proxies cut; more would only be capped. */
export const pollSeconds = 50;
/** A poll that comes back unchanged sooner than this was not held (a server that stops, a cap on waiters), so asking again at once would spin. */
export const heldAtLeastMs = 500;

export interface WatchOptions {
  signal?: AbortSignal | undefined;
  /** Called before each pause after a failed look, so that a person can be told. */
  onRetry?: ((error: WaitlessError, pauseMs: number) => void) | undefined;
}

export interface FollowOptions extends WatchOptions {
  /** false asks by long-polling from the beginning. By default that is found out where no stream comes through. */
  stream?: boolean | undefined;
}

/** A stream begins with a comment; where nothing comes for so long, a proxy in between collects what it gets. */
const firstSignMs = 5_000;

/**
 * Yields the state at once, then again after every change of state or progress, and ends after the terminal one. Lost
 * connections and answers that say "later" are retried until the signal aborts, whose reason is then thrown. Throws
 * WaitlessError for whatever waiting cannot mend, such as `not-found`.
 */
export async function* watch(link: Link, id: string, options: FollowOptions): AsyncGenerator<Operation, void, void> {
  const { wire, seams } = link;
  const { signal, onRetry } = options;
  if (options.stream === false) return yield* byPolling(link, id, { options });
  let state = (await persist(() => operation(wire, id, { signal }), { signal, onRetry }, seams))!.operation;
  yield state;
  if (state.done) return;
  try {
    const after = { after: state.eventId, signal, onRetry };
    for await (const event of events(link, id, after, { firstSignMs })) {
      state = changed(state, event);
      yield state;
      if (state.done) return;
    }
  } catch (error) {
    signal?.throwIfAborted();
    // Whatever keeps a stream from coming through: what it means for the operation is told by its status.
    if (!(error instanceof WaitlessError)) throw error;
  }
  yield* byPolling(link, id, { options, known: state });
}

/** The same of several operations at once, as it comes. The first that cannot be watched ends it. */
export function watchAll(
  link: Link,
  ids: readonly string[],
  options: FollowOptions,
): AsyncGenerator<Operation, void, void> {
  const { signal } = options;
  return merged((left) => {
    const both = { ...options, signal: signal ? AbortSignal.any([signal, left]) : left };
    return [...new Set(ids)].map((id) => watch(link, id, both));
  });
}

/** The status document after an event. */
function changed(state: Operation, event: Told): Operation {
  if (event.type === 'reset') return event.operation;
  const { type: _, lastAttempt: __, ...members } = event;
  return {
    ...state,
    ...members,
    queuePosition: event.status === 'queued' ? state.queuePosition : null,
    estimatedCompletionAt: event.done ? null : state.estimatedCompletionAt,
  };
}

/** The same by long-polling, from a state that was told already. */
async function* byPolling(
  { wire, seams }: Link,
  id: string,
  { options, known }: { options: WatchOptions; known?: Operation },
): AsyncGenerator<Operation, void, void> {
  const { signal, onRetry } = options;
  let etag = known && `W/"${known.version}"`;
  let version = known?.version ?? 0;
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
