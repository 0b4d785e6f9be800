// One look at a result, by operation or by key: there, or not yet.
import { type Operation, routePath, WaitlessError } from '@waitless/protocol';
import { answerGraceMs, type ClientResponse, fromEnvelope, readResult } from './response.ts';
import { readJson, retryAfterSeconds, setHeader, wholeSeconds, type Wire } from './wire.ts';

export type ResultOutcome =
  | ({ kind: 'result' } & ClientResponse)
  | { kind: 'pending'; operation: Operation; retryAfterSeconds: number | undefined };

export interface ResultOptions {
  /** Hold the answer up to so many seconds for the result; the server caps it, at 50 by default. */
  waitSeconds?: number | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Fetches the result, waiting up to `waitSeconds` for it. An operation that ended without an answer throws
 * WaitlessError: `cancelled`, `timed-out`, `not-started-in-time`, `attempts-exhausted`, `failed-by-worker`.
 */
export function result(wire: Wire, id: string, options: ResultOptions = {}): Promise<ResultOutcome> {
  return lookAt(wire, { path: routePath('getResult', { id }), id }, options);
}

/** Reads the answer of a route that gives a result; `id` where the caller knows the operation. */
export async function lookAt(
  wire: Wire,
  where: { path: string; id?: string },
  options: ResultOptions,
): Promise<ResultOutcome> {
  const headers = new Headers();
  const waitSeconds = wholeSeconds(options.waitSeconds ?? 0);
  if (waitSeconds > 0) setHeader(headers, 'Prefer', `wait=${waitSeconds}`);
  let response: Response;
  try {
    response = await wire.send({
      path: where.path,
      headers,
      signal: options.signal,
      headersTimeoutMs: waitSeconds * 1_000 + answerGraceMs,
    });
  } catch (error) {
    // A 3xx, 401 or 407 of the backend would make clients act, so it is only shown inside the envelope.
    if (error instanceof WaitlessError && error.code === 'bad-backend-response')
      return { kind: 'result', ...(await fromEnvelope(wire, where, options.signal)) };
    throw error;
  }
  // An operation done by reference answers 303, which a browser hides and nothing here may follow.
  if (response.type === 'opaqueredirect')
    return { kind: 'result', ...(await fromEnvelope(wire, where, options.signal)) };
  if (response.headers.has('operation-status'))
    return { kind: 'result', ...(await readResult(wire, response, options.signal)) };
  const operation = await readJson<Operation>(wire.url, response, options.signal);
  if (typeof operation?.id !== 'string')
    throw new WaitlessError(
      'unexpected-answer',
      `${wire.url} answered ${response.status} without a result or an operation: is that a Waitless server?`,
      { status: response.status },
    );
  return { kind: 'pending', operation, retryAfterSeconds: retryAfterSeconds(response) };
}
