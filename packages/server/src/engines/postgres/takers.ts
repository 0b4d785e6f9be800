// Those who wait for work on this node: lease calls that found nothing.
//
// A submit on this node stores its operation as leased to the next of them, in its own commit. For all else there is a flag per queue, "there
// may be ready operations", raised by what this node writes, by hints of other nodes and by a slow poll; while it is up, takers are filled
// from the store, and once the store had less than was asked for it goes down.
import type { LeasedOperation, LeaseWanted } from '../../engine/engine.ts';
import type { Queues } from './queues.ts';

export interface Taker {
  readonly wanted: LeaseWanted;
  leases: LeasedOperation[];
  bytes: number;
  /** Submissions under way that are stored as leased to it. */
  reserved: number;
  /** A statement that leases for it is under way. */
  filling: boolean;
  /** It has been given something and leaves as soon as nothing is under way for it. */
  leaving: boolean;
  gone: boolean;
  resolve(leases: LeasedOperation[]): void;
}

export interface Filled {
  leases: LeasedOperation[];
  /** The store may have more for this taker. */
  more: boolean;
  /** Why a further statement, which may have leased more, was not answered. */
  lost?: unknown;
}

const hasRoom = (taker: Taker): boolean =>
  !taker.leaving &&
  !taker.gone &&
  !taker.filling &&
  taker.leases.length + taker.reserved < taker.wanted.max &&
  taker.bytes < taker.wanted.maxBytes;

export class Takers {
  readonly #lines = new Map<string, Taker[]>();
  readonly #queues: Queues;
  readonly #fill: (queues: readonly number[], taker: Taker) => Promise<Filled>;
  /** Queues that may have ready operations, with the number of times that was said. */
  readonly #ready = new Map<number, number>();
  readonly #feeding = new Set<string>();
  #said = 0;

  constructor({
    queues,
    fill,
  }: {
    queues: Queues;
    fill: (queues: readonly number[], taker: Taker) => Promise<Filled>;
  }) {
    this.#queues = queues;
    this.#fill = fill;
  }

  /** Nobody here has found since that there is nothing in this queue. */
  isReady(queue: number): boolean {
    return this.#ready.has(queue);
  }

  /** Services somebody waits for. */
  get services(): string[] {
    return [...this.#lines].filter(([, line]) => line.length > 0).map(([service]) => service);
  }

  wait(wanted: LeaseWanted, signal: AbortSignal | undefined): Promise<LeasedOperation[]> {
    if (signal?.aborted) return Promise.resolve([]);
    return new Promise((resolve) => {
      const leave = (): void => {
        taker.gone = true;
        this.#settle(taker);
      };
      const taker: Taker = {
        wanted,
        leases: [],
        bytes: 0,
        reserved: 0,
        filling: false,
        leaving: false,
        gone: false,
        resolve: (leases) => {
          signal?.removeEventListener('abort', leave);
          resolve(leases);
        },
      };
      signal?.addEventListener('abort', leave, { once: true });
      const line = this.#lines.get(wanted.service);
      if (line) line.push(taker);
      else this.#lines.set(wanted.service, [taker]);
      this.feed(wanted.service);
    });
  }

  /** Lets everyone go with nothing; what is under way for them is theirs no more. */
  close(): void {
    for (const line of this.#lines.values()) {
      for (const taker of line) {
        taker.gone = true;
        taker.resolve(taker.leases);
      }
    }
    this.#lines.clear();
  }

  /** Somebody may find ready operations in these queues. */
  madeReady(queues: Iterable<number>): void {
    const services = new Set<string>();
    for (const id of queues) {
      const queue = this.#queues.known(id);
      if (!queue) continue;
      this.#ready.set(id, ++this.#said);
      services.add(queue.service);
    }
    for (const service of services) this.feed(service);
  }

  /** The next in line for an operation that is about to be stored; none while older ones may be ready. It then goes to the end of the line. */
  reserve(queue: number, bytes: number): Taker | undefined {
    if (this.#ready.has(queue)) return undefined;
    const at = this.#queues.known(queue);
    const line = at && this.#lines.get(at.service);
    if (!line) return undefined;
    for (const [i, taker] of line.entries()) {
      const { namespace, maxBytes } = taker.wanted;
      if ((namespace !== null && namespace !== at.namespace) || !hasRoom(taker)) continue;
      if (taker.leases.length + taker.reserved > 0 && taker.bytes + bytes > maxBytes) continue;
      taker.reserved++;
      taker.bytes += bytes;
      line.splice(i, 1);
      line.push(taker);
      return taker;
    }
    return undefined;
  }

  /** Ends a reservation: with the lease, or without where the operation was not stored. */
  give(taker: Taker, leased: LeasedOperation | undefined, bytes: number): void {
    taker.reserved--;
    if (leased) {
      taker.leases.push(leased);
      taker.leaving = true;
    } else taker.bytes -= bytes;
    this.#settle(taker);
  }

  #settle(taker: Taker): void {
    if (taker.reserved > 0 || taker.filling || !(taker.leaving || taker.gone)) return;
    const line = this.#lines.get(taker.wanted.service);
    const at = line?.indexOf(taker) ?? -1;
    if (!line || at < 0) return;
    line.splice(at, 1);
    if (line.length === 0) this.#lines.delete(taker.wanted.service);
    taker.resolve(taker.leases);
  }

  /** Fills takers from the queues that may have something, one statement at a time per service. */
  feed(service: string): void {
    if (this.#feeding.has(service)) return;
    const next = this.#next(service);
    if (!next) return;
    this.#feeding.add(service);
    void this.#feedOne(next.taker, next.queues).then((goOn) => {
      this.#feeding.delete(service);
      if (goOn) this.feed(service);
    });
  }

  #next(service: string): { taker: Taker; queues: number[] } | undefined {
    if (this.#ready.size === 0) return undefined;
    for (const taker of this.#lines.get(service) ?? []) {
      if (!hasRoom(taker) || taker.reserved > 0) continue;
      const queues = this.#queues.of(service, taker.wanted.namespace).filter((id) => this.#ready.has(id));
      if (queues.length > 0) return { taker, queues };
    }
    return undefined;
  }

  /** false when the store could not be asked: the poll tries again. */
  async #feedOne(taker: Taker, queues: readonly number[]): Promise<boolean> {
    const said = queues.map((id) => this.#ready.get(id));
    taker.filling = true;
    let goOn = true;
    try {
      const { leases, more } = await this.#fill(queues, taker);
      for (const leased of leases) {
        taker.leases.push(leased);
        taker.bytes += leased.bodyBytes;
        taker.leaving = true;
      }
      if (!more) for (const [i, id] of queues.entries()) if (this.#ready.get(id) === said[i]) this.#ready.delete(id);
    } catch {
      goOn = false;
    }
    taker.filling = false;
    this.#settle(taker);
    return goOn;
  }
}
