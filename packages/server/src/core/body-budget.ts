// Memory for bodies, bounded over all requests: what would go beyond it is refused before it is read.
import { WaitlessError } from '@waitless/protocol';

export class BodyBudget {
  readonly limit: number;
  #used = 0;

  constructor(limitBytes: number) {
    this.limit = limitBytes;
  }

  get used(): number {
    return this.#used;
  }

  /** Takes room or throws 503 `overloaded`; nothing was accepted then. */
  take(bytes: number): void {
    if (this.#used + bytes > this.limit) {
      throw new WaitlessError('overloaded', `bodies in memory have reached their limit of ${this.limit} bytes`, {
        retryAfterSeconds: 1,
        members: { accepted: false },
      });
    }
    this.#used += bytes;
  }

  /** Takes room for what is already on its way, even beyond the limit: work in hand must end, newcomers wait. */
  hold(bytes: number): void {
    this.#used += bytes;
  }

  release(bytes: number): void {
    this.#used -= bytes;
  }
}
