// Hands a request over: the one call that creates an operation.
import { callMethods, type Durability, type OperationReceipt, WaitlessError } from '@waitless/protocol';
import { callPath, type Query } from './address.ts';
import { operation } from './operations.ts';
import { type ClientResponse, fromEnvelope, readResult } from './result.ts';
import { readJson, retryAfterSeconds, setHeader, wholeSeconds, type Wire } from './wire.ts';

/** Everything but the service has a default. Durations are text with a unit: `250ms` `30s` `10m` `2h` `7d`. */
export interface SubmitOptions {
  /** Any of GET HEAD POST PUT PATCH DELETE OPTIONS; POST by default. */
  method?: string | undefined;
  /** What follows the service's own URL at the backend, such as `customers/42`; may carry a `?query`. */
  path?: string | undefined;
  query?: Query | undefined;
  /** Sent on to the backend as they are. */
  headers?: Headers | Readonly<Record<string, string>> | readonly (readonly [string, string])[] | undefined;
  /** Opaque bytes; text is sent as UTF-8 and no Content-Type is invented for it. */
  body?: string | Uint8Array | ArrayBuffer | undefined;
  /** Hold the answer up to so many seconds for the result itself (`Prefer: wait=N`, RFC 7240). The server caps it, at 50 by default. */
  waitSeconds?: number | undefined;
  /** Ask for the 202 at once even where the service waits by itself (`Prefer: respond-async`). */
  respondAsync?: boolean | undefined;
  /** Makes a repeat safe: same key and same request, same operation. 1 to 255 visible ASCII characters and spaces. */
  idempotencyKey?: string | undefined;
  correlationId?: string | undefined;
  /** Total time allowed. */
  timeout?: string | undefined;
  /** Do not start before this has passed. */
  delay?: string | undefined;
  /** Give up when not started within this. */
  startBy?: string | undefined;
  /** 0 to 9; the service's default where absent. */
  priority?: number | undefined;
  labels?: Readonly<Record<string, string>> | undefined;
  durability?: Durability | undefined;
  signal?: AbortSignal | undefined;
}

/** What a submit came to. */
export type SubmitOutcome =
  | {
      kind: 'accepted';
      /** Absent for durability `none` alone: there is nothing to look up. */
      operation: OperationReceipt | undefined;
      /** When the first look may be worth it. */
      retryAfterSeconds: number | undefined;
      /** Whether this repeats the answer to an earlier submit with the same idempotency key. */
      replayed: boolean;
    }
  | { kind: 'result'; response: ClientResponse };

/** Submits a request. Throws WaitlessError with the wire's code; nothing is retried here. */
export async function submit(wire: Wire, service: string, options: SubmitOptions = {}): Promise<SubmitOutcome> {
  const method = (options.method ?? 'POST').toUpperCase();
  if (!(callMethods as readonly string[]).includes(method))
    throw new WaitlessError(
      'invalid-parameter',
      `the method ${method} cannot be submitted; these can: ${callMethods.join(', ')}.`,
    );
  const body = toBytes(options.body);
  if (body !== undefined && (method === 'GET' || method === 'HEAD'))
    throw new WaitlessError(
      'invalid-parameter',
      `a ${method} request carries no body here; use POST or leave the body away.`,
    );
  const path = callPath(service, options.path, options.query);
  const headers = submitHeaders(options);
  let response: Response;
  try {
    response = await wire.send({ method, path, headers, body, signal: options.signal });
  } catch (error) {
    if (!(error instanceof WaitlessError)) throw error;
    const id = error.headers?.['operation-id'];
    if (error.code === 'bad-backend-response' && id !== undefined)
      return { kind: 'result', response: await fromEnvelope(wire, id, options.signal) };
    throw error.code === 'unreachable' && error.members?.['accepted'] !== false ? inDoubt(error, options) : error;
  }
  if (response.headers.has('operation-status'))
    return { kind: 'result', response: await readResult(wire, response, options.signal) };
  const replayed = response.headers.get('idempotent-replayed') === 'true';
  // An answer without an id is durability `none`: a bounded memory queue took it and nothing can be looked up.
  const id = response.headers.get('operation-id');
  const receipt =
    id === null
      ? undefined
      : method === 'HEAD'
        ? await receiptOf(wire, id, options.signal)
        : await readJson<OperationReceipt>(wire.url, response, options.signal);
  if (receipt === undefined) {
    await response.body?.cancel();
    if (response.status !== 202)
      throw new WaitlessError(
        'unexpected-answer',
        `${wire.url} answered ${response.status} to a submit: is that a Waitless server?`,
        { status: response.status },
      );
  }
  return { kind: 'accepted', operation: receipt, retryAfterSeconds: retryAfterSeconds(response), replayed };
}

/** An answer to HEAD has no body (RFC 9110 9.3.2), so the receipt is read where it stands as well. */
async function receiptOf(
  wire: Wire,
  id: string,
  signal: AbortSignal | undefined,
): Promise<OperationReceipt | undefined> {
  const found = await operation(wire, id, { signal });
  if (found === undefined) return undefined;
  const { service, correlationId, key, labels, createdAt, resourceLocation, links } = found.operation;
  return { id, service, correlationId, key, labels, createdAt, resourceLocation, links };
}

function inDoubt(error: WaitlessError, options: SubmitOptions): WaitlessError {
  const advice =
    options.idempotencyKey === undefined
      ? 'with an idempotency key a repeat would be safe'
      : 'repeat it with the same idempotency key';
  return new WaitlessError(
    'unreachable',
    `${error.message} Whether the request was accepted is not known; ${advice}.`,
    { status: error.status, cause: error },
  );
}

function submitHeaders(options: SubmitOptions): Headers {
  const headers = new Headers();
  const given = options.headers;
  const pairs =
    given === undefined
      ? []
      : given instanceof Headers || Array.isArray(given)
        ? [...(given as Iterable<[string, string]>)]
        : Object.entries(given);
  for (const [name, value] of pairs) {
    try {
      headers.append(name, value);
    } catch {
      throw new WaitlessError(
        'invalid-parameter',
        `the header ${name} cannot be sent: its name or value has characters that HTTP does not allow.`,
      );
    }
  }
  const preferences = [
    ...(options.respondAsync ? ['respond-async'] : []),
    ...(options.waitSeconds === undefined ? [] : [`wait=${wholeSeconds(options.waitSeconds)}`]),
  ];
  if (preferences.length > 0) setHeader(headers, 'Prefer', preferences.join(', '));
  if (options.idempotencyKey !== undefined) setHeader(headers, 'Idempotency-Key', quoted(options.idempotencyKey));
  if (options.correlationId !== undefined) setHeader(headers, 'Correlation-Id', options.correlationId);
  if (options.timeout !== undefined) setHeader(headers, 'Operation-Timeout', options.timeout);
  if (options.delay !== undefined) setHeader(headers, 'Operation-Delay', options.delay);
  if (options.startBy !== undefined) setHeader(headers, 'Operation-Start-By', options.startBy);
  if (options.priority !== undefined) setHeader(headers, 'Operation-Priority', String(options.priority));
  if (options.durability !== undefined) setHeader(headers, 'Operation-Durability', options.durability);
  if (options.labels !== undefined) setHeader(headers, 'Operation-Labels', labelList(options.labels));
  return headers;
}

/** A structured-field string (RFC 9651 3.3.3), the form every key fits into. */
function quoted(key: string): string {
  if (!/^[\x20-\x7e]{1,255}$/.test(key))
    throw new WaitlessError(
      'idempotency-key-invalid',
      'an idempotency key is 1 to 255 visible ASCII characters or spaces.',
    );
  return `"${key.replace(/["\\]/g, '\\$&')}"`;
}

function labelList(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => {
      if (value.includes(','))
        throw new WaitlessError('invalid-parameter', `the label ${name} has a comma, which separates labels.`);
      return `${name}=${value}`;
    })
    .join(', ');
}

function toBytes(body: SubmitOptions['body']): Uint8Array<ArrayBuffer> | undefined {
  if (body === undefined) return undefined;
  if (typeof body === 'string') return new TextEncoder().encode(body) as Uint8Array<ArrayBuffer>;
  return body instanceof ArrayBuffer ? new Uint8Array(body) : (body as Uint8Array<ArrayBuffer>);
}
