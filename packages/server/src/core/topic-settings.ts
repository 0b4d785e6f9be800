// What each topic keeps: as the document says that was put for it, else as for every topic. Asked of the store whenever it matters, so no node goes on
// with what another one has changed: a topic that was to be kept for longer must not be cut by what was known before.
import { WaitlessError } from '@waitless/protocol';
import type { TopicRetention } from '../config/api-topic.ts';
import type { Engine } from '../engine/engine.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';

export interface TopicKey {
  namespace: string;
  topic: string;
}

export interface TopicSettingsDependencies {
  engine: Pick<Engine, 'save' | 'remove' | 'list'>;
  /** Reads and checks a document; throws for one that cannot be used. An empty one is what a topic without any keeps. */
  read: (document: unknown) => TopicRetention;
  /** What is kept from now on has changed. */
  onPut: () => void;
  clock: Clock;
  log: Log;
}

export interface OwnSettings {
  retention: TopicRetention;
  savedAt: number;
}

const kind = 'topic';
/** In a namespace. More are read at every round of the retention for nothing: a program makes a topic for each of its users. */
const mostOfNamespace = 1000;

const nameOf = ({ namespace, topic }: TopicKey): string => `${namespace}/${topic}`;

export class TopicSettings {
  readonly #d: TopicSettingsDependencies;
  readonly #usual: TopicRetention;
  #known = new Map<string, OwnSettings & { text: string }>();

  constructor(dependencies: TopicSettingsDependencies) {
    this.#d = dependencies;
    this.#usual = dependencies.read({});
  }

  /** Before whatever must not be wrong. */
  async read(): Promise<void> {
    const known = new Map<string, OwnSettings & { text: string }>();
    for (const { name, text, savedAt } of await this.#d.engine.list(kind)) {
      const before = this.#known.get(name);
      const retention = before?.text === text ? before.retention : this.#usable(name, text);
      if (retention) known.set(name, { text, savedAt, retention });
    }
    this.#known = known;
  }

  /** Its own, as of the last reading. */
  own(key: TopicKey): OwnSettings | undefined {
    return this.#known.get(nameOf(key));
  }

  retentionOf(key: TopicKey): TopicRetention {
    return this.own(key)?.retention ?? this.#usual;
  }

  /** Topics of a namespace that have a document. */
  named(namespace: string): string[] {
    const prefix = `${namespace}/`;
    return [...this.#known.keys()].filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  }

  /** An empty document is none: the topic is as every other again. */
  async put(key: TopicKey, document: Readonly<Record<string, unknown>>): Promise<{ isNew: boolean }> {
    const { engine, clock } = this.#d;
    this.#d.read(document);
    await this.read();
    const isNew = this.own(key) === undefined;
    const isEmpty = Object.keys(document).length === 0;
    if (isEmpty) await engine.remove({ kind, name: nameOf(key) });
    else {
      if (isNew && this.named(key.namespace).length >= mostOfNamespace)
        throw new WaitlessError(
          'too-many-topics',
          `${mostOfNamespace} topics of this namespace have settings of their own already; put {} to some that need none`,
        );
      await engine.save({ kind, name: nameOf(key), text: JSON.stringify(document), savedAt: clock.now() });
    }
    await this.read();
    this.#d.onPut();
    return { isNew: isNew && !isEmpty };
  }

  /** A document that fitted when it was saved may not fit what this server says of all topics now; then a topic keeps what every other does. */
  #usable(name: string, text: string): TopicRetention | undefined {
    try {
      return this.#d.read(JSON.parse(text));
    } catch (error) {
      this.#d.log.warn('topics.unused', { topic: name, detail: (error as Error).message });
      return undefined;
    }
  }
}
