// Taking events for a subscription: first what waits for another try, then what its cursor has not seen yet.
//
// The store gives a page after the cursor, the filter is applied here, and the store is asked to give what is left and to move the cursor, which it does
// only where nobody else has moved it meanwhile. Within one process those who take for one subscription go one after another, so they seldom meet.
// A page is kept for a moment: who takes 16 at a time would otherwise have 500 read for each of them.
import type { Claim, EventLeaseKind, LeasedEvent, SubscriptionEngine } from '../engine/subscriptions.ts';
import type { LoggedEvent, ReadWanted, TopicEngine } from '../engine/topics.ts';
import type { Clock } from '../lib/clock.ts';
import type { Attributes, EventFilter } from './event-filter.ts';
import { type PagePart, PagesAtHand } from './pages-at-hand.ts';

/** What is needed to know of a subscription to take for it. */
export interface TakenFrom {
  number: number;
  namespace: string;
  name: string;
  topics: readonly string[];
  filter: EventFilter;
  ordered: boolean;
}

export interface Wanted {
  max: number;
  maxBytes: number;
  kind: EventLeaseKind;
  worker: string | null;
  leaseMs: number;
  /** Whoever asks knows that nothing waits for another try, and a look is spared. */
  onlyNew?: boolean;
}

export interface TakenEvent {
  lease: LeasedEvent;
  event: LoggedEvent;
}

/** The reader wanted what its topics have lost: from where to where. */
export interface Missed {
  from: number;
  to: number;
}

export interface Taken {
  events: TakenEvent[];
  /** How many of them had been taken before. */
  again: number;
  /** There may be more right now. */
  more: boolean;
  missed: Missed | undefined;
}

interface Step {
  events: TakenEvent[];
  /** Taken and held behind others of their keys. */
  held: number;
  atEnd: boolean;
  /** Something more would have passed, and there was no room for it. */
  isCut: boolean;
  missed: Missed | undefined;
}

/** Events looked at in one go: a filter that lets one in a thousand through must not make a thousand calls, nor hold up others for long. */
const pageEvents = 500;
const pageBytes = 4 * 1024 * 1024;
/** Pages looked at for one taker that found nothing in them; it comes again at once. */
const mostPages = 20;

const parsed = new WeakMap<LoggedEvent, Attributes>();

/** The attributes of an event, taken apart once however many filters look at them. */
export function attributesOf(event: LoggedEvent): Attributes {
  let attributes = parsed.get(event);
  if (!attributes) parsed.set(event, (attributes = JSON.parse(event.head) as Attributes));
  return attributes;
}

export class EventTaking {
  readonly #engine: Pick<TopicEngine, 'read'> & Pick<SubscriptionEngine, 'claim' | 'leaseDue' | 'subscription'>;
  readonly #clock: Clock;
  readonly #turns = new Map<number, Promise<unknown>>();
  /** Where cursors were when they were last heard of; the store says so where that is not true any more. */
  readonly #cursors = new Map<number, number>();
  readonly #pages = new PagesAtHand();

  constructor({
    engine,
    clock,
  }: {
    engine: Pick<TopicEngine, 'read'> & Pick<SubscriptionEngine, 'claim' | 'leaseDue' | 'subscription'>;
    clock: Clock;
  }) {
    this.#engine = engine;
    this.#clock = clock;
  }

  /** Takes up to `max` events; none where the subscription is not there any more. */
  take(from: TakenFrom, wanted: Wanted): Promise<Taken> {
    const before = this.#turns.get(from.number);
    const own = before ? before.then(() => this.#take(from, wanted)) : this.#take(from, wanted);
    const held = own
      .catch(() => undefined)
      .finally(() => {
        if (this.#turns.get(from.number) === held) this.#turns.delete(from.number);
      });
    this.#turns.set(from.number, held);
    return own;
  }

  async #take(from: TakenFrom, { max, maxBytes, kind, worker, leaseMs, onlyNew = false }: Wanted): Promise<Taken> {
    const wanted = { subscription: from.number, max, maxBytes, kind, worker, leaseMs };
    const due = onlyNew ? [] : await this.#engine.leaseDue(wanted, this.#clock.now());
    const again = due.length;
    const events: TakenEvent[] = due;
    let room = max - events.length;
    let bytes = maxBytes - due.reduce((sum, { event }) => sum + event.body.length, 0);
    let missed: Missed | undefined;
    for (let pages = 0; room > 0 && bytes > 0; pages++) {
      if (pages === mostPages) return { events, again, more: true, missed };
      // oxlint-disable-next-line no-await-in-loop -- each page begins where the one before has ended
      const step = await this.#step(from, { room, bytes, kind, worker, leaseMs });
      if (!step) return { events, again, more: false, missed };
      missed ??= step.missed;
      events.push(...step.events);
      room -= step.events.length + step.held;
      bytes -= step.events.reduce((sum, { event }) => sum + event.body.length, 0);
      if (step.atEnd || step.isCut) return { events, again, more: !step.atEnd, missed };
    }
    return { events, again, more: true, missed };
  }

  /** Events were removed: what was read before is read again, and says who has missed something. */
  forgetPages(): void {
    this.#pages.clear();
  }

  /** Of a subscription that is gone nothing is kept. */
  forget(number: number): void {
    this.#cursors.delete(number);
  }

  /** One page after the cursor; undefined where there is no such subscription, or a paused one. */
  async #step(
    { number, namespace, name, topics, filter, ordered }: TakenFrom,
    { room, bytes, kind, worker, leaseMs }: Omit<Wanted, 'max' | 'maxBytes'> & { room: number; bytes: number },
  ): Promise<Step | undefined> {
    for (;;) {
      const readFrom = this.#cursors.get(number) ?? (await this.#engine.subscription({ namespace, name }))?.readTo;
      if (readFrom === undefined) return undefined;
      const page = await this.#page({ namespace, topics, after: readFrom });
      const missed = page.removedTo > readFrom ? { from: readFrom, to: page.removedTo } : undefined;
      // What others publish moves no cursor: a write for each would make a subscription cost what it does not read.
      if (page.events.length === 0 && !missed) return { events: [], held: 0, atEnd: true, isCut: false, missed };
      const { chosen, readTo, isCut } = choose(page, { filter, room, bytes });
      const claim: Claim = {
        subscription: number,
        readFrom,
        readTo,
        take: chosen.map(({ position, orderingKey }) => ({ position, orderingKey })),
        ordered,
        kind,
        worker,
        leaseMs,
      };
      const outcome = await this.#engine.claim(claim, this.#clock.now());
      if (outcome.kind === 'gone') {
        this.#cursors.delete(number);
        return undefined;
      }
      // Paused on another node a moment ago: who asks here will hear of it, and of its resumption.
      if (outcome.kind === 'paused') return undefined;
      this.#cursors.set(number, outcome.kind === 'moved' ? outcome.readTo : readTo);
      // Somebody else was faster, on another node: the next look begins behind that.
      if (outcome.kind === 'moved') continue;
      const byPosition = new Map(chosen.map((event) => [event.position, event]));
      return {
        events: outcome.leases.map((lease) => ({ lease, event: byPosition.get(lease.position)! })),
        held: chosen.length - outcome.leases.length,
        atEnd: readTo >= page.last && !page.isOld,
        isCut,
        missed,
      };
    }
  }

  async #page({ namespace, topics, after }: Pick<ReadWanted, 'namespace' | 'topics' | 'after'>): Promise<PagePart> {
    const key = [namespace, ...topics].join(' ');
    const atHand = this.#pages.find(key, { after, nowMs: this.#clock.now() });
    if (atHand) return atHand;
    const page = await this.#engine.read({ namespace, topics, after, limit: pageEvents, maxBytes: pageBytes });
    if (page.events.length > 0) this.#pages.keep(key, { after, page, nowMs: this.#clock.now() });
    return { ...page, isOld: false };
  }
}

/** Of a page: what passes the filter and fits, and up to where the cursor goes with it. Pure. */
export function choose(
  page: { events: readonly LoggedEvent[]; readTo: number },
  { filter, room, bytes }: { filter: EventFilter; room: number; bytes: number },
): { chosen: LoggedEvent[]; readTo: number; isCut: boolean } {
  const chosen: LoggedEvent[] = [];
  let left = bytes;
  for (const [i, event] of page.events.entries()) {
    if (!filter(attributesOf(event))) continue;
    left -= event.body.length;
    // What is not taken now is where the next one begins; one is given all the same.
    if (chosen.length === room || (left < 0 && chosen.length > 0))
      return { chosen, readTo: page.events[i - 1]!.position, isCut: true };
    chosen.push(event);
  }
  return { chosen, readTo: page.readTo, isCut: false };
}
