// The result as the backend gave it: status, headers and bytes, exactly.
import type { HeaderPairs, Operation, OperationStatus } from '@waitless/protocol';
import { routePath, WaitlessError } from '@waitless/protocol';
import { readBytes, readJson, retryAfterSeconds, setHeader, wholeSeconds, type Wire } from './wire.ts';

/** A backend's answer, kept. */
export interface ClientResponse {
  /** The backend's status: 404 here is the backend's own. */
  status: number;
  headers: Headers;
  /** The body, byte for byte. */
  bytes: Uint8Array<ArrayBuffer>;
  operationId: string;
  operationStatus: OperationStatus;
}

export type ResultOutcome =
  | ({ kind: 'result' } & ClientResponse)
  | { kind: 'pending'; operation: Operation; retryAfterSeconds: number | undefined };

/** Time for the answer to travel, on top of the time the server was asked to wait. Too short cuts good answers off on slow lines; too long hides a dead server. */
export const answerGraceMs = 30_000;

/**
 * Fetches the result, waiting up to `waitSeconds` for it (the server caps that, at 50 by default). An operation that
 * ended without an answer throws WaitlessError: `cancelled`, `timed-out`, `not-started-in-time`, `attempts-exhausted`.
 */
export async function result(
  wire: Wire,
  id: string,
  options: { waitSeconds?: number | undefined; signal?: AbortSignal | undefined } = {},
): Promise<ResultOutcome> {
  const headers = new Headers();
  const waitSeconds = wholeSeconds(options.waitSeconds ?? 0);
  if (waitSeconds > 0) setHeader(headers, 'Prefer', `wait=${waitSeconds}`);
  let response: Response;
  try {
    response = await wire.send({
      path: routePath('getResult', { id }),
      headers,
      signal: options.signal,
      headersTimeoutMs: waitSeconds * 1_000 + answerGraceMs,
    });
  } catch (error) {
    // A 3xx, 401 or 407 of the backend would make clients act, so it is only shown inside the envelope.
    if (error instanceof WaitlessError && error.code === 'bad-backend-response')
      return { kind: 'result', ...(await fromEnvelope(wire, id, options.signal)) };
    throw error;
  }
  // An operation done by reference answers 303, which a browser hides and nothing here may follow.
  if (response.type === 'opaqueredirect') return { kind: 'result', ...(await fromEnvelope(wire, id, options.signal)) };
  if (response.headers.has('operation-status'))
    return { kind: 'result', ...(await readResult(wire, response, options.signal)) };
  const operation = await readJson<Operation>(wire.url, response, options.signal);
  return { kind: 'pending', operation, retryAfterSeconds: retryAfterSeconds(response) };
}

/** Reads an answer that is a result. `fetch` decodes a Content-Encoding, so bytes that have one are taken from the envelope. */
export async function readResult(wire: Wire, response: Response, signal?: AbortSignal): Promise<ClientResponse> {
  const operationId = response.headers.get('operation-id') ?? '';
  if (response.headers.has('content-encoding') && operationId !== '') {
    await response.body?.cancel();
    return fromEnvelope(wire, operationId, signal);
  }
  return {
    status: response.status,
    headers: response.headers,
    bytes: await readBytes(wire.url, response, signal),
    operationId,
    operationStatus: response.headers.get('operation-status') as OperationStatus,
  };
}

/** The result from `?envelope=json`, which holds also what is never replayed bare. */
export async function fromEnvelope(wire: Wire, id: string, signal?: AbortSignal): Promise<ClientResponse> {
  const response = await wire.send({
    path: `${routePath('getResult', { id })}?envelope=json`,
    signal,
    headersTimeoutMs: answerGraceMs,
  });
  const envelope = await readJson<{
    status: number;
    headers: Record<string, string> | HeaderPairs;
    body?: unknown;
    bodyBase64?: string;
  }>(wire.url, response, signal);
  const headers = new Headers();
  for (const [name, value] of Array.isArray(envelope.headers) ? envelope.headers : Object.entries(envelope.headers))
    headers.append(name, value);
  return {
    status: envelope.status,
    headers,
    bytes: envelopeBytes(envelope),
    operationId: response.headers.get('operation-id') ?? id,
    operationStatus: (response.headers.get('operation-status') ?? 'succeeded') as OperationStatus,
  };
}

function envelopeBytes(envelope: { body?: unknown; bodyBase64?: string }): Uint8Array<ArrayBuffer> {
  if (typeof envelope.bodyBase64 === 'string')
    return Uint8Array.from(atob(envelope.bodyBase64), (character) => character.charCodeAt(0));
  if (typeof envelope.body === 'string') return new TextEncoder().encode(envelope.body) as Uint8Array<ArrayBuffer>;
  return new Uint8Array(0);
}
