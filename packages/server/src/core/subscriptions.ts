// Subscriptions as this process knows them: the documents of the store, read again whenever they may have changed, on this node or another.
import { WaitlessError } from '@waitless/protocol';
import type { SubscriptionConfig, SubscriptionTarget } from '../config/api-subscription.ts';
import type { Engine } from '../engine/engine.ts';
import type { SubscriptionRecord } from '../engine/subscriptions.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { seal, type SealingKey, unseal } from '../lib/seal.ts';
import { pause, type Service } from '../lib/service.ts';
import { type EventFilter, readFilter } from './event-filter.ts';
import { locked, type SecretKey } from './secret-key.ts';

export interface SubscriptionKey {
  namespace: string;
  name: string;
}

/** What takes for a subscription and sends on needs to know of it. Never changed: a newer one takes its place. */
export interface SubscriptionSettings extends SubscriptionKey, Omit<SubscriptionConfig, 'filter' | 'from'> {
  readonly number: number;
  readonly version: number;
  readonly paused: boolean;
  readonly filter: EventFilter;
}

/** A subscription is there now that was not, is another one, or (`now` undefined) is gone. */
export interface SubscriptionChange {
  readonly number: number;
  readonly now: SubscriptionSettings | undefined;
}

export interface SubscriptionsDependencies {
  engine: Pick<
    Engine,
    'saveSubscription' | 'removeSubscription' | 'pauseSubscription' | 'subscription' | 'subscriptions' | 'onSignal'
  >;
  /** Reads and checks a document; throws for one that cannot be used. */
  read: (document: unknown) => SubscriptionConfig;
  /** Whether events may be sent there; throws where not. */
  checkTarget: (config: Pick<SubscriptionConfig, 'target' | 'topics'>) => Promise<void>;
  key: SecretKey;
  clock: Clock;
  /** How often they are read without a hint. */
  everyMs?: number | undefined;
  log: Log;
}

/** As it stands in the store: the document without what must not be read there. */
interface Kept {
  document: unknown;
  sealed?: { keyId: string; text: string };
}

interface Known {
  version: number;
  /** Undefined where it cannot be used here. */
  settings: SubscriptionSettings | undefined;
}

/** Longest that another node goes on with what was changed here, when a hint is lost. */
const pollMs = 5000;
/** Hints come with every event that waits for another try; each reading counts rows. */
const leastBetweenMs = 100;
/** Each is looked after by itself; more are a mistake, or somebody who wants to fill the store. */
const mostOfNamespace = 1000;

export class Subscriptions implements Service {
  readonly name = 'subscriptions';
  readonly #d: SubscriptionsDependencies;
  #known = new Map<number, Known>();
  #settings: readonly SubscriptionSettings[] = [];
  #byName = new Map<string, SubscriptionSettings>();
  readonly #listeners: ((change: SubscriptionChange) => void)[] = [];
  readonly #warned = new Map<number, string>();
  #stop = new AbortController();
  #polling: Promise<void> | undefined;
  #reading: Promise<void> = Promise.resolve();
  #isHinted = false;
  #hinted: Promise<void> | undefined;
  #readAt = Number.NEGATIVE_INFINITY;

  constructor(dependencies: SubscriptionsDependencies) {
    this.#d = dependencies;
    dependencies.engine.onSignal((signal) => {
      if (signal.kind === 'subscriptions') this.#hint();
    });
  }

  /** What an operator should know, in sentences: those that are not in use, and why. */
  get warnings(): string[] {
    return [...this.#warned.values()];
  }

  /** All that can be used here, paused ones too. */
  all(): readonly SubscriptionSettings[] {
    return this.#settings;
  }

  get({ namespace, name }: SubscriptionKey): SubscriptionSettings | undefined {
    return this.#byName.get(`${namespace}/${name}`);
  }

  /** Also one that was made on another node in this moment. Throws 404 where there is none. */
  async require({ namespace, name }: SubscriptionKey): Promise<SubscriptionSettings> {
    const key = { namespace, name };
    if (!this.get(key) && (await this.#d.engine.subscription(key))) await this.read();
    const settings = this.get(key);
    if (!settings) throw unknownSubscription(name);
    return settings;
  }

  byNumber(number: number): SubscriptionSettings | undefined {
    return this.#known.get(number)?.settings;
  }

  /** Why it is not in use here; undefined where it is. */
  problemOf(number: number): string | undefined {
    return this.#warned.get(number);
  }

  /** Also one that was made on another node in this moment. */
  async find(number: number): Promise<SubscriptionSettings | undefined> {
    if (!this.byNumber(number)) await this.read();
    return this.byNumber(number);
  }

  /** Called for each that came, changed, was paused or resumed, or went, after `get` tells it. */
  onChange(listener: (change: SubscriptionChange) => void): void {
    this.#listeners.push(listener);
  }

  /** Resolves when those of the store are known. */
  async start(): Promise<void> {
    this.#stop = new AbortController();
    await this.read();
    this.#polling = this.#poll(this.#stop.signal);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.#polling, this.#hinted]);
    await this.#reading.catch(() => {});
  }

  /** Makes one or changes it, checked before anything is kept. */
  async put(key: SubscriptionKey, document: unknown): Promise<{ isNew: boolean; record: SubscriptionRecord }> {
    const { engine, read, checkTarget, clock } = this.#d;
    const config = read(document);
    readFilter(config.filter);
    await checkTarget(config);
    const kept = await this.#toKeep(key, document, config);
    const own = await engine.subscriptions(key.namespace);
    if (own.length >= mostOfNamespace && !own.some(({ name }) => name === key.name))
      throw new WaitlessError(
        'too-many-subscriptions',
        `there are ${mostOfNamespace} subscriptions in this namespace already; remove some that are not used any more`,
      );
    const { kind, subscription } = await engine.saveSubscription(
      { ...key, text: JSON.stringify(kept), topics: config.topics, savedAt: clock.now() },
      config.from,
    );
    await this.read();
    return { isNew: kind === 'made', record: subscription };
  }

  /** Throws 404 where there is none. */
  async remove(key: SubscriptionKey): Promise<void> {
    const removed = await this.#d.engine.removeSubscription(key);
    await this.read();
    if (!removed) throw unknownSubscription(key.name);
  }

  async pause(key: SubscriptionKey): Promise<SubscriptionRecord> {
    return this.#setPaused(key, true);
  }

  async resume(key: SubscriptionKey): Promise<SubscriptionRecord> {
    return this.#setPaused(key, false);
  }

  async #setPaused(key: SubscriptionKey, paused: boolean): Promise<SubscriptionRecord> {
    const record = await this.#d.engine.pauseSubscription(key, paused);
    if (!record) throw unknownSubscription(key.name);
    await this.read();
    return record;
  }

  /** With its counts, as the store has it now. Throws 404 where there is none. */
  async record(key: SubscriptionKey): Promise<SubscriptionRecord> {
    const record = await this.#d.engine.subscription(key);
    if (!record) throw unknownSubscription(key.name);
    return record;
  }

  list(namespace: string): Promise<SubscriptionRecord[]> {
    return this.#d.engine.subscriptions(namespace);
  }

  /** What a record's document says, as it was put; a secret of its own only as far as that it has one. */
  configOf({ text }: Pick<SubscriptionRecord, 'text'>): SubscriptionConfig {
    const { document, sealed } = JSON.parse(text) as Kept;
    const config = this.#d.read(document);
    return sealed && config.target.kind === 'webhook'
      ? { ...config, target: { ...config.target, secrets: [] } }
      : config;
  }

  /** What was given as the `target.secret` is sealed and stands nowhere else. */
  async #toKeep(key: SubscriptionKey, document: unknown, { target }: SubscriptionConfig): Promise<Kept> {
    if (target.kind !== 'webhook' || !target.secrets) return { document };
    const sealing = await this.#d.key.make();
    const given = document as { target: Record<string, unknown> };
    const { secret: _secret, ...rest } = given.target;
    const content = Buffer.from(JSON.stringify(target.secrets));
    return {
      document: { ...given, target: rest },
      sealed: { keyId: sealing.id, text: seal({ key: sealing, content, about: aboutOf(key) }) },
    };
  }

  /** Reads all of them again; what was saved before this was called is there afterwards. */
  read(): Promise<void> {
    return (this.#reading = this.#reading.catch(() => {}).then(() => this.#readNow()));
  }

  /** Hints come in crowds: while one reading is about to begin there is no need for a second. */
  #hint(): void {
    if (this.#isHinted || this.#stop.signal.aborted) return;
    this.#isHinted = true;
    this.#hinted = this.#readSoon();
  }

  async #readSoon(): Promise<void> {
    await pause(this.#readAt + leastBetweenMs - performance.now(), this.#stop.signal);
    this.#isHinted = false;
    if (this.#stop.signal.aborted) return;
    // A store that is away is asked again at the next poll.
    await this.read().catch((error: unknown) => this.#d.log.info?.('subscriptions.unread', { error }));
  }

  async #poll(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      await pause(this.#d.everyMs ?? pollMs, stop);
      if (!stop.aborted) this.#hint();
    }
  }

  async #readNow(): Promise<void> {
    this.#readAt = performance.now();
    const records = await this.#d.engine.subscriptions();
    const known = new Map<number, Known>();
    for (const record of records) {
      const { number, version } = record;
      const before = this.#known.get(number);
      // One that cannot be opened is tried again: its key may be back.
      known.set(
        number,
        before?.version === version && before.settings ? before : { version, settings: await this.#usable(record) },
      );
    }
    for (const number of this.#warned.keys()) if (!known.has(number)) this.#warned.delete(number);
    const before = this.#known;
    this.#known = known;
    this.#settings = [...known.values()].flatMap(({ settings }) => settings ?? []);
    this.#byName = new Map(this.#settings.map((one) => [`${one.namespace}/${one.name}`, one]));
    for (const number of new Set([...before.keys(), ...known.keys()])) {
      const now = known.get(number)?.settings;
      if (now !== before.get(number)?.settings) for (const listener of this.#listeners) listener({ number, now });
    }
  }

  /** A document that fitted when it was saved may not fit what this server knows now, or its secret cannot be opened here. */
  async #usable(record: SubscriptionRecord): Promise<SubscriptionSettings | undefined> {
    const { number, namespace, name, version, paused, text } = record;
    try {
      const { filter, from: _from, ...config } = this.configOf(record);
      const target = await this.#opened({ namespace, name }, config.target, JSON.parse(text) as Kept);
      this.#warned.delete(number);
      return Object.freeze({ ...config, target, number, namespace, name, version, paused, filter: readFilter(filter) });
    } catch (error) {
      const detail = `the subscription ${name} of the namespace ${namespace} cannot be used here: ${(error as Error).message}; put it again as it should be`;
      if (this.#warned.get(number) !== detail) this.#d.log.warn('subscriptions.unused', { namespace, name, detail });
      this.#warned.set(number, detail);
      return undefined;
    }
  }

  async #opened(key: SubscriptionKey, target: SubscriptionTarget, { sealed }: Kept): Promise<SubscriptionTarget> {
    if (!sealed || target.kind !== 'webhook') return target;
    const sealing: SealingKey | undefined = await this.#d.key.find();
    const content =
      sealing?.id === sealed.keyId ? unseal({ key: sealing, sealed: sealed.text, about: aboutOf(key) }) : undefined;
    if (!content)
      throw locked(
        `its secret was sealed with another secret key than the one in ${this.#d.key.place}, or was changed`,
      );
    return { ...target, secrets: JSON.parse(Buffer.from(content).toString()) as string[] };
  }
}

const aboutOf = ({ namespace, name }: SubscriptionKey): string[] => ['subscription secret', namespace, name];

export const unknownSubscription = (name: string): WaitlessError =>
  new WaitlessError(
    'unknown-subscription',
    `there is no subscription ${JSON.stringify(name.slice(0, 128))}; GET /v1/subscriptions lists those there are`,
  );

export const unknownTarget = (service: string): WaitlessError => {
  const detail = `there is no service ${JSON.stringify(service)}; GET /v1/services lists those there are`;
  return new WaitlessError('unknown-target', `/target/service: ${detail}`, {
    members: { errors: [{ pointer: '/target/service', detail }] },
  });
};
