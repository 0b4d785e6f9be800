// HTTP as tests need it: every header line and every byte as they came, nothing decoded, followed or repeated.
import { Agent, type IncomingMessage, request as httpRequest } from 'node:http';
import { buffer } from 'node:stream/consumers';

export interface Sent {
  method?: string;
  headers?: Readonly<Record<string, string | readonly string[]>>;
  /** A body that is an object goes as JSON text with its media type. */
  body?: Uint8Array | string | Readonly<Record<string, unknown>> | readonly unknown[];
  /** API key. */
  key?: string;
  signal?: AbortSignal;
  /** Connections that are kept between exchanges, for a load. By default each exchange has its own. */
  agent?: Agent;
}

export interface Received {
  status: number;
  /** Names in lower case; lines of one name joined by `, `. */
  headers: Readonly<Record<string, string | undefined>>;
  rawHeaders: readonly string[];
  body: Buffer;
  text: string;
  /** The body as JSON; throws where it is none. */
  json<T = Record<string, unknown>>(): T;
}

/** A connection for each exchange: one kept from before a restart would fail a request that has nothing to do with it. */
const oneEach = new Agent({ keepAlive: false, maxSockets: Number.POSITIVE_INFINITY });

function joined(message: IncomingMessage): Record<string, string | undefined> {
  const headers: Record<string, string | undefined> = {};
  for (const [name, values] of Object.entries(message.headersDistinct)) headers[name] = values?.join(', ');
  return headers;
}

/** One exchange. Rejects only when there is no whole answer. */
export function send(
  url: string,
  { method = 'GET', headers = {}, body, key, signal, agent = oneEach }: Sent = {},
): Promise<Received> {
  const fields: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(headers)) fields[name] = typeof value === 'string' ? value : [...value];
  if (key !== undefined) fields['Authorization'] = `Bearer ${key}`;
  let bytes: Uint8Array | string | undefined;
  if (typeof body === 'string' || body instanceof Uint8Array) bytes = body;
  else if (body !== undefined) {
    bytes = JSON.stringify(body);
    fields['Content-Type'] ??= 'application/json';
  }
  if (bytes !== undefined) fields['Content-Length'] = String(Buffer.byteLength(bytes));
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(url, { method, headers: fields, agent, ...(signal ? { signal } : {}) });
    outgoing.on('error', reject);
    outgoing.on('response', (message) => {
      buffer(message).then((received) => {
        const text = received.toString('utf8');
        resolve({
          status: message.statusCode!,
          headers: joined(message),
          rawHeaders: message.rawHeaders,
          body: received,
          text,
          json: <T>() => JSON.parse(text) as T,
        });
      }, reject);
    });
    outgoing.end(bytes);
  });
}

export const get = (url: string, sent: Sent = {}): Promise<Received> => send(url, sent);
export const post = (url: string, sent: Sent = {}): Promise<Received> => send(url, { method: 'POST', ...sent });

/** Repeats `look` until it gives something else than undefined. The pause keeps the machine free; the caller's own test limit ends a wait in vain. */
export async function until<T>(look: () => Promise<T | undefined> | T | undefined, pauseMs = 5): Promise<T> {
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}
