// One push subscription's loop on this node: takes its events whenever there is room, has them carried, and writes down what came of each.
//
// It has nothing in common with the loops of other subscriptions but the number of places, of which each always has one: a slow or dead
// subscriber delays nobody else.
import type {
  EventSettlement,
  EventSettleOutcome,
  SubscriptionEngine,
  SubscriptionRecord,
} from '../engine/subscriptions.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { Random } from '../lib/random.ts';
import { pause } from '../lib/service.ts';
import type { BodyBudget } from './body-budget.ts';
import { firstBlockMs, longestBlockMs, tripAt } from './delivery-rules.ts';
import type { Carry } from './event-carriers.ts';
import type { EventTaking, Taken, TakenEvent } from './event-taking.ts';
import { type CarriedVerdict, judgeCarried } from './event-verdicts.ts';
import type { PushPlaces } from './push-places.ts';
import { storePauseMs } from './service-loop.ts';
import { Settling } from './settling.ts';
import type { SubscriptionKey, SubscriptionSettings } from './subscriptions.ts';

export interface SubscriberLoopDependencies {
  engine: Pick<SubscriptionEngine, 'settleEvents' | 'subscription'>;
  /** Other nodes may carry events of the same subscription. */
  isShared: boolean;
  taking: Pick<EventTaking, 'take' | 'forget'>;
  carry: { webhook: Carry; service: Carry };
  /** Where the receiver wants nothing more. */
  pauseSubscription: (key: SubscriptionKey) => Promise<unknown>;
  places: PushPlaces;
  budget: Pick<BodyBudget, 'hold' | 'release'>;
  clock: Clock;
  /** What a date in an answer is compared with: the wall's time, not the store's. */
  wallNow?: (() => number) | undefined;
  random: Pick<Random, 'fraction'>;
  /** How often it looks without a hint. */
  everyMs: () => number;
  log: Log;
  metrics: Pick<Metrics, 'pushes' | 'subscriptionResets'>;
}

/** Outlives the time limit of a sending by far, so that what came of it can be recorded; when a node dies its events are taken anew after so long at most. */
const leaseMs = 60_000;
/** Bodies taken in one go. */
const mostBytes = 4 * 1024 * 1024;
/** While one after the other is taken, what waits for another try is looked for so often, and at once after a hint: each look is a question to the store. */
const lookEveryMs = 100;
/** After a pause that could not be written down. */
const refusedPauseMs = 5000;

/** What an event takes up of this process while it is on its way. */
interface Hold {
  take(): void;
  letGo(): void;
}

/** What the store knows of a receiver. */
type Outlet = Pick<SubscriptionRecord, 'failures' | 'blockedUntil' | 'sending'>;

export class SubscriberLoop {
  readonly #d: SubscriberLoopDependencies;
  readonly #settling: Settling<EventSettlement, EventSettleOutcome>;
  readonly #number: number;
  #settings: SubscriptionSettings;
  /** What was heard of the receiver last; undefined: it is asked for before anything is taken. */
  #outlet: Outlet | undefined;
  /** How long it was left alone the last time. */
  #lastBlockMs = 0;
  #restUntil = 0;
  /** Something may have been taken before that is to be carried again, or may be: it waits, or is a dead letter. */
  #mayBeOpen = true;
  /** Something of that may be due, so that the next look is for it too. */
  #mustLook = true;
  /** From when on it is looked for without a hint. */
  #lookAt = 0;
  /** The last look has left something in the log, for want of room. */
  #isBehind = false;
  /** The document by which it said that it wants nothing more, until that is another one. */
  #refusedAt: SubscriptionSettings | undefined;
  readonly #carrying = new Map<Promise<void>, AbortController>();
  /** What is being recorded while its place is another one's already. */
  readonly #leaving = new Map<EventSettlement, Hold>();
  readonly #stop = new AbortController();
  #again = false;
  #wakeUp = (): void => {};

  constructor(settings: SubscriptionSettings, dependencies: SubscriberLoopDependencies) {
    this.#d = dependencies;
    const { engine, clock, log } = dependencies;
    this.#settling = new Settling({
      write: (batch, nowMs) => engine.settleEvents(batch, nowMs),
      onKept: (settlement, error) => {
        // A store that refuses must not have more and more held for it.
        this.#leaving.get(settlement)?.take();
        log.warn('event.kept', { position: settlement.position, error });
      },
      clock,
      // A database would let the second wait for the lock of the first, and sync for each.
      oneAtATime: dependencies.isShared,
    });
    this.#number = settings.number;
    this.#settings = settings;
  }

  get inFlight(): number {
    return this.#carrying.size;
  }

  /** From now on it is this; what is on its way goes on as it began. */
  change(settings: SubscriptionSettings): void {
    this.#settings = settings;
    // A change begins anew with the receiver.
    this.#outlet = undefined;
    this.#lastBlockMs = 0;
    this.#restUntil = 0;
    this.#mustLook = true;
    this.wake();
  }

  /** There may be something to take. */
  wake(): void {
    this.#again = true;
    this.#wakeUp();
  }

  /** Something is due again, perhaps of this subscription. Where it has nothing open it is spared a look, and so are the thousand others. */
  wakeIfOpen(): void {
    if (!this.#mayBeOpen) return;
    this.#mustLook = true;
    this.wake();
  }

  /** Takes nothing more. What is on its way is given back: whether it arrived is not known, so it is carried again. */
  end(): void {
    this.#stop.abort();
    for (const abort of this.#carrying.values()) abort.abort('stopping');
    this.wake();
  }

  /** Resolves when it was ended and nothing is on its way any more. */
  async run(): Promise<void> {
    const { log } = this.#d;
    const stop = this.#stop.signal;
    while (!stop.aborted) {
      // All that ends in this turn makes room together, and is written down in the commit that takes the next.
      await new Promise<void>((resolve) => void setImmediate(resolve));
      this.#again = false;
      try {
        await this.once();
      } catch (error) {
        log.warn('subscription.unread', { ...this.#names(), error });
        await pause(storePauseMs, stop);
        continue;
      }
      await this.#sleep();
    }
    await Promise.all(this.#carrying.keys());
    this.#d.taking.forget(this.#number);
  }

  /** Takes what there is and room for; how many events that were. */
  async once(): Promise<number> {
    const { clock, log, metrics } = this.#d;
    const settings = this.#settings;
    if (settings.paused || settings === this.#refusedAt || clock.now() < this.#restUntil) return 0;
    const max = await this.#room(settings);
    if (max <= 0 || this.#stop.signal.aborted) return 0;
    const takenAt = clock.now();
    // What has made room is told first.
    this.#settling.flush();
    const taken = await this.#take(settings, max);
    if (taken.missed) {
      metrics.subscriptionResets++;
      log.warn('subscription.reset', { ...this.#names(), ...taken.missed });
    }
    for (const one of taken.events) this.#begin(one, takenAt + leaseMs);
    if (taken.more) this.#again = true;
    return taken.events.length;
  }

  async #take(settings: SubscriptionSettings, max: number): Promise<Taken> {
    const { taking, clock } = this.#d;
    const now = clock.now();
    // While one after the other is taken there is no need to ask each time; in an ordered one every acknowledgement may free another, which is due at once.
    const mayBeDue = settings.ordered || this.#mustLook || (this.#mayBeOpen && now >= this.#lookAt);
    const onlyNew = this.#isBehind && !mayBeDue;
    if (!onlyNew) {
      // A hint that comes meanwhile is for the next look.
      this.#mustLook = false;
      this.#lookAt = now + lookEveryMs;
    }
    let isWhole = false;
    try {
      const wanted = { max, maxBytes: mostBytes, kind: 'push' as const, worker: null, leaseMs, onlyNew };
      const taken = await taking.take(settings, wanted);
      isWhole = taken.again === 0;
      // Before it rests it has looked for all that may be there.
      if (onlyNew && taken.events.length === 0) this.#again = true;
      this.#isBehind = taken.more;
      return taken;
    } finally {
      if (!isWhole) this.#mustLook = true;
    }
  }

  /** Until a hint, or the slow poll, when the receiver is asked after as well. */
  async #sleep(): Promise<void> {
    if (this.#again) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        // Nobody else can have changed it otherwise.
        if (this.#d.isShared || this.#mayBeOpen) this.#outlet = undefined;
        this.#mustLook = true;
        resolve();
      }, this.#d.everyMs());
      this.#wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #room(settings: SubscriptionSettings): Promise<number> {
    const { engine, isShared, places, clock } = this.#d;
    const room = places.room(this.#number, settings.maxInFlight);
    if (room === 0 || this.#isBlocked()) return 0;
    const isFresh = isShared || this.#outlet === undefined;
    if (isFresh) {
      const record = await engine.subscription(keyOf(settings));
      // Made anew under its name it is another one, with a loop of its own.
      if (record?.number !== this.#number) return 0;
      this.#outlet = record;
      const { waiting, sending, held, dead } = record;
      this.#mayBeOpen = waiting + sending + held + dead > 0;
      if (this.#isBlocked()) {
        this.#lastBlockMs = Math.max(this.#lastBlockMs, record.blockedUntil! - clock.now());
        return 0;
      }
    }
    const { failures, sending } = this.#outlet!;
    // Left alone for long enough: one is sent to see whether it is back.
    if (failures >= tripAt) return this.#carrying.size === 0 ? 1 : 0;
    return isShared ? Math.min(room, settings.maxInFlight - Math.max(sending, this.#carrying.size)) : room;
  }

  #isBlocked(): boolean {
    const blockedUntil = this.#outlet?.blockedUntil ?? null;
    return blockedUntil !== null && this.#d.clock.now() < blockedUntil;
  }

  #begin(taken: TakenEvent, leaseUntil: number): void {
    const abort = new AbortController();
    if (this.#stop.signal.aborted) abort.abort('stopping');
    const hold = this.#hold(taken.event.body.length);
    const carrying: Promise<void> = this.#carry(taken, { leaseUntil, signal: abort.signal, hold }).finally(() => {
      this.#carrying.delete(carrying);
      hold.letGo();
      // There is room for another, and the next of its key may go.
      this.wake();
    });
    this.#carrying.set(carrying, abort);
  }

  /** A place and so many bytes, from now on. */
  #hold(bytes: number): Hold {
    const { places, budget } = this.#d;
    let isHeld = false;
    const hold = {
      take: (): void => {
        if (isHeld) return;
        isHeld = true;
        places.take(this.#number);
        budget.hold(bytes);
      },
      letGo: (): void => {
        if (!isHeld) return;
        isHeld = false;
        places.free(this.#number);
        budget.release(bytes);
      },
    };
    hold.take();
    return hold;
  }

  async #carry(
    { lease, event }: TakenEvent,
    { leaseUntil, signal, hold }: { leaseUntil: number; signal: AbortSignal; hold: Hold },
  ): Promise<void> {
    const { carry, clock, wallNow = Date.now, random, metrics, log } = this.#d;
    const settings = this.#settings;
    const { retry, deadLetter, target } = settings;
    const { subscription, position, leaseNo, attempt } = lease;
    const at = clock.now();
    try {
      if (target.kind === 'pull') throw new Error(`the subscription ${settings.name} is pulled from`);
      const carried = signal.aborted
        ? ({ kind: 'interrupted' } as const)
        : await carry[target.kind]({ settings, event, signal });
      const nowMs = clock.now();
      const fraction = random.fraction();
      const judged = judgeCarried(carried, { retry, deadLetter, attempt, nowMs, wallMs: wallNow(), fraction });
      if (judged.wantsNoMore) await this.#wantsNoMore(settings);
      if (judged.restMs > 0) this.#restUntil = Math.max(this.#restUntil, nowMs + judged.restMs);
      const outlet = this.#outletNews(judged, { settings, nowMs });
      const { verdict, code, detail } = judged;
      const settlement = { subscription, position, leaseNo, verdict, ...(outlet ? { outlet } : {}) };
      const outcome = await this.#settle(settlement, { leaseUntil, hold });
      if (verdict.to !== 'acked' || outcome.kind === 'lost') this.#mayBeOpen = true;
      const written = outcome.kind === 'recorded' || outcome.kind === 'repeated' ? judged.outcome : 'lost';
      metrics.pushes[target.kind][written]++;
      if (outlet?.kind === 'well') this.#lastBlockMs = 0;
      if (outlet) this.#outlet = undefined;
      if (code !== null && (written === 'dead' || written === 'dropped'))
        log.warn(`event.${written}`, { ...this.#names(), position, attempt, code, detail });
      if (log.info) {
        const status = carried.kind === 'tried' && carried.tried.kind === 'answered' ? carried.tried.status : null;
        const durationMs = nowMs - at;
        log.info('event.pushed', { ...this.#names(), position, attempt, outcome: written, status, code, durationMs });
      }
    } catch (error) {
      // It could not be recorded: the lease runs out and the event is carried again.
      this.#mayBeOpen = true;
      log.error('event.unrecorded', { ...this.#names(), position, error });
    }
  }

  /**
   * Of what has arrived at a healthy receiver the place is free at once: on one node the store is told of it before it is asked for the next, in one commit
   * at best and never in a later one. Waiting for one commit after the other was half as fast. Other nodes count what is on its way in the store.
   */
  async #settle(
    settlement: EventSettlement,
    { leaseUntil, hold }: { leaseUntil: number; hold: Hold },
  ): Promise<EventSettleOutcome> {
    const settled = this.#settling.settle(settlement, { leaseUntil, stop: this.#stop.signal });
    if (this.#d.isShared || settlement.verdict.to !== 'acked' || settlement.outlet) return settled;
    this.#leaving.set(settlement, hold);
    hold.letGo();
    if (this.#isBehind) this.wake();
    try {
      return await settled;
    } finally {
      this.#leaving.delete(settlement);
    }
  }

  /** What is said of the receiver together with the event. */
  #outletNews(
    { outlet, askedMs }: CarriedVerdict,
    { settings, nowMs }: { settings: SubscriptionSettings; nowMs: number },
  ): EventSettlement['outlet'] {
    if (outlet === 'none' || (outlet === 'well' && this.#outlet?.failures === 0)) return undefined;
    if (outlet === 'well') return { kind: 'well' };
    // It is asked again at least as often as an event would be tried.
    const longest = Math.min(longestBlockMs, Math.max(settings.retry.maxDelayMs, settings.retry.initialDelayMs));
    const usual = this.#lastBlockMs === 0 ? Math.min(firstBlockMs, longest) : Math.min(this.#lastBlockMs * 2, longest);
    const blockUntil = nowMs + Math.max(usual, Math.min(askedMs, longestBlockMs));
    return { kind: 'ill', tripAt, blockUntil };
  }

  /** What it was told of it keeps: nothing more is taken, and somebody who knows why resumes it. */
  async #wantsNoMore(settings: SubscriptionSettings): Promise<void> {
    const { pauseSubscription, log } = this.#d;
    const isFirst = this.#refusedAt !== settings;
    this.#refusedAt = settings;
    if (!isFirst) return;
    log.warn('subscription.paused', {
      ...this.#names(),
      detail: 'its receiver answered 410 Gone; nothing is lost, and it goes on when it is resumed',
    });
    try {
      await pauseSubscription(keyOf(settings));
    } catch (error) {
      // It is paused by the next event then.
      this.#refusedAt = undefined;
      this.#restUntil = this.#d.clock.now() + refusedPauseMs;
      log.warn('subscription.unpaused', { ...this.#names(), error });
    }
  }

  #names(): { subscription: string; namespace: string } {
    const { name, namespace } = this.#settings;
    return { subscription: name, namespace };
  }
}

/** The rest of it goes nowhere. */
const keyOf = ({ namespace, name }: SubscriptionKey): SubscriptionKey => ({ namespace, name });
