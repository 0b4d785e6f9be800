// Services made over the API: kept in the store as the documents they came as, read again whenever they may have changed, on this node or another.
import { WaitlessError } from '@waitless/protocol';
import type { ServiceConfig } from '../config/config-shape.ts';
import type { Engine } from '../engine/engine.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { pause, type Service } from '../lib/service.ts';
import type { Services } from './services.ts';

/** Reads and checks a document; throws for one that cannot be used. */
export type ReadService = (name: string, document: unknown) => ServiceConfig;

export interface MadeServicesDependencies {
  engine: Pick<Engine, 'save' | 'remove' | 'list' | 'onSignal'>;
  services: Services;
  read: ReadService;
  /** Whether the target of a service may be called; throws where not. */
  checkTarget: (service: ServiceConfig) => Promise<void>;
  clock: Clock;
  /** How often the documents are read without a hint. */
  everyMs?: number | undefined;
  log: Log;
}

interface KnownDocument {
  text: string;
  savedAt: number;
  /** Undefined where it cannot be used here. */
  service: ServiceConfig | undefined;
}

const kind = 'service';
/** Longest that another node goes on with what was changed here, when a hint is lost. */
const pollMs = 5000;
/** Each has a loop of its own and parks a lease; more are a mistake, or somebody who wants to fill the store. */
const mostServices = 1000;

export class MadeServices implements Service {
  readonly name = 'made services';
  readonly #d: MadeServicesDependencies;
  /** As they were read last, so that what did not change stays the same object. */
  #known = new Map<string, KnownDocument>();
  #stop = new AbortController();
  #polling: Promise<void> | undefined;
  #reading: Promise<void> = Promise.resolve();
  #readAgain = false;
  readonly #warned = new Map<string, string>();

  constructor(dependencies: MadeServicesDependencies) {
    this.#d = dependencies;
    dependencies.engine.onSignal((signal) => {
      if (signal.kind === 'documents') this.#hint();
    });
  }

  /** What an operator should know, in sentences: documents that are not in use, and why. */
  get warnings(): string[] {
    return [...this.#warned.values()];
  }

  /** When a service was saved; undefined for one of the configuration. */
  savedAt(name: string): number | undefined {
    return this.#d.services.sourceOf(name) === 'api' ? this.#known.get(name)?.savedAt : undefined;
  }

  /** Resolves when those of the store are known, so that nobody is told that they are not there. */
  async start(): Promise<void> {
    this.#stop = new AbortController();
    await this.read();
    this.#polling = this.#poll(this.#stop.signal);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#polling;
    await this.#reading.catch(() => {});
  }

  /** Saves a checked document. `text` is its JSON as it is to be kept. */
  async save(name: string, { text, document }: { text: string; document: unknown }): Promise<{ isNew: boolean }> {
    const { engine, read, checkTarget, clock } = this.#d;
    this.#refuseConfigured(name);
    const service = read(name, document);
    await checkTarget(service);
    const isNew = !this.#known.has(name);
    if (isNew && this.#known.size >= mostServices)
      throw new WaitlessError(
        'too-many-services',
        `there are ${mostServices} services made over the API already; remove some that are not used any more`,
      );
    await engine.save({ kind, name, text, savedAt: clock.now() });
    await this.read();
    return { isNew };
  }

  /** Throws 404 where there is none. */
  async remove(name: string): Promise<void> {
    this.#refuseConfigured(name);
    const removed = await this.#d.engine.remove({ kind, name });
    await this.read();
    // Says so in the words of every other route.
    if (!removed) this.#d.services.require(name);
    if (!removed) throw new WaitlessError('unknown-service');
  }

  /** Reads all of them again; what was saved before this was called is there afterwards. */
  read(): Promise<void> {
    return (this.#reading = this.#reading.catch(() => {}).then(() => this.#readNow()));
  }

  #refuseConfigured(name: string): void {
    if (this.#d.services.sourceOf(name) === 'config')
      throw new WaitlessError(
        'service-read-only',
        `the service ${JSON.stringify(name)} comes from this server's configuration; change it there and restart, or take another name`,
      );
  }

  /** Hints come in crowds: while one reading waits for its turn there is no need for a second. */
  #hint(): void {
    if (this.#readAgain || this.#stop.signal.aborted) return;
    this.#readAgain = true;
    this.#reading = this.#reading
      .catch(() => {})
      .then(() => {
        this.#readAgain = false;
        return this.#readNow();
      })
      // A store that is away is asked again at the next poll.
      .catch((error: unknown) => this.#d.log.info?.('services.unread', { error }));
  }

  async #poll(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      await pause(this.#d.everyMs ?? pollMs, stop);
      if (!stop.aborted) this.#hint();
    }
  }

  async #readNow(): Promise<void> {
    const { engine, services } = this.#d;
    const documents = await engine.list(kind);
    const known = new Map<string, KnownDocument>();
    for (const { name, text, savedAt } of documents) {
      const before = this.#known.get(name);
      if (before?.text === text) known.set(name, { ...before, savedAt });
      else known.set(name, { text, savedAt, service: this.#usable(name, text) });
      if (services.sourceOf(name) === 'config')
        this.#warn(
          name,
          `the service ${name} was made over the API and also stands in the configuration, which is the one in use; rename it there, or this one comes into use when it is gone from there`,
        );
    }
    for (const name of this.#warned.keys()) if (!known.has(name)) this.#warned.delete(name);
    this.#known = known;
    services.replaceMade(
      new Map([...known].flatMap(([name, { service }]) => (service ? [[name, service] as const] : []))),
    );
  }

  /** A document that fitted when it was saved may not fit what this server allows now. */
  #usable(name: string, text: string): ServiceConfig | undefined {
    try {
      const service = this.#d.read(name, JSON.parse(text) as unknown);
      this.#warned.delete(name);
      return service;
    } catch (error) {
      this.#warn(
        name,
        `the service ${name}, made over the API, cannot be used here: ${(error as Error).message}; send it again as it should be`,
      );
      return undefined;
    }
  }

  #warn(name: string, sentence: string): void {
    if (this.#warned.get(name) === sentence) return;
    this.#warned.set(name, sentence);
    this.#d.log.warn('services.unused', { service: name, detail: sentence });
  }
}
