// Push subscriptions on this node: a loop for each webhook and service target, which comes, changes and goes with its document.
import type { Engine } from '../engine/engine.ts';
import type { Log } from '../lib/log.ts';
import type { Service } from '../lib/service.ts';
import { EventNews } from './event-news.ts';
import { EventTaking } from './event-taking.ts';
import { PushPlaces } from './push-places.ts';
import { SubscriberLoop, type SubscriberLoopDependencies } from './subscriber-loop.ts';
import type { SubscriptionChange, Subscriptions, SubscriptionSettings } from './subscriptions.ts';

export interface SubscribersDependencies extends Pick<
  SubscriberLoopDependencies,
  'carry' | 'budget' | 'clock' | 'wallNow' | 'random' | 'everyMs' | 'log' | 'metrics'
> {
  engine: Engine;
  subscriptions: Pick<Subscriptions, 'all' | 'onChange' | 'pause'>;
  /** That of this process, so that those who take for one subscription take one after another. */
  taking?: EventTaking;
}

interface Running {
  loop: SubscriberLoop;
  settings: SubscriptionSettings;
  unlisten: () => void;
}

/** Hints that say nothing of whom they concern come with every event that waits; all loops together look no more often than this for each of them. */
const nudgeMsEach = 2;
const leastNudgeMs = 20;

export class Subscribers implements Service {
  readonly name = 'subscribers';
  readonly #d: SubscribersDependencies;
  readonly #taking: EventTaking;
  readonly #news: EventNews;
  readonly #places = new PushPlaces();
  readonly #log: Log;
  /** By number. */
  readonly #loops = new Map<number, Running>();
  readonly #running = new Set<Promise<void>>();
  #nudge: NodeJS.Timeout | undefined;
  #isStarted = false;

  constructor(dependencies: SubscribersDependencies) {
    this.#d = dependencies;
    const { engine, clock, log, subscriptions } = dependencies;
    this.#log = log;
    this.#taking = dependencies.taking ?? new EventTaking({ engine, clock });
    this.#news = new EventNews({ engine, log });
    engine.onSignal((signal) => {
      if (!this.#isStarted) return;
      if (signal.kind === 'events') this.#news.told(signal.namespace);
      else if (signal.kind === 'subscriptions' || signal.kind === 'due') this.#nudgeAll();
    });
    subscriptions.onChange((change) => {
      if (this.#isStarted) this.#follow(change);
    });
  }

  get inFlight(): number {
    return this.#places.taken;
  }

  start(): Promise<void> {
    this.#isStarted = true;
    for (const settings of this.#d.subscriptions.all()) this.#follow({ number: settings.number, now: settings });
    return Promise.resolve();
  }

  /** Takes nothing new and gives back what is on its way. */
  async stop(): Promise<void> {
    this.#isStarted = false;
    clearTimeout(this.#nudge);
    this.#nudge = undefined;
    for (const number of this.#loops.keys()) this.#end(number);
    await Promise.all(this.#running);
  }

  /** Something of some subscription waits no more: a try that is due, a redrive, what another node held. */
  #nudgeAll(): void {
    this.#nudge ??= setTimeout(
      () => {
        this.#nudge = undefined;
        for (const { loop } of this.#loops.values()) loop.wake();
      },
      Math.max(leastNudgeMs, this.#loops.size * nudgeMsEach),
    );
  }

  #follow({ number, now }: SubscriptionChange): void {
    const pushed = now && now.target.kind !== 'pull' ? now : undefined;
    const known = this.#loops.get(number);
    if (!pushed) return this.#end(number);
    if (!known) return this.#begin(pushed);
    known.unlisten();
    known.settings = pushed;
    known.unlisten = this.#listen(pushed, known.loop);
    known.loop.change(pushed);
  }

  #listen({ namespace, topics }: SubscriptionSettings, loop: SubscriberLoop): () => void {
    return this.#news.listen({ namespace, topics, wake: () => loop.wake() });
  }

  #begin(settings: SubscriptionSettings): void {
    const { engine, subscriptions } = this.#d;
    const loop = new SubscriberLoop(settings, {
      ...this.#d,
      isShared: engine.features.shared,
      taking: this.#taking,
      places: this.#places,
      pauseSubscription: (key) => subscriptions.pause(key),
    });
    this.#loops.set(settings.number, { loop, settings, unlisten: this.#listen(settings, loop) });
    const running: Promise<void> = loop
      .run()
      .catch((error: unknown) => this.#log.error('subscription.ended', { subscription: settings.name, error }))
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  #end(number: number): void {
    const known = this.#loops.get(number);
    if (!known) return;
    this.#loops.delete(number);
    known.unlisten();
    known.loop.end();
  }
}
