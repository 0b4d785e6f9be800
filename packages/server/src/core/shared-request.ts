// From a request to what it shares with others: its business key, whose results may answer it, and who may have its own. Pure.
import { WaitlessError } from '@waitless/protocol';
import type { ServiceConfig } from '../config/config-shape.ts';
import type { RequestHead, Sharing } from '../engine/engine.ts';
import { businessKey, forwardedValues, sharingDigests } from './business-key.ts';

/** What a client wishes of stored results (RFC 9111 5.2.1). */
export interface CacheWish {
  /** Neither read what is stored nor keep the result for others. */
  noStore: boolean;
  /** Compute anew, or join what already does. */
  noCache: boolean;
  /** Oldest stored result that will do, in milliseconds; null: any that is valid. */
  maxAgeMs: number | null;
  /** Nothing but a stored result will do. */
  onlyIfCached: boolean;
}

export interface KeyedRequest {
  service: ServiceConfig;
  head: RequestHead;
  contentType: string | undefined;
  contentEncoding: string | undefined;
  body: Uint8Array;
  /** What the client itself names in Result-Key, or null. */
  resultKey: string | null;
  cache: CacheWish;
}

export interface Shared {
  /** The business key, or null. */
  key: string | null;
  sharing: Sharing | null;
}

const alone: Shared = { key: null, sharing: null };

/** Throws where only a stored result will do, and there can be none. */
function nothingStored({ onlyIfCached }: CacheWish, why: string): undefined {
  if (onlyIfCached)
    throw new WaitlessError('not-stored', `Cache-Control: only-if-cached asks for a stored result, and ${why}`, {
      members: { accepted: false },
    });
}

/** Throws where the service's rule finds no key in the request, or another one than the client names. */
export function sharedBy(request: KeyedRequest): Shared {
  const { service, head, contentType, contentEncoding, body, resultKey, cache } = request;
  if (service.key.length === 0 && resultKey === null)
    return nothingStored(cache, 'the request has no business key') ?? alone;
  const key = businessKey({ ...head, rules: service.key, contentEncoding, body, given: resultKey });
  if (key === null) return alone;
  if (cache.noStore) return nothingStored(cache, 'no-store wants none') ?? { key, sharing: null };
  const digests = sharingDigests({
    key,
    service: service.name,
    head,
    contentType,
    body,
    forwardedValues: forwardedValues(head.headers, service.forward),
    ruled: service.key.length > 0,
  });
  // Other methods may change something at the backend: each is its own work, and only its result is found under the key.
  const use = !service.keyMethods.includes(head.method) ? 'nothing' : cache.noCache ? 'running' : 'stored';
  return { key, sharing: { ...digests, use, maxAgeMs: cache.maxAgeMs, onlyStored: cache.onlyIfCached } };
}

/** Cache-Status (RFC 9211) of a request that was not answered from the store; undefined where it has no key. */
export function forwardedStatus(
  { key, sharing }: Shared,
  { joined, expired }: { joined: boolean; expired: boolean },
): string | undefined {
  if (key === null) return undefined;
  const why =
    sharing === null || sharing.use === 'running'
      ? 'request'
      : sharing.use === 'nothing'
        ? 'method'
        : expired
          ? 'stale'
          : 'miss';
  return `waitless; fwd=${why}${joined ? '; collapsed' : ''}`;
}
