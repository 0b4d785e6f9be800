// Waits for the result of an operation as long as the caller likes, across lost connections and restarts of the server: told over the client's one
// WebSocket where that comes through, by long-polling where it does not.
import { WaitlessError } from '@waitless/protocol';
import { pauseMs, sleep } from './backoff.ts';
import { type Link, NotTold } from './channel.ts';
import { asFailed, OperationFailed } from './failed.ts';
import { cancel, operation } from './operations.ts';
import { defaultReconnectSeconds, persist, type PersistOptions } from './persist.ts';
import type { ClientResponse } from './response.ts';
import { result } from './result.ts';
import type { Seams } from './seams.ts';
import { heldAtLeastMs, pollSeconds, type WatchOptions } from './watch.ts';
import type { Wire } from './wire.ts';

export interface WaitOptions extends WatchOptions {
  /** Wait at most so long for the result, then throw `not-finished`; the operation goes on. No end by default. */
  waitSeconds?: number | undefined;
  /** Throw the last failure when the server cannot be reached, or says "later", for so long in a row; 120 by default. */
  reconnectSeconds?: number | undefined;
  /** Cancel the operation too when the waiting ends by `signal` or `waitSeconds`; for everyone who has joined it. */
  cancelOnGiveUp?: boolean | undefined;
}

/** A cancel must not hold up somebody who has just given up. */
const cancelSeconds = 5;
/** The most a timer holds (2^31-1 ms); a longer one would fire at once. */
const longestTimerMs = 2_147_483_647;

export interface Patience {
  /** Aborts with the caller's reason, or with `not-finished` when the time is up. */
  readonly signal: AbortSignal;
  /** Passes retries on to the caller, and remembers the trouble for the sentence that ends the waiting. */
  readonly onRetry: NonNullable<WatchOptions['onRetry']>;
  /** Whole seconds that one poll may take of what is left, capped by what servers hold. */
  pollSeconds(): number;
  /** To be called when the waiting has ended, however it did. */
  end(): void;
}

/** The caller's signal and time limit as one. */
export function patienceOf(options: WaitOptions, what: string, seams: Seams): Patience {
  const { signal, waitSeconds = Number.POSITIVE_INFINITY } = options;
  if (Number.isNaN(waitSeconds) || waitSeconds < 0)
    throw new WaitlessError('invalid-parameter', `${waitSeconds} is not a number of seconds to wait.`);
  const ms = waitSeconds * 1_000;
  const until = seams.now() + ms;
  const limit = new AbortController();
  let trouble: WaitlessError | undefined;
  const timeIsUp = (): void => {
    const last = trouble ? ` The last trouble: ${trouble.message}` : '';
    limit.abort(
      new WaitlessError('not-finished', `no result within ${waitSeconds} s; ${what}${last}`, { cause: trouble }),
    );
  };
  const over = new AbortController();
  if (ms <= longestTimerMs) void seams.sleep(ms, over.signal).then(timeIsUp, () => {});
  return {
    signal: signal ? AbortSignal.any([signal, limit.signal]) : limit.signal,
    onRetry(error, ms) {
      trouble = error;
      options.onRetry?.(error, ms);
    },
    pollSeconds: () => Math.max(1, Math.min(pollSeconds, Math.ceil((until - seams.now()) / 1_000))),
    end: () => over.abort(),
  };
}

/** The result of an operation that is known. Throws OperationFailed when it ended without success. */
export async function wait(link: Link, id: string, options: WaitOptions): Promise<ClientResponse> {
  const patience = patienceOf(options, `operation ${id} goes on, and wait() can come back to it.`, link.seams);
  try {
    return await waitFor(link, id, { options, patience });
  } finally {
    patience.end();
  }
}

/** As `wait`, with a patience that began earlier. */
export async function waitFor(
  link: Link,
  id: string,
  { options, patience }: { options: WaitOptions; patience: Patience },
): Promise<ClientResponse> {
  const { wire, seams } = link;
  const { signal } = patience;
  const persistence = {
    signal,
    onRetry: patience.onRetry,
    reconnectSeconds: options.reconnectSeconds ?? defaultReconnectSeconds,
  };
  try {
    for (let idle = 0; ;) {
      await toldOfTheEnd(link, id, persistence);
      const askedAt = seams.now();
      const outcome = await persist(
        () => result(wire, id, { waitSeconds: patience.pollSeconds(), signal }),
        persistence,
        seams,
      );
      if (outcome.kind === 'result') {
        const { kind: _, ...response } = outcome;
        return await succeeded(response, () => persist(() => operation(wire, id, { signal }), persistence, seams));
      }
      if (seams.now() - askedAt >= heldAtLeastMs) idle = 0;
      else {
        // Let go early once, by a server that stops: another may hold at once. Let go again: nobody holds, so it is polling by Retry-After.
        const retryAfterSeconds = idle === 0 ? undefined : outcome.retryAfterSeconds;
        await seams.sleep(pauseMs({ failures: idle++, random: seams.random, retryAfterSeconds }), signal);
      }
    }
  } catch (error) {
    if (signal.aborted && options.cancelOnGiveUp) await cancelInPassing(wire, id);
    throw asFailed(error, id);
  }
}

/** Resolves once the operation has ended, or at once where that is not told and has to be asked for. */
async function toldOfTheEnd({ channel }: Link, id: string, persistence: PersistOptions): Promise<void> {
  try {
    // The last event ends it.
    for await (const _ of channel.follow(id, { ...persistence, events: 'end' }));
  } catch (error) {
    if (!(error instanceof NotTold)) throw error;
  }
}

/** The response itself, or the failure that it tells of, in the words of the status document. */
async function succeeded(response: ClientResponse, look: () => ReturnType<typeof operation>): Promise<ClientResponse> {
  if (response.operationStatus === 'succeeded') return response;
  const { operationId } = response;
  const found = await look().catch((error: unknown) => {
    // Forgotten since the result was read, or nobody answers: what failed is known all the same.
    if (error instanceof WaitlessError) return undefined;
    throw error;
  });
  const { code, message } = found?.operation.error ?? {
    code: 'backend-error',
    message: `the backend answered ${response.status}`,
  };
  throw new OperationFailed(code, message, { status: response.status, operationId, result: response });
}

/** Throws OperationFailed for a response that belongs to an operation which did not succeed. */
export function throwUnlessSucceeded(
  wire: Wire,
  response: ClientResponse,
  signal: AbortSignal,
): Promise<ClientResponse> {
  return succeeded(response, () => operation(wire, response.operationId, { signal }));
}

/** Best effort: whoever gave up hears of giving up, not of a cancel that did not get through. */
export async function cancelInPassing(wire: Wire, id: string): Promise<void> {
  const limit = new AbortController();
  const done = new AbortController();
  void sleep(cancelSeconds * 1_000, done.signal).then(
    () => limit.abort(),
    () => {},
  );
  await cancel(wire, id, { signal: limit.signal }).catch(() => {});
  done.abort();
}
