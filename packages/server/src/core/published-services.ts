// Tells the store which services publish the transitions of their operations by their own wish: those of the configuration at the start, those made over
// the API whenever they change.
import type { Engine } from '../engine/engine.ts';
import type { Log } from '../lib/log.ts';
import { pause, type Service } from '../lib/service.ts';
import type { Services } from './services.ts';

/** A store that is away is asked again after this. */
const againMs = 1000;

export class PublishedServices implements Service {
  readonly name = 'published services';
  readonly #engine: Pick<Engine, 'publishTransitions'>;
  readonly #services: Services;
  readonly #log: Log;
  /** What the store has not been told yet. */
  #untold = new Map<string, boolean>();
  #telling: Promise<void> | undefined;
  #stop = new AbortController();
  #runs = false;

  constructor({ engine, services, log }: { engine: Pick<Engine, 'publishTransitions'>; services: Services; log: Log }) {
    this.#engine = engine;
    this.#services = services;
    this.#log = log;
    services.onChange(({ name, now }) => {
      if (!this.#runs) return;
      this.#untold.set(name, now?.publishTransitions ?? false);
      this.#telling ??= this.#tell().finally(() => (this.#telling = undefined));
    });
  }

  /** Resolves when the store knows, so that no operation comes before its history begins. */
  async start(): Promise<void> {
    this.#stop = new AbortController();
    this.#runs = true;
    const all = [...this.#services.all()].map((service) => [service.name, service.publishTransitions] as const);
    if (all.length > 0) await this.#engine.publishTransitions(Object.fromEntries(all));
  }

  async stop(): Promise<void> {
    this.#runs = false;
    this.#stop.abort();
    await this.#telling;
  }

  async #tell(): Promise<void> {
    while (this.#untold.size > 0 && !this.#stop.signal.aborted) {
      const wanted = this.#untold;
      this.#untold = new Map();
      try {
        await this.#engine.publishTransitions(Object.fromEntries(wanted));
      } catch (error) {
        this.#log.info?.('services.untold', { error });
        // What has changed again meanwhile is newer.
        this.#untold = new Map([...wanted, ...this.#untold]);
        await pause(againMs, this.#stop.signal);
      }
    }
  }
}
