// Status, result, list, timeline and cancel over HTTP.
import { isName, type OperationStatus, operationStatuses, parsePrefer, WaitlessError } from '@waitless/protocol';
import { keyFault } from '../../core/business-key.ts';
import { includedResultJson, mostIncludedBytes, operationJson, timelineJson } from '../../core/document.ts';
import type { Fetch } from '../../core/fetch.ts';
import type { Ids } from '../../core/ids.ts';
import type { Outlook } from '../../core/outlook.ts';
import type { Services } from '../../core/services.ts';
import type { OperationFilter, OperationRecord } from '../../engine/engine.ts';
import { type Answer, type Exchange, type Handler, jsonAnswer } from './exchange.ts';
import { limitOf } from './limit.ts';
import { ofOperation } from './problems.ts';
import { parseQuery } from './query.ts';
import { envelopeAnswer, matchesEtag, replayAnswer } from './results.ts';

export interface OperationsDependencies {
  fetch: Fetch;
  services: Services;
  ids: Ids;
  maxWaitMs: number;
}

export function operationHandlers({ fetch, services, ids, maxWaitMs }: OperationsDependencies) {
  const document = (
    record: OperationRecord,
    base: string,
    { outlook, result: included }: { outlook?: Outlook | undefined; result?: string | undefined } = {},
  ): string =>
    operationJson(record, {
      id: ids.operationId(record),
      base,
      service: services.get(record.service),
      ...(outlook ? { outlook } : {}),
      ...(included === undefined ? {} : { result: included }),
    });

  /** A wait that was asked for, capped; the field says what was honoured. */
  function wait({ headers, mostMs = maxWaitMs }: Exchange): { waitMs: number; applied: string[] } {
    const { waitSeconds } = parsePrefer(headers('prefer'));
    return waitSeconds === undefined
      ? { waitMs: 0, applied: [] }
      : honoured(Math.min(waitSeconds * 1000, maxWaitMs, mostMs));
  }

  const honoured = (waitMs: number): { waitMs: number; applied: string[] } => ({
    waitMs,
    applied: ['Preference-Applied', `wait=${Math.floor(waitMs / 1000)}`],
  });

  /** What lies before an operation that has not ended. */
  const outlookOf = async (record: OperationRecord): Promise<Outlook | undefined> =>
    record.finishedAt === null ? fetch.outlook(record) : undefined;

  /** The status document with what lies before the operation. */
  const snapshot = async (record: OperationRecord, base: string): Promise<string> =>
    document(record, base, { outlook: await outlookOf(record) });

  const pace = (outlook: Outlook | undefined): string[] =>
    outlook ? ['Retry-After', String(outlook.retryAfterSeconds)] : [];

  const status: Handler = async (exchange) => {
    const query = exchange.query === '' ? undefined : parseQuery(exchange.query);
    const token = query?.get('token');
    const redirects = only(query?.get('on-complete'), 'on-complete', '303');
    const includes = only(query?.get('include'), 'include', 'result');
    const { waitMs, applied } = wait(exchange);
    const match = exchange.headers('if-none-match');
    const seen = /^\s*(?:W\/)?"(\d{1,15})"\s*$/.exec(match ?? '');
    const id = exchange.params['id']!;
    const record = await fetch.changed(id, exchange.namespace, seen ? Number(seen[1]) : undefined, {
      waitMs,
      signal: exchange.signal,
    });
    if (redirects && record.finishedAt !== null)
      return {
        status: 303,
        headers: [
          'Location',
          // With the token that opened this, or its holder would be led to a closed door.
          `${exchange.base}/v1/operations/${id}/result${token === undefined ? '' : `?token=${token}`}`,
          'Operation-Id',
          id,
          'Cache-Control',
          'no-store',
          ...applied,
        ],
      };
    const etag = `W/"${record.version}"`;
    const outlook = await outlookOf(record);
    const headers = ['ETag', etag, 'Operation-Id', id, ...pace(outlook), ...applied];
    if (matchesEtag(match, etag)) return { status: 304, headers: [...headers, 'Cache-Control', 'no-store'] };
    const included = includes ? await includedResult(record) : undefined;
    return jsonAnswer(200, document(record, exchange.base, { outlook, result: included }), headers);
  };

  /** The result as a member of the status document: `null` where there is none, or none that is small enough. */
  async function includedResult(record: OperationRecord): Promise<string> {
    if (record.finishedAt === null) return 'null';
    const found = await fetch
      .result(ids.operationId(record), record.namespace, { waitMs: 0 })
      .catch((error: unknown) => {
        // Why it ended without one stands in `error`. That the store cannot be read is another matter.
        if (error instanceof WaitlessError && !error.retry) return undefined;
        throw error;
      });
    if (found?.kind !== 'result' || found.replay.bodyBytes > mostIncludedBytes) return 'null';
    const { body } = found.replay;
    return includedResultJson(found.replay, body instanceof Uint8Array ? body : await whole(body));
  }

  const result: Handler = async (exchange) => {
    const envelope = only(parseQuery(exchange.query).get('envelope'), 'envelope', 'json');
    return resultOf(exchange, exchange.params['id']!, { envelope });
  };

  /** The answer to whoever asks for the result of an operation that has not ended. */
  async function pending(exchange: Exchange, record: OperationRecord, applied: readonly string[]): Promise<Answer> {
    const outlook = await outlookOf(record);
    return jsonAnswer(202, document(record, exchange.base, { outlook }), [
      'Operation-Id',
      ids.operationId(record),
      ...pace(outlook),
      ...applied,
    ]);
  }

  /** The answer to whoever asks for the result of this operation, waiting for it where that is preferred. */
  async function resultOf(exchange: Exchange, id: string, { envelope }: { envelope: boolean }): Promise<Answer> {
    const { waitMs, applied } = wait(exchange);
    const found = await fetch
      .result(id, exchange.namespace, { waitMs, signal: exchange.signal })
      .catch((error: unknown) => {
        // An id that is not known must not be told from one of another namespace by an echo.
        throw error instanceof WaitlessError && error.code === 'not-found'
          ? error
          : ofOperation(error, { 'Operation-Id': id });
      });
    if (found.kind === 'pending') return pending(exchange, found.record, applied);
    const replayed = { id, status: found.record.status, replay: found.replay };
    const answer = envelope ? envelopeAnswer(replayed) : replayAnswer(exchange, replayed);
    answer.headers.push('Correlation-Id', found.record.correlationId ?? id, ...applied);
    return answer;
  }

  const list: Handler = async (exchange) => {
    const query = parseQuery(exchange.query);
    const labels: Record<string, string> = {};
    for (const name of query.names()) {
      if (name.startsWith('label.')) {
        const label = name.slice(6);
        if (!isName(label))
          throw new WaitlessError('invalid-name', `${JSON.stringify(name.slice(0, 64))} names no label`);
        labels[label] = query.get(name)!;
      } else if (!listFilters.includes(name))
        throw new WaitlessError('invalid-parameter', `${JSON.stringify(name.slice(0, 64))} is no filter of this list`);
    }
    const correlationId = query.get('correlationId');
    const service = query.get('service');
    if (service !== undefined && !isName(service))
      throw new WaitlessError('invalid-name', 'service must be the name of a service');
    const key = query.get('key');
    const fault = key === undefined ? undefined : keyFault(key);
    if (fault !== undefined) throw new WaitlessError('invalid-parameter', `key ${fault}`);
    const createdAfter = time(query.get('createdAfter'), 'createdAfter');
    const createdBefore = time(query.get('createdBefore'), 'createdBefore');
    const statuses = states(query.get('status'));
    const beforeSeq = place(query.get('cursor'), exchange.namespace);
    const filter: OperationFilter = {
      namespace: exchange.namespace,
      limit: limitOf(query.get('limit')),
      ...(service === undefined ? {} : { service }),
      ...(correlationId === undefined ? {} : { correlationId }),
      ...(key === undefined ? {} : { key }),
      ...(statuses === undefined ? {} : { statuses }),
      ...(createdAfter === undefined ? {} : { createdAfter }),
      ...(createdBefore === undefined ? {} : { createdBefore }),
      ...(beforeSeq === undefined ? {} : { beforeSeq }),
      ...(Object.keys(labels).length > 0 ? { labels } : {}),
    };
    const page = await fetch.list(filter);
    // An operation without a correlation id of its own answers to its id.
    if (
      correlationId !== undefined &&
      beforeSeq === undefined &&
      page.items.length === 0 &&
      ids.operationKey(correlationId)
    ) {
      const own = await fetch.operation(correlationId, exchange.namespace).catch(() => undefined);
      if (own && own.correlationId === null && passes(own, filter)) page.items.push(own);
    }
    const next =
      page.nextSeq === null ? 'null' : JSON.stringify(ids.cursor({ namespace: exchange.namespace, seq: page.nextSeq }));
    return jsonAnswer(
      200,
      `{"items":[${page.items.map((record) => document(record, exchange.base)).join(',')}],"next":${next}}`,
    );
  };

  function place(cursor: string | undefined, namespace: string): number | undefined {
    const seq = cursor === undefined ? undefined : ids.cursorSeq(cursor, namespace);
    if (cursor !== undefined && seq === undefined)
      throw new WaitlessError('invalid-cursor', 'the cursor is not one of ours; start without one');
    return seq;
  }

  const timeline: Handler = async (exchange) => {
    const { record, rows, ...more } = await fetch.timeline(exchange.params['id']!, exchange.namespace);
    return jsonAnswer(200, timelineJson(record, rows, { ...more, deliveryId: (number) => ids.deliveryId(number) }));
  };

  const cancel: Handler = async (exchange): Promise<Answer> => {
    const purge = parseQuery(exchange.query).get('purge');
    if (purge !== undefined && purge !== 'true' && purge !== 'false')
      throw new WaitlessError('invalid-parameter', 'purge must be true or false');
    const id = exchange.params['id']!;
    if (purge === 'true') {
      await fetch.purge(id, exchange.namespace);
      return { status: 204, headers: ['Operation-Id', id] };
    }
    const record = await fetch.cancel(id, exchange.namespace);
    return jsonAnswer(200, document(record, exchange.base), ['Operation-Id', id]);
  };

  return { snapshot, status, result, list, timeline, cancel, resultOf, pending, wait };
}

export type OperationHandlers = ReturnType<typeof operationHandlers>;

const listFilters = ['service', 'status', 'correlationId', 'key', 'createdAfter', 'createdBefore', 'limit', 'cursor'];

/** Whether an operation that was found by its id belongs to what was asked for. */
function passes(
  { service, key, status, createdAt, labels }: OperationRecord,
  filter: Pick<OperationFilter, 'service' | 'key' | 'statuses' | 'createdAfter' | 'createdBefore' | 'labels'>,
): boolean {
  return (
    (filter.service ?? service) === service &&
    (filter.key ?? key) === key &&
    (filter.statuses?.includes(status) ?? true) &&
    createdAt > (filter.createdAfter ?? -Infinity) &&
    createdAt < (filter.createdBefore ?? Infinity) &&
    Object.entries(filter.labels ?? {}).every(([name, value]) => labels?.[name] === value)
  );
}

/** Whether a parameter with one value stands there; any other value is refused. */
function only(value: string | undefined, name: string, word: string): boolean {
  if (value !== undefined && value !== word) throw new WaitlessError('invalid-parameter', `${name} must be ${word}`);
  return value !== undefined;
}

async function whole(parts: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const read: Uint8Array[] = [];
  for await (const part of parts) read.push(part);
  return Buffer.concat(read);
}

function time(value: string | undefined, name: string): number | undefined {
  if (value === undefined) return undefined;
  const ms = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)$/.test(value)
    ? Date.parse(value)
    : Number.NaN;
  if (Number.isNaN(ms))
    throw new WaitlessError('invalid-parameter', `${name} must be an RFC 3339 time such as 2026-01-31T12:00:00Z`);
  return ms;
}

function states(value: string | undefined): OperationStatus[] | undefined {
  return value?.split(',').map((word) => {
    if (!(operationStatuses as readonly string[]).includes(word))
      throw new WaitlessError('invalid-parameter', `status must be one or more of ${operationStatuses.join(', ')}`);
    return word as OperationStatus;
  });
}
