// The shapes of a batch: many requests in one, each with its own outcome.
import type { Problem } from './errors.ts';
import type { EnvelopeBody, HeaderPairs } from './lease.ts';
import type { OperationReceipt } from './operation.ts';

/** What a request to /v1/call/{service}{path}?{query} of its own would be. */
export interface BatchItem extends EnvelopeBody {
  service: string;
  /** Default POST. */
  method?: string;
  /** Below the service, beginning with a slash. */
  path?: string;
  /** Without the question mark. */
  query?: string;
  headers?: Record<string, string> | HeaderPairs;
}

export interface BatchOutcome {
  /** 202 accepted, 200 a stored result answers it, else that of the problem. */
  status: number;
  /** Absent for a problem and for durability `none`. */
  operation?: OperationReceipt;
  /** The Idempotency-Key was known: this is what its first use was told. */
  replayed?: true;
  /** The result is stored: fetch it at the operation's `resourceLocation`. */
  stored?: true;
  /** Seconds since that result was stored. */
  age?: number;
  /** Cache-Status (RFC 9211), for a request with a business key. */
  cacheStatus?: string;
  problem?: Problem;
  /** Seconds after which to ask for the operation, or to send a refused item again. */
  retryAfter?: number;
}

/** POST /v1/batch takes at most so many items. */
export const mostBatchItems = 1000;
