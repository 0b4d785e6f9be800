// The client: one object whose methods are the verbs of the HTTP API.
import { type Operation, type Page, type ServiceSummary, type TimelineEntry, WaitlessError } from '@waitless/protocol';
import { baseUrl } from './address.ts';
import * as operations from './operations.ts';
import type { ListFilters, OperationOptions, OperationSnapshot } from './operations.ts';
import { result, type ResultOutcome } from './result.ts';
import { submit, type SubmitOptions, type SubmitOutcome } from './submit.ts';
import { defaultSeams, watch, type WatchOptions, type WatchSeams } from './watch.ts';
import { createWire } from './wire.ts';

export interface ClientOptions {
  /** Where the server listens, such as `http://127.0.0.1:7878`; may have a path when a proxy puts it below one. */
  url: string;
  apiKey?: string | undefined;
  /** Replaces the global `fetch`, for tests, proxies or tracing. */
  fetch?: typeof globalThis.fetch | undefined;
  /** Replaceable randomness, clock and sleep of the retries. */
  seams?: Partial<WatchSeams> | undefined;
}

/**
 * Every method throws WaitlessError: with the code of the wire's problem document, `unreachable` when no answer came,
 * or `unexpected-answer` when something other than Waitless answered. An aborted signal throws its reason.
 */
export interface WaitlessClient {
  /** The base URL in use. */
  readonly url: string;
  /** Hands a request to a service: `accepted`, or the `result` where it was waited for and came in time. */
  submit(service: string, options?: SubmitOptions): Promise<SubmitOutcome>;
  /** The status document; undefined only when `etag` was given and nothing changed. */
  operation(id: string, options?: OperationOptions & { etag?: undefined }): Promise<OperationSnapshot>;
  operation(id: string, options: OperationOptions): Promise<OperationSnapshot | undefined>;
  /** The result, or `pending` with the status document. */
  result(
    id: string,
    options?: { waitSeconds?: number | undefined; signal?: AbortSignal | undefined },
  ): Promise<ResultOutcome>;
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
  services(options?: { signal?: AbortSignal | undefined }): Promise<ServiceSummary[]>;
  /** The state now and after every change, to the end; survives restarts of the server. */
  watch(id: string, options?: WatchOptions): AsyncIterable<Operation>;
}

/** Makes a client; nothing is sent yet. Throws WaitlessError `invalid-parameter` for a URL that cannot be called. */
export function createClient(options: ClientOptions): WaitlessClient {
  const url = baseUrl(options.url);
  // Looked up at each call, so that a page or test that replaces the global one later is heard.
  const fetch: typeof globalThis.fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
  const wire = createWire({ url, apiKey: options.apiKey, fetch });
  const seams: WatchSeams = { ...defaultSeams, ...options.seams };

  return {
    url,
    submit: (service, submitOptions) => submit(wire, service, submitOptions),
    operation: (async (id: string, operationOptions?: OperationOptions) => {
      const snapshot = await operations.operation(wire, id, operationOptions);
      if (snapshot === undefined && operationOptions?.etag === undefined)
        throw new WaitlessError('unexpected-answer', `${url} answered 304 to a request without If-None-Match.`, {
          status: 304,
        });
      return snapshot;
    }) as WaitlessClient['operation'],
    result: (id, resultOptions) => result(wire, id, resultOptions),
    cancel: (id, cancelOptions) => operations.cancel(wire, id, cancelOptions),
    list: (filters) => operations.list(wire, filters),
    listAll: (filters) => operations.listAll(wire, filters),
    timeline: (id, timelineOptions) => operations.timeline(wire, id, timelineOptions),
    services: (servicesOptions) => operations.services(wire, servicesOptions),
    watch: (id, watchOptions = {}) => watch(wire, id, watchOptions, seams),
  };
}
