// POST /v1/batch: many requests in one, each judged as it would be on its own, all of them written together.
import { WaitlessError } from '@waitless/protocol';
import type { Outlooks } from '../../core/outlook.ts';
import type { Services } from '../../core/services.ts';
import type { SubmitRequest, SubmitVerbs } from '../../core/submit.ts';
import { answerOf, goesInLines, jsonType, linesType, outcomeJson, pausesOf } from './batch-answers.ts';
import { readArray, readLines } from './batch-items.ts';
import type { CallItem } from '../json/call-item.ts';
import type { Exchange, Handler } from './exchange.ts';
import { itemReader } from './item-request.ts';

export interface BatchDependencies {
  services: Services;
  submit: Pick<SubmitVerbs, 'submitAll'>;
  outlooks: Pick<Outlooks, 'ofSubmitted'>;
}

const mostBytes = 16 * 1024 * 1024;

/** Fields of a submit: on the batch itself they would be believed to hold for its items. */
const ofItems = [
  'idempotency-key',
  'correlation-id',
  'operation-timeout',
  'operation-delay',
  'operation-start-by',
  'operation-priority',
  'operation-labels',
  'operation-durability',
  'result-key',
  'ordering-key',
  'callback-url',
  'callback-events',
  'callback-body',
] as const;

export function batchHandler({ services, submit, outlooks }: BatchDependencies): Handler {
  /** For each item of a batch its request, or what is wrong with it. */
  function* requestsOf(
    items: readonly (CallItem | WaitlessError)[],
    exchange: Pick<Exchange, 'namespace' | 'base'>,
  ): Generator<SubmitRequest | WaitlessError> {
    const read = itemReader({ services, where: 'batch' });
    for (const item of items) {
      try {
        yield item instanceof WaitlessError ? item : read(item, exchange);
      } catch (error) {
        if (!(error instanceof WaitlessError)) throw error;
        yield error;
      }
    }
  }

  return async (exchange) => {
    const receivedAt = performance.now();
    for (const name of ofItems) {
      if (exchange.headers(name) !== undefined)
        throw new WaitlessError('invalid-parameter', `${name} belongs into the headers of an item, not of the batch`, {
          members: { accepted: false },
        });
    }
    const inLines = comesInLines(exchange);
    const bytes = await exchange.body(mostBytes);
    const items = inLines ? readLines(bytes) : readArray(bytes);
    const made = [...requestsOf(items, exchange)];
    const requests = made.filter((request): request is SubmitRequest => !(request instanceof WaitlessError));
    const submitted = requests.length === 0 ? [] : await submit.submitAll(requests);
    // The bodies are stored or handed on.
    exchange.releaseBody();
    const pause = pausesOf({ services, outlooks, receivedAt });
    let next = 0;
    const outcomes = made.map((one) =>
      outcomeJson(exchange, one instanceof WaitlessError ? one : submitted[next++]!, pause),
    );
    return answerOf(outcomes, goesInLines(exchange, inLines));
  };
}

function comesInLines({ headers }: Exchange): boolean {
  const encoding = headers('content-encoding');
  if (encoding !== undefined && encoding.trim().toLowerCase() !== 'identity')
    throw new WaitlessError(
      'unsupported-content-encoding',
      `Content-Encoding ${JSON.stringify(encoding.slice(0, 64))} is not read here`,
    );
  const type = headers('content-type') ?? '';
  if (linesType.test(type)) return true;
  if (jsonType.test(type)) return false;
  throw new WaitlessError(
    'unsupported-media-type',
    'send the batch with Content-Type: application/json, or application/x-ndjson for one item a line',
  );
}
