// Hands many requests over in one exchange; each has its own outcome.
import {
  type BatchItem,
  type BatchOutcome as OutcomeOnTheWire,
  callMethods,
  type OperationReceipt,
  WaitlessError,
} from '@waitless/protocol';
import { callPath } from './address.ts';
import { base64, jsonBytes, type RequestBody, toBytes } from './body.ts';
import { submitHeaders, type SubmitOptions, type SubmitOutcome } from './submit.ts';
import { readJson, type Wire } from './wire.ts';

/** A request of a batch: what `submit` takes, but nothing to wait for. */
export interface BatchEntry extends Omit<SubmitOptions, 'waitSeconds' | 'respondAsync' | 'signal'> {
  service: string;
}

/** What became of one request of a batch. */
export type BatchOutcome =
  | Extract<SubmitOutcome, { kind: 'accepted' }>
  /** A stored result answers it: `result` with the operation's id fetches it. */
  | { kind: 'stored'; operation: OperationReceipt; ageSeconds: number | undefined; cacheStatus: string | undefined }
  /** Not accepted, and why; the others are not touched by it. */
  | { kind: 'refused'; error: WaitlessError };

/** At most 1,000 requests and 16 MB. Throws where the batch as a whole failed; outcomes are in the order of the requests. */
export async function batch(
  wire: Wire,
  entries: readonly BatchEntry[],
  { signal }: { signal?: AbortSignal | undefined } = {},
): Promise<BatchOutcome[]> {
  const { bytes } = jsonBytes(entries.map(itemOf));
  const headers = new Headers({ 'Content-Type': 'application/json', Accept: 'application/json' });
  const response = await wire.send({ method: 'POST', path: '/v1/batch', headers, body: bytes, signal });
  const outcomes = await readJson<OutcomeOnTheWire[]>(wire.url, response, signal);
  if (!Array.isArray(outcomes) || outcomes.length !== entries.length)
    throw new WaitlessError('unexpected-answer', `${wire.url} did not answer each request of the batch.`, {
      status: response.status,
    });
  return outcomes.map(outcomeOf);
}

function itemOf(entry: BatchEntry): BatchItem {
  const { service } = entry;
  const method = (entry.method ?? 'POST').toUpperCase();
  if (!(callMethods as readonly string[]).includes(method))
    throw new WaitlessError(
      'invalid-parameter',
      `the method ${method} cannot be submitted; these can: ${callMethods.join(', ')}.`,
    );
  const [path = '', query = ''] = callPath('x', entry.path, entry.query)
    .slice('/v1/call/x'.length)
    .split(/\?(.*)/s);
  const headers = submitHeaders(entry);
  const body = entry.body === undefined ? {} : bodyOf(entry.body, headers);
  return {
    service,
    ...(method === 'POST' ? {} : { method }),
    ...(path === '' ? {} : { path }),
    ...(query === '' ? {} : { query }),
    headers: [...headers],
    ...body,
  };
}

const utf8Decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** Text and JSON stay readable; bytes go as base64. */
function bodyOf(body: RequestBody, headers: Headers): Pick<BatchItem, 'body' | 'bodyBase64'> {
  const { bytes, contentType } = toBytes(body);
  if (typeof body !== 'string' && contentType === undefined) return { bodyBase64: base64(bytes) };
  if (contentType !== undefined && !headers.has('content-type')) headers.set('Content-Type', contentType);
  // From the bytes that a request of its own would have had: half of a surrogate pair has none of its own in UTF-8.
  return { body: utf8Decoder.decode(bytes) };
}

function outcomeOf(outcome: OutcomeOnTheWire): BatchOutcome {
  const { problem, operation, retryAfter, cacheStatus, replayed = false } = outcome;
  if (problem) {
    const { code, detail, title, status, ...members } = problem;
    return {
      kind: 'refused',
      error: new WaitlessError(code, detail ?? title, {
        status,
        members,
        ...(retryAfter === undefined ? {} : { retryAfterSeconds: retryAfter }),
      }),
    };
  }
  if (outcome.stored && operation) return { kind: 'stored', operation, ageSeconds: outcome.age, cacheStatus };
  return { kind: 'accepted', operation, retryAfterSeconds: retryAfter, replayed, cacheStatus };
}
