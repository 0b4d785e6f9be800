// Whether a queue has room for one more: counts are read from the store and used up here, a part at a time, so that a queue is full on all nodes at nearly the same number.
import type { Engine } from '../engine/engine.ts';

/** A count is used no longer than this: other nodes fill the queue too. */
const goodForMs = 1000;
/** And no more of the room it showed than this part, so that nodes which read the same count do not fill the same room twice. */
const usedAtOnce = 0.25;
/** While a larger part of the room than this is on its way to the store, nothing is counted: other nodes could not see it in their counts either. */
const mostUnseen = 0.125;
/** Queues remembered; a forgotten one is counted anew. */
const mostQueues = 10_000;

interface Waiter {
  most: number;
  wanted: number;
  /** Takes what it can get at once: a batch holds places that are not on their way yet, and must not wait for others that do the same. */
  atOnce: boolean;
  answer: (places: number) => void;
}

interface Room {
  readAt: number;
  /** What the last count showed, less what was taken since. */
  free: number;
  /** What may still be taken on the last count. */
  left: number;
  /** Taken and not yet answered by the store. */
  inFlight: number;
  /** Those who ask since the last count was used up, in their order. */
  waiting: Waiter[];
  counting: boolean;
  /** Ends the pause until nothing is in flight. */
  landed: (() => void) | undefined;
}

export class QueueRoom {
  readonly #engine: Pick<Engine, 'counts'>;
  readonly #now: () => number;
  readonly #rooms = new Map<number, Room>();

  /** @param now milliseconds of this process that never go back */
  constructor(engine: Pick<Engine, 'counts'>, now: () => number = () => performance.now()) {
    this.#engine = engine;
    this.#now = now;
  }

  /** Takes a place, to be given up with `answered`; false when at least `most` wait or are on their way. Asks the store only where it has to. */
  take(queue: number, most: number): boolean | Promise<boolean> {
    const room = this.#room(queue);
    if (room.left > 0 && room.waiting.length === 0 && this.#now() - room.readAt < goodForMs) {
      hold(room, 1);
      return true;
    }
    return new Promise((answer) => {
      room.waiting.push({ most, wanted: 1, atOnce: false, answer: (places) => answer(places === 1) });
      if (!room.counting) void this.#serve(queue, room);
    });
  }

  /** Takes so many places for a batch, or as many as there are; each is given up with `answered`. */
  takeUpTo(wanted: number, queue: number, most: number): Promise<number> {
    const room = this.#room(queue);
    return new Promise((answer) => {
      room.waiting.push({ most, wanted, atOnce: true, answer });
      room.landed?.();
      if (!room.counting) void this.#serve(queue, room);
    });
  }

  /** The store has answered: what it made is in its own count from now on. */
  answered(queue: number): void {
    const room = this.#rooms.get(queue);
    if (!room || room.inFlight === 0) return;
    room.inFlight--;
    if (room.inFlight === 0) room.landed?.();
  }

  #room(queue: number): Room {
    let room = this.#rooms.get(queue);
    if (!room) {
      room = {
        readAt: Number.NEGATIVE_INFINITY,
        free: 0,
        left: 0,
        inFlight: 0,
        waiting: [],
        counting: false,
        landed: undefined,
      };
      this.#rooms.set(queue, room);
      if (this.#rooms.size > mostQueues) this.#forgetOne();
    }
    return room;
  }

  #forgetOne(): void {
    for (const [queue, { inFlight, counting }] of this.#rooms) {
      if (inFlight > 0 || counting) continue;
      this.#rooms.delete(queue);
      return;
    }
  }

  /** Counts until nobody waits. Of those who asked before a count only as many as it shows room for go on waiting, so that no crowd gathers. */
  async #serve(queue: number, room: Room): Promise<void> {
    room.counting = true;
    while (room.waiting.length > 0) {
      room.left = 0;
      if (room.inFlight > room.free * mostUnseen && !room.waiting.some(({ atOnce }) => atOnce)) {
        await new Promise<void>((resolve) => (room.landed = resolve));
        room.landed = undefined;
      }
      const asked = room.waiting.length;
      // What is in flight may or may not be counted yet: it is taken to be not, so that the queue is rather a little short than over-full.
      const unseen = room.inFlight;
      const queued = await this.#queued(queue);
      room.readAt = this.#now();
      // A store that cannot be read says so itself when it is to write.
      room.free =
        queued === undefined ? Number.POSITIVE_INFINITY : Math.max(0, room.waiting[0]!.most - queued - unseen);
      room.left = Math.ceil(room.free * usedAtOnce);
      const first = room.waiting.splice(0, asked);
      const rest: Waiter[] = [];
      for (const waiter of first) {
        const places = Math.min(waiter.wanted, waiter.atOnce ? room.free : Math.min(room.left, room.free));
        if (places === 0 && !waiter.atOnce) rest.push(waiter);
        else {
          hold(room, places);
          waiter.answer(places);
        }
      }
      room.waiting.unshift(...rest.splice(0, room.free));
      for (const { answer } of rest) answer(0);
      if (queued === undefined) room.left = room.free = 0;
    }
    room.counting = false;
  }

  async #queued(queue: number): Promise<number | undefined> {
    const rows = await this.#engine.counts([queue]).catch(() => undefined);
    return rows && (rows[0]?.counts.queued ?? 0);
  }
}

function hold(room: Room, places: number): void {
  room.left = Math.max(0, room.left - places);
  room.free -= places;
  room.inFlight += places;
}
