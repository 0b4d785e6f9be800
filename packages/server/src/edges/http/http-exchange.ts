// One request over a socket, as the exchange that handlers get: its body is read when they ask for it, its end is told when they want to know.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Visit } from '../edge.ts';
import type { Exchange, FieldLookup } from './exchange.ts';
import type { RequestBodies } from './request-body.ts';
import type { Match } from './router.ts';

export interface ExchangeParts {
  request: IncomingMessage;
  response: ServerResponse;
  method: string;
  target: { path: string; query: string };
  match: Match;
  headers: FieldLookup;
  namespace: string;
  visit: Visit | undefined;
  base: string;
  requestId: string;
  bodies: RequestBodies;
  expectsContinue: boolean;
}

/** A request as handlers see it. */
export class HttpExchange implements Exchange {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly params: Exchange['params'];
  readonly headers: FieldLookup;
  readonly rawHeaders: readonly string[];
  readonly namespace: string;
  readonly mostMs: number | undefined;
  readonly base: string;
  readonly requestId: string;
  /** Pattern, never the URL: it may hold a token. */
  readonly route: string;
  readonly #parts: ExchangeParts;
  #signal: AbortSignal | undefined;
  #held = 0;

  constructor(parts: ExchangeParts) {
    this.#parts = parts;
    this.method = parts.method;
    this.path = parts.target.path;
    this.query = parts.target.query;
    this.params = parts.match.params;
    this.headers = parts.headers;
    this.rawHeaders = parts.request.rawHeaders;
    this.namespace = parts.namespace;
    this.mostMs = parts.visit?.leftMs;
    this.base = parts.base;
    this.requestId = parts.requestId;
    this.route = parts.match.route.path;
  }

  /** Made when it is first asked for: most requests never wait. */
  get signal(): AbortSignal {
    if (!this.#signal) {
      const gone = new AbortController();
      const { response } = this.#parts;
      // Every response closes; only one that was not finished means that nobody waits any more.
      response.once('close', () => {
        if (!response.writableFinished) gone.abort();
      });
      this.#signal = gone.signal;
    }
    return this.#signal;
  }

  async body(limit: number): Promise<Buffer> {
    const { request, response, bodies, expectsContinue } = this.#parts;
    const declared = Number(request.headers['content-length'] ?? 0);
    // 100 only once it is certain that the body is wanted: key, route and size are checked by now.
    if (expectsContinue && declared <= limit) response.writeContinue();
    const bytes = await bodies.read(request, limit);
    this.#held += bytes.length;
    return bytes;
  }

  releaseBody(): void {
    this.#parts.bodies.release(this.#held);
    this.#held = 0;
  }
}
