// What the client library leaves undone: a request that nobody waits for any more ends at once, and so does the connection that is being made for it.
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Socket } from 'node:net';
import type { buildConnector } from 'undici';

/** Whose connection is being made. The library tells a connector the place alone, and many may wait for one place. */
const givenUp = new AsyncLocalStorage<AbortSignal>();

/**
 * Ends with the signal even where the library does not look at it, which is until it is connected. Without an end of the connection as well, callers
 * who submit and cancel would have as many under way as they like, whatever the service's `concurrency`.
 */
export function unlessAborted<T>(request: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const own = new AbortController();
  return new Promise((resolve, reject) => {
    const end = (): void => {
      reject(signal.reason as Error);
      own.abort();
    };
    if (signal.aborted) {
      end();
      return;
    }
    signal.addEventListener('abort', end, { once: true });
    // Once it is answered it must not end a connection any more: one that breaks is made anew in the turn of the request it was first made for.
    void givenUp
      .run(own.signal, request)
      .then(resolve, reject)
      .finally(() => signal.removeEventListener('abort', end));
  });
}

/** Makes connections that end while they are being made, when the request that asked for them is given up. */
export function endingConnector(connect: buildConnector.connector): buildConnector.connector {
  return (options, done) => {
    const signal = givenUp.getStore();
    const end = (): void => void socket?.destroy(new Error('the request was given up'));
    signal?.addEventListener('abort', end, { once: true });
    // It does return what it is making, though its type keeps silent about that.
    const socket = connect(options, (...made) => {
      signal?.removeEventListener('abort', end);
      done(...made);
    }) as unknown as Socket | undefined;
  };
}
