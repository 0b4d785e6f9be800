// One HTTP exchange: everything that leaves the client goes through here, and whatever goes wrong becomes a WaitlessError.
import { type Problem, streamPath, WaitlessError } from '@waitless/protocol';

export interface WireRequest {
  method?: string;
  /** Path and query below the base URL. */
  path: string;
  headers?: Headers | undefined;
  body?: Uint8Array<ArrayBuffer> | undefined;
  signal?: AbortSignal | undefined;
  /** No answer within this: `unreachable`. Finds a server whose machine vanished without closing the connection. */
  headersTimeoutMs?: number | undefined;
}

export interface Wire {
  /** The base URL, for messages. */
  readonly url: string;
  /** Any answer that is not a problem of Waitless itself. Throws WaitlessError, or the signal's reason when it aborted. */
  send(request: WireRequest): Promise<Response>;
}

export interface WireOptions {
  url: string;
  apiKey: string | undefined;
  /** A read-only token, where there is no key. */
  token?: string | undefined;
  fetch: typeof globalThis.fetch;
}

/** Connects a base URL, an optional credential and a `fetch` into a Wire. */
export function createWire(options: WireOptions): Wire {
  const { url, apiKey, token } = options;
  return {
    url,
    async send(request) {
      const headers = request.headers ?? new Headers();
      if (apiKey !== undefined) {
        if (headers.has('authorization'))
          throw new WaitlessError(
            'conflicting-headers',
            'an Authorization header was given beside the API key, which travels in that header; give one of them.',
          );
        setHeader(headers, 'Authorization', `Bearer ${apiKey}`);
      }
      const { method = 'GET' } = request;
      const path = token === undefined ? request.path : withToken({ method, path: request.path, token });
      const response = await exchange(url, options.fetch, { ...request, path, headers });
      if (response.status >= 400 && !response.headers.has('operation-status'))
        throw await problem(url, response, request.signal);
      return response;
    },
  };
}

/** Where a token may open something. */
const opened = /^\/v1\/(?:operations\/|topics\/[^/?]+\/events)/;

/** The path with the token in its query. Throws for what no token opens, so that it goes nowhere else, least of all to a backend. */
function withToken({ method, path, token }: { method: string; path: string; token: string }): string {
  if (method !== 'GET' || !(opened.test(path) || path === streamPath))
    throw new WaitlessError(
      'insufficient-scope',
      'a client made with a token looks at the operations and topics of the token and does nothing else; make it with an apiKey.',
    );
  return `${path}${path.includes('?') ? '&' : '?'}token=${encodeURIComponent(token)}`;
}

async function exchange(url: string, fetch: typeof globalThis.fetch, request: WireRequest): Promise<Response> {
  request.signal?.throwIfAborted();
  const limit = new AbortController();
  const signals = [limit.signal, ...(request.signal ? [request.signal] : [])];
  const timer =
    request.headersTimeoutMs === undefined
      ? undefined
      : setTimeout(
          () => limit.abort(new Error(`no answer within ${Math.round(request.headersTimeoutMs! / 1_000)} s`)),
          request.headersTimeoutMs,
        );
  try {
    return await fetch(url + request.path, {
      method: request.method ?? 'GET',
      headers: request.headers!,
      // A backend's 3xx is an answer to look at, never one to follow.
      redirect: 'manual',
      signal: AbortSignal.any(signals),
      ...(request.body === undefined ? {} : { body: request.body }),
    });
  } catch (error) {
    request.signal?.throwIfAborted();
    throw unreachable(url, error, 'cannot reach');
  } finally {
    clearTimeout(timer);
  }
}

/** The bytes of an answer; a connection that breaks in the middle is `unreachable`. */
export async function readBytes(
  url: string,
  response: Response,
  signal?: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    signal?.throwIfAborted();
    throw unreachable(url, error, 'the answer broke off, from');
  }
}

/** The JSON of an answer that must be ours. Throws `unexpected-answer` when something else answers at this address. */
export async function readJson<T>(url: string, response: Response, signal?: AbortSignal): Promise<T> {
  const bytes = await readBytes(url, response, signal);
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as T;
  } catch {
    throw new WaitlessError(
      'unexpected-answer',
      `${url} answered ${response.status} without JSON: is that a Waitless server?`,
      { status: response.status },
    );
  }
}

/** Sets a header, or says which one cannot be sent; `fetch` would call it a network failure. */
export function setHeader(headers: Headers, name: string, value: string): void {
  try {
    headers.set(name, value);
  } catch {
    throw new WaitlessError(
      'invalid-parameter',
      `the header ${name} cannot be sent: its name or value has characters that HTTP does not allow.`,
    );
  }
}

/** Prefer takes whole seconds; a part of one is rounded up so that a wish to wait stays one. */
export function wholeSeconds(seconds: number): number {
  if (!Number.isFinite(seconds) || seconds < 0)
    throw new WaitlessError('invalid-parameter', `${seconds} is not a number of seconds to wait.`);
  return Math.ceil(seconds);
}

/** Seconds of a Retry-After header in its number form (RFC 9110 10.2.3). */
export function retryAfterSeconds(response: Response): number | undefined {
  const value = response.headers.get('retry-after');
  return value !== null && /^\d{1,9}$/.test(value) ? Number(value) : undefined;
}

async function problem(url: string, response: Response, signal?: AbortSignal): Promise<WaitlessError> {
  const more = {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    ...definedRetryAfter(response),
  };
  const bytes = await readBytes(url, response, signal);
  let document: Partial<Problem> | undefined;
  try {
    document = JSON.parse(new TextDecoder().decode(bytes)) as Partial<Problem>;
  } catch {
    // HEAD has no body, and a proxy in between answers with HTML: both are told apart by the status alone.
  }
  if (typeof document?.code !== 'string')
    return new WaitlessError(
      'unexpected-answer',
      `${url} answered ${response.status} without saying why: is that a Waitless server?`,
      more,
    );
  const { code, detail, status: _, ...members } = document;
  return new WaitlessError(code, detail ?? document.title, { ...more, members });
}

function definedRetryAfter(response: Response): { retryAfterSeconds?: number } {
  const seconds = retryAfterSeconds(response);
  return seconds === undefined ? {} : { retryAfterSeconds: seconds };
}

/** What a network error code means for the person who reads it. */
const causes: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'the connection was lost',
  UND_ERR_SOCKET: 'the connection was lost',
  EPIPE: 'the connection was lost',
  ENOTFOUND: 'the host name is not known',
  EAI_AGAIN: 'the host name cannot be looked up now',
  ETIMEDOUT: 'no answer in time',
  UND_ERR_CONNECT_TIMEOUT: 'no answer in time',
  UND_ERR_HEADERS_TIMEOUT: 'no answer in time',
  EHOSTUNREACH: 'there is no way to that host',
  ENETUNREACH: 'there is no way to that network',
};

/** Codes after which it is certain that the request never arrived. */
const neverArrived: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

function unreachable(url: string, error: unknown, what: string): WaitlessError {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = (cause as { code?: unknown } | undefined)?.code;
  const known = typeof code === 'string' ? causes[code] : undefined;
  const why = known ?? (cause instanceof Error && cause.message ? cause.message : 'the request failed');
  return new WaitlessError(
    'unreachable',
    `${what} ${url}: ${why}. Is the server running? \`npx waitless dev\` starts one.`,
    {
      // What a gateway would have said; repeating may help.
      status: 503,
      cause: error,
      ...(typeof code === 'string' && neverArrived.has(code) ? { members: { accepted: false } } : {}),
    },
  );
}
