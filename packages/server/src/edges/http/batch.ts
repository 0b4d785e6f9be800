// POST /v1/batch: many requests in one, each judged as it would be on its own, all of them written together.
import { WaitlessError } from '@waitless/protocol';
import type { Outlooks } from '../../core/outlook.ts';
import type { Services } from '../../core/services.ts';
import type { SubmitRequest, SubmitVerbs } from '../../core/submit.ts';
import { answerOf, goesInLines, jsonType, linesType, outcomeJson, pausesOf } from './batch-answers.ts';
import { type BatchItem, readArray, readLines } from './batch-items.ts';
import type { Exchange, FieldLookup, Handler } from './exchange.ts';
import { checkFields, checkTarget } from './raw-checks.ts';
import { readSubmission } from './submission.ts';

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

type HeadRequest = Omit<SubmitRequest, 'body'>;

export function batchHandler({ services, submit, outlooks }: BatchDependencies): Handler {
  function readHead({ service, method, path, query, rawHeaders }: BatchItem, namespace: string): HeadRequest {
    // What the listener asks of a request of its own; the name of the service is judged with words of its own.
    checkTarget(method, `/v1/call/service${path}${query === '' ? '' : `?${query}`}`);
    checkFields(rawHeaders);
    const head = { namespace, service, method, path, query, headers: lookUpIn(rawHeaders), rawHeaders };
    const { request, hold, streams } = readSubmission(head, { services, maxWaitMs: 0 });
    if (hold.preferences.waitSeconds !== undefined)
      throw new WaitlessError(
        'invalid-parameter',
        'Prefer: wait cannot be honoured in a batch, which waits for none of its items; send it with the look-up of the operation',
        { members: { accepted: false } },
      );
    if (streams)
      throw new WaitlessError(
        'invalid-parameter',
        'Accept: text/event-stream cannot be honoured in a batch, whose answer is one for all; read /v1/operations/{id}/events of the operation',
        { members: { accepted: false } },
      );
    return request;
  }

  /** The requests of a batch and, for each item, its own or what is wrong with it. */
  function* requestsOf(
    items: readonly (BatchItem | WaitlessError)[],
    namespace: string,
  ): Generator<SubmitRequest | WaitlessError> {
    let known: { item: BatchItem; request: HeadRequest } | undefined;
    for (const item of items) {
      if (item instanceof WaitlessError) yield item;
      else {
        try {
          // Many batches have one head in all items: it is judged once.
          if (!known || !sameHead(item, known.item)) known = { item, request: readHead(item, namespace) };
          yield withBody(known.request, item.body);
        } catch (error) {
          if (!(error instanceof WaitlessError)) throw error;
          yield error;
        }
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
    const made = [...requestsOf(items, exchange.namespace)];
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

function sameHead(one: BatchItem, other: BatchItem): boolean {
  return (
    one.service === other.service &&
    one.method === other.method &&
    one.path === other.path &&
    one.query === other.query &&
    one.rawHeaders.length === other.rawHeaders.length &&
    one.rawHeaders.every((text, i) => text === other.rawHeaders[i])
  );
}

function withBody(request: HeadRequest, body: Buffer): SubmitRequest {
  const limit = request.service.maxBodyBytes;
  if (body.length > limit)
    throw new WaitlessError('payload-too-large', `the body is larger than the limit of ${limit} bytes`, {
      members: { limitBytes: limit, accepted: false },
    });
  // What is kept in memory alone must not keep the whole batch there.
  return { ...request, body: request.durability === 'none' ? Buffer.from(body) : body };
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

/** First value of a field by lower-case name; several of one name as one list, as the fields of a request are read. */
function lookUpIn(rawHeaders: readonly string[]): FieldLookup {
  if (rawHeaders.length === 0) return () => undefined;
  const found = new Map<string, string>();
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase();
    const before = found.get(name);
    found.set(name, before === undefined ? rawHeaders[i + 1]! : `${before}, ${rawHeaders[i + 1]!}`);
  }
  return (name) => found.get(name);
}
