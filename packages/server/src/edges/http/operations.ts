// Status, result, list, timeline and cancel over HTTP.
import { isName, type OperationStatus, operationStatuses, parsePrefer, WaitlessError } from '@waitless/protocol';
import { operationJson, timelineJson } from '../../core/document.ts';
import type { Fetch } from '../../core/fetch.ts';
import type { Ids } from '../../core/ids.ts';
import type { Services } from '../../core/services.ts';
import type { OperationRecord } from '../../engine/engine.ts';
import { type Answer, type Exchange, type Handler, jsonAnswer } from './exchange.ts';
import { ofOperation } from './problems.ts';
import { parseQuery } from './query.ts';
import { envelopeAnswer, matchesEtag, replayAnswer } from './results.ts';

export interface OperationsDependencies {
  fetch: Fetch;
  services: Services;
  ids: Ids;
  maxWaitMs: number;
}

const defaultLimit = 50;
const mostLimit = 1000;

export function operationHandlers({ fetch, services, ids, maxWaitMs }: OperationsDependencies) {
  const document = (record: OperationRecord, base: string): string =>
    operationJson(record, { id: ids.operationId(record), base, service: services.get(record.service) });

  /** A wait that was asked for, capped; the field says what was honoured. */
  function wait(exchange: Exchange): { waitMs: number; applied: string[] } {
    const { waitSeconds } = parsePrefer(exchange.headers('prefer'));
    return waitSeconds === undefined ? { waitMs: 0, applied: [] } : honoured(Math.min(waitSeconds * 1000, maxWaitMs));
  }

  const honoured = (waitMs: number): { waitMs: number; applied: string[] } => ({
    waitMs,
    applied: ['Preference-Applied', `wait=${Math.floor(waitMs / 1000)}`],
  });

  const pace = (record: OperationRecord): string[] =>
    record.finishedAt === null ? ['Retry-After', String(fetch.retryAfterSeconds(record))] : [];

  const status: Handler = async (exchange) => {
    refuseUnbuiltQuery(exchange, ['on-complete', 'include', 'token']);
    const { waitMs, applied } = wait(exchange);
    const match = exchange.headers('if-none-match');
    const seen = /^\s*(?:W\/)?"(\d{1,15})"\s*$/.exec(match ?? '');
    const id = exchange.params['id']!;
    const record = await fetch.changed(id, exchange.namespace, seen ? Number(seen[1]) : undefined, {
      waitMs,
      signal: exchange.signal,
    });
    const etag = `W/"${record.version}"`;
    const headers = ['ETag', etag, 'Operation-Id', id, ...pace(record), ...applied];
    if (matchesEtag(match, etag)) return { status: 304, headers: [...headers, 'Cache-Control', 'no-store'] };
    return jsonAnswer(200, document(record, exchange.base), headers);
  };

  const result: Handler = async (exchange) => {
    refuseUnbuiltQuery(exchange, ['token']);
    const query = parseQuery(exchange.query);
    const envelope = query.get('envelope');
    if (envelope !== undefined && envelope !== 'json')
      throw new WaitlessError('invalid-parameter', 'envelope must be json');
    const { waitMs, applied } = wait(exchange);
    const id = exchange.params['id']!;
    const found = await fetch
      .result(id, exchange.namespace, { waitMs, signal: exchange.signal })
      .catch((error: unknown) => {
        // An id that is not known must not be told from one of another namespace by an echo.
        throw error instanceof WaitlessError && error.code === 'not-found'
          ? error
          : ofOperation(error, { 'Operation-Id': id });
      });
    if (found.kind === 'pending')
      return jsonAnswer(202, document(found.record, exchange.base), [
        'Operation-Id',
        id,
        ...pace(found.record),
        ...applied,
      ]);
    const replayed = { id, status: found.record.status, replay: found.replay };
    const answer = envelope === 'json' ? envelopeAnswer(replayed) : replayAnswer(exchange, replayed);
    answer.headers.push('Correlation-Id', found.record.correlationId ?? id, ...applied);
    return answer;
  };

  const list: Handler = async (exchange) => {
    refuseUnbuiltQuery(exchange, ['key', 'token']);
    const query = parseQuery(exchange.query);
    const labels: Record<string, string> = {};
    for (const name of query.names()) {
      if (name.startsWith('label.')) {
        const label = name.slice(6);
        if (!isName(label))
          throw new WaitlessError('invalid-name', `${JSON.stringify(name.slice(0, 64))} names no label`);
        labels[label] = query.get(name)!;
      } else if (
        !['service', 'status', 'correlationId', 'createdAfter', 'createdBefore', 'limit', 'cursor'].includes(name)
      )
        throw new WaitlessError('invalid-parameter', `${JSON.stringify(name.slice(0, 64))} is no filter of this list`);
    }
    const correlationId = query.get('correlationId');
    const service = query.get('service');
    if (service !== undefined && !isName(service))
      throw new WaitlessError('invalid-name', 'service must be the name of a service');
    const createdAfter = time(query.get('createdAfter'), 'createdAfter');
    const createdBefore = time(query.get('createdBefore'), 'createdBefore');
    const statuses = states(query.get('status'));
    const beforeSeq = place(query.get('cursor'), exchange.namespace);
    const page = await fetch.list({
      namespace: exchange.namespace,
      limit: limit(query.get('limit')),
      ...(service === undefined ? {} : { service }),
      ...(correlationId === undefined ? {} : { correlationId }),
      ...(statuses === undefined ? {} : { statuses }),
      ...(createdAfter === undefined ? {} : { createdAfter }),
      ...(createdBefore === undefined ? {} : { createdBefore }),
      ...(beforeSeq === undefined ? {} : { beforeSeq }),
      ...(Object.keys(labels).length > 0 ? { labels } : {}),
    });
    // An operation without a correlation id of its own answers to its id.
    if (
      correlationId !== undefined &&
      beforeSeq === undefined &&
      page.items.length === 0 &&
      ids.operationKey(correlationId)
    ) {
      const own = await fetch.operation(correlationId, exchange.namespace).catch(() => undefined);
      if (own && own.correlationId === null) page.items.push(own);
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
    refuseUnbuiltQuery(exchange, ['token']);
    const { record, rows, backendStatus } = await fetch.timeline(exchange.params['id']!, exchange.namespace);
    return jsonAnswer(200, timelineJson(record, rows, { backendStatus }));
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

  return { status, result, list, timeline, cancel };
}

function refuseUnbuiltQuery(exchange: Exchange, names: readonly string[]): void {
  if (exchange.query === '') return;
  const query = parseQuery(exchange.query);
  for (const name of names)
    if (query.get(name) !== undefined)
      throw new WaitlessError('not-implemented', `?${name} is not built yet; leave it out`);
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

function limit(value: string | undefined): number {
  if (value === undefined) return defaultLimit;
  if (!/^[1-9]\d{0,3}$/.test(value) || Number(value) > mostLimit)
    throw new WaitlessError('invalid-parameter', `limit must be a whole number from 1 to ${mostLimit}`);
  return Number(value);
}

function states(value: string | undefined): OperationStatus[] | undefined {
  return value?.split(',').map((word) => {
    if (!(operationStatuses as readonly string[]).includes(word))
      throw new WaitlessError('invalid-parameter', `status must be one or more of ${operationStatuses.join(', ')}`);
    return word as OperationStatus;
  });
}
