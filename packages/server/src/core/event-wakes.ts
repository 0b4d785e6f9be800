// Wakes those who take events when there may be some for them: by hints of the store, where a topic that they read has grown, and by a slow poll.
import type { Engine } from '../engine/engine.ts';
import type { LoggedEvent } from '../engine/topics.ts';
import { pause, type Service } from '../lib/service.ts';
import { TopicPatterns } from '../lib/topic-trie.ts';

interface Listener {
  wake: () => void;
  /** For hints that say nothing of whom they concern. */
  wakeAnyway: () => void;
}

interface Namespace {
  listeners: Set<Listener>;
  patterns: TopicPatterns<Listener>;
  /** Everything up to here was told of; undefined: all are woken, and the next look begins behind what there is. */
  readTo: number | undefined;
  isLooking: boolean;
  lookAgain: boolean;
}

/** So few are woken all: to find out which topics have grown costs as much as a look of each. */
const few = 3;
/** Looked at in one go; where more came everybody is woken. */
const pageEvents = 1000;
const pageBytes = 1024 * 1024;
/** Hints that say nothing of whom they concern come with every event that waits: they are taken together, for longer the more there are to wake. */
const leastGatherMs = 10;
const gatherMsEach = 2;
const mostGatherMs = 200;
/** The longest delay that a lost hint can cause. */
const pollMs = 5000;

export class EventWakes implements Service {
  readonly name = 'event wakes';
  readonly #engine: Pick<Engine, 'read' | 'onSignal'>;
  readonly #everyMs: number;
  readonly #namespaces = new Map<string, Namespace>();
  #stop = new AbortController();
  #polling: Promise<void> | undefined;
  #gathering: NodeJS.Timeout | undefined;

  constructor({
    engine,
    everyMs = pollMs,
  }: {
    engine: Pick<Engine, 'read' | 'onSignal'>;
    everyMs?: number | undefined;
  }) {
    this.#engine = engine;
    this.#everyMs = everyMs;
    engine.onSignal((signal) => {
      if (signal.kind === 'events') this.#grown(signal.namespace);
      // Something waits for another try, or its time has come, of whichever subscription.
      else if (signal.kind === 'subscriptions' || signal.kind === 'due') this.#wakeSoon();
    });
  }

  /**
   * Calls `wake` whenever there may be something of these topics (names or patterns), until the function that this returns is called; `wakeAnyway`
   * where it may be for anybody, as when a try is due.
   */
  listen(
    { namespace, topics }: { namespace: string; topics: readonly string[] },
    wake: () => void,
    wakeAnyway: () => void = wake,
  ): () => void {
    let at = this.#namespaces.get(namespace);
    if (!at) {
      at = {
        listeners: new Set(),
        patterns: new TopicPatterns(),
        readTo: undefined,
        isLooking: false,
        lookAgain: false,
      };
      this.#namespaces.set(namespace, at);
    }
    const { listeners, patterns } = at;
    const listener: Listener = { wake, wakeAnyway };
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
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
    await this.#polling;
  }

  #grown(namespace: string): void {
    const at = this.#namespaces.get(namespace);
    if (!at) return;
    if (at.listeners.size <= few) {
      at.readTo = undefined;
      return wakeThese(at.listeners);
    }
    at.lookAgain = true;
    if (!at.isLooking) void this.#look(namespace, at);
  }

  /** One look for all of a namespace, and one more where it has grown meanwhile. */
  async #look(namespace: string, at: Namespace): Promise<void> {
    at.isLooking = true;
    while (at.lookAgain) {
      at.lookAgain = false;
      try {
        const after = at.readTo ?? Number.MAX_SAFE_INTEGER;
        const wanted = { namespace, topics: ['**'], after, limit: pageEvents, maxBytes: pageBytes };
        const page = await this.#engine.read(wanted);
        // Another history, or more than one look shows: then everybody looks.
        const isWhole = at.readTo !== undefined && page.last >= after && page.readTo >= page.last;
        at.readTo = page.last;
        if (isWhole) wakeThese(matching(at.patterns, page.events));
        else wakeThese(at.listeners);
      } catch {
        // A store that is away tells them so itself.
        at.readTo = undefined;
        wakeThese(at.listeners);
      }
    }
    at.isLooking = false;
  }

  #wakeSoon(): void {
    if (this.#stop.signal.aborted) return;
    let count = 0;
    for (const { listeners } of this.#namespaces.values()) count += listeners.size;
    if (count === 0) return;
    this.#gathering ??= setTimeout(
      () => {
        this.#gathering = undefined;
        this.#wakeAll();
      },
      Math.min(Math.max(leastGatherMs, count * gatherMsEach), mostGatherMs),
    );
  }

  #wakeAll(): void {
    for (const { listeners } of this.#namespaces.values()) for (const { wakeAnyway } of listeners) wakeAnyway();
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

function matching(patterns: TopicPatterns<Listener>, events: readonly LoggedEvent[]): Set<Listener> {
  const found = new Set<Listener>();
  for (const topic of new Set(events.map((event) => event.topic)))
    for (const listener of patterns.matching(topic)) found.add(listener);
  return found;
}
