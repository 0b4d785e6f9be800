// The client: one object whose methods are the verbs of the HTTP API.
import {
  type Operation,
  type OperationEvent,
  type OperationReset,
  type Page,
  type ServiceSummary,
  type TimelineEntry,
  WaitlessError,
} from '@waitless/protocol';
import { baseUrl } from './address.ts';
import { batch, type BatchEntry, type BatchOutcome } from './batch.ts';
import type { RequestBody } from './body.ts';
import { createChannel } from './channel.ts';
import { events, type EventsOptions } from './events.ts';
import { type EventVerbs, eventVerbs } from './event-verbs.ts';
import type { Handler } from './job.ts';
import * as operations from './operations.ts';
import type { ListFilters, OperationOptions, OperationSnapshot } from './operations.ts';
import { request, type RequestOptions } from './request.ts';
import type { ClientResponse } from './response.ts';
import { result, type ResultOptions, type ResultOutcome } from './result.ts';
import * as keys from './result-keys.ts';
import type { ResultKey } from './result-keys.ts';
import { defaultSeams, type Seams } from './seams.ts';
import { type Service, type ServiceContract, serviceOf } from './service.ts';
import { type Dial, dialer, type SocketClass } from './socket.ts';
import { submit, type SubmitOptions, type SubmitOutcome } from './submit.ts';
import { readToken, type ReadToken, type TokenOptions } from './token.ts';
import { wait, type WaitOptions } from './wait.ts';
import { type FollowOptions, watch, watchAll } from './watch.ts';
import { createWire } from './wire.ts';
import { work, type Worker } from './worker.ts';
import type { WorkerOptions } from './worker-options.ts';

export interface ClientOptions {
  /** Where the server listens, such as `http://127.0.0.1:7878`; may have a path when a proxy puts it below one. */
  url: string;
  apiKey?: string | undefined;
  /** Instead of a key, in a browser that has none: a token of `token()`. The client can look at its operations and topics, and nothing else. */
  token?: string | undefined;
  /** Replaces the global `fetch`, for tests, proxies or tracing. */
  fetch?: typeof globalThis.fetch | undefined;
  /**
   * Replaces the global `WebSocket`, over which the client is told of what it waits for; false: it asks, by long-polling. With a `fetch` of one's own
   * the global one is not used, since it would go past that.
   */
  webSocket?: SocketClass | false | undefined;
  /** Replaceable randomness, clock and sleep of the retries. */
  seams?: Partial<Seams> | undefined;
}

/**
 * Every method throws WaitlessError: with the code of the wire's problem document, `unreachable` when no answer came,
 * or `unexpected-answer` when something other than Waitless answered. An aborted signal throws its reason.
 */
export interface WaitlessClient extends EventVerbs {
  /** The base URL in use. */
  readonly url: string;
  /** Hands a request to a service: `accepted`, or the `result` where it was waited for and came in time. */
  submit(service: string, options?: SubmitOptions): Promise<SubmitOutcome>;
  /** Hands up to 1,000 requests over in one exchange, written together; an outcome for each, in order. */
  batch(entries: readonly BatchEntry[], options?: { signal?: AbortSignal | undefined }): Promise<BatchOutcome[]>;
  /**
   * Hands a request to a service and resolves with its result, over lost connections and restarts of the server: a
   * repeat carries the same idempotency key. Throws OperationFailed when the operation ended without success.
   */
  request(service: string, body?: RequestBody, options?: RequestOptions): Promise<ClientResponse>;
  /** The status document; undefined only when `etag` was given and nothing changed. */
  get(id: string, options?: OperationOptions & { etag?: undefined }): Promise<OperationSnapshot>;
  get(id: string, options: OperationOptions): Promise<OperationSnapshot | undefined>;
  /** The result of an operation, waited for as `request` does. */
  wait(id: string, options?: WaitOptions): Promise<ClientResponse>;
  /** One look at the result: there, or `pending` with the status document. */
  result(id: string, options?: ResultOptions): Promise<ResultOutcome>;
  /** Cancels; undefined where `purge` forgot it. */
  cancel(
    id: string,
    options?: { purge?: boolean | undefined; signal?: AbortSignal | undefined },
  ): Promise<Operation | undefined>;
  /** One page, newest first. */
  list(filters?: ListFilters): Promise<Page<Operation>>;
  /** All pages, newest first, fetched as they are consumed. */
  listAll(filters?: ListFilters): AsyncIterable<Operation>;
  /** Oldest first. */
  timeline(id: string, options?: { signal?: AbortSignal | undefined }): Promise<TimelineEntry[]>;
  /** A read-only token for some operations and topics, to be handed to a browser that then calls `createClient({ url, token })`. */
  token(options: TokenOptions): Promise<ReadToken>;
  services(options?: { signal?: AbortSignal | undefined }): Promise<ServiceSummary[]>;
  /** The state now and after every change, to the end, of one operation or of each of several; survives restarts of the server. */
  watch(ids: string | readonly string[], options?: FollowOptions): AsyncIterable<Operation>;
  /** Every event of an operation, or those after one, to its last; survives restarts of the server. */
  events(id: string, options?: EventsOptions): AsyncIterable<OperationEvent | OperationReset>;
  /** A service whose input and output are typed and checked by schemas of any Standard Schema library. */
  service<const Contract extends ServiceContract>(name: string, contract: Contract): Service<Contract>;
  /** Takes and does the work of a pull service, from now until it is stopped. */
  worker(service: string, handler: Handler, options?: WorkerOptions): Worker;
  /** The newest result under a business key, or `pending` while it is computed; throws `not-found` where there is neither. */
  resultByKey(service: string, key: ResultKey, options?: ResultOptions): Promise<ResultOutcome>;
  /** The result of the newest operation of a service with this correlation id, or `pending`. */
  resultByCorrelationId(service: string, correlationId: string, options?: ResultOptions): Promise<ResultOutcome>;
  /** Forgets what is stored under a business key. */
  purgeKey(service: string, key: ResultKey, options?: { signal?: AbortSignal | undefined }): Promise<void>;
  /** Computes what is stored under a business key anew. */
  refreshKey(service: string, key: ResultKey, options?: { signal?: AbortSignal | undefined }): Promise<SubmitOutcome>;
}

/** Makes a client; nothing is sent yet. Throws WaitlessError `invalid-parameter` for a URL that cannot be called, or two credentials. */
export function createClient(options: ClientOptions): WaitlessClient {
  const url = baseUrl(options.url);
  // Looked up at each call, so that a page or test that replaces the global one later is heard.
  const fetch: typeof globalThis.fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
  if (options.apiKey !== undefined && options.token !== undefined)
    throw new WaitlessError('invalid-parameter', 'an apiKey and a token were given; give one of them.');
  const wire = createWire({ url, apiKey: options.apiKey, token: options.token, fetch });
  const seams: Seams = { ...defaultSeams, ...options.seams };
  const dial = dialOf(options, url);
  const link = { wire, seams, channel: createChannel({ wire, dial, seams }) };

  const client: WaitlessClient = {
    url,
    ...eventVerbs({ wire, seams }),
    submit: (service, submitOptions) => submit(wire, service, submitOptions),
    batch: (entries, batchOptions) => batch(wire, entries, batchOptions),
    request: (service, body, requestOptions = {}) => request(link, { service, body, options: requestOptions }),
    get: (async (id: string, operationOptions?: OperationOptions) => {
      const snapshot = await operations.operation(wire, id, operationOptions);
      if (snapshot === undefined && operationOptions?.etag === undefined)
        throw new WaitlessError('unexpected-answer', `${url} answered 304 to a request without If-None-Match.`, {
          status: 304,
        });
      return snapshot;
    }) as WaitlessClient['get'],
    wait: (id, waitOptions = {}) => wait(link, id, waitOptions),
    result: (id, resultOptions) => result(wire, id, resultOptions),
    cancel: (id, cancelOptions) => operations.cancel(wire, id, cancelOptions),
    list: (filters) => operations.list(wire, filters),
    listAll: (filters) => operations.listAll(wire, filters),
    timeline: (id, timelineOptions) => operations.timeline(wire, id, timelineOptions),
    token: (tokenOptions) => readToken(wire, tokenOptions),
    services: (servicesOptions) => operations.services(wire, servicesOptions),
    watch: (ids, watchOptions = {}) =>
      typeof ids === 'string' ? watch(link, ids, watchOptions) : watchAll(link, ids, watchOptions),
    events: (id, eventsOptions = {}) => events(link, id, eventsOptions),
    service: (name, contract) => serviceOf(name, contract, client),
    worker: (service, handler, workerOptions = {}) =>
      work({ wire, dial, seams }, { service, handler, options: workerOptions }),
    resultByKey: (service, key, resultOptions) => keys.resultByKey(wire, { service, key }, resultOptions),
    resultByCorrelationId: (service, correlationId, resultOptions) =>
      keys.resultByCorrelationId(wire, { service, correlationId }, resultOptions),
    purgeKey: (service, key, keyOptions) => keys.purgeKey(wire, { service, key }, keyOptions),
    refreshKey: (service, key, keyOptions) => keys.refreshKey(wire, { service, key }, keyOptions),
  };
  return client;
}

/** How a WebSocket is opened; undefined where none is to be. */
function dialOf({ webSocket, fetch, apiKey, token }: ClientOptions, url: string): Dial | undefined {
  const { WebSocket } = globalThis as { WebSocket?: SocketClass };
  const found = webSocket ?? (fetch ? undefined : WebSocket);
  if (!found) return undefined;
  return dialer({ url, apiKey, token, socketClass: found });
}
