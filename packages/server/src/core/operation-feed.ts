// Who follows which operation, event by event. However many follow one, its changes are read once and told to all of them in the same turn; who comes
// later reads what was before in parts, as fast as it takes them.
import { WaitlessError } from '@waitless/protocol';
import type { Engine, OperationRecord } from '../engine/engine.ts';
import { noSuchOperation } from './fetch.ts';
import type { Ids } from './ids.ts';
import type { Live } from './live.ts';
import { eventsOf, type OperationEvent } from './operation-events.ts';

/** Rows of a timeline read at once: with the largest progress data 8 MB. */
const partRows = 500;

export interface FeedDependencies {
  engine: Pick<Engine, 'operation' | 'timeline'>;
  live: Pick<Live, 'follow'>;
  ids: Pick<Ids, 'operationId'>;
}

/** Why nothing more comes: its last event was told, the server stops, the store has forgotten it, or the past could not be read. */
export type FeedEnd = 'done' | 'stopped' | 'forgotten' | 'failed';

/** Who is told of an operation. Called in the very turn in which the news came, so nothing in here may wait. */
export interface Follower {
  /** The next events, in order and without a gap. What is new comes as one array to all who follow, so that it is put into words once. */
  take(events: readonly OperationEvent[]): void;
  /** Asked between two parts of the past: they come as fast as this resolves, and at once without a promise. What is new waits for nobody. */
  ready(): Promise<void> | undefined;
  /** From now on it is told what is new. */
  caughtUp?(): void;
  /** Called once, unless it has left before. */
  ended(why: FeedEnd, error?: unknown): void;
}

export interface AttachOptions {
  /** Newest version that the follower knows of; 0: none. */
  after: number;
  follower: Follower;
}

export class OperationFeeds {
  readonly #d: FeedDependencies;
  readonly #feeds = new Map<number, Feed>();

  constructor(dependencies: FeedDependencies) {
    this.#d = dependencies;
  }

  /** Every event after one, up to the record's version, in parts. */
  async *past(record: OperationRecord, { after }: { after: number }): AsyncGenerator<OperationEvent[], void, void> {
    while (after < record.version) {
      const part = await partOf(this.#d, record, { after, upTo: record.version });
      yield part.events;
      after = part.upTo;
    }
  }

  /**
   * Tells the follower every event after one, to the last; never before this has returned. It leaves with the function that this gives, and hears
   * nothing from then on. Nobody is counted here: whoever holds a connection for it has made sure that there is room for that.
   */
  attach(record: OperationRecord, { after, follower }: AttachOptions): () => void {
    const seat: Seat = { follower, seen: after, live: false, left: false };
    const feed = record.finishedAt === null ? this.#feedOf(record) : undefined;
    feed?.join(seat);
    void this.#catchUp(seat, { record, feed });
    return () => {
      seat.left = true;
      feed?.leave(seat);
    };
  }

  /** Reads the past until it meets what the feed has told, and goes on with that: between the two nothing can happen. */
  async #catchUp(seat: Seat, { record, feed }: { record: OperationRecord; feed: Feed | undefined }): Promise<void> {
    // Whoever attaches has yet to learn how to leave.
    await Promise.resolve();
    try {
      for (;;) {
        if (seat.left) return;
        const newest = feed && feed.record.version > record.version ? feed.record : record;
        if (seat.seen >= newest.version) {
          if (newest.finishedAt !== null) end(seat, 'done');
          else if (feed!.over) end(seat, feed!.over);
          else seat.live = true;
          break;
        }
        if (feed?.over && feed.over !== 'done') return end(seat, feed.over);
        const part = await partOf(this.#d, newest, { after: seat.seen, upTo: newest.version });
        if (seat.left) return;
        seat.seen = part.upTo;
        seat.follower.take(part.events);
        await seat.follower.ready();
      }
      if (seat.live) seat.follower.caughtUp?.();
      else feed?.leave(seat);
    } catch (error) {
      feed?.leave(seat);
      const forgotten = error instanceof WaitlessError && error.code === 'not-found';
      end(seat, forgotten ? 'forgotten' : 'failed', error);
    }
  }

  #feedOf(record: OperationRecord): Feed {
    const found = this.#feeds.get(record.seq);
    if (found) return found;
    const feed = new Feed(this.#d, record, (ended) => {
      if (this.#feeds.get(record.seq) === ended) this.#feeds.delete(record.seq);
    });
    if (!feed.over) this.#feeds.set(record.seq, feed);
    return feed;
  }
}

/** The place of one follower. */
interface Seat {
  readonly follower: Follower;
  /** Up to here it was told, or knew already. */
  seen: number;
  /** It has caught up, and is told what is new. */
  live: boolean;
  left: boolean;
}

function end(seat: Seat, why: FeedEnd, error?: unknown): void {
  if (seat.left) return;
  seat.left = true;
  seat.follower.ended(why, error);
}

/** The events after a version that stand in one part of the timeline. */
async function partOf(
  { engine, ids }: Pick<FeedDependencies, 'engine' | 'ids'>,
  record: OperationRecord,
  { after, upTo: last }: { after: number; upTo: number },
): Promise<{ events: OperationEvent[]; upTo: number }> {
  const { seq, nonce, namespace } = record;
  const rows = await engine.timeline(seq, { from: after, limit: partRows });
  const whole = rows.length < partRows;
  const upTo = whole ? last : Math.min(rows.at(-1)!.version, last);
  // The attempt that is under way there may have ended in a later part.
  if (!whole) rows.push(...(await engine.timeline(seq, { from: rows.at(-1)!.version + 1, limit: 1, attempts: true })));
  // What is forgotten meanwhile takes its rows along, and without them its versions would tell another story.
  if (record.finishedAt !== null && !(await engine.operation({ seq, nonce, namespace }))) throw noSuchOperation();
  return { events: eventsOf(record, rows, { id: ids.operationId(record), after, upTo }), upTo };
}

/** One operation that somebody here follows. */
class Feed {
  /** As it was read last. */
  record: OperationRecord;
  /** Why nobody is told anything any more. */
  over: FeedEnd | undefined;
  /** Up to which version those who follow were told. */
  #told: number;
  readonly #d: FeedDependencies;
  readonly #seats = new Set<Seat>();
  readonly #ended: (feed: Feed) => void;
  #unfollow: (() => void) | undefined;
  #reading = false;
  #again = false;

  constructor(dependencies: FeedDependencies, record: OperationRecord, ended: (feed: Feed) => void) {
    this.#d = dependencies;
    this.record = record;
    this.#told = record.version;
    this.#ended = ended;
    this.#unfollow = dependencies.live.follow(record.seq, {
      changed: (version) => {
        if (version > this.#told) void this.#look();
      },
      gone: () => void this.#look(),
      stopped: () => this.#end('stopped'),
    });
    // What happened between the reading of the record and this moment woke nobody.
    if (this.over) this.#unfollow();
    else void this.#look();
  }

  join(seat: Seat): void {
    if (!this.over) this.#seats.add(seat);
  }

  leave(seat: Seat): void {
    if (this.#seats.delete(seat) && this.#seats.size === 0) this.#end('done');
  }

  /** Reads what is new, once for all; a hint that comes meanwhile makes it read once more. */
  async #look(): Promise<void> {
    this.#again = true;
    if (this.#reading) return;
    this.#reading = true;
    try {
      while (this.#again && !this.over) {
        this.#again = false;
        await this.#tellNews();
      }
    } catch {
      // A store that cannot be read now is read when the slow poll comes by.
    } finally {
      this.#reading = false;
    }
  }

  async #tellNews(): Promise<void> {
    const { seq, nonce, namespace } = this.record;
    const record = await this.#d.engine.operation({ seq, nonce, namespace });
    if (!record) return this.#end('forgotten');
    this.record = record;
    while (this.#told < record.version && !this.over) {
      const { events, upTo } = await partOf(this.#d, record, { after: this.#told, upTo: record.version });
      this.#told = upTo;
      for (const seat of this.#seats) if (seat.live) this.#tell(seat, events);
    }
    if (record.finishedAt !== null) this.#end('done');
  }

  #tell(seat: Seat, told: readonly OperationEvent[]): void {
    // Who has caught up by itself may be ahead of the others.
    const events = told[0]!.version > seat.seen ? told : told.filter(({ version }) => version > seat.seen);
    if (events.length === 0) return;
    seat.seen = events.at(-1)!.version;
    try {
      seat.follower.take(events);
    } catch (error) {
      // One that cannot be told must not keep it from the others.
      this.#seats.delete(seat);
      end(seat, 'failed', error);
    }
  }

  /** Those who are still reading of the past go on to the last event by themselves. */
  #end(why: FeedEnd): void {
    if (this.over) return;
    this.over = why;
    this.#unfollow?.();
    this.#ended(this);
    for (const seat of this.#seats) if (seat.live || why !== 'done') end(seat, why);
    this.#seats.clear();
  }
}
