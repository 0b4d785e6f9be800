// The services of this server and the numbers of their queues.
import { WaitlessError } from '@waitless/protocol';
import type { ServiceConfig } from '../config/config-shape.ts';
import type { Engine, Queue } from '../engine/engine.ts';

export class Services {
  readonly #services: ReadonlyMap<string, ServiceConfig>;
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
    this.#services = services;
    this.#engine = engine;
  }

  all(): Iterable<ServiceConfig> {
    return this.#services.values();
  }

  get(name: string): ServiceConfig | undefined {
    return this.#services.get(name);
  }

  require(name: string): ServiceConfig {
    const service = this.#services.get(name);
    if (!service)
      throw new WaitlessError(
        'unknown-service',
        `there is no service ${JSON.stringify(name.slice(0, 128))}; GET /v1/services lists those there are`,
      );
    return service;
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
