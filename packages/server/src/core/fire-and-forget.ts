// `Operation-Durability: none`: requests that live only in this process's memory and may be lost. Bounded, no operation, no retry.
import { WaitlessError } from '@waitless/protocol';
import type { ServiceConfig } from '../config/config-shape.ts';
import type { Labels, RequestHead } from '../engine/engine.ts';

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

export class FireAndForget {
  readonly #queues = new Map<string, Forgettable[]>();
  readonly #wakers = new Map<string, () => void>();
  #items = 0;
  #bytes = 0;

  add(item: Forgettable): void {
    if (this.#items >= mostItems || this.#bytes + item.body.length > mostBytes) {
      throw new WaitlessError(
        'queue-full',
        `the memory queue for durability none is full (${mostItems} requests or ${mostBytes} bytes)`,
        { retryAfterSeconds: 1, members: { accepted: false } },
      );
    }
    const queue = this.#queues.get(item.service.name);
    if (queue) queue.push(item);
    else this.#queues.set(item.service.name, [item]);
    this.#items++;
    this.#bytes += item.body.length;
    this.#wakers.get(item.service.name)?.();
  }

  /** The oldest waiting for a service. */
  take(service: string): Forgettable | undefined {
    const item = this.#queues.get(service)?.shift();
    if (item) {
      this.#items--;
      this.#bytes -= item.body.length;
    }
    return item;
  }

  /** Called whenever something was added for the service. */
  onAdded(service: string, wake: () => void): void {
    this.#wakers.set(service, wake);
  }
}
