// Work: handing operations to pull workers, each under a lease of its own.
import type { ServiceConfig } from '../config/config-shape.ts';
import type { Engine, Labels, LeasedOperation } from '../engine/engine.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { FireAndForget, Forgettable } from './fire-and-forget.ts';
import type { Ids } from './ids.ts';
import type { Live } from './live.ts';
import type { QueueCounts } from './queue-counts.ts';

/** Most bytes of bodies in one answer to a worker: it is built in memory. */
const mostBytes = 16 * 1024 * 1024;

/** What a worker gets: a lease, or a request that nobody keeps (its token answers to nothing). */
export interface Work {
  token: string;
  id: string;
  correlationId: string | null;
  labels: Labels | null;
  createdAt: number;
  attempt: number;
  lastAttempt: boolean;
  deadlineAt: number | null;
  leaseUntil: number;
  /** JSON text. */
  head: string;
  body: Uint8Array | AsyncIterable<Uint8Array>;
}

export interface WorkWanted {
  namespace: string;
  service: ServiceConfig;
  worker: string | null;
  max: number;
  leaseMs: number | undefined;
  waitMs: number;
  signal: AbortSignal;
}

export interface WorkDependencies {
  engine: Pick<Engine, 'lease' | 'readBody'>;
  ids: Ids;
  live: Live;
  clock: Clock;
  fireAndForget: FireAndForget;
  counts: Pick<QueueCounts, 'moved'>;
  log: Log;
  metrics: Metrics;
}

export function createWork({ engine, ids, live, clock, fireAndForget, counts, log, metrics }: WorkDependencies) {
  function leased(lease: LeasedOperation, service: ServiceConfig): Work {
    const { queue, seq, leaseNo, attempt } = lease;
    // Version 2 is the first lease; later ones are found by their waiters' own look at the store.
    if (live.has(seq)) live.wake(seq, { version: Number.MAX_SAFE_INTEGER, done: false });
    return {
      token: ids.leaseToken({ queue, seq, leaseNo, attempt }),
      id: ids.operationId(lease),
      correlationId: lease.correlationId,
      labels: lease.labels,
      createdAt: lease.createdAt,
      attempt,
      lastAttempt: attempt >= service.retry.maxAttempts,
      deadlineAt: lease.deadlineAt,
      leaseUntil: lease.leaseUntil,
      head: lease.head,
      body: lease.body ?? engine.readBody(seq, 'request'),
    };
  }

  function forgettable(item: Forgettable, leaseUntil: number): Work {
    return {
      token: 'none',
      id: 'none',
      correlationId: item.correlationId,
      labels: item.labels,
      createdAt: item.createdAt,
      attempt: 1,
      lastAttempt: true,
      deadlineAt: null,
      leaseUntil,
      head: JSON.stringify(item.head),
      body: item.body,
    };
  }

  /** Requests of durability `none`: they are kept nowhere, so they go first. */
  function takeKept({
    namespace,
    service,
    max,
    leaseMs,
  }: Pick<WorkWanted, 'namespace' | 'service' | 'max'> & { leaseMs: number }): Work[] {
    const kept: Work[] = [];
    for (let bytes = 0; kept.length < max && bytes < mostBytes;) {
      const item = fireAndForget.take(service.name, namespace);
      if (!item) break;
      bytes += item.body.length;
      kept.push(forgettable(item, clock.now() + leaseMs));
    }
    metrics.leased += kept.length;
    return kept;
  }

  return async function work({
    namespace,
    service,
    worker,
    max,
    leaseMs = service.leaseMs,
    waitMs,
    signal,
  }: WorkWanted): Promise<Work[]> {
    const now = clock.now();
    const kept = takeKept({ namespace, service, max, leaseMs });
    if (kept.length > 0) return kept;
    if (waitMs > 0) live.ensureRoom(namespace);
    const leave = waitMs > 0 ? live.hold(namespace) : undefined;
    const over = new AbortController();
    const end = (): void => over.abort();
    // A worker that waits is let go by its time limit, by the end of its connection, by a request that nobody keeps, and by the stop of the server.
    const timer = waitMs > 0 ? setTimeout(end, waitMs) : undefined;
    const unpark = waitMs > 0 ? fireAndForget.park(service.name, namespace, end) : undefined;
    const unhear = live.onStop(end);
    signal.addEventListener('abort', end, { once: true });
    let leases: LeasedOperation[];
    try {
      leases = await engine.lease(
        {
          service: service.name,
          namespace,
          kind: 'pull',
          worker,
          max,
          maxBytes: mostBytes,
          leaseMs,
          wait: waitMs > 0,
          now: () => clock.now(),
        },
        now,
        over.signal,
      );
      // Taken before the place in line is given up: whoever leaves work behind there wakes the next.
      if (leases.length === 0 && !signal.aborted) return takeKept({ namespace, service, max, leaseMs });
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      unhear();
      leave?.();
      unpark?.();
    }
    metrics.leased += leases.length;
    for (const { queue } of leases) counts.moved({ queue, service: service.name }, { queued: -1, running: 1 });
    if (log.info)
      for (const lease of leases)
        log.info('operation.leased', {
          operation: ids.operationId(lease),
          service: service.name,
          namespace,
          worker,
          attempt: lease.attempt,
        });
    return leases.map((lease) => leased(lease, service));
  };
}

export type WorkVerb = ReturnType<typeof createWork>;
