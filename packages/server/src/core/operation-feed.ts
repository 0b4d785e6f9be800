// Who follows which operation, event by event. However many follow one, its changes are read once and told to all of them; who comes later reads
// what was before in parts, as fast as it takes them.
import type { Engine, OperationRecord } from '../engine/engine.ts';
import { noSuchOperation } from './fetch.ts';
import type { Ids } from './ids.ts';
import type { Live } from './live.ts';
import { eventsOf, type OperationEvent } from './operation-events.ts';

/** Rows of a timeline read at once: with the largest progress data 8 MB. */
const partRows = 500;
/** What may lie unread for a follower before it is cut off, to come back by its last event. */
const mostEvents = 1000;
const mostBytes = 1024 * 1024;

export interface FeedDependencies {
  engine: Pick<Engine, 'operation' | 'timeline'>;
  live: Pick<Live, 'follow' | 'hold'>;
  ids: Pick<Ids, 'operationId'>;
}

export interface FollowOptions {
  /** Newest version that the follower knows of; 0: none. */
  after: number;
  /** An empty batch comes where nothing has happened for so long. */
  quietMs: number;
  /** Ends it. */
  signal: AbortSignal;
  /** Called when it reads too slowly; nothing comes after that. */
  tooSlow: () => void;
}

export class OperationFeeds {
  readonly #d: FeedDependencies;
  readonly #feeds = new Map<number, Feed>();

  constructor(dependencies: FeedDependencies) {
    this.#d = dependencies;
  }

  /** Every event after one, up to the record's version or an earlier one, in parts. */
  async *past(
    record: OperationRecord,
    { after, upTo = record.version }: { after: number; upTo?: number },
  ): AsyncGenerator<OperationEvent[], void, void> {
    while (after < upTo) {
      const part = await partOf(this.#d, record, { after, upTo });
      yield part.events;
      after = part.upTo;
    }
  }

  /**
   * Every event after one, to the last; it ends without that at a stop, or when the operation is forgotten. It counts as one that waits from the moment
   * it is read, and the caller has made sure that there is room.
   */
  async *follow(record: OperationRecord, options: FollowOptions): AsyncGenerator<OperationEvent[], void, void> {
    if (record.finishedAt !== null) return yield* this.past(record, options);
    const leave = this.#d.live.hold({ ensured: true });
    const follower = new Follower(options);
    const feed = this.#feedOf(record);
    feed.join(follower);
    try {
      // It is told of all that the feed has not told yet, so the two meet without a gap.
      const behind = feed.told > record.version;
      const upTo = behind ? feed.told : record.version;
      follower.seen = Math.max(upTo, options.after);
      yield* this.past(behind ? feed.record : record, { after: options.after, upTo });
      for (;;) {
        const batch = await follower.next();
        if (!batch) return;
        yield batch;
        if (batch.at(-1)?.done) return;
      }
    } finally {
      feed.leave(follower);
      follower.end();
      leave();
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
  /** Up to which version those who follow were told. */
  told: number;
  readonly #d: FeedDependencies;
  readonly #followers = new Set<Follower>();
  readonly #ended: (feed: Feed) => void;
  #unfollow: (() => void) | undefined;
  #reading = false;
  #again = false;
  /** Nobody is told anything any more. */
  over = false;

  constructor(dependencies: FeedDependencies, record: OperationRecord, ended: (feed: Feed) => void) {
    this.#d = dependencies;
    this.record = record;
    this.told = record.version;
    this.#ended = ended;
    this.#unfollow = dependencies.live.follow(record.seq, {
      changed: (version) => {
        if (version > this.told) void this.#look();
      },
      gone: () => void this.#look(),
      stopped: () => this.#end(),
    });
    // What happened between the reading of the record and this moment woke nobody.
    if (this.over) this.#unfollow();
    else void this.#look();
  }

  join(follower: Follower): void {
    if (this.over) follower.end();
    else this.#followers.add(follower);
  }

  leave(follower: Follower): void {
    if (this.#followers.delete(follower) && this.#followers.size === 0) this.#end();
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
    if (!record) return this.#end();
    this.record = record;
    while (this.told < record.version && !this.over) {
      const { events, upTo } = await partOf(this.#d, record, { after: this.told, upTo: record.version });
      this.told = upTo;
      for (const follower of this.#followers) follower.push(events);
    }
    if (record.finishedAt !== null) this.#end();
  }

  #end(): void {
    if (this.over) return;
    this.over = true;
    this.#unfollow?.();
    this.#ended(this);
    for (const follower of this.#followers) follower.end();
    this.#followers.clear();
  }
}

/** What one reader has not taken yet. */
class Follower {
  /** Up to here it has read by itself, or knows already. */
  seen = 0;
  readonly #options: FollowOptions;
  #waiting: OperationEvent[] = [];
  #bytes = 0;
  #over = false;
  #wake: (() => void) | undefined;

  constructor(options: FollowOptions) {
    this.#options = options;
    options.signal.addEventListener('abort', this.end, { once: true });
    if (options.signal.aborted) this.end();
  }

  push(told: readonly OperationEvent[]): void {
    const events = told[0] && told[0].version > this.seen ? told : told.filter(({ version }) => version > this.seen);
    if (this.#over || events.length === 0) return;
    const bytes = events.reduce((sum, event) => sum + event.bytes, 0);
    // However much comes at once, a reader that has taken all before it has not been slow.
    const slow =
      this.#waiting.length > 0 &&
      (this.#waiting.length + events.length > mostEvents || this.#bytes + bytes > mostBytes);
    if (slow) {
      this.#waiting = [];
      this.end();
      this.#options.tooSlow();
      return;
    }
    this.#waiting.push(...events);
    this.#bytes += bytes;
    this.#wake?.();
  }

  readonly end = (): void => {
    this.#over = true;
    this.#options.signal.removeEventListener('abort', this.end);
    this.#wake?.();
  };

  /** All that waits; empty after a quiet while; undefined at the end. */
  async next(): Promise<OperationEvent[] | undefined> {
    if (this.#waiting.length === 0 && !this.#over) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, this.#options.quietMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = undefined;
    }
    const batch = this.#waiting;
    if (batch.length === 0 && this.#over) return undefined;
    this.#waiting = [];
    this.#bytes = 0;
    return batch;
  }
}
