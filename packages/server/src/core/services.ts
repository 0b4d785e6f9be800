// The services of this server: those of its configuration, which stay, and those made over the API, which come and go; and the numbers of their queues.
import { WaitlessError } from '@waitless/protocol';
import type { ServiceConfig } from '../config/config-shape.ts';
import type { Engine, Queue } from '../engine/engine.ts';

export type ServiceSource = 'config' | 'api';

/** A service is there now that was not, is another one, or (`now` undefined) is gone. */
export interface ServiceChange {
  readonly name: string;
  readonly now: ServiceConfig | undefined;
}

export class Services {
  readonly #configured: ReadonlyMap<string, ServiceConfig>;
  #made: ReadonlyMap<string, ServiceConfig> = new Map();
  /** Attempts may still be under way for one that was replaced or removed. */
  readonly #everMade = new WeakSet<ServiceConfig>();
  readonly #listeners: ((change: ServiceChange) => void)[] = [];
  readonly #engine: Pick<Engine, 'queue' | 'queueById'>;
  readonly #numbers = new Map<string, number>();
  readonly #queues = new Map<number, Queue>();

  constructor({
    services,
    engine,
  }: {
    services: ReadonlyMap<string, ServiceConfig>;
    engine: Pick<Engine, 'queue' | 'queueById'>;
  }) {
    this.#configured = services;
    this.#engine = engine;
  }

  /** Those of the configuration first. */
  *all(): Iterable<ServiceConfig> {
    yield* this.#configured.values();
    yield* this.#made.values();
  }

  get(name: string): ServiceConfig | undefined {
    return this.#configured.get(name) ?? this.#made.get(name);
  }

  require(name: string): ServiceConfig {
    const service = this.get(name);
    if (!service)
      throw new WaitlessError(
        'unknown-service',
        `there is no service ${JSON.stringify(name.slice(0, 128))}; GET /v1/services lists those there are`,
      );
    return service;
  }

  sourceOf(name: string): ServiceSource | undefined {
    return this.#configured.has(name) ? 'config' : this.#made.has(name) ? 'api' : undefined;
  }

  /** Whether this very document came over the API, also where it has been replaced since. */
  wasMade(service: ServiceConfig): boolean {
    return this.#everMade.has(service);
  }

  /** Called for each service that came, changed or went, after `get` tells it. */
  onChange(listener: (change: ServiceChange) => void): void {
    this.#listeners.push(listener);
  }

  /** Puts these in the place of all that were made over the API. A document that is the same object is no change; names of the configuration are not touched. */
  replaceMade(made: ReadonlyMap<string, ServiceConfig>): void {
    const before = this.#made;
    this.#made = new Map([...made].filter(([name]) => !this.#configured.has(name)));
    const names = new Set([...before.keys(), ...this.#made.keys()]);
    for (const service of this.#made.values()) this.#everMade.add(service);
    for (const name of names) {
      const now = this.#made.get(name);
      if (now !== before.get(name)) for (const listener of this.#listeners) listener({ name, now });
    }
  }

  /** Number of a namespace's queue, where it is known already. */
  knownNumber(namespace: string, service: string): number | undefined {
    return this.#numbers.get(`${namespace}/${service}`);
  }

  async number(namespace: string, service: string): Promise<number> {
    const known = this.knownNumber(namespace, service);
    if (known !== undefined) return known;
    const queue = await this.#engine.queue(namespace, service);
    this.#remember(queue);
    return queue.id;
  }

  async queue(id: number): Promise<Queue | undefined> {
    const known = this.#queues.get(id);
    if (known) return known;
    const queue = await this.#engine.queueById(id);
    if (queue) this.#remember(queue);
    return queue;
  }

  #remember(queue: Queue): void {
    this.#numbers.set(`${queue.namespace}/${queue.service}`, queue.id);
    this.#queues.set(queue.id, queue);
  }
}
