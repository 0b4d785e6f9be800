// Submit and await the result in one call, as if the slow service had answered at once, whatever happens to connections and servers meanwhile.
import { type OperationReceipt, WaitlessError } from '@waitless/protocol';
import { sleep } from './backoff.ts';
import type { RequestBody } from './body.ts';
import type { Link } from './channel.ts';
import { asFailed } from './failed.ts';
import { defaultReconnectSeconds, persist } from './persist.ts';
import type { ClientResponse } from './response.ts';
import { submit, type SubmitOptions } from './submit.ts';
import { cancelInPassing, patienceOf, throwUnlessSucceeded, waitFor, type WaitOptions } from './wait.ts';

export interface RequestOptions
  extends Omit<SubmitOptions, 'body' | 'waitSeconds' | 'respondAsync' | 'durability' | 'signal'>, WaitOptions {
  durability?: 'stored' | 'memory' | undefined;
  /** Called once the request is accepted: with the id one can come back to it after everything else is lost. */
  onAccepted?: ((operation: OperationReceipt) => void) | undefined;
}

/** How long a submit that is under way may still bring the id of what is to be cancelled. */
const lastWordMs = 5_000;

/**
 * Resolves with the result. A submit whose connection broke is repeated with the same idempotency key, one of its own
 * where none was given. Throws OperationFailed when the operation ended without success.
 */
export async function request(
  link: Link,
  { service, body, options }: { service: string; body: RequestBody | undefined; options: RequestOptions },
): Promise<ClientResponse> {
  const { wire, seams } = link;
  const { onAccepted, cancelOnGiveUp = false, reconnectSeconds = defaultReconnectSeconds } = options;
  if ((options as SubmitOptions).durability === 'none')
    throw new WaitlessError(
      'conflicting-headers',
      'a request of durability none has no result to wait for; submit() it.',
    );
  const patience = patienceOf(options, 'what was accepted goes on.', seams);
  const { signal } = patience;
  // To cancel one must know the id, so a submit under way is heard out for a moment when its caller gives up.
  const letGo = link.channel.hold();
  const sending = cancelOnGiveUp ? later(signal, lastWordMs) : { signal, end: () => {} };
  try {
    const submission = {
      ...options,
      ...(body === undefined ? {} : { body }),
      // Each look is short, so that the id is known early and a lost connection costs one look, not the body again.
      waitSeconds: undefined,
      respondAsync: true,
      idempotencyKey: options.idempotencyKey ?? seams.newName(),
      signal: sending.signal,
    };
    const persistence = { signal, onRetry: patience.onRetry, reconnectSeconds };
    const outcome = await persist(() => submit(wire, service, submission), persistence, seams);
    if (outcome.kind === 'result') return await throwUnlessSucceeded(wire, outcome.response, signal);
    if (outcome.operation === undefined)
      throw new WaitlessError(
        'unexpected-answer',
        `${wire.url} accepted the request without an operation to wait for.`,
      );
    if (cancelOnGiveUp && signal.aborted) {
      await cancelInPassing(wire, outcome.operation.id);
      throw signal.reason;
    }
    onAccepted?.(outcome.operation);
    const response = await waitFor(link, outcome.operation.id, { options, patience });
    // What the store was to this request was said when it was accepted; the result is everybody's.
    return { ...response, cacheStatus: outcome.cacheStatus };
  } catch (error) {
    throw asFailed(error, undefined);
  } finally {
    sending.end();
    patience.end();
    letGo();
  }
}

/** A signal that aborts `ms` after another one. */
function later(signal: AbortSignal, ms: number): { signal: AbortSignal; end: () => void } {
  const controller = new AbortController();
  const over = new AbortController();
  const follow = (): void =>
    void sleep(ms, over.signal).then(
      () => controller.abort(signal.reason),
      () => {},
    );
  if (signal.aborted) controller.abort(signal.reason);
  else signal.addEventListener('abort', follow, { once: true });
  return {
    signal: controller.signal,
    end: () => {
      signal.removeEventListener('abort', follow);
      over.abort();
    },
  };
}
