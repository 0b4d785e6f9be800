// What lies before an open operation: its place in the queue, when it is likely to be done, and when it is worth asking again.
import type { ServiceConfig } from '../config/config-shape.ts';
import type { Engine, OperationRecord } from '../engine/engine.ts';
import type { Clock } from '../lib/clock.ts';
import { type Pace, retryAfterSeconds } from './pace.ts';
import type { QueueCounts, QueueLoad } from './queue-counts.ts';

/** A place further back is not counted: a poll must not cost more, the longer the queue is. */
export const mostCounted = 1000;

export interface Outlook {
  /** 1 is next; null where it does not wait for its turn, or is beyond what is counted. */
  queuePosition: number | null;
  /** Milliseconds since 1970, not before now; null while nothing is known or once it has ended. */
  estimatedCompletionAt: number | null;
  retryAfterSeconds: number;
}

export interface Submitted {
  service: ServiceConfig;
  queue: number;
  /** Where it was found rather than made. */
  record: OperationRecord | undefined;
  waitedMs: number;
}

export interface OutlookDependencies {
  engine: Pick<Engine, 'ahead'>;
  pace: Pace;
  counts: QueueCounts;
  service: (name: string) => ServiceConfig | undefined;
  clock: Clock;
}

export class Outlooks {
  readonly #d: OutlookDependencies;

  constructor(dependencies: OutlookDependencies) {
    this.#d = dependencies;
  }

  /** Of an operation as it stands. Costs one bounded look at the store where it waits for its turn, otherwise none. */
  async of(record: OperationRecord): Promise<Outlook> {
    if (record.finishedAt !== null) return { queuePosition: null, estimatedCompletionAt: null, retryAfterSeconds: 1 };
    const now = this.#d.clock.now();
    const ahead = await this.#ahead(record, now);
    const leftMs = this.#leftMs(record, ahead, now);
    return {
      queuePosition: ahead === undefined || ahead >= mostCounted ? null : ahead + 1,
      // Its own time limit ends it in any case.
      estimatedCompletionAt:
        leftMs === undefined ? null : Math.max(now, Math.min(Math.ceil(now + leftMs), record.deadlineAt)),
      retryAfterSeconds: retryAfterSeconds(leftMs, now - record.createdAt),
    };
  }

  /** Seconds until one that was just submitted is likely to be done, when its caller has waited for a while: known without asking the store. */
  ofSubmitted({ service, queue, record, waitedMs }: Submitted): number {
    const { pace } = this.#d;
    if (record?.attemptAt != null && record.status === 'running') {
      const soFarMs = this.#d.clock.now() - record.attemptAt;
      return retryAfterSeconds(pace.leftMs(service.name, soFarMs), soFarMs);
    }
    const load = this.#load(service.name, queue);
    // Itself is counted already. What finds a free place is begun at once; how many places pull workers have is known by what they hold alone.
    const places = Number.isFinite(service.concurrency) ? Math.max(0, service.concurrency - (load?.running ?? 0)) : 1;
    const behind = Math.max(0, (load?.queued ?? 0) - places);
    const waitMs = behind > 0 ? this.#waitMs(service.name, load, behind) : 0;
    const workMs = pace.leftMs(service.name, 0);
    if (workMs === undefined || waitMs === undefined) return retryAfterSeconds(undefined, waitedMs);
    const leftMs = waitMs + workMs - waitedMs;
    return retryAfterSeconds(leftMs > 0 ? leftMs : pace.leftMs(service.name, waitedMs), waitedMs);
  }

  /** Until a place in a full queue is likely to be free. */
  placeFreeSeconds({ service, queue }: { service: string; queue: number }): number {
    return retryAfterSeconds(this.#waitMs(service, this.#load(service, queue), 1), 0);
  }

  async #ahead(record: OperationRecord, now: number): Promise<number | undefined> {
    if (record.status !== 'queued' || (record.runAt !== null && record.runAt > now)) return undefined;
    // What cannot be read at this moment is not known; the status itself has been read.
    return this.#d.engine.ahead(record.seq, mostCounted).catch(() => undefined);
  }

  #leftMs(record: OperationRecord, ahead: number | undefined, now: number): number | undefined {
    const { pace } = this.#d;
    if (record.status === 'running') return pace.leftMs(record.service, now - (record.attemptAt ?? now));
    const workMs = pace.leftMs(record.service, 0);
    if (workMs === undefined) return undefined;
    if (record.runAt !== null && record.runAt > now) return record.runAt - now + workMs;
    const load = this.#load(record.service, record.queue);
    const before = ahead === undefined ? 0 : ahead < mostCounted ? ahead : Math.max(ahead, load?.queued ?? 0);
    const waitMs = this.#waitMs(record.service, load, before + 1);
    return waitMs === undefined ? undefined : waitMs + workMs;
  }

  #load(service: string, queue: number): QueueLoad | undefined {
    return this.#d.counts.of({ queue, service });
  }

  /** Until so many of a queue have been begun, those of other namespaces that get their turns in between included. */
  #waitMs(service: string, load: QueueLoad | undefined, begun: number): number | undefined {
    const { pace, clock } = this.#d;
    const concurrency = this.#d.service(service)?.concurrency ?? Number.POSITIVE_INFINITY;
    const turns = load
      ? Math.max(begun, Math.min(load.queuedOfService, begun * Math.max(1, load.queuesThatWait)))
      : begun;
    const parallel = Math.max(load?.running ?? 0, Number.isFinite(concurrency) ? concurrency : 1);
    return pace.waitMs({ service, ahead: turns, parallel, nowMs: clock.now() });
  }
}
