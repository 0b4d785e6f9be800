// What each service's recent operations took and how fast they end, from which Retry-After and the estimated completion are learned. In memory and
// of this process only: it is advice, not state.
import { Durations } from './durations.ts';

/** Finishes are counted in so many slices of so much time: the last minute. */
const slices = 12;
const sliceMs = 5000;
/** Polls rarer than this make people think that nothing happens. */
const longestSeconds = 60;
const leastSeconds = 1;
/** Of what takes longer than anything before, this part of the time so far is expected on top: asked for less and less often. */
const overduePart = 0.25;
const leastOverdueMs = 1000;
/** Queues whose finishes are counted; the one that ended nothing for the longest time is forgotten first. */
const mostQueues = 10_000;

/** Finishes of the last minute. */
class Finishes {
  readonly #counts = new Uint32Array(slices);
  #slice = 0;

  add(nowMs: number): void {
    this.#moveTo(nowMs);
    this.#counts[this.#slice % slices]!++;
  }

  #moveTo(nowMs: number): void {
    const slice = Math.floor(nowMs / sliceMs);
    if (slice - this.#slice >= slices) this.#counts.fill(0);
    else for (let i = this.#slice + 1; i <= slice; i++) this.#counts[i % slices] = 0;
    // Time never goes back, but callers may have read it in another order.
    this.#slice = Math.max(this.#slice, slice);
  }

  lately(nowMs: number): number {
    this.#moveTo(nowMs);
    return this.#counts.reduce((sum, n) => sum + n, 0);
  }
}

export interface Finished {
  service: string;
  queue: number;
  /** From the attempt's begin to its end; null where the end says nothing about the work, as when a backend could not be reached. */
  workMs: number | null;
  nowMs: number;
}

/** What is known of the queue when something is to be estimated. */
export interface Standing {
  service: string;
  /** Operations that are begun before this one. */
  ahead: number;
  /** Attempts of the service that are or may be under way at once. */
  parallel: number;
  nowMs: number;
}

export interface Recent {
  p50Ms: number | null;
  p90Ms: number | null;
  /** Operations of one queue that ended within the last minute. */
  perMinute: number;
}

export class Pace {
  readonly #services = new Map<string, { work: Durations; finishes: Finishes }>();
  /** In the order of their last finish. */
  readonly #queues = new Map<number, Finishes>();

  /** An operation ended. */
  finished({ service, queue, workMs, nowMs }: Finished): void {
    let of = this.#services.get(service);
    if (!of) this.#services.set(service, (of = { work: new Durations(), finishes: new Finishes() }));
    if (workMs !== null) of.work.add(workMs);
    of.finishes.add(nowMs);
    const finishes = this.#queues.get(queue) ?? new Finishes();
    this.#queues.delete(queue);
    this.#queues.set(queue, finishes);
    if (this.#queues.size > mostQueues) this.#queues.delete(this.#queues.keys().next().value!);
    finishes.add(nowMs);
  }

  /** The service is gone: what another one of its name takes is learned anew. */
  forget(service: string): void {
    this.#services.delete(service);
  }

  /**
   * Until an operation that has so many before it is begun; undefined while nothing is known. Either what ended lately tells how fast the queue
   * drains, or, where little came in lately, how long the work takes and how much of it is done at once.
   */
  waitMs({ service, ahead, parallel, nowMs }: Standing): number | undefined {
    const of = this.#services.get(service);
    const usualMs = of?.work.quantile(0.5);
    const seen = (of?.finishes.lately(nowMs) ?? 0) / (slices * sliceMs);
    const possible = usualMs === undefined ? 0 : Math.max(1, parallel) / Math.max(1, usualMs);
    const perMs = Math.max(seen, possible);
    return perMs === 0 ? undefined : ahead / perMs;
  }

  /** What is left of work that has gone on for so long; undefined while nothing is known. What is overdue moves on. */
  leftMs(service: string, soFarMs: number): number | undefined {
    const work = this.#services.get(service)?.work;
    if (!work?.known) return undefined;
    const whole = soFarMs <= 0 ? work.quantile(0.5) : work.beyond(soFarMs);
    return whole === undefined ? Math.max(leastOverdueMs, soFarMs * overduePart) : whole - soFarMs;
  }

  recent({ service, queue, nowMs }: { service: string; queue: number | undefined; nowMs: number }): Recent {
    const work = this.#services.get(service)?.work;
    const finishes = queue === undefined ? undefined : this.#queues.get(queue);
    const whole = (ms: number | undefined): number | null => (ms === undefined ? null : Math.round(ms));
    return {
      p50Ms: whole(work?.quantile(0.5)),
      p90Ms: whole(work?.quantile(0.9)),
      perMinute: finishes?.lately(nowMs) ?? 0,
    };
  }
}

/** Whole seconds until a client should ask again: what is left, or a growing part of the time waited where nothing is known. */
export function retryAfterSeconds(leftMs: number | undefined, waitedMs: number): number {
  const ms = leftMs ?? Math.max(0, waitedMs) * overduePart;
  return Math.min(longestSeconds, Math.max(leastSeconds, Math.ceil(ms / 1000)));
}
