// Hands a request over: the one call that creates an operation.
import { callMethods, type Durability, type OperationReceipt, WaitlessError } from '@waitless/protocol';
import { callPath, hasControls, type Query } from './address.ts';
import { type RequestBody, toBytes, utf8 } from './body.ts';
import { type HeaderFields, headersOf } from './header-fields.ts';
import { operation } from './operations.ts';
import { type ClientResponse, fromEnvelope, readResult, storeFields } from './response.ts';
import { readJson, retryAfterSeconds, setHeader, wholeSeconds, type Wire } from './wire.ts';

/** Everything but the service has a default. Durations are text with a unit: `250ms` `30s` `10m` `2h` `7d`. */
export interface SubmitOptions {
  /** Any of GET HEAD POST PUT PATCH DELETE OPTIONS; POST by default. */
  method?: string | undefined;
  /** What follows the service's own URL at the backend, such as `customers/42`; may carry a `?query`. */
  path?: string | undefined;
  query?: Query | undefined;
  /** Sent on to the backend as they are. */
  headers?: HeaderFields | undefined;
  /** Opaque bytes, or text sent as UTF-8, for which no Content-Type is invented; a plain object or list goes as JSON. */
  body?: RequestBody | undefined;
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
  /** Business key under which the result is kept for others, such as a customer's id; 1 to 512 bytes of UTF-8. */
  resultKey?: string | undefined;
  /** Do the work anew although a stored result is there; joins what already runs (`Cache-Control: no-cache`). */
  fresh?: boolean | undefined;
  /** Take a stored result only if it is at most so many seconds old. */
  maxAge?: number | undefined;
  /** Take a stored result or throw `not-stored`; no work is done. */
  onlyStored?: boolean | undefined;
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
      /** How the store of results was asked, such as `waitless; fwd=miss; collapsed` (RFC 9211); only where the service has a key. */
      cacheStatus: string | undefined;
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
  const body = options.body === undefined ? undefined : toBytes(options.body);
  if (body !== undefined && (method === 'GET' || method === 'HEAD'))
    throw new WaitlessError(
      'invalid-parameter',
      `a ${method} request carries no body here; use POST or leave the body away.`,
    );
  const path = callPath(service, options.path, options.query);
  const headers = submitHeaders(options);
  if (body?.contentType !== undefined && !headers.has('content-type')) headers.set('Content-Type', body.contentType);
  let response: Response;
  try {
    response = await wire.send({ method, path, headers, body: body?.bytes, signal: options.signal });
  } catch (error) {
    if (!(error instanceof WaitlessError)) throw error;
    const id = error.headers?.['operation-id'];
    if (error.code === 'bad-backend-response' && id !== undefined)
      return { kind: 'result', response: await fromEnvelope(wire, { id }, options.signal) };
    throw error.code === 'unreachable' && error.members?.['accepted'] !== false ? inDoubt(error, options) : error;
  }
  return readSubmitted(wire, response, { head: method === 'HEAD', signal: options.signal });
}

/** Reads the answer of a route that hands work over: a result, or a 202 with its receipt. */
export async function readSubmitted(
  wire: Wire,
  response: Response,
  { head = false, signal }: { head?: boolean; signal: AbortSignal | undefined },
): Promise<SubmitOutcome> {
  if (response.headers.has('operation-status'))
    return { kind: 'result', response: await readResult(wire, response, signal) };
  const replayed = response.headers.get('idempotent-replayed') === 'true';
  // An answer without an id is durability `none`: a bounded memory queue took it and nothing can be looked up.
  const id = response.headers.get('operation-id');
  const receipt =
    id === null
      ? undefined
      : head
        ? await receiptOf(wire, id, signal)
        : await readJson<OperationReceipt>(wire.url, response, signal);
  if (receipt === undefined) {
    await response.body?.cancel();
    if (response.status !== 202)
      throw new WaitlessError(
        'unexpected-answer',
        `${wire.url} answered ${response.status} to a submit: is that a Waitless server?`,
        { status: response.status },
      );
  }
  const { cacheStatus } = storeFields(response);
  return {
    kind: 'accepted',
    operation: receipt,
    retryAfterSeconds: retryAfterSeconds(response),
    replayed,
    cacheStatus,
  };
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

export function submitHeaders(options: SubmitOptions): Headers {
  const headers = headersOf(options.headers);
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
  if (options.resultKey !== undefined) setHeader(headers, 'Result-Key', keyField(options.resultKey));
  const directives = cacheDirectives(options);
  if (directives !== '') {
    if (headers.has('cache-control'))
      throw new WaitlessError(
        'conflicting-headers',
        'a Cache-Control header was given beside fresh, maxAge or onlyStored, which travel in that header; give one of them.',
      );
    setHeader(headers, 'Cache-Control', directives);
  }
  return headers;
}

function cacheDirectives({ fresh, maxAge, onlyStored }: SubmitOptions): string {
  if (fresh && (onlyStored || maxAge !== undefined))
    throw new WaitlessError(
      'conflicting-headers',
      'fresh asks for new work, maxAge and onlyStored for a stored result; give one of them.',
    );
  if (maxAge !== undefined && !(Number.isFinite(maxAge) && maxAge >= 0))
    throw new WaitlessError('invalid-parameter', `maxAge must be a number of seconds, not ${maxAge}.`);
  return [
    ...(fresh ? ['no-cache'] : []),
    // Rounded down: nothing older than what was asked for may come back.
    ...(maxAge === undefined ? [] : [`max-age=${Math.floor(maxAge)}`]),
    ...(onlyStored ? ['only-if-cached'] : []),
  ].join(', ');
}

/** A quoted string, so that blanks and quotes of the key survive; a field holds bytes, so what is not ASCII travels as its UTF-8. */
function keyField(key: string): string {
  const bytes = utf8(key);
  if (bytes.length === 0 || bytes.length > 512)
    throw new WaitlessError('invalid-parameter', `a result key is 1 to 512 bytes of UTF-8, not ${bytes.length}.`);
  if (hasControls(key))
    throw new WaitlessError('invalid-parameter', 'a result key with control characters cannot travel in a header.');
  return `"${String.fromCharCode(...bytes).replace(/["\\]/g, '\\$&')}"`;
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
