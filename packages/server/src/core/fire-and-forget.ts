// `Operation-Durability: none`: requests that live only in this process's memory and may be lost. Bounded, no operation, no retry.
import { WaitlessError } from '@waitless/protocol';
import type { ServiceConfig } from '../config/config-shape.ts';
import type { Labels, RequestHead } from '../engine/engine.ts';
import { limitFields } from '../lib/rate-limit-fields.ts';

export interface Forgettable {
  service: ServiceConfig;
  namespace: string;
  queue: number;
  head: RequestHead;
  body: Uint8Array;
  correlationId: string | null;
  labels: Labels | null;
  createdAt: number;
}

/** Above, a stalled backend would eat the memory of everyone; below, a short burst is refused. */
const mostItems = 10_000;
const mostBytes = 64 * 1024 * 1024;

/** Somebody parked until there is something of this service, in one namespace or in any (null). */
interface Parked {
  service: string;
  namespace: string | null;
  wake(): void;
}

export class FireAndForget {
  /** By service, then by namespace. Whoever was served goes to the end, so that a flood in one namespace does not hold up another. */
  readonly #queues = new Map<string, Map<string, Forgettable[]>>();
  readonly #parked: Parked[] = [];
  #items = 0;
  #bytes = 0;

  add(item: Forgettable): void {
    if (this.#items >= mostItems || this.#bytes + item.body.length > mostBytes) {
      throw new WaitlessError(
        'queue-full',
        `the memory queue for durability none is full (${mostItems} requests or ${mostBytes} bytes)`,
        {
          retryAfterSeconds: 1,
          members: { accepted: false },
          headers: limitFields({ name: 'memory-queue', quota: mostItems, remaining: 0, untilMs: 1000 }),
        },
      );
    }
    const { name } = item.service;
    let queues = this.#queues.get(name);
    if (!queues) this.#queues.set(name, (queues = new Map<string, Forgettable[]>()));
    const queue = queues.get(item.namespace);
    if (queue) queue.push(item);
    else queues.set(item.namespace, [item]);
    this.#items++;
    this.#bytes += item.body.length;
    this.#wakeOne(name, item.namespace);
  }

  /** The oldest waiting for a service, in one namespace or in the next that has any (null). */
  take(service: string, namespace: string | null): Forgettable | undefined {
    const queues = this.#queues.get(service);
    const from = namespace ?? queues?.keys().next().value;
    const queue = from === undefined ? undefined : queues?.get(from);
    const item = queue?.shift();
    if (!item) return undefined;
    queues!.delete(from!);
    if (queue!.length > 0) queues!.set(from!, queue!);
    this.#items--;
    this.#bytes -= item.body.length;
    return item;
  }

  /** Calls `wake` once when something is added, unless the function that this returns is called before. */
  park(service: string, namespace: string | null, wake: () => void): () => void {
    const parked: Parked = { service, namespace, wake };
    this.#parked.push(parked);
    return () => {
      const at = this.#parked.indexOf(parked);
      if (at >= 0) this.#parked.splice(at, 1);
      // It was woken for something and leaves without it, perhaps: then the next in line must know.
      else if (this.#queues.get(service)?.has(namespace ?? '')) this.#wakeOne(service, namespace ?? '');
    };
  }

  #wakeOne(service: string, namespace: string): void {
    const at = this.#parked.findIndex(
      (parked) => parked.service === service && (parked.namespace === null || parked.namespace === namespace),
    );
    if (at >= 0) this.#parked.splice(at, 1)[0]!.wake();
  }
}
