// Backends that are asynchronous already: where one that said 202 is to be asked, and what its answer to that means. Pure.
//
// Two families are in use. One points at a status document with Operation-Location: a 200 whose `status` says how far it is, and once it has
// succeeded the result is at `resourceLocation`, at the Location of the first answer, or is the document itself. The other knows only
// Location: 202 until it is done, then the result.
import { WaitlessError } from '@waitless/protocol';
import type { OperationFailure, Poll, ResultContent } from '../engine/engine.ts';
import { headerOf } from './lifecycle.ts';
import { parseRetryAfter } from './retry.ts';

/** A backend that names no time is asked after a quarter of the time it has worked: less often the longer it takes, and within these bounds. */
const [shortestMs, longestMs] = [1000, 30_000];
/** What a backend may ask for in Retry-After; more would outlast most reply timeouts unseen. */
const longestAskedMs = 3_600_000;
/** A status document is small; a larger body is a result. */
const mostDocumentBytes = 65_536;

const succeeded = new Set(['succeeded', 'success', 'successful', 'completed', 'complete', 'done', 'finished']);
const failed = new Set([
  'failed',
  'failure',
  'error',
  'errored',
  'canceled',
  'cancelled',
  'aborted',
  'expired',
  'rejected',
]);

export interface Looked {
  /** Where the request went, for references that are relative. */
  url: string;
  nowMs: number;
  /** When the attempt began. */
  sinceMs: number;
}

/** Where an attempt went: references that are relative count from there. */
export const attemptUrl = (target: string, path: string): string =>
  path === '' ? target : target.replace(/\/$/, '') + path;

/** Same scheme, host and port: what is sent there may carry the target's own headers. Throws for anything else. */
function sameOrigin(reference: string, at: string, name: string): string {
  const url = URL.canParse(reference, at) ? new URL(reference, at) : undefined;
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    throw new WaitlessError('bad-backend-response', `${name} of the backend's answer is no URL`);
  if (url.origin !== new URL(at).origin)
    throw new WaitlessError(
      'bad-backend-response',
      `${name} of the backend's answer points to ${url.origin}, and only the service's own origin is asked`,
    );
  url.hash = '';
  return url.href;
}

/** When to ask again. */
export function nextLookAt(response: Pick<ResultContent, 'headers'>, { nowMs, sinceMs }: Looked): number {
  const asked = parseRetryAfter(headerOf(response.headers, 'retry-after'), nowMs);
  const own = Math.min(Math.max((nowMs - sinceMs) / 4, shortestMs), longestMs);
  return nowMs + Math.round(asked === undefined ? own : Math.min(Math.max(asked, shortestMs), longestAskedMs));
}

/** The `url` of a poll: with the Location of the first answer behind it, where a document is to be asked first. */
const [documentMark, separator] = ['document ', ' '];

/** The first look after a 202, or nothing where it does not say where. Throws where it points to another origin. */
export function firstPoll(response: Pick<ResultContent, 'headers'>, looked: Looked): Poll | undefined {
  const [operation, location] = ['operation-location', 'location'].map((name) => headerOf(response.headers, name));
  if (operation === undefined && location === undefined) return undefined;
  const at = nextLookAt(response, looked);
  const result = location === undefined ? '' : sameOrigin(location, looked.url, 'Location');
  if (operation === undefined) return { url: result, at };
  return { url: documentMark + sameOrigin(operation, looked.url, 'Operation-Location') + separator + result, at };
}

/** Where to look, and where the result is after a document that says nothing of it. */
export function readPoll(url: string): { url: string; document: boolean; result: string | undefined } {
  if (!url.startsWith(documentMark)) return { url, document: false, result: undefined };
  const [at = '', result = ''] = url.slice(documentMark.length).split(separator);
  return { url: at, document: true, result: result === '' ? undefined : result };
}

/**
 * - `pending`: look again, at this URL then; percent where it is told
 * - `result`: this response is the end, judged like any answer
 * - `elsewhere`: it has succeeded, and the result is to be fetched there
 * - `failed`: the work failed, in the backend's words
 */
export type LookVerdict =
  | { kind: 'pending'; poll: Poll; percent?: number }
  | { kind: 'result' }
  | { kind: 'elsewhere'; url: string }
  | { kind: 'failed'; error: OperationFailure };

/** What the answer to a look means. Throws where it points to another origin. */
export function judgeLook(response: ResultContent, asked: string, looked: Looked): LookVerdict {
  const { url, document, result } = readPoll(asked);
  const { status } = response;
  // It cannot say at the moment: nothing is known to have failed.
  const again = { kind: 'pending', poll: { url: asked, at: nextLookAt(response, looked) } } as const;
  if (status === 408 || status === 425 || status === 429 || status >= 500) return again;
  const moved = { ...looked, url };
  if (status === 202) {
    const next = headerOf(response.headers, document ? 'operation-location' : 'location');
    if (next === undefined) return pendingWith(again, documentOf(response));
    const at = sameOrigin(next, url, document ? 'Operation-Location' : 'Location');
    const next_ = document ? documentMark + at + separator + (result ?? '') : at;
    return pendingWith({ ...again, poll: { ...again.poll, url: next_ } }, documentOf(response));
  }
  if (!document || status !== 200) return { kind: 'result' };
  const found = documentOf(response);
  const word = typeof found?.['status'] === 'string' ? found['status'].toLowerCase() : undefined;
  if (found === undefined || word === undefined) return { kind: 'result' };
  if (succeeded.has(word)) {
    const named = found['resourceLocation'];
    if (typeof named === 'string') return { kind: 'elsewhere', url: sameOrigin(named, moved.url, 'resourceLocation') };
    return result === undefined ? { kind: 'result' } : { kind: 'elsewhere', url: result };
  }
  if (failed.has(word)) return { kind: 'failed', error: failureOf(found, word) };
  return pendingWith(again, found);
}

function pendingWith(
  pending: LookVerdict & { kind: 'pending' },
  document: Record<string, unknown> | undefined,
): LookVerdict {
  const percent = [document?.['percentComplete'], document?.['percent'], document?.['progress']].find(
    (value) => typeof value === 'number' && value >= 0 && value <= 100,
  ) as number | undefined;
  return percent === undefined ? pending : { ...pending, percent };
}

/** A small JSON object; undefined for anything else. Read for its words only: the bytes are what is kept. */
function documentOf({ body }: ResultContent): Record<string, unknown> | undefined {
  if (body.length === 0 || body.length > mostDocumentBytes) return undefined;
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** `{"error": {"code", "message"}}`, or its members beside the status. */
function failureOf(document: Record<string, unknown>, word: string): OperationFailure {
  const inner = document['error'];
  const error = typeof inner === 'object' && inner !== null ? (inner as Record<string, unknown>) : document;
  const text = (value: unknown, otherwise: string): string =>
    typeof value === 'string' && value !== '' ? value.slice(0, 1000) : otherwise;
  const said = typeof inner === 'string' ? inner : undefined;
  return {
    code: text(error['code'], 'backend-error').slice(0, 128),
    message: text(said ?? error['message'], `the backend's status says ${JSON.stringify(word)}`),
  };
}
