// Who may have something new: one look at what a namespace has published wakes those whose patterns match it, however many subscriptions there are.
import type { TopicEngine } from '../engine/topics.ts';
import type { Log } from '../lib/log.ts';
import { TopicPatterns } from '../lib/topic-trie.ts';

export interface Listening {
  namespace: string;
  topics: readonly string[];
  wake: () => void;
}

interface Namespace {
  patterns: TopicPatterns<Listening>;
  all: Set<Listening>;
  /** Everything up to here was told of; undefined: all are woken, and looked at is what comes after. */
  readTo: number | undefined;
  looking: boolean;
  /** Something came while it was looked. */
  again: boolean;
}

/** Few look for themselves: that is as quick as one look more before. */
const mostUnasked = 2;
/** Looked at in one go; where more came everybody is woken. */
const pageEvents = 1000;
const pageBytes = 1024 * 1024;

export class EventNews {
  readonly #engine: Pick<TopicEngine, 'read'>;
  readonly #log: Log;
  readonly #namespaces = new Map<string, Namespace>();

  constructor({ engine, log }: { engine: Pick<TopicEngine, 'read'>; log: Log }) {
    this.#engine = engine;
    this.#log = log;
  }

  /** From now on it is woken; the answer ends that. */
  listen(listening: Listening): () => void {
    const { namespace, topics } = listening;
    let of = this.#namespaces.get(namespace);
    if (!of) {
      of = { patterns: new TopicPatterns(), all: new Set(), readTo: undefined, looking: false, again: false };
      this.#namespaces.set(namespace, of);
    }
    const { all, patterns } = of;
    all.add(listening);
    for (const pattern of topics) patterns.add(pattern, listening);
    return () => {
      if (!all.delete(listening)) return;
      for (const pattern of topics) patterns.delete(pattern, listening);
      if (all.size === 0) this.#namespaces.delete(namespace);
    };
  }

  /** The log of a namespace has grown. */
  told(namespace: string): void {
    const of = this.#namespaces.get(namespace);
    if (!of) return;
    if (of.all.size <= mostUnasked) {
      of.readTo = undefined;
      wake(of.all);
      return;
    }
    of.again = true;
    if (!of.looking) void this.#look(namespace, of);
  }

  async #look(namespace: string, of: Namespace): Promise<void> {
    of.looking = true;
    while (of.again) {
      of.again = false;
      try {
        const after = of.readTo ?? Number.MAX_SAFE_INTEGER;
        const page = await this.#engine.read({
          namespace,
          topics: ['**'],
          after,
          limit: pageEvents,
          maxBytes: pageBytes,
        });
        // Another history, or more than one look shows: then everybody looks.
        const isWhole = of.readTo !== undefined && page.last >= after && page.readTo >= page.last;
        of.readTo = page.last;
        if (!isWhole) wake(of.all);
        else for (const topic of new Set(page.events.map((event) => event.topic))) wake(of.patterns.matching(topic));
      } catch (error) {
        this.#log.warn('events.unread', { namespace, error });
        of.readTo = undefined;
        wake(of.all);
      }
    }
    of.looking = false;
  }
}

function wake(some: Iterable<Listening>): void {
  for (const one of some) one.wake();
}
