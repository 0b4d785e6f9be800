// A kept answer as the backend gave it: status, headers and bytes, exactly.
import { type HeaderPairs, type OperationStatus, routePath, WaitlessError } from '@waitless/protocol';
import { envelopeBytes } from './body.ts';
import { readBytes, readJson, type Wire } from './wire.ts';

/** A backend's answer, kept. */
export interface ClientResponse {
  /** The backend's status: 404 here is the backend's own. */
  status: number;
  headers: Headers;
  /** The body, byte for byte. */
  bytes: Uint8Array<ArrayBuffer>;
  operationId: string;
  operationStatus: OperationStatus;
  /** Seconds since the result was stored, where the answer came from the store (RFC 9111 `Age`). */
  age: number | undefined;
  /** How the store was used, such as `waitless; hit; ttl=42` (RFC 9211); only where the service has a key. */
  cacheStatus: string | undefined;
  /** The bytes as UTF-8 text. */
  readonly text: () => string;
  /** The bytes as JSON. Throws WaitlessError `unexpected-answer` when they are none. */
  readonly json: <T = unknown>() => T;
}

/** Time for the answer to travel, on top of the time the server was asked to wait. Too short cuts good answers off on slow lines; too long hides a dead server. */
export const answerGraceMs = 30_000;

/** Reads an answer that is a result. `fetch` decodes a Content-Encoding, so bytes that have one are taken from the envelope. */
export async function readResult(wire: Wire, response: Response, signal?: AbortSignal): Promise<ClientResponse> {
  const operationId = response.headers.get('operation-id') ?? '';
  if (response.headers.has('content-encoding') && operationId !== '') {
    await response.body?.cancel();
    return { ...(await fromEnvelope(wire, { id: operationId }, signal)), ...storeFields(response) };
  }
  return kept({
    status: response.status,
    headers: response.headers,
    bytes: await readBytes(wire.url, response, signal),
    operationId,
    operationStatus: response.headers.get('operation-status') as OperationStatus,
    ...storeFields(response),
  });
}

/** The result from `envelope=json`, which holds also what is never replayed bare; at `path`, or where the operation's own is. */
export async function fromEnvelope(
  wire: Wire,
  { id = '', path = routePath('getResult', { id }) }: { id?: string | undefined; path?: string },
  signal?: AbortSignal,
): Promise<ClientResponse> {
  const response = await wire.send({
    path: `${path}${path.includes('?') ? '&' : '?'}envelope=json`,
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
  return kept({
    status: envelope.status,
    headers,
    bytes: envelopeBytes(envelope),
    operationId: response.headers.get('operation-id') ?? id,
    operationStatus: (response.headers.get('operation-status') ?? 'succeeded') as OperationStatus,
    ...storeFields(response),
  });
}

/** What an answer tells of the store of results. */
export function storeFields(response: Response): Pick<ClientResponse, 'age' | 'cacheStatus'> {
  const age = response.headers.get('age');
  return {
    age: age !== null && /^\d{1,15}$/.test(age) ? Number(age) : undefined,
    cacheStatus: response.headers.get('cache-status') ?? undefined,
  };
}

function kept(fields: Omit<ClientResponse, 'text' | 'json'>): ClientResponse {
  const text = (): string => new TextDecoder().decode(fields.bytes);
  return {
    ...fields,
    text,
    json<T>(): T {
      try {
        return JSON.parse(text()) as T;
      } catch (error) {
        throw new WaitlessError(
          'unexpected-answer',
          `the result of operation ${fields.operationId} is not JSON: it is ${fields.bytes.length} bytes of ${fields.headers.get('content-type') ?? 'no media type'}.`,
          { status: fields.status, cause: error },
        );
      }
    },
  };
}
