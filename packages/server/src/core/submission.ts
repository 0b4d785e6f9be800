// From a request to the submission that a store is asked to take: its times, its order, and what a repeat is known by. Pure.
import { hash } from 'node:crypto';
import type { Durability } from '@waitless/protocol';
import type { CallbackWanted } from '../engine/deliveries.ts';
import type { Labels, Submission } from '../engine/engine.ts';
import { rankOf } from './lifecycle.ts';
import type { KeyedRequest, Shared } from './shared-request.ts';

export interface SubmitRequest extends KeyedRequest {
  namespace: string;
  correlationId: string | null;
  labels: Labels | null;
  idempotencyKey: string | null;
  /** Whether the key of a failed operation starts a new one; absent: as its service says. */
  retryFailed?: boolean;
  durability: Durability;
  timeoutMs: number | undefined;
  delayMs: number | undefined;
  startByMs: number | undefined;
  priority: number | undefined;
  /** Those of one key in a queue run one after another. */
  orderingKey?: string | null;
  /** Who wants to be told of its end. */
  callback?: CallbackWanted | null;
  /** The caller means to wait for the result: refused before anything is stored where too many wait already. */
  waits: boolean;
}

export function toSubmission(
  request: SubmitRequest,
  { queue, nonce, now, key, sharing }: Shared & { queue: number; nonce: string; now: number },
): Submission {
  const { service } = request;
  const runAt = now + (request.delayMs ?? 0);
  return {
    queue,
    nonce,
    durability: request.durability as 'stored' | 'memory',
    head: JSON.stringify(request.head),
    body: request.body,
    correlationId: request.correlationId,
    labels: request.labels,
    createdAt: now,
    runAt,
    rank: rankOf(runAt, request.priority ?? service.priority),
    // The total time runs from when it may start: a long delay would otherwise eat it.
    deadlineAt: runAt + Math.min(request.timeoutMs ?? service.timeoutMs, service.timeoutMs),
    startByAt: request.startByMs === undefined ? null : now + request.startByMs,
    retentionMs: service.retentionMs,
    idempotency:
      request.idempotencyKey === null
        ? null
        : {
            key: request.idempotencyKey,
            fingerprint: fingerprint(request),
            expiresAt: now + service.idempotencyTtlMs,
            retryFailed: request.retryFailed ?? service.retryFailed,
          },
    key,
    sharing,
    callback: request.callback ?? null,
    orderingKey: request.orderingKey ?? null,
  };
}

/** SHA-256 of method, path, query, Content-Type and body, each with its length so that no two requests share one. */
function fingerprint({ head, contentType = '', body }: SubmitRequest): string {
  const words = [head.method, head.path, head.query, contentType].map((word) => `${word.length}:${word}`).join('');
  return hash('sha256', Buffer.concat([Buffer.from(words, 'latin1'), body]), 'base64url');
}
