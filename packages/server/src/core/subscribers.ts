// Push subscriptions on this node: a loop for each webhook and service target, which comes, changes and goes with its document.
import type { Engine } from '../engine/engine.ts';
import type { Service } from '../lib/service.ts';
import type { EventTaking } from './event-taking.ts';
import type { EventWakes } from './event-wakes.ts';
import { PushPlaces } from './push-places.ts';
import { SubscriberLoop, type SubscriberLoopDependencies } from './subscriber-loop.ts';
import type { SubscriptionChange, Subscriptions, SubscriptionSettings } from './subscriptions.ts';

export interface SubscribersDependencies extends Pick<
  SubscriberLoopDependencies,
  'carry' | 'budget' | 'clock' | 'wallNow' | 'random' | 'log' | 'metrics'
> {
  /** How often each looks without a hint. */
  everyMs?: number | undefined;
  engine: Pick<Engine, 'features' | 'settleEvents' | 'subscription'>;
  subscriptions: Pick<Subscriptions, 'all' | 'onChange' | 'pause'>;
  taking: Pick<EventTaking, 'take' | 'forget'>;
  wakes: Pick<EventWakes, 'listen'>;
}

/** Without a hint: the longest that an event is late, where there are few; all together look no more often than this for each of them. */
const pollMs = 5000;
const pollMsEach = 20;

interface Running {
  loop: SubscriberLoop;
  settings: SubscriptionSettings;
  unlisten: () => void;
}

export class Subscribers implements Service {
  readonly name = 'subscribers';
  readonly #d: SubscribersDependencies;
  readonly #places = new PushPlaces();
  /** By number. */
  readonly #loops = new Map<number, Running>();
  readonly #running = new Set<Promise<void>>();
  #isStarted = false;

  constructor(dependencies: SubscribersDependencies) {
    this.#d = dependencies;
    dependencies.subscriptions.onChange((change) => {
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
    for (const number of this.#loops.keys()) this.#end(number);
    await Promise.all(this.#running);
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
    return this.#d.wakes.listen(
      { namespace, topics },
      () => loop.wake(),
      () => loop.wakeIfOpen(),
    );
  }

  #begin(settings: SubscriptionSettings): void {
    const { engine, subscriptions, log } = this.#d;
    const loop = new SubscriberLoop(settings, {
      ...this.#d,
      everyMs: () => this.#d.everyMs ?? Math.max(pollMs, this.#loops.size * pollMsEach),
      isShared: engine.features.shared,
      places: this.#places,
      pauseSubscription: (key) => subscriptions.pause(key),
    });
    this.#loops.set(settings.number, { loop, settings, unlisten: this.#listen(settings, loop) });
    const running: Promise<void> = loop
      .run()
      .catch((error: unknown) => log.error('subscription.ended', { subscription: settings.name, error }))
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
