// Those who wait for work: lease calls parked in the store, so that an operation that arrives can be stored as leased in its own commit.
//
// While a taker is parked there is no ready operation in the queues it takes from: whoever makes one ready offers it here first.
import type { LeasedRow } from './lease-wire.ts';

export interface Taker {
  call: number;
  service: string;
  /** null: every namespace. */
  namespace: string | null;
  kind: number;
  worker: string | null;
  max: number;
  maxBytes: number;
  leaseMs: number;
  leases: LeasedRow[];
  bytes: number;
}

const hasRoom = (taker: Taker): boolean => taker.leases.length < taker.max && taker.bytes < taker.maxBytes;

export class Takers {
  readonly #parked = new Map<string, Taker[]>();
  /** Takers that got something in this group; they are answered after the commit. */
  readonly #served = new Set<Taker>();
  /** Who came and who left in this group, to be undone by a rollback. */
  #came: Taker[] = [];
  #left: Taker[] = [];

  park(taker: Taker): void {
    this.#came.push(taker);
    this.#enqueue(taker);
  }

  #enqueue(taker: Taker): void {
    const line = this.#parked.get(taker.service);
    if (line) line.push(taker);
    else this.#parked.set(taker.service, [taker]);
  }

  /** Takes one out of the line, unless it was given something in this group: then the commit answers it. */
  unpark(call: number): Taker | undefined {
    for (const line of this.#parked.values()) {
      const taker = line.find((t) => t.call === call);
      if (!taker) continue;
      if (taker.leases.length > 0) return undefined;
      this.#left.push(taker);
      this.#dequeue(taker);
      return taker;
    }
    return undefined;
  }

  #dequeue(taker: Taker): void {
    const line = this.#parked.get(taker.service);
    const at = line?.indexOf(taker) ?? -1;
    if (at >= 0) line!.splice(at, 1);
  }

  /** The next in line that takes from this namespace; it then goes to the end, so that equal takers get equal shares of a burst. */
  next(service: string, namespace: string): Taker | undefined {
    const line = this.#parked.get(service);
    if (!line) return undefined;
    for (let i = 0; i < line.length; i++) {
      const taker = line[i]!;
      if ((taker.namespace === null || taker.namespace === namespace) && hasRoom(taker)) {
        line.splice(i, 1);
        line.push(taker);
        return taker;
      }
    }
    return undefined;
  }

  give(taker: Taker, leased: LeasedRow): void {
    taker.leases.push(leased);
    taker.bytes += leased.bodyBytes;
    this.#served.add(taker);
  }

  /** After the commit: the takers to answer, no longer parked. */
  committed(): Taker[] {
    this.#came = [];
    this.#left = [];
    if (this.#served.size === 0) return [];
    const served = [...this.#served];
    this.#served.clear();
    for (const taker of served) this.#dequeue(taker);
    return served;
  }

  /** After a rollback: nobody came, left or got anything. */
  rolledBack(): void {
    for (const taker of this.#served) {
      taker.leases = [];
      taker.bytes = 0;
    }
    this.#served.clear();
    for (const taker of this.#came) this.#dequeue(taker);
    for (const taker of this.#left) if (!this.#came.includes(taker)) this.#enqueue(taker);
    this.#came = [];
    this.#left = [];
  }
}
