// Carries one request to an HTTP backend as it came, and brings the answer back as it was.
import { hash } from 'node:crypto';
import { hopByHopHeaders } from '@waitless/protocol';
import type { Agent } from 'undici';
import type { OutboundRequest, Target } from '../core/dispatch.ts';
import type { ServiceConfig } from '../config/config-shape.ts';
import type { Log } from '../lib/log.ts';
import { isSignatureField, signatureFields } from '../lib/webhook-signature.ts';
import { type AddressGuard, forbiddenTarget } from './address.ts';
import { endingConnector, unlessAborted } from './giving-up.ts';
import { guardedConnector } from './guarded-connector.ts';

type Sent = Awaited<ReturnType<Target['send']>>;

/** Response header blocks beyond this are refused by the client library. */
const mostHeaderBytes = 65_536;
/** Idle connections to a backend are kept this long: below typical server limits, so that a reused one is rarely just being closed. */
const keepAliveMs = 4000;

/** `http://host/base?x=1` + `/rest` + `?y=2` → path and query on the wire. Pure. */
export function backendPath(target: URL, path: string, query: string): string {
  const base = path !== '' && target.pathname.endsWith('/') ? target.pathname.slice(0, -1) : target.pathname;
  const search = query === '' ? target.search : target.search === '' ? `?${query}` : `${target.search}&${query}`;
  return base + path + search;
}

/** Of making a connection. A shorter one loses packets that are sent again after 1, 3 and 7 seconds. */
const usualConnectMs = 10_000;

export interface HttpTargetOptions {
  /** Whether a service may be led to addresses that the guard lets through alone. */
  isGuarded: (service: ServiceConfig) => boolean;
  guard: AddressGuard;
  /** What a signature is dated with: the wall's time, not the store's, since receivers compare it with their own. */
  wallNow?: () => number;
  /** Hears why a guarded service could not be reached, which its callers do not. */
  log?: Pick<Log, 'info'>;
  connectMs?: number;
}

export function httpTarget({
  isGuarded,
  guard,
  wallNow = Date.now,
  log,
  connectMs = usualConnectMs,
}: HttpTargetOptions): Target & { close(): Promise<void> } {
  // Redirects are results, never followed; time limits are ours, since they also cover what the library does not count.
  // Loaded with the first request: it takes longer to load than all the rest of the server.
  // Guarded services have connections of their own, made to vetted addresses alone; one that is kept stays where it was led to.
  const agents: Partial<Record<'open' | 'guarded', Promise<Agent>>> = {};
  const loadAgent = async (kind: 'open' | 'guarded'): Promise<Agent> => {
    const undici = await import('undici');
    // This agent knows of no proxy but one it is given: the environment cannot lead anybody around the guard.
    return new undici.Agent({
      headersTimeout: 0,
      bodyTimeout: 0,
      connect:
        kind === 'guarded'
          ? guardedConnector(undici, { guard, timeoutMs: connectMs })
          : endingConnector(undici.buildConnector({ timeout: connectMs, allowH2: false })),
      // Where HTTP/2 may be spoken the library makes one connection to a place at a time and lets all others wait in line for it, given up or not:
      // the last of 16 attempts at a silent place, with 1 s to connect, had failed after 24 s.
      allowH2: false,
      keepAliveTimeout: keepAliveMs,
      maxHeaderSize: mostHeaderBytes,
      pipelining: 1,
    });
  };
  const urls = new WeakMap<ServiceConfig, URL>();

  function urlOf(service: ServiceConfig): URL {
    let url = urls.get(service);
    if (!url) {
      if (service.target.kind !== 'http') throw new Error(`service ${service.name} has no URL`);
      urls.set(service, (url = new URL(service.target.url)));
    }
    return url;
  }

  async function send(out: OutboundRequest): Promise<Sent> {
    const { service, head } = out;
    const url = out.url === undefined ? urlOf(service) : new URL(out.url);
    const kind = isGuarded(service) ? 'guarded' : 'open';
    if (kind === 'guarded' && !guard.fits(url.href)) return notThere();
    const bodyless =
      out.bodyBytes === 0 &&
      (head.method === 'GET' || head.method === 'HEAD' || head.method === 'DELETE' || head.method === 'OPTIONS');
    const limit = AbortSignal.any([out.signal, AbortSignal.timeout(out.timeoutMs)]);
    try {
      const signature = await signed(out, limit);
      const headers = outboundFields(head.headers, service, [...out.headers, ...signature]).flat();
      if (!bodyless) headers.push('Content-Length', String(out.bodyBytes));
      // Host is last so that nothing forwarded can take its place.
      headers.push('Host', url.host);
      const agent = await (agents[kind] ??= loadAgent(kind));
      const request = {
        origin: url.origin,
        path: out.url === undefined ? backendPath(url, head.path, head.query) : url.pathname + url.search,
        method: head.method as 'GET',
        headers,
        body: bodyless ? null : ((typeof out.body === 'function' ? out.body() : out.body) as Buffer),
        signal: limit,
        responseHeaders: 'raw' as const,
      };
      const answer = await unlessAborted(() => agent.request(request), limit);
      const body = await readAll(answer.body, service.maxBodyBytes);
      if (!body)
        return {
          kind: 'failure',
          code: 'bad-backend-response',
          message: `the answer is larger than the service's maxBody of ${service.maxBodyBytes} bytes`,
          retry: false,
        };
      return {
        kind: 'response',
        response: {
          status: answer.statusCode,
          headers: endToEnd(answer.headers as unknown as RawHeaders),
          body,
          hash: hash('sha256', body, 'base64url'),
        },
      };
    } catch (error) {
      const failure = toFailure(error, out);
      if (kind === 'open' || failure.kind !== 'failure' || failure.code !== 'connection-failed') return failure;
      // What refused, and how, tells which ports are open where.
      log?.info?.('backend.unreachable', { service: service.name, detail: failure.message });
      return { ...failure, message: 'the backend could not be reached' };
    }
  }

  /** The signature stands before the body, so a body that streams is read for it first; to hold it instead would cost as much memory as all attempts carry. */
  async function signed({ service, messageId: id, body }: OutboundRequest, signal: AbortSignal) {
    const secrets = service.target.kind === 'http' ? service.target.secrets : undefined;
    if (!secrets) return [];
    return signatureFields({
      secrets,
      id,
      nowMs: wallNow(),
      body: typeof body === 'function' ? body() : body,
      signal,
    });
  }

  return {
    send,
    /** Nothing is on its way any more. */
    async close() {
      for (const loading of Object.values(agents)) {
        const agent = await loading;
        await agent.destroy();
      }
    },
  };
}

type RawHeaders = (string | Buffer)[];

/** Name and value in turn, less hop-by-hop fields and those that Connection names. */
export function endToEnd(raw: RawHeaders): string[] {
  const named = new Set<string>();
  for (let i = 0; i < raw.length; i += 2) {
    if (text(raw[i]!).toLowerCase() === 'connection')
      for (const token of text(raw[i + 1]!).split(',')) named.add(token.trim().toLowerCase());
  }
  const kept: string[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    const lower = text(raw[i]!).toLowerCase();
    if (!hopByHopHeaders.has(lower) && !named.has(lower)) kept.push(text(raw[i]!), text(raw[i + 1]!));
  }
  return kept;
}

/** Header bytes as they came: latin1 keeps each byte as one character. */
const text = (value: string | Buffer): string => (typeof value === 'string' ? value : value.toString('latin1'));

/** The caller's fields, then the operator's, then ours; a later one takes the place of an earlier one of its name, so that nobody sends the backend two. Where we sign, no caller does. */
export function outboundFields(
  fromCaller: readonly [string, string][],
  service: Pick<ServiceConfig, 'target'>,
  ours: readonly [string, string][],
): [string, string][] {
  const own = service.target.kind === 'http' ? Object.entries(service.target.headers) : [];
  const taken = new Set([...own, ...ours].map(([name]) => name.toLowerCase()));
  const isSigned = service.target.kind === 'http' && service.target.secrets !== undefined;
  const ourNames = new Set(ours.map(([name]) => name.toLowerCase()));
  return [
    ...fromCaller.filter(([name]) => !taken.has(name.toLowerCase()) && !(isSigned && isSignatureField(name))),
    ...own.filter(([name]) => !ourNames.has(name.toLowerCase())),
    ...ours,
  ];
}

async function readAll(
  stream: AsyncIterable<Buffer> & { destroy(): unknown },
  limit: number,
): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream) {
    length += chunk.length;
    if (length > limit) {
      stream.destroy();
      return undefined;
    }
    chunks.push(chunk);
  }
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

/** Final: what an address leads to does not change by asking again, and nobody may probe a network by it. */
const notThere = (): Sent => ({
  kind: 'failure',
  code: forbiddenTarget,
  message: 'the target may not be used: its host is not public, or its port is not one for HTTP; nothing was sent',
  retry: false,
});

function toFailure(error: unknown, { timeoutMs, signal }: OutboundRequest): Sent {
  if (signal.aborted)
    return {
      kind: 'failure',
      code: 'aborted',
      message: `the attempt was ended: ${String(signal.reason)}`,
      retry: true,
    };
  const { name, code, message } = error as { name?: string; code?: string; message: string };
  if (code === forbiddenTarget) return notThere();
  if (name === 'TimeoutError')
    return {
      kind: 'failure',
      code: 'attempt-timed-out',
      message: `the backend did not answer within ${timeoutMs} ms`,
      retry: true,
    };
  if (code?.startsWith('UND_ERR_INVALID_ARG'))
    return { kind: 'failure', code: 'bad-request', message: `the request cannot be sent: ${message}`, retry: false };
  if (code?.startsWith('HPE_') || name === 'HTTPParserError' || code === 'UND_ERR_HEADERS_OVERFLOW') {
    return {
      kind: 'failure',
      code: 'bad-backend-response',
      message: `the backend's answer is not HTTP: ${message}`,
      retry: true,
    };
  }
  const cause = (error as { errors?: { message: string }[] }).errors?.map((e) => e.message).join('; ') || message;
  return {
    kind: 'failure',
    code: 'connection-failed',
    message: `the backend could not be reached: ${cause}`,
    retry: true,
  };
}
