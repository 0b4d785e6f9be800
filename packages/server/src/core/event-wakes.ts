// Wakes those who take events when there may be some for them: by hints of the store, where a topic that they read has grown, and by a slow poll.
import type { Engine } from '../engine/engine.ts';
import { pause, type Service } from '../lib/service.ts';
import { TopicPatterns } from '../lib/topic-trie.ts';

interface Listener {
  wake: () => void;
}

interface Namespace {
  listeners: Set<Listener>;
  patterns: TopicPatterns<Listener>;
  /** Newest position of each topic at the last look, by its number. */
  seen: Map<number, number>;
  isLooking: boolean;
  lookAgain: boolean;
}

/** So few are woken all: to find out which topics have grown costs as much as a look of each. */
const few = 3;
/** The longest delay that a lost hint can cause. */
const pollMs = 5000;

export class EventWakes implements Service {
  readonly name = 'event wakes';
  readonly #engine: Pick<Engine, 'topics' | 'onSignal'>;
  readonly #everyMs: number;
  readonly #namespaces = new Map<string, Namespace>();
  #stop = new AbortController();
  #polling: Promise<void> | undefined;

  constructor({
    engine,
    everyMs = pollMs,
  }: {
    engine: Pick<Engine, 'topics' | 'onSignal'>;
    everyMs?: number | undefined;
  }) {
    this.#engine = engine;
    this.#everyMs = everyMs;
    engine.onSignal((signal) => {
      if (signal.kind === 'events') this.#grown(signal.namespace);
      // Something waits for another try, of whichever subscription.
      else if (signal.kind === 'subscriptions') this.#wakeAll();
    });
  }

  /** Calls `wake` whenever there may be something of these topics (names or patterns), until the function that this returns is called. */
  listen({ namespace, topics }: { namespace: string; topics: readonly string[] }, wake: () => void): () => void {
    let at = this.#namespaces.get(namespace);
    if (!at) {
      at = { listeners: new Set(), patterns: new TopicPatterns(), seen: new Map(), isLooking: false, lookAgain: false };
      this.#namespaces.set(namespace, at);
    }
    const { listeners, patterns } = at;
    const listener: Listener = { wake };
    listeners.add(listener);
    for (const topic of topics) patterns.add(topic, listener);
    return () => {
      if (!listeners.delete(listener)) return;
      for (const topic of topics) patterns.delete(topic, listener);
      if (listeners.size === 0) this.#namespaces.delete(namespace);
    };
  }

  start(): Promise<void> {
    this.#stop = new AbortController();
    this.#polling = this.#poll(this.#stop.signal);
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#polling;
  }

  #grown(namespace: string): void {
    const at = this.#namespaces.get(namespace);
    if (!at) return;
    if (at.listeners.size <= few) return wakeThese(at.listeners);
    at.lookAgain = true;
    if (!at.isLooking) void this.#look(namespace, at);
  }

  /** One look for all of a namespace, and one more where it has grown meanwhile. */
  async #look(namespace: string, at: Namespace): Promise<void> {
    at.isLooking = true;
    while (at.lookAgain) {
      at.lookAgain = false;
      try {
        const woken = new Set<Listener>();
        for (const { number, name, last } of await this.#engine.topics(namespace)) {
          if (last === (at.seen.get(number) ?? 0)) continue;
          at.seen.set(number, last);
          for (const listener of at.patterns.matching(name)) woken.add(listener);
        }
        wakeThese(woken);
      } catch {
        // A store that is away tells them so itself.
        wakeThese(at.listeners);
      }
    }
    at.isLooking = false;
  }

  #wakeAll(): void {
    for (const { listeners } of this.#namespaces.values()) wakeThese(listeners);
  }

  async #poll(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      await pause(this.#everyMs, stop);
      if (!stop.aborted) this.#wakeAll();
    }
  }
}

function wakeThese(listeners: Iterable<Listener>): void {
  for (const { wake } of listeners) wake();
}
