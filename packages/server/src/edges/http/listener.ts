// The HTTP edge's socket side: accepts requests, judges their raw form, finds the handler, writes the answer.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { exposedHeaders, WaitlessError } from '@waitless/protocol';
import type { BodyBudget } from '../../core/body-budget.ts';
import type { Log } from '../../lib/log.ts';
import type { Metrics } from '../../lib/metrics.ts';
import { limitFields } from '../../lib/rate-limit-fields.ts';
import type { Service } from '../../lib/service.ts';
import type { Auth, Caller } from '../auth.ts';
import type { Upgrade } from '../edge.ts';
import { baseOf, type BaseOptions, clientAddress } from './base-url.ts';
import { type Answer, fieldLookup, type FieldLookup } from './exchange.ts';
import { HttpExchange } from './http-exchange.ts';
import { IdGuesses } from './id-guesses.ts';
import { problemAnswer } from './problems.ts';
import { checkHeaders, checkTarget, servedMethods } from './raw-checks.ts';
import { refuseRaw, refuseUnread } from './raw-refusals.ts';
import { type ReadTokens, tokensIn, withoutReferrer } from './read-tokens.ts';
import { RequestBodies } from './request-body.ts';
import { heldBytes, respond } from './respond.ts';
import type { Match } from './router.ts';
import { upgradeOf, upgradesOnly, wantsWebSocket } from './upgrades.ts';
import { checkVisit } from './visit-scope.ts';
import { Watchers } from './watchers.ts';

export interface ListenerOptions {
  host: string;
  port: number;
  base: BaseOptions;
  auth: Auth;
  readTokens: ReadTokens;
  budget: BodyBudget;
  /** Longest hold of a request that waits: sockets may be silent for so long. */
  maxWaitMs: number;
  shutdownTimeoutMs: number;
  /** Unguessable start of request ids. */
  requestIdPrefix: string;
  log: Log;
  metrics: Metrics;
}

/** Larger header blocks get 431. */
const maxHeaderSize = 16_384;
/** A header block that takes longer is a slow attack; a slow phone needs one or two. Looked at once a second, so none has more than ten. */
const headersTimeoutMs = 9000;
/** Whole request, the largest body on a slow line included; stalls are found sooner by the body reader. */
const requestTimeoutMs = 300_000;
/** Longer than the keep-alive of clients and proxies (60 s is common), so that it is they who close and no request meets a closing socket. */
const keepAliveMs = 75_000;
/** Requests of one connection in hand at once. More than honest clients send ahead; without a limit one connection could park requests that wait until memory ends. */
const mostInHand = 2000;
/** An unread body up to this is read to its end so that the connection stays usable; a larger one costs less to cut off. */
const drainBytes = 65_536;

/** Newcomers without end must not hold up a stop. */
const takeUpMs = 2000;
/** A connection that has said nothing for so long after the last one was taken up has nothing on the way. Less cuts off callers of a busy machine, more holds up the stop. */
const silentMs = 2000;

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const requestsInHand = Symbol('requests in hand');
type CountingSocket = Socket & { [requestsInHand]?: number };

export class HttpListener implements Service {
  readonly name = 'http';
  readonly #options: ListenerOptions;
  readonly #server: Server;
  readonly #bodies: RequestBodies;
  readonly #guesses = new IdGuesses();
  #accept: ((upgrade: Upgrade) => void) | undefined;
  #find: ((method: string, path: string) => Match) | undefined;
  #requests = 0;
  #connections = 0;
  readonly #sockets = new Set<Socket>();
  readonly #watchers = new Watchers();
  #stopping = false;
  #url = '';

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#bodies = new RequestBodies(options.budget);
    this.#server = createServer({
      maxHeaderSize,
      headersTimeout: headersTimeoutMs,
      requestTimeout: requestTimeoutMs,
      connectionsCheckingInterval: 1000,
      keepAliveTimeout: keepAliveMs,
      noDelay: true,
      // Judged here, to answer with a problem document.
      requireHostHeader: false,
      ...upgradesOnly((request) => this.#accept !== undefined && wantsWebSocket(request)),
    });
    this.#server.maxHeadersCount = 0;
    this.#server.timeout = Math.max(120_000, options.maxWaitMs + 70_000);
    this.#server.on('connection', (socket: Socket) => {
      this.#connections++;
      this.#sockets.add(socket);
      socket.once('close', () => void this.#sockets.delete(socket));
    });
    this.#server.on('request', (request, response) => void this.#serve(request, response, false));
    this.#server.on('checkContinue', (request, response) => void this.#serve(request, response, true));
    this.#server.on('checkExpectation', (request, response) =>
      this.#refuse(request, response, new WaitlessError('expectation-failed')),
    );
    this.#server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket as Socket, head));
    this.#server.on('clientError', refuseUnread);
    this.#server.on('connect', (_, socket: Socket) =>
      refuseRaw(socket, { status: 405, code: 'method-not-allowed', more: `Allow: ${servedMethods}\r\n` }),
    );
  }

  /** The URL it listens on, known once it does. */
  get url(): string {
    return this.#url;
  }

  /** Routes are given after construction, since handlers know what the listener serves. */
  route(find: (method: string, path: string) => Match): void {
    this.#find = find;
  }

  /** Connections that are to be WebSockets are handed on; without this they are answered as if they did not ask. */
  onUpgrade(accept: (upgrade: Upgrade) => void): void {
    this.#accept = accept;
  }

  start(): Promise<void> {
    const { host, port } = this.#options;
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      // A burst of new connections must wait in the kernel, not be refused.
      this.#server.listen({ host, port, backlog: 4096 }, () => {
        this.#server.off('error', reject);
        // EMFILE and the like: the listener survives, the connection that could not be taken is gone.
        this.#server.on('error', (error) => this.#options.log.error('http.error', { error }));
        const address = this.#server.address() as AddressInfo;
        this.#url = `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`;
        resolve();
      });
    });
  }

  /** From now on nothing new is accepted; requests in hand are answered, each as the last of its connection. */
  refuseNew(): void {
    this.#stopping = true;
  }

  /** Resolves when every connection is closed; those that outlast the time allowed are cut. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#bodies.close();
    if (!this.#server.listening) return;
    await this.#takeUpAll();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    // Opened in advance, as browsers do, and never asked for anything: node counts those as busy until their first request. One that has just been
    // opened may have its request on the way, which is answered like the others.
    const hush = setTimeout(() => {
      for (const socket of this.#sockets) if (socket.bytesRead === 0) socket.destroy();
    }, silentMs);
    const cut = setTimeout(() => {
      this.#watchers.cutAll();
      this.#server.closeAllConnections();
    }, this.#options.shutdownTimeoutMs);
    await closed;
    clearTimeout(cut);
    clearTimeout(hush);
  }

  /**
   * Closing resets those that the kernel has taken for us and we have not seen, and a busy process has many of them: each is told what the others
   * are. They are taken up one in each turn of the event loop, so a turn without one means that there are none; the first may have no look at them.
   */
  async #takeUpAll(): Promise<void> {
    const until = performance.now() + takeUpMs;
    await nextTurn();
    for (let before = -1; before !== this.#connections && performance.now() < until;) {
      before = this.#connections;
      await nextTurn();
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): Promise<void> {
    const { auth, readTokens, metrics, log, base: baseOptions } = this.#options;
    const requestId = this.#nextId();
    const headers = fieldLookup(request);
    const socket: CountingSocket = request.socket;
    const inHand = (socket[requestsInHand] = (socket[requestsInHand] ?? 0) + 1);
    const caller = this.#callerOf(request);
    const method = request.method!;
    let exchange: HttpExchange | undefined;
    let base = '';
    let hasToken = false;
    let answer: Answer;
    try {
      if (inHand > mostInHand)
        throw new WaitlessError(
          'too-many-connections',
          `${mostInHand} requests of this connection wait for their answers already`,
          {
            retryAfterSeconds: 1,
            members: { accepted: false },
            headers: limitFields({
              name: 'connection',
              quota: mostInHand,
              concurrent: true,
              remaining: 0,
              untilMs: 1000,
            }),
          },
        );
      if (request.httpVersionMajor !== 1) throw new WaitlessError('bad-request', 'only HTTP/1.1 is spoken here');
      base = baseOf(request, baseOptions, this.#url);
      const target = checkTarget(method, request.url!);
      checkHeaders(request.rawHeaders);
      auth.checkPlace(caller);
      if (
        method === 'OPTIONS' &&
        caller.origin !== undefined &&
        headers('access-control-request-method') !== undefined &&
        auth.allowsOrigin(caller.origin)
      ) {
        answer = preflight(headers);
      } else {
        const match = this.#find!(method, target.path);
        hasToken = tokensIn(target.query, match.route).length > 0;
        const visit = hasToken
          ? readTokens.visit({ query: target.query, route: match.route, authorization: caller.authorization })
          : undefined;
        const namespace = visit
          ? visit.namespace
          : match.route.access === 'key'
            ? auth.namespace(caller)
            : auth.keysExist && caller.authorization !== undefined && match.route.access === 'token'
              ? auth.namespace(caller)
              : 'default';
        if (this.#stopping && match.route.access !== 'none')
          throw new WaitlessError('shutting-down', undefined, { retryAfterSeconds: 1, members: { accepted: false } });
        exchange = new HttpExchange({
          request,
          response,
          method,
          target,
          match,
          headers,
          namespace,
          visit,
          base,
          requestId,
          bodies: this.#bodies,
          expectsContinue,
        });
        if (visit) checkVisit(visit, match, target.query);
        const made = match.handler(exchange);
        answer = made instanceof Promise ? await made : made;
      }
    } catch (thrown) {
      const error = this.#guesses.judged(thrown, { params: exchange?.params, from: caller.address });
      answer = problemAnswer(error, { base, requestId });
      if (
        answer.status >= 500 &&
        answer.status !== 501 &&
        answer.status !== 503 &&
        answer.status !== 504 &&
        !(error instanceof WaitlessError)
      )
        log.error('http.failed', { requestId, route: exchange?.route, error });
    }
    if (hasToken) answer.headers = withoutReferrer(answer.headers);
    answer.headers.push('Request-Id', requestId);
    if (caller.origin !== undefined && auth.allowsOrigin(caller.origin)) {
      answer.headers.push(
        'Access-Control-Allow-Origin',
        caller.origin,
        'Vary',
        'Origin',
        'Access-Control-Expose-Headers',
        exposedHeaders,
      );
    }
    const cutOff = mustClose(request, answer);
    const isLast = this.#stopping || cutOff || answer.stream !== undefined;
    if (isLast) answer.headers.push('Connection', 'close');
    metrics.httpResponses.set(answer.status, (metrics.httpResponses.get(answer.status) ?? 0) + 1);
    const held = heldBytes(answer);
    if (held > 0) this.#options.budget.hold(held);
    try {
      await respond(response, answer, {
        headOnly: method === 'HEAD',
        unread: cutOff && !request.complete ? request : undefined,
        watchers: this.#watchers,
        alone: socket[requestsInHand] === 1,
      });
    } catch (error) {
      // The head is out already: cutting the connection is the only way left to say that the body is not whole.
      log.warn('http.broken-off', { requestId, error });
      response.destroy();
    }
    if (held > 0) this.#options.budget.release(held);
    socket[requestsInHand]!--;
    exchange?.releaseBody();
  }

  #nextId(): string {
    return `${this.#options.requestIdPrefix}${(++this.#requests).toString(36)}`;
  }

  #callerOf(request: IncomingMessage): Caller {
    const { host = '', origin, authorization } = request.headers;
    const { isTrustedProxy } = this.#options.base;
    return { host, origin, authorization, address: () => clientAddress(request, isTrustedProxy) };
  }

  #upgrade(request: IncomingMessage, socket: CountingSocket, head: Buffer): void {
    // Answers to what was sent before would come out in the middle of the other protocol.
    if ((socket[requestsInHand] ?? 0) > 0) return void socket.destroy();
    const { auth, readTokens, metrics, base } = this.#options;
    const caller = this.#callerOf(request);
    const upgrade = upgradeOf({
      request,
      socket,
      head,
      caller,
      requestId: this.#nextId(),
      base: () => baseOf(request, base, this.#url),
      auth,
      readTokens,
      stopping: this.#stopping,
      asGuess: this.#guesses.of(caller.address()),
      metrics,
    });
    if (upgrade) this.#accept!(upgrade);
  }

  #refuse(request: IncomingMessage, response: ServerResponse, error: WaitlessError): void {
    const requestId = this.#nextId();
    const answer = problemAnswer(error, { base: this.#url, requestId });
    answer.headers.push('Request-Id', requestId, 'Connection', 'close');
    void respond(response, answer, { headOnly: request.method === 'HEAD', unread: undefined });
  }
}

/** A body nobody read is in the way of the next request: small ones are drained by node, others end the connection. */
function mustClose(request: IncomingMessage, answer: Answer): boolean {
  if (answer.status === 413 || answer.status === 408 || answer.status === 431) return true;
  if (answer.status < 400 || request.complete) return false;
  const declared = request.headers['content-length'];
  return declared === undefined
    ? request.headers['transfer-encoding'] !== undefined
    : Number(declared) > drainBytes || request.headers.expect !== undefined;
}

function preflight(headers: FieldLookup): Answer {
  return {
    status: 204,
    headers: [
      'Access-Control-Allow-Methods',
      'GET, HEAD, POST, PUT, PATCH, DELETE',
      'Access-Control-Allow-Headers',
      headers('access-control-request-headers') ?? 'authorization, content-type',
      'Access-Control-Max-Age',
      '600',
      'Cache-Control',
      'no-store',
    ],
  };
}
