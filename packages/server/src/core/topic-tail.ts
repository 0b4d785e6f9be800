// The newest of a namespace's log, read once for all who follow any topic of it here, and told to each whose patterns fit.
//
// Who reads of the past meets it without a gap: what was told while anybody still reads is kept for a moment, so that one who has come near enough takes
// the rest from there and is told everything from then on.
import type { EventPage, LoggedEvent, TopicEngine } from '../engine/topics.ts';
import { TopicPatterns } from '../lib/topic-trie.ts';
import type { EventPlace } from './event-place.ts';
import type { EventFilter } from './event-filter.ts';
import { attributesOf } from './event-taking.ts';
import type { TopicFollower, TopicWish } from './topic-feed.ts';

const pageEvents = 500;
const pageBytes = 1024 * 1024;
/** What is kept for those who are about to meet it. */
const mostKept = 4 * pageEvents;
const mostKeptBytes = 4 * pageBytes;

/** Those who want the same. */
export interface Group {
  readonly key: string;
  readonly topics: readonly string[];
  readonly test: EventFilter | undefined;
  /** Everything after this position was read with its topics; undefined while a read is under way that began without them. */
  from: number | undefined;
  /** Told what is new. */
  readonly live: Set<Seat>;
  seats: number;
}

/** The place of one follower. */
export interface Seat {
  readonly group: Group;
  readonly follower: TopicFollower;
  /** Up to here it was told; while it is told what is new, the last that it was told. */
  seen: number;
  /** Of `seen`. */
  epoch: string | undefined;
  /** Its place was compared with what the store keeps. */
  isChecked: boolean;
  /** It wants what there is, whatever was removed before. */
  fromStart: boolean;
  /** It was told of what was removed up to here. */
  lost: number;
  live: boolean;
  left: boolean;
}

export interface TopicTailParts {
  engine: Pick<TopicEngine, 'read'>;
  namespace: string;
  everyMs: number;
  /** One that was told what is new has to read on by itself. */
  fellBack: (seat: Seat) => void;
  /** Nobody follows any more, or the server stops. */
  over: () => void;
}

export class TopicTail {
  readonly namespace: string;
  readonly #parts: TopicTailParts;
  readonly #groups = new Map<string, Group>();
  readonly #byPattern = new TopicPatterns<Group>();
  readonly #seats = new Set<Seat>();
  /** How many groups want a pattern. */
  readonly #wanted = new Map<string, number>();
  #topics: readonly string[] | undefined;
  /** Up to here all were told; undefined until the store was asked where its log ends. */
  #told: number | undefined;
  #epoch = '';
  /** Told lately, all after #keptFrom. */
  #kept: LoggedEvent[] = [];
  #keptBytes = 0;
  #keptFrom = 0;
  #liveSeats = 0;
  #reading: Promise<void> | undefined;
  #again = false;
  #over = false;
  stopped = false;
  readonly #timer: NodeJS.Timeout;

  constructor(parts: TopicTailParts) {
    this.#parts = parts;
    this.namespace = parts.namespace;
    this.#timer = setInterval(() => this.look(), parts.everyMs);
    this.#timer.unref();
  }

  join(
    { topics, filter }: TopicWish,
    { follower, place, isChecked }: { follower: TopicFollower; place: EventPlace | 'start'; isChecked: boolean },
  ): Seat {
    const { position, epoch } = place === 'start' ? { position: 0, epoch: undefined } : place;
    const group = this.#groupOf([...new Set(topics)].toSorted(), filter);
    group.seats++;
    const seat: Seat = {
      group,
      follower,
      seen: position,
      epoch,
      isChecked,
      fromStart: place === 'start',
      lost: 0,
      live: false,
      left: false,
    };
    this.#seats.add(seat);
    return seat;
  }

  #groupOf(topics: readonly string[], filter: TopicWish['filter']): Group {
    const key = JSON.stringify([topics, filter?.text]);
    const found = this.#groups.get(key);
    if (found) return found;
    const from = this.#reading ? undefined : this.#told;
    const group: Group = { key, topics, test: filter?.test, from, live: new Set(), seats: 0 };
    this.#groups.set(key, group);
    for (const pattern of topics) {
      this.#byPattern.add(pattern, group);
      this.#wanted.set(pattern, (this.#wanted.get(pattern) ?? 0) + 1);
    }
    this.#topics = undefined;
    return group;
  }

  leave(seat: Seat): void {
    if (seat.left) return;
    seat.left = true;
    this.#seats.delete(seat);
    const { group } = seat;
    if (group.live.delete(seat)) this.#liveSeats--;
    this.#forgetKept();
    if (--group.seats === 0) this.#drop(group);
    if (this.#seats.size === 0) this.#close();
  }

  #drop(group: Group): void {
    this.#groups.delete(group.key);
    for (const pattern of group.topics) {
      this.#byPattern.delete(pattern, group);
      const left = this.#wanted.get(pattern)! - 1;
      if (left === 0) this.#wanted.delete(pattern);
      else this.#wanted.set(pattern, left);
    }
    this.#topics = undefined;
  }

  #close(): void {
    if (this.#over) return;
    this.#over = true;
    clearInterval(this.#timer);
    this.#parts.over();
  }

  /** The server stops. */
  end(): void {
    this.stopped = true;
    this.#close();
    for (const seat of this.#seats) {
      this.leave(seat);
      seat.follower.ended('stopped');
    }
  }

  /** Undefined once what is read for all has the topics of this one; otherwise resolves when that may be so. Rejects where the store cannot be read. */
  settled({ group }: Seat): Promise<void> | undefined {
    if (this.#over) throw new Error('nobody is told here any more');
    if (group.from !== undefined) return undefined;
    if (!this.#reading) this.look();
    return this.#reading!.then(() => {
      if (group.from === undefined && !this.#over) throw new Error('the end of the log could not be read');
    });
  }

  /** From here on it is told what is new, where it has come near enough; false where it has to read on. */
  goOn(seat: Seat): boolean {
    const { group } = seat;
    if (!seat.isChecked || seat.epoch !== this.#epoch || group.from === undefined) {
      // It has read of another history than all others: they are about to hear of it.
      if (seat.isChecked && seat.epoch !== this.#epoch) this.look();
      return false;
    }
    if (seat.seen < Math.max(group.from, this.#keptFrom)) return false;
    const missed = this.#kept.filter(
      (event) => event.position > seat.seen && this.#byPattern.matching(event.topic).has(group),
    );
    const events = group.test ? missed.filter((event) => group.test!(attributesOf(event))) : missed;
    seat.live = true;
    group.live.add(seat);
    this.#liveSeats++;
    this.#forgetKept();
    if (events.length > 0) this.#tell(seat, events);
    return true;
  }

  /** Reads what is new, once for all; a hint that comes meanwhile makes it read once more. */
  look(): void {
    this.#again = true;
    if (this.#over) return;
    this.#reading ??= this.#read();
  }

  async #read(): Promise<void> {
    try {
      // Those who join in this turn are read for together.
      await Promise.resolve();
      while (this.#again && !this.#over) {
        this.#again = false;
        // oxlint-disable-next-line no-await-in-loop -- each page begins where the one before has ended
        await this.#readPage();
      }
    } catch {
      // A store that cannot be read now is read when the slow poll comes by.
    } finally {
      this.#reading = undefined;
      this.#include();
    }
  }

  async #readPage(): Promise<void> {
    const { engine, namespace } = this.#parts;
    const after = this.#told ?? Number.MAX_SAFE_INTEGER;
    this.#topics ??= this.#wanted.has('**') ? ['**'] : [...this.#wanted.keys()];
    const page = await engine.read({
      namespace,
      topics: this.#topics,
      after,
      limit: pageEvents,
      maxBytes: pageBytes,
    });
    if (this.#over) return;
    const told = this.#told;
    if (told === undefined) this.#begin(page);
    else if (page.epoch !== this.#epoch || page.last < told) {
      // Another history: whoever followed the old one finds out by reading where that leaves it.
      this.#sendBack(told);
      this.#begin(page);
    } else {
      // They are read for together, and each has to know by itself what it has missed.
      if (page.removedTo > told) this.#sendBack(told);
      this.#told = Math.max(told, page.readTo);
      this.#keep(page.events, told);
      this.#tellAll(page.events);
      if (page.readTo < page.last) this.#again = true;
    }
    this.#include();
  }

  #begin({ last, epoch }: EventPage): void {
    this.#told = this.#keptFrom = last;
    this.#epoch = epoch;
    this.#kept = [];
    this.#keptBytes = 0;
    for (const group of this.#groups.values()) group.from = last;
  }

  /** What is read from now on has the topics of all. */
  #include(): void {
    if (this.#told === undefined) return;
    for (const group of this.#groups.values()) group.from ??= this.#told;
  }

  #sendBack(told: number): void {
    for (const group of this.#groups.values()) {
      for (const seat of group.live) {
        seat.live = false;
        seat.isChecked = false;
        seat.seen = Math.max(seat.seen, told);
        this.#parts.fellBack(seat);
      }
      group.live.clear();
    }
    this.#liveSeats = 0;
  }

  /** @param from all were told up to here before these */
  #keep(events: readonly LoggedEvent[], from: number): void {
    if (this.#kept.length === 0) this.#keptFrom = Math.max(this.#keptFrom, from);
    for (const event of events) {
      this.#kept.push(event);
      this.#keptBytes += event.body.length;
    }
    let gone = 0;
    while (this.#kept.length - gone > mostKept || this.#keptBytes > mostKeptBytes) {
      const { position, body } = this.#kept[gone++]!;
      this.#keptBytes -= body.length;
      this.#keptFrom = position;
    }
    if (gone > 0) this.#kept.splice(0, gone);
    this.#forgetKept();
  }

  /** Once everybody is told what is new nobody needs it. */
  #forgetKept(): void {
    if (this.#liveSeats < this.#seats.size || this.#told === undefined) return;
    this.#kept = [];
    this.#keptBytes = 0;
    this.#keptFrom = this.#told;
  }

  #tellAll(events: readonly LoggedEvent[]): void {
    const told = new Map<Group, LoggedEvent[]>();
    for (const event of events)
      for (const group of this.#byPattern.matching(event.topic)) {
        if (group.live.size === 0 || (group.test && !group.test(attributesOf(event)))) continue;
        const of = told.get(group);
        if (of) of.push(event);
        else told.set(group, [event]);
      }
    for (const [group, own] of told) for (const seat of group.live) this.#tell(seat, own);
  }

  #tell(seat: Seat, own: readonly LoggedEvent[]): void {
    // Who has caught up by itself may be ahead of the others.
    const events = own[0]!.position > seat.seen ? own : own.filter(({ position }) => position > seat.seen);
    if (events.length === 0) return;
    seat.seen = events.at(-1)!.position;
    try {
      seat.follower.take(events, this.#epoch);
    } catch (error) {
      // One that cannot be told must not keep it from the others.
      this.leave(seat);
      seat.follower.ended('failed', error);
    }
  }
}
