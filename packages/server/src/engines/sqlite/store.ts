// The state of the store's thread: the open database, what it knows by heart, and who waits for work.
import type { Queue } from '../../engine/engine.ts';
import type { Db } from './database.ts';
import { Takers } from './takers.ts';

/** Bodies up to this stand in their row; larger ones in parts, so that no reader needs the whole in memory. */
export const inlineBytes = 131_072;
export const partBytes = 131_072;

/** Keys are reserved in blocks so that a key is never given out twice, not even one whose row a crash lost. */
const seqBlock = 4096;

/** Columns of the queue table in order of stage; ready and waiting are both `queued`. */
const counterOf = [0, 0, 1, 2, 3, 4] as const;

export class Store {
  readonly db: Db;
  readonly takers: Takers = new Takers();
  /** The caller's time of the message that is being worked on. */
  nowMs: number;
  /** Earliest moment at which the clock has something to say about an open operation. */
  timerAt: number = Number.POSITIVE_INFINITY;
  /**
   * How long the process has stood still in all: stopped, suspended, or between two runs. Lease ends are kept on a time line without these
   * pauses, so that a worker that could not reach us keeps what was left of its lease.
   */
  pausedMs: number;
  /** Shares of which what is stored or under way was changed in this group. */
  readonly changedShares = new Set<string>();
  readonly queues = new Map<number, Queue>();
  /** Queues of which somebody wants the transitions as events. */
  readonly publishing = new Set<number>();
  /** Told of each queue that is made. */
  onQueue: (queue: Queue) => void = () => {};
  readonly #queueIds = new Map<string, number>();
  readonly #queuesOfService = new Map<string, number[]>();
  /** Changes of the counters in this group: queue → five sums. */
  readonly #counterChanges = new Map<number, number[]>();
  #nextSeq: number;
  #seqLimit: number;
  readonly #saveMeta;
  readonly #addQueue;
  readonly #addCounts;

  constructor(db: Db, nowMs: number) {
    this.db = db;
    this.nowMs = nowMs;
    const meta = db.prepare<[string], number>('SELECT value FROM meta WHERE key = ?').pluck();
    this.#saveMeta = db.prepare(
      'INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value',
    );
    this.#addQueue = db.prepare('INSERT INTO queue (namespace, service) VALUES (?, ?)');
    this.#addCounts = db.prepare(
      'UPDATE queue SET queued = queued + ?, running = running + ?, succeeded = succeeded + ?, failed = failed + ?, cancelled = cancelled + ? WHERE id = ?',
    );
    this.pausedMs = meta.get('paused') ?? 0;
    this.#nextSeq = this.#seqLimit = (meta.get('next_seq') ?? 0) + 1;
    this.#loadQueues();
  }

  #loadQueues(): void {
    this.queues.clear();
    this.#queueIds.clear();
    this.#queuesOfService.clear();
    for (const queue of this.db.prepare<[], Queue>('SELECT id, namespace, service FROM queue').all())
      this.#rememberQueue(queue);
  }

  #rememberQueue(queue: Queue): void {
    this.queues.set(queue.id, queue);
    this.#queueIds.set(`${queue.namespace}/${queue.service}`, queue.id);
    const ids = this.#queuesOfService.get(queue.service);
    if (ids) ids.push(queue.id);
    else this.#queuesOfService.set(queue.service, [queue.id]);
  }

  queue(namespace: string, service: string): Queue {
    const known = this.#queueIds.get(`${namespace}/${service}`);
    if (known !== undefined) return this.queues.get(known)!;
    const queue = { id: Number(this.#addQueue.run(namespace, service).lastInsertRowid), namespace, service };
    this.#rememberQueue(queue);
    this.onQueue(queue);
    return queue;
  }

  /** Queues of a service in every namespace, or in one. */
  queuesOf(service: string, namespace: string | null): readonly number[] {
    if (namespace === null) return this.#queuesOfService.get(service) ?? [];
    const id = this.#queueIds.get(`${namespace}/${service}`);
    return id === undefined ? [] : [id];
  }

  /** Now on the time line of the leases. */
  get leaseNow(): number {
    return this.nowMs - this.pausedMs;
  }

  nextSeq(): number {
    if (this.#nextSeq >= this.#seqLimit) {
      this.#seqLimit = this.#nextSeq + seqBlock;
      this.#saveMeta.run('next_seq', this.#seqLimit - 1);
    }
    return this.#nextSeq++;
  }

  /** Moves an operation between counters; null is "not there". */
  count(queue: number, from: number | null, to: number | null): void {
    let sums = this.#counterChanges.get(queue);
    if (!sums) this.#counterChanges.set(queue, (sums = [0, 0, 0, 0, 0]));
    if (from !== null) sums[counterOf[from as 0]]! -= 1;
    if (to !== null) sums[counterOf[to as 0]]! += 1;
  }

  /** Writes what the group changed in the counters: one row per queue, however many operations. */
  flushCounters(): void {
    for (const [queue, sums] of this.#counterChanges) {
      if (sums.some((n) => n !== 0)) this.#addCounts.run(...sums, queue);
    }
    this.#counterChanges.clear();
  }

  /** After a rollback: forget what was not written. Keys given out stay given out. */
  forget(): void {
    this.changedShares.clear();
    this.#counterChanges.clear();
    this.#seqLimit = this.#nextSeq;
    this.#loadQueues();
  }

  /** An open operation wants the clock at this moment. */
  wake(atMs: number): void {
    if (atMs < this.timerAt) this.timerAt = atMs;
  }

  saveTime(): void {
    this.#saveMeta.run('last_time', this.nowMs);
    this.#saveMeta.run('paused', this.pausedMs);
  }
}
