// How much waits and runs in each queue: as the store counted it within the last second, and what happened on this node since. Asking the store for each
// submit would cost more than the submit.
import type { Engine } from '../engine/engine.ts';

/** While somebody asks, the counters are read this often. Where nobody asks, they are not. */
const everyMs = 1000;
/** And never so often that reading them takes more than this part of the time. */
const mostPart = 0.02;
/** What is older says nothing of now. */
const staleMs = 2000;

export interface QueueLoad {
  /** Waiting in this queue. */
  queued: number;
  /** Waiting in all namespaces' queues of the service. */
  queuedOfService: number;
  /** How many of those queues have something that waits: they take turns. */
  queuesThatWait: number;
  /** Under way in the service, on all nodes. */
  running: number;
}

interface Counted {
  queued: number;
  running: number;
}

interface Sums extends Counted {
  queues: number;
}

const nothing: Sums = { queued: 0, queues: 0, running: 0 };

export class QueueCounts {
  readonly #engine: Pick<Engine, 'counts'>;
  readonly #now: () => number;
  #queued = new Map<number, number>();
  #services = new Map<string, Sums>();
  #readAt = Number.NEGATIVE_INFINITY;
  #nextAt = Number.NEGATIVE_INFINITY;
  #reading = false;

  /** @param now milliseconds that never go back */
  constructor(engine: Pick<Engine, 'counts'>, now: () => number) {
    this.#engine = engine;
    this.#now = now;
  }

  /** Somebody is about to ask: what was counted too long ago is counted anew meanwhile. */
  look(): void {
    if (!this.#reading && this.#now() >= this.#nextAt) void this.#read();
  }

  /** This node has put one into the queue, begun one, or ended one. */
  moved({ queue, service }: { queue: number; service: string }, { queued = 0, running = 0 }: Partial<Counted>): void {
    const sums = this.#sums(service);
    const before = this.#queued.get(queue) ?? 0;
    // One may be leased before its submit has been answered, so it may be less than none for a moment.
    const after = before + queued;
    if (after === 0) this.#queued.delete(queue);
    else this.#queued.set(queue, after);
    sums.queues += Number(after > 0) - Number(before > 0);
    sums.queued += queued;
    sums.running += running;
  }

  /** What was counted last; undefined where that is too long ago. */
  of({ queue, service }: { queue: number; service: string }): QueueLoad | undefined {
    this.look();
    if (this.#now() - this.#readAt > staleMs) return undefined;
    const sums = this.#services.get(service) ?? nothing;
    return {
      queued: Math.max(0, this.#queued.get(queue) ?? 0),
      queuedOfService: Math.max(0, sums.queued),
      queuesThatWait: sums.queues,
      running: Math.max(0, sums.running),
    };
  }

  #sums(service: string): Sums {
    let sums = this.#services.get(service);
    if (!sums) this.#services.set(service, (sums = { ...nothing }));
    return sums;
  }

  async #read(): Promise<void> {
    this.#reading = true;
    const begunAt = this.#now();
    // A store that cannot be read now is read the next time; until then what was known grows old.
    const rows = await this.#engine.counts().catch(() => undefined);
    const endedAt = this.#now();
    this.#reading = false;
    this.#nextAt = endedAt + Math.max(everyMs, (endedAt - begunAt) / mostPart);
    if (!rows) return;
    this.#readAt = endedAt;
    this.#queued = new Map();
    this.#services = new Map();
    for (const { queue, counts } of rows) {
      if (counts.queued > 0) this.#queued.set(queue.id, counts.queued);
      const sums = this.#sums(queue.service);
      sums.queued += counts.queued;
      sums.running += counts.running;
      if (counts.queued > 0) sums.queues++;
    }
  }
}

/** Summed over namespaces, so that the number of series is bounded by the operator's own services. */
export function operationTotals(
  counts: Awaited<ReturnType<Engine['counts']>>,
): { service: string; status: string; count: number }[] {
  const sums = new Map<string, { service: string; status: string; count: number }>();
  for (const { queue, counts: byStatus } of counts) {
    for (const [status, count] of Object.entries(byStatus)) {
      const sum = sums.get(`${queue.service} ${status}`);
      if (sum) sum.count += count;
      else sums.set(`${queue.service} ${status}`, { service: queue.service, status, count });
    }
  }
  return [...sums.values()];
}
