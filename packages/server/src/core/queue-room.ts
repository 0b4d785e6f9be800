// Whether a queue has room for one more: counts are read from the store and used up here, a part at a time, so that a queue is full on all nodes at nearly the same number.
import type { Engine } from '../engine/engine.ts';

/** A count is used no longer than this: other nodes fill the queue too. */
const goodForMs = 1000;
/** And no more of the room it showed than this part, so that nodes which read the same count do not fill the same room twice. */
const usedAtOnce = 0.25;
/** Queues remembered; a forgotten one is counted anew. */
const mostQueues = 10_000;

interface Room {
  readAt: number;
  /** What may still be taken on the last count. */
  left: number;
  /** Taken and not yet answered by the store. */
  inFlight: number;
  /** Taken since the count under way began. */
  since: number;
  reading: Promise<boolean> | undefined;
  /** The count that begins when the one under way has ended. */
  next: Promise<boolean> | undefined;
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
    if (room.left > 0 && this.#now() - room.readAt < goodForMs) return this.#taken(room);
    return this.#takeCounted(queue, room, most);
  }

  /** The store has answered: what it made is in its own count from now on. */
  answered(queue: number): void {
    const room = this.#rooms.get(queue);
    if (room && room.inFlight > 0) room.inFlight--;
  }

  #room(queue: number): Room {
    let room = this.#rooms.get(queue);
    if (!room) {
      room = { readAt: Number.NEGATIVE_INFINITY, left: 0, inFlight: 0, since: 0, reading: undefined, next: undefined };
      this.#rooms.set(queue, room);
      if (this.#rooms.size > mostQueues) this.#rooms.delete(this.#rooms.keys().next().value!);
    }
    return room;
  }

  #taken(room: Room): true {
    room.left--;
    room.inFlight++;
    room.since++;
    return true;
  }

  async #takeCounted(queue: number, room: Room, most: number): Promise<boolean> {
    for (;;) {
      const hasRoom = await this.#count(queue, room, most);
      if (!hasRoom) return false;
      if (room.left > 0) return this.#taken(room);
    }
  }

  /** A count that begins after this call; one for all who ask meanwhile. True when there was room, or nobody knows. */
  #count(queue: number, room: Room, most: number): Promise<boolean> {
    if (!room.reading) return (room.reading = this.#read(queue, room, most));
    return (room.next ??= room.reading.then(() => {
      room.next = undefined;
      return (room.reading = this.#read(queue, room, most));
    }));
  }

  async #read(queue: number, room: Room, most: number): Promise<boolean> {
    // What is in flight may or may not be counted yet: it is taken to be not, so that the queue is rather a little short than over-full.
    const before = room.inFlight;
    room.since = 0;
    try {
      const [row] = await this.#engine.counts([queue]);
      const free = most - (row?.counts.queued ?? 0) - before - room.since;
      room.left = Math.ceil(Math.max(0, free) * usedAtOnce);
      return free > 0;
    } catch {
      // A store that cannot be read says so itself when it is to write.
      room.left = Math.max(1, room.left);
      return true;
    } finally {
      room.readAt = this.#now();
      room.reading = undefined;
    }
  }
}
