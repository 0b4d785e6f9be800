// Results of a service by business key or correlation id, over HTTP: look up, purge, compute anew.
import { WaitlessError } from '@waitless/protocol';
import type { ServiceConfig } from '../../config/config-shape.ts';
import { joinKey, keyFault } from '../../core/business-key.ts';
import type { Fetch } from '../../core/fetch.ts';
import type { Ids } from '../../core/ids.ts';
import type { KeyAsked, LookUp } from '../../core/look-up.ts';
import type { Outlooks } from '../../core/outlook.ts';
import type { Services } from '../../core/services.ts';
import { storedFields } from '../json/outcome.ts';
import { acceptedAnswer } from './call.ts';
import type { Answer, Exchange, Handler } from './exchange.ts';
import { correlationId, forwarded } from './fields.ts';
import { namedService } from './named-service.ts';
import type { OperationHandlers } from './operations.ts';
import { parseQuery } from './query.ts';
import { envelopeAnswer, replayAnswer } from './results.ts';

export interface ResultsByKeyDependencies {
  services: Services;
  lookUp: LookUp;
  fetch: Fetch;
  ids: Ids;
  outlooks: Pick<Outlooks, 'ofSubmitted'>;
  operations: Pick<OperationHandlers, 'resultOf' | 'pending' | 'wait'>;
}

export function resultsByKeyHandlers({ services, lookUp, fetch, ids, outlooks, operations }: ResultsByKeyDependencies) {
  const serviceOf = (exchange: Exchange): ServiceConfig => namedService(services, exchange.params['service']!);

  /** What the request names: a key, in its path or its query, or a correlation id. */
  function named(
    exchange: Exchange,
    allowed: readonly string[],
  ): { key: string | undefined; correlationId: string | undefined; envelope: boolean } {
    const query = parseQuery(exchange.query, { repeated: 'key' });
    for (const name of query.names()) {
      if (!allowed.includes(name))
        throw new WaitlessError(
          'invalid-parameter',
          `${JSON.stringify(name.slice(0, 64))} is no parameter of this route`,
        );
    }
    const envelope = query.get('envelope');
    if (envelope !== undefined && envelope !== 'json')
      throw new WaitlessError('invalid-parameter', 'envelope must be json');
    const inPath = exchange.params['key'];
    const parts = inPath === undefined ? query.all('key') : [decodeURIComponent(inPath)];
    const key = parts.length === 0 ? undefined : joinKey(parts);
    for (const part of key === undefined ? [] : [...parts, key]) {
      const fault = keyFault(part);
      if (fault !== undefined) throw new WaitlessError('invalid-parameter', `key ${fault}`);
    }
    return { key, correlationId: query.get('correlationId'), envelope: envelope === 'json' };
  }

  function asked(exchange: Exchange, service: ServiceConfig, key: string | undefined): KeyAsked {
    if (key === undefined)
      throw new WaitlessError('invalid-parameter', 'key is missing: name the business key, as in ?key=42');
    return { namespace: exchange.namespace, service, key, passedOn: forwarded(exchange.rawHeaders, service.forward) };
  }

  const get: Handler = async (exchange) => {
    const service = serviceOf(exchange);
    const onlyKey = exchange.params['key'] !== undefined;
    const wanted = named(exchange, onlyKey ? ['envelope'] : ['key', 'correlationId', 'envelope']);
    if ((wanted.key === undefined) === (wanted.correlationId === undefined))
      throw new WaitlessError('invalid-parameter', 'name either key or correlationId, as in ?key=42');
    if (wanted.correlationId !== undefined) {
      const { correlationId: conversation } = wanted;
      const id = await lookUp.idOf({
        namespace: exchange.namespace,
        service: service.name,
        correlationId: conversation,
      });
      return operations.resultOf(exchange, id, wanted);
    }
    const { waitMs, applied } = operations.wait(exchange);
    const found = await lookUp.byKey(asked(exchange, service, wanted.key), { waitMs, signal: exchange.signal });
    if (found.kind === 'running') return operations.pending(exchange, found.operation, applied);
    const { stored } = found;
    const { operation } = stored;
    const id = ids.operationId(operation);
    const replayed = { id, status: operation.status, replay: fetch.replayOf(stored) };
    const answer = wanted.envelope ? envelopeAnswer(replayed) : replayAnswer(exchange, replayed);
    answer.headers.push(
      'Correlation-Id',
      operation.correlationId ?? id,
      ...storedFields(stored, lookUp.ageMs(stored.storedAt)),
      ...applied,
    );
    return answer;
  };

  const purge: Handler = async (exchange): Promise<Answer> => {
    const service = serviceOf(exchange);
    const { key } = named(exchange, exchange.params['key'] === undefined ? ['key'] : []);
    await lookUp.purge(asked(exchange, service, key));
    return { status: 204, headers: ['Cache-Control', 'no-store'] };
  };

  const refresh: Handler = async (exchange) => {
    const service = serviceOf(exchange);
    const { key } = named(exchange, ['key']);
    const accepted = await lookUp.refresh(asked(exchange, service, key), {
      correlationId: correlationId(exchange.headers),
    });
    const { queue, record } = accepted;
    return acceptedAnswer(exchange, accepted, {
      level: 'stored',
      hold: { waitMs: 0, preferences: { respondAsync: false, waitSeconds: undefined } },
      retryAfterSeconds: outlooks.ofSubmitted({ service, queue, record, waitedMs: 0 }),
    });
  };

  return { get, purge, refresh };
}
