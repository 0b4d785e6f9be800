// Submit: one accepted request becomes one operation. Synchronous, hybrid and asynchronous submits are this one path;
// they differ in how long the caller waits for what it would find anyway.
import { hash } from 'node:crypto';
import { type Durability, WaitlessError } from '@waitless/protocol';
import type { ServiceConfig } from '../config/config-shape.ts';
import type { Engine, Labels, OperationRecord, RequestHead, Submission, SubmitOutcome } from '../engine/engine.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { Random } from '../lib/random.ts';
import type { FireAndForget } from './fire-and-forget.ts';
import type { Ids } from './ids.ts';
import { rankOf } from './lifecycle.ts';
import type { Live, News } from './live.ts';
import type { Services } from './services.ts';

export interface SubmitRequest {
  namespace: string;
  service: ServiceConfig;
  head: RequestHead;
  contentType: string | undefined;
  body: Uint8Array;
  correlationId: string | null;
  labels: Labels | null;
  idempotencyKey: string | null;
  durability: Durability;
  timeoutMs: number | undefined;
  delayMs: number | undefined;
  startByMs: number | undefined;
  priority: number | undefined;
  /** The caller means to wait for the result: refused before anything is stored where too many wait already. */
  waits: boolean;
}

export interface Accepted {
  kind: 'accepted';
  id: string;
  /** What the receipt shows; equal for a repeat. */
  service: string;
  correlationId: string | null;
  labels: Labels | null;
  createdAt: number;
  replayed: boolean;
  /** Where an operation was found rather than made. */
  record: OperationRecord | undefined;
  seq: number;
}

export type Submitted = Accepted | { kind: 'forgotten' };

export interface SubmitDependencies {
  engine: Pick<Engine, 'submit'>;
  services: Services;
  ids: Ids;
  live: Live;
  clock: Clock;
  random: Random;
  fireAndForget: FireAndForget;
  log: Log;
  metrics: Metrics;
}

export function createSubmit({
  engine,
  services,
  ids,
  live,
  clock,
  random,
  fireAndForget,
  log,
  metrics,
}: SubmitDependencies) {
  /** Resolves once the promise of the request's durability holds. Keeps nothing of the request: its body may be large and the wait long. */
  async function submit(request: SubmitRequest): Promise<Submitted> {
    const { service, namespace } = request;
    if (request.waits) live.ensureRoom();
    const startedAt = performance.now();
    const now = clock.now();
    const queue = services.knownNumber(namespace, service.name) ?? (await services.number(namespace, service.name));
    if (request.durability === 'none') {
      fireAndForget.add({
        service,
        namespace,
        queue,
        head: request.head,
        body: request.body,
        correlationId: request.correlationId,
        labels: request.labels,
        createdAt: now,
      });
      metrics.accepted.none++;
      return { kind: 'forgotten' };
    }
    const submission = toSubmission(request, { queue, nonce: random.nonce(), now });
    const [outcome] = await engine.submit([submission], now);
    const accepted = toAccepted(outcome!, submission);
    if (accepted.replayed) metrics.replayed++;
    else {
      metrics.accepted[submission.durability]++;
      if (log.info) {
        log.info('operation.accepted', {
          operation: accepted.id,
          service: service.name,
          namespace,
          durability: submission.durability,
          bytes: request.body.length,
          correlationId: request.correlationId ?? accepted.id,
          ms: Math.round((performance.now() - startedAt) * 100) / 100,
        });
      }
    }
    return accepted;

    function toAccepted(from: SubmitOutcome, made: Submission): Accepted {
      if (from.kind === 'refused') throw from.error;
      if (from.kind === 'mismatch') {
        throw new WaitlessError(
          'idempotency-key-reused',
          `Idempotency-Key ${JSON.stringify(request.idempotencyKey)} was used for another request to ${service.name}; take a new key`,
        );
      }
      const seen = from.kind === 'new' ? made : from.operation;
      const seq = from.kind === 'new' ? from.seq : from.operation.seq;
      return {
        kind: 'accepted',
        id: ids.operationId({ seq, nonce: seen.nonce }),
        service: service.name,
        correlationId: seen.correlationId,
        labels: seen.labels,
        createdAt: seen.createdAt,
        replayed: from.kind === 'replayed',
        record: from.kind === 'new' ? undefined : from.operation,
        seq,
      };
    }
  }

  /** News of the end of an accepted operation, or undefined when it did not end within the wait. */
  function waitForEnd(
    { seq, record }: Accepted,
    { waitMs, signal }: { waitMs: number; signal: AbortSignal },
  ): Promise<News | undefined> {
    if (record?.finishedAt != null) return Promise.resolve({ version: record.version, done: true });
    return live.wait(seq, { version: 0, onlyDone: true, timeoutMs: waitMs, signal });
  }

  return { submit, waitForEnd };
}

export type SubmitVerbs = ReturnType<typeof createSubmit>;

/** Times and order of a new operation. Pure. */
export function toSubmission(
  request: SubmitRequest,
  { queue, nonce, now }: { queue: number; nonce: string; now: number },
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
            retryFailed: service.retryFailed,
          },
  };
}

/** SHA-256 of method, path, query, Content-Type and body, each with its length so that no two requests share one. */
function fingerprint({ head, contentType = '', body }: SubmitRequest): string {
  const words = [head.method, head.path, head.query, contentType].map((word) => `${word.length}:${word}`).join('');
  return hash('sha256', Buffer.concat([Buffer.from(words, 'latin1'), body]), 'base64url');
}
