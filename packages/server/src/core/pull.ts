// Pull subscriptions: events go to those who ask for them, each under a lease; who asks first is served first, and who finds nothing may wait.
import { WaitlessError } from '@waitless/protocol';
import type { Engine } from '../engine/engine.ts';
import type { EventSettlement, EventSettleOutcome, LeasedEvent } from '../engine/subscriptions.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { Random } from '../lib/random.ts';
import { afterRefusal, givenUp } from './event-outcomes.ts';
import type { EventTaking, Missed, TakenEvent } from './event-taking.ts';
import type { EventWakes } from './event-wakes.ts';
import type { EventLeaseName } from './ids.ts';
import { InFlight } from './in-flight.ts';
import type { Live } from './live.ts';
import { type Subscriptions, type SubscriptionSettings, unknownSubscription } from './subscriptions.ts';

export type EventAnswer =
  | { kind: 'ack' }
  | { kind: 'nack'; retryAfterMs: number | undefined; message: string | null }
  /** Given back: it uses up no try. */
  | { kind: 'released' };

export interface AnsweredEvent {
  lease: EventLeaseName;
  answer: EventAnswer;
}

export interface PullWanted {
  namespace: string;
  name: string;
  worker: string | null;
  max: number;
  /** Undefined: as the subscription says. */
  leaseMs: number | undefined;
  waitMs: number;
  signal: AbortSignal;
}

export interface Pulled {
  events: TakenEvent[];
  /** What the subscription wanted and its topics have lost, since this was told last. */
  missed: Missed | undefined;
}

export interface PullDependencies {
  engine: Pick<Engine, 'settleEvents' | 'extendEvent' | 'subscription'>;
  subscriptions: Subscriptions;
  taking: Pick<EventTaking, 'take' | 'forget'>;
  wakes: Pick<EventWakes, 'listen'>;
  live: Pick<Live, 'ensureRoom' | 'hold' | 'onStop'>;
  clock: Clock;
  random: Random;
  log: Log;
  metrics: Pick<Metrics, 'eventLeases' | 'eventOutcomes' | 'subscriptionResets'>;
}

/** Most bytes of data in one answer to a worker: it is built in memory. */
const mostBytes = 16 * 1024 * 1024;

const fullMs = 250;

/** Somebody who asks for events. */
interface Taker extends Pick<PullWanted, 'worker' | 'max' | 'leaseMs'> {
  /** Stays in line when there is nothing. */
  waits: boolean;
  /** Nobody is there any more to give anything to. */
  isGone: boolean;
  end: (pulled: Pulled) => void;
  fail: (error: unknown) => void;
}

/** Those who ask for events of one subscription, in the order they came. */
interface Line {
  number: number;
  name: string;
  takers: Taker[];
  isWoken: boolean;
  isServing: boolean;
  unlisten: () => void;
  /** Looks again where as many are out as may be: of an acknowledgement on another node there is no hint. */
  lookAgain: NodeJS.Timeout | undefined;
}

const nothing: Pulled = { events: [], missed: undefined };

export class Pull {
  readonly #d: PullDependencies;
  readonly #lines = new Map<number, Line>();
  readonly #inFlight: InFlight;

  constructor(dependencies: PullDependencies) {
    this.#d = dependencies;
    this.#inFlight = new InFlight(dependencies.engine);
    dependencies.subscriptions.onChange(({ number, now }) => {
      if (!now) {
        dependencies.taking.forget(number);
        this.#inFlight.forget(number);
      }
      const line = this.#lines.get(number);
      if (!line) return;
      // Other topics, perhaps.
      line.unlisten();
      line.unlisten = now ? this.#listen(now) : () => {};
      this.#wake(line);
    });
  }

  /** Up to `max` events; with `waitMs` as soon as there is one, and none when the time is over, at a stop, or when the signal aborts. */
  async take(wanted: PullWanted): Promise<Pulled> {
    const { live } = this.#d;
    const { namespace, waitMs, signal } = wanted;
    // Where it is known nothing is awaited before the place in line is taken.
    const settings = this.#d.subscriptions.get(wanted) ?? (await this.#d.subscriptions.require(wanted));
    refuseOther(settings);
    if (waitMs > 0) live.ensureRoom(namespace);
    const leave = waitMs > 0 ? live.hold(namespace) : undefined;
    const line = this.#lineOf(settings);
    let unhear: (() => void) | undefined;
    let timer: NodeJS.Timeout | undefined;
    let onGone: (() => void) | undefined;
    try {
      return await new Promise<Pulled>((resolve, reject) => {
        const { worker, max, leaseMs } = wanted;
        const taker: Taker = {
          worker,
          max,
          leaseMs,
          waits: waitMs > 0,
          isGone: signal.aborted,
          end: resolve,
          fail: reject,
        };
        line.takers.push(taker);
        // What is under way for it is waited for: it may have its events in hand already.
        const over = (): void => {
          taker.waits = false;
          this.#wake(line);
        };
        // Who is gone is given what is in hand all the same, to be given back by whoever holds the connection.
        onGone = () => {
          taker.isGone = true;
          over();
        };
        if (waitMs > 0) {
          timer = setTimeout(over, waitMs);
          unhear = live.onStop(over);
          signal.addEventListener('abort', onGone, { once: true });
        }
        this.#wake(line);
      });
    } finally {
      clearTimeout(timer);
      unhear?.();
      leave?.();
      if (onGone) signal.removeEventListener('abort', onGone);
    }
  }

  /** Records answers in one commit; each has its own outcome. Nothing is awaited before the store is asked, so what is taken in the same turn comes after them. */
  async settle(answers: readonly AnsweredEvent[]): Promise<EventSettleOutcome[]> {
    if (answers.length === 0) return [];
    const { engine, subscriptions, clock, random, metrics, log } = this.#d;
    // A refusal is judged by the subscription's own rules, also where this node has not heard of it yet.
    const refused = answers.filter(({ answer }) => answer.kind !== 'ack' && answer.kind !== 'released');
    for (const number of new Set(refused.map(({ lease }) => lease.subscription)))
      if (!subscriptions.byNumber(number)) await subscriptions.find(number);
    const now = clock.now();
    const judged = answers.map(({ lease: { subscription, position, leaseNo, attempt }, answer }) => {
      const of = { subscription, position, leaseNo };
      if (answer.kind === 'ack') return { ...of, outcome: 'acked' as const, verdict: { to: 'acked' as const } };
      if (answer.kind === 'released') return { ...of, outcome: 'released' as const, verdict: givenBack(now) };
      const rules = subscriptions.byNumber(subscription);
      const detail = answer.message;
      const refusal = { attempt, code: 'nacked', detail, retryAfterMs: answer.retryAfterMs };
      // Whatever there is to know of it is gone with it; the store says so.
      if (!rules) return { ...of, outcome: 'released' as const, verdict: givenBack(now) };
      return { ...of, ...afterRefusal(refusal, { rules, nowMs: now, fraction: random.fraction() }) };
    });
    for (const { subscription } of judged) this.#inFlight.moved(subscription, -1);
    let outcomes: EventSettleOutcome[];
    try {
      outcomes = await engine.settleEvents(
        judged.map(({ outcome: _outcome, ...settlement }): EventSettlement => settlement),
        now,
      );
    } catch (error) {
      for (const { subscription } of judged) this.#inFlight.moved(subscription, 1);
      throw error;
    }
    for (const [i, { kind }] of outcomes.entries()) {
      const { subscription, position, outcome } = judged[i]!;
      if (kind === 'recorded') metrics.eventOutcomes[outcome]++;
      else this.#inFlight.moved(subscription, 1);
      if (kind === 'lost') metrics.eventOutcomes.lost++;
      if (kind === 'recorded' && (outcome === 'dead' || outcome === 'dropped'))
        this.#tellGivenUp(subscriptions.byNumber(subscription), { position, outcome, code: 'nacked' });
    }
    log.debug?.('events.settled', { events: outcomes.length });
    for (const number of new Set(judged.map(({ subscription }) => subscription))) {
      const line = this.#lines.get(number);
      if (line) this.#wake(line);
    }
    return outcomes;
  }

  /** Until when it is held now. Throws where it is not held any more. */
  async extend(lease: EventLeaseName, leaseMs: number | undefined): Promise<number> {
    const { engine, subscriptions, clock } = this.#d;
    const { subscription, position, leaseNo } = lease;
    const own = subscriptions.byNumber(subscription)?.leaseMs ?? 30_000;
    const outcome = await engine.extendEvent({ subscription, position, leaseNo, leaseMs: leaseMs ?? own }, clock.now());
    if (outcome.kind === 'extended') return outcome.leaseUntil;
    throw eventSettleError(outcome)!;
  }

  #lineOf(settings: SubscriptionSettings): Line {
    const { number, name } = settings;
    let line = this.#lines.get(number);
    if (!line) {
      line = {
        number,
        name,
        takers: [],
        isWoken: false,
        isServing: false,
        unlisten: this.#listen(settings),
        lookAgain: undefined,
      };
      this.#lines.set(number, line);
    }
    return line;
  }

  #listen({ number, namespace, topics }: SubscriptionSettings): () => void {
    return this.#d.wakes.listen({ namespace, topics }, () => {
      const line = this.#lines.get(number);
      if (line) this.#wake(line);
    });
  }

  #wake(line: Line): void {
    line.isWoken = true;
    if (!line.isServing) void this.#serve(line);
  }

  async #serve(line: Line): Promise<void> {
    line.isServing = true;
    while (line.isWoken) {
      line.isWoken = false;
      await this.#serveOnce(line);
    }
    line.isServing = false;
    if (line.takers.length > 0) return;
    clearTimeout(line.lookAgain);
    line.unlisten();
    if (this.#lines.get(line.number) === line) this.#lines.delete(line.number);
  }

  /** Gives to one after another until there is nothing more. */
  async #serveOnce(line: Line): Promise<void> {
    const { takers } = line;
    while (takers.length > 0) {
      const [taker] = takers as [Taker];
      // Those who come while somebody looks have a look of their own coming.
      const inLine = takers.length;
      try {
        const pulled = taker.isGone ? nothing : await this.#pull(line, taker);
        if (!pulled) return letGo(takers, inLine);
        takers.shift();
        taker.end(pulled);
      } catch (error) {
        for (const one of takers.splice(0)) one.fail(error);
      }
    }
  }

  /** Undefined where there is nothing for anybody now. */
  async #pull(line: Line, { worker, max, leaseMs }: Taker): Promise<Pulled | undefined> {
    const { subscriptions, taking, metrics, log } = this.#d;
    for (;;) {
      const settings = subscriptions.byNumber(line.number);
      if (!settings) throw unknownSubscription(line.name);
      refuseOther(settings);
      if (settings.paused) return undefined;
      const room = Math.min(max, await this.#inFlight.room(settings));
      if (room <= 0) {
        clearTimeout(line.lookAgain);
        line.lookAgain = setTimeout(() => this.#wake(line), fullMs);
        return undefined;
      }
      const wanted = { max: room, maxBytes: mostBytes, kind: 'pull' as const, worker };
      const taken = await taking.take(settings, { ...wanted, leaseMs: leaseMs ?? settings.leaseMs });
      this.#inFlight.moved(settings.number, taken.events.length);
      const { namespace, name } = settings;
      const { missed } = taken;
      if (missed) {
        metrics.subscriptionResets++;
        log.warn('subscription.reset', {
          namespace,
          subscription: name,
          ...missed,
          detail: 'its topics have lost events that it had not read yet to their retention',
        });
      }
      const events = await this.#withoutSpent(settings, taken.events);
      metrics.eventLeases += events.length;
      if (log.info)
        for (const { lease } of events)
          log.info('event.leased', {
            namespace,
            subscription: name,
            position: lease.position,
            worker,
            attempt: lease.attempt,
          });
      if (events.length > 0 || missed) return { events, missed };
      if (!taken.more && taken.events.length === 0) return undefined;
    }
  }

  /** What was held by one worker after another without an answer is given up; the others go out. */
  async #withoutSpent(settings: SubscriptionSettings, events: TakenEvent[]): Promise<TakenEvent[]> {
    const { retry, deadLetter } = settings;
    const isSpent = ({ lease }: TakenEvent): boolean => lease.attempt > retry.maxAttempts;
    const spent = events.filter(isSpent);
    if (spent.length === 0) return events;
    const { engine, clock, metrics } = this.#d;
    const code = 'lease-expired';
    const detail = `its lease ended ${retry.maxAttempts} times without an answer`;
    const { outcome, verdict } = givenUp({ code, detail }, deadLetter);
    const named = ({ subscription, position, leaseNo }: LeasedEvent) => ({ subscription, position, leaseNo });
    await engine.settleEvents(
      spent.map(({ lease }): EventSettlement => ({ ...named(lease), verdict })),
      clock.now(),
    );
    this.#inFlight.moved(settings.number, -spent.length);
    metrics.eventOutcomes[outcome] += spent.length;
    for (const { lease } of spent) this.#tellGivenUp(settings, { position: lease.position, outcome, code });
    return events.filter((one) => !isSpent(one));
  }

  #tellGivenUp(
    settings: SubscriptionSettings | undefined,
    { position, outcome, code }: { position: number; outcome: 'dead' | 'dropped'; code: string },
  ): void {
    this.#d.log.warn(outcome === 'dead' ? 'event.dead' : 'event.dropped', {
      namespace: settings?.namespace,
      subscription: settings?.name,
      position,
      code,
    });
  }
}

/** Of the first in line those go who do not wait, or no longer. */
function letGo(takers: Taker[], inLine: number): void {
  for (const one of takers.slice(0, inLine)) {
    if (one.waits) continue;
    takers.splice(takers.indexOf(one), 1);
    one.end(nothing);
  }
}

const givenBack = (now: number) => ({ to: 'waiting', at: now, attemptUsed: false, code: null, detail: null }) as const;

/** Throws for one that pushes. */
export function refuseOther({ target, name }: SubscriptionSettings): void {
  if (target.kind !== 'pull')
    throw new WaitlessError(
      'invalid-parameter',
      `the subscription ${name} sends its events to a ${target.kind}; only one with target {"pull": true} hands out leases`,
    );
}

/** Why an answer was not taken, as an error of the table; undefined when it was. */
export function eventSettleError({ kind }: { kind: EventSettleOutcome['kind'] }): WaitlessError | undefined {
  if (kind === 'lost') return new WaitlessError('lease-lost');
  return kind === 'gone' ? new WaitlessError('not-found', 'the subscription of this lease was removed') : undefined;
}
