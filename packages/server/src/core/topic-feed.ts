// Who follows which topics, event by event. However many follow those of a namespace, what is new is read once and told to all of them in the same
// turn; who wants what was before reads it in parts, as fast as it takes them, until it meets what is told to all.
import type { LoggedEvent, TopicEngine } from '../engine/topics.ts';
import type { Engine } from '../engine/engine.ts';
import type { EventFilter } from './event-filter.ts';
import { type EventPlace, type PlaceReset, resetOf } from './event-place.ts';
import { attributesOf } from './event-taking.ts';
import type { Live } from './live.ts';
import { type Seat, TopicTail } from './topic-tail.ts';

/** Of the past in one go: what a reader of a common speed takes in a second or two. */
const partEvents = 500;
const partBytes = 1024 * 1024;
/** Longest that an event stays untold when a hint is lost. */
const pollMs = 5000;
/** Behind everything: asks for no event, and tells where the newest one stands. */
const behindAll = Number.MAX_SAFE_INTEGER;

/** `stopped`: the server stops; `failed`: the store could not be read. */
export type TopicFeedEnd = 'stopped' | 'failed';

/** Who is told of topics. Called in the very turn in which the news came, so nothing in here may wait. */
export interface TopicFollower {
  /** The next events, in order and without a gap; all who want the same are given the same array, so that it is put into words once. */
  take(events: readonly LoggedEvent[], epoch: string): void;
  /** It cannot go on as it wanted: what was missed, and from where it goes on. */
  reset(reset: PlaceReset, epoch: string): void;
  /** Asked between two parts of the past: they come as fast as this resolves, and at once without a promise. What is new waits for nobody. */
  ready(): Promise<void> | undefined;
  /** From now on it is told what is new. */
  caughtUp?(): void;
  /** Called once, unless it has left before. */
  ended(why: TopicFeedEnd, error?: unknown): void;
}

export interface TopicWish {
  namespace: string;
  /** Names or patterns; an event of any of them is told once. */
  topics: readonly string[];
  /** With its source text, by which those who want the same are known. */
  filter?: { text: string; test: EventFilter } | undefined;
}

export interface AttachOptions {
  /** `start`: the oldest event that is kept, whatever there was before. */
  place: EventPlace | 'start';
  /** The place is that of `newest`; any other one is compared with what the store keeps. */
  isNewest?: boolean;
  follower: TopicFollower;
}

/** The newest place of a namespace, as `newest` gives it: it need not be checked. */
export interface NewestPlace {
  position: number;
  epoch: string;
}

export interface TopicFeedDependencies {
  engine: Pick<TopicEngine, 'read'> & Pick<Engine, 'onSignal'>;
  live: Pick<Live, 'onStop'>;
  everyMs?: number | undefined;
}

export class TopicFeeds {
  readonly #d: TopicFeedDependencies;
  readonly #tails = new Map<string, TopicTail>();

  constructor(dependencies: TopicFeedDependencies) {
    this.#d = dependencies;
    dependencies.engine.onSignal((signal) => {
      if (signal.kind === 'events') this.#tails.get(signal.namespace)?.look();
    });
  }

  /** Where the log of a namespace ends: everything that was published before this was called stands before it. */
  async newest({ namespace, topics }: Pick<TopicWish, 'namespace' | 'topics'>): Promise<NewestPlace> {
    const { last, epoch } = await this.#d.engine.read({
      namespace,
      topics,
      after: behindAll,
      limit: 1,
      maxBytes: 1,
    });
    return { position: last, epoch };
  }

  /**
   * Tells the follower every event after a place; never before this has returned. It leaves with the function that this gives, and hears nothing from
   * then on. Nobody is counted here: whoever holds a connection for it has made sure that there is room for that.
   */
  attach(wish: TopicWish, { place, isNewest = false, follower }: AttachOptions): () => void {
    const tail = this.#tailOf(wish.namespace);
    const seat = tail.join(wish, { follower, place, isChecked: isNewest });
    void this.#catchUp(tail, seat);
    return () => tail.leave(seat);
  }

  #tailOf(namespace: string): TopicTail {
    const found = this.#tails.get(namespace);
    if (found) return found;
    const { engine, live, everyMs } = this.#d;
    let stayed: (() => void) | undefined;
    const tail: TopicTail = new TopicTail({
      engine,
      namespace,
      everyMs: everyMs ?? pollMs,
      fellBack: (seat) => void this.#catchUp(tail, seat),
      over: () => {
        stayed?.();
        if (this.#tails.get(namespace) === tail) this.#tails.delete(namespace);
      },
    });
    this.#tails.set(namespace, tail);
    // Where the stop has begun, the tail is over by the time that this returns.
    stayed = live.onStop(() => tail.end());
    return tail;
  }

  /** Reads the past until it meets what all are told: between the two nothing can happen. */
  async #catchUp(tail: TopicTail, seat: Seat): Promise<void> {
    // Whoever attaches has yet to learn how to leave.
    await Promise.resolve();
    const { follower } = seat;
    try {
      for (;;) {
        // What is being read for all may not have its topics yet.
        await tail.settled(seat);
        if (seat.left) return;
        if (tail.goOn(seat)) return follower.caughtUp?.();
        await this.#readPart(tail, seat);
        if (seat.left) return;
        await follower.ready();
      }
    } catch (error) {
      if (seat.left) return;
      tail.leave(seat);
      follower.ended(tail.stopped ? 'stopped' : 'failed', error);
    }
  }

  async #readPart({ namespace }: TopicTail, seat: Seat): Promise<void> {
    const { follower, group } = seat;
    const page = await this.#d.engine.read({
      namespace,
      topics: group.topics,
      after: seat.seen,
      limit: partEvents,
      maxBytes: partBytes,
    });
    if (seat.left) return;
    const { epoch } = page;
    const reset = resetOf({ position: seat.seen, epoch: seat.epoch }, page);
    seat.epoch = epoch;
    seat.isChecked = true;
    if (reset?.reason === 'history') {
      seat.seen = reset.to;
      seat.lost = page.removedTo;
      return follower.reset(reset, epoch);
    }
    // Other topics may still have what stands before that; once it is told, it is not told again.
    if (reset && page.removedTo > seat.lost && !seat.fromStart) {
      follower.reset(reset, epoch);
      if (seat.left) return;
    }
    seat.lost = Math.max(seat.lost, page.removedTo);
    seat.fromStart = false;
    seat.seen = Math.max(seat.seen, page.readTo);
    const { test } = group;
    const events = test ? page.events.filter((event) => test(attributesOf(event))) : page.events;
    if (events.length > 0) follower.take(events, epoch);
  }
}
