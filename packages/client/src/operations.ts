// Everything one can ask about operations: status, list, timeline, cancel, and the services they belong to.
import {
  type Operation,
  type OperationStatus,
  type Page,
  routePath,
  type ServiceSummary,
  type TimelineEntry,
  WaitlessError,
} from '@waitless/protocol';
import { answerGraceMs } from './response.ts';
import { readJson, retryAfterSeconds, setHeader, wholeSeconds, type Wire } from './wire.ts';

export interface OperationSnapshot {
  operation: Operation;
  /** Pass it with the next look so that only a change answers. */
  etag: string | undefined;
  /** When to look again; absent once done. */
  retryAfterSeconds: number | undefined;
}

export interface OperationOptions {
  /** Hold the answer up to so many seconds for a change. */
  waitSeconds?: number | undefined;
  etag?: string | undefined;
  signal?: AbortSignal | undefined;
}

/** The status document, or undefined when it still is the one of `etag` (304). */
export async function operation(
  wire: Wire,
  id: string,
  options: OperationOptions = {},
): Promise<OperationSnapshot | undefined> {
  const headers = new Headers();
  const waitSeconds = wholeSeconds(options.waitSeconds ?? 0);
  if (waitSeconds > 0) setHeader(headers, 'Prefer', `wait=${waitSeconds}`);
  if (options.etag !== undefined) setHeader(headers, 'If-None-Match', options.etag);
  const response = await wire.send({
    path: routePath('getOperation', { id }),
    headers,
    signal: options.signal,
    headersTimeoutMs: waitSeconds * 1_000 + answerGraceMs,
  });
  if (response.status === 304) return undefined;
  const document = await readJson<Operation>(wire.url, response, options.signal);
  if (typeof document?.status !== 'string')
    throw new WaitlessError(
      'unexpected-answer',
      `${wire.url} answered without an operation: is that a Waitless server?`,
      { status: response.status },
    );
  return {
    operation: document,
    etag: response.headers.get('etag') ?? undefined,
    retryAfterSeconds: retryAfterSeconds(response),
  };
}

export interface ListFilters {
  service?: string | undefined;
  /** Any of these states. */
  status?: OperationStatus | readonly OperationStatus[] | undefined;
  correlationId?: string | undefined;
  /** Filed under this business key, as `key` of the operation says it. */
  key?: string | undefined;
  /** All of these labels. */
  labels?: Readonly<Record<string, string>> | undefined;
  createdAfter?: Date | string | undefined;
  createdBefore?: Date | string | undefined;
  /** Page size, 1 to 1000, 50 by default. */
  limit?: number | undefined;
  /** `next` of the page before. */
  cursor?: string | undefined;
  signal?: AbortSignal | undefined;
}

/** One page of operations, newest first. */
export async function list(wire: Wire, filters: ListFilters = {}): Promise<Page<Operation>> {
  const query = new URLSearchParams();
  const set = (name: string, value: string | number | undefined): void => {
    if (value !== undefined) query.set(name, String(value));
  };
  const time = (value: Date | string | undefined): string | undefined =>
    value instanceof Date ? value.toISOString() : value;
  set('service', filters.service);
  set('status', typeof filters.status === 'string' ? filters.status : filters.status?.join(','));
  set('correlationId', filters.correlationId);
  set('key', filters.key);
  for (const [name, value] of Object.entries(filters.labels ?? {})) set(`label.${name}`, value);
  set('createdAfter', time(filters.createdAfter));
  set('createdBefore', time(filters.createdBefore));
  set('limit', filters.limit);
  set('cursor', filters.cursor);
  const search = query.size === 0 ? '' : `?${query.toString()}`;
  return readPage(wire, `${routePath('listOperations')}${search}`, filters.signal);
}

/** Every operation that the filters allow, newest first, fetched page by page as they are consumed. */
export async function* listAll(wire: Wire, filters: ListFilters = {}): AsyncGenerator<Operation, void, void> {
  let cursor = filters.cursor;
  do {
    const page: Page<Operation> = await list(wire, { ...filters, cursor });
    yield* page.items;
    cursor = page.next ?? undefined;
  } while (cursor !== undefined);
}

/** What happened to an operation, oldest first. */
export async function timeline(
  wire: Wire,
  id: string,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<TimelineEntry[]> {
  const page = await readPage<TimelineEntry>(wire, routePath('getTimeline', { id }), options.signal);
  return page.items;
}

/** The services with their live counts. */
export async function services(
  wire: Wire,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<ServiceSummary[]> {
  const page = await readPage<ServiceSummary>(wire, routePath('listServices'), options.signal);
  return page.items;
}

/**
 * Cancels; best effort and repeatable, so the operation that comes back may have ended otherwise before. With `purge`
 * a finished one is forgotten and undefined comes back.
 */
export async function cancel(
  wire: Wire,
  id: string,
  options: { purge?: boolean | undefined; signal?: AbortSignal | undefined } = {},
): Promise<Operation | undefined> {
  const path = routePath('cancelOperation', { id }) + (options.purge ? '?purge=true' : '');
  const response = await wire.send({ method: 'DELETE', path, signal: options.signal });
  if (response.status === 204) return undefined;
  return readJson<Operation>(wire.url, response, options.signal);
}

async function readPage<T>(wire: Wire, path: string, signal: AbortSignal | undefined): Promise<Page<T>> {
  const response = await wire.send({ path, signal });
  const page = await readJson<Page<T>>(wire.url, response, signal);
  if (!Array.isArray(page?.items))
    throw new WaitlessError('unexpected-answer', `${wire.url} answered without a list: is that a Waitless server?`, {
      status: response.status,
    });
  return page;
}
