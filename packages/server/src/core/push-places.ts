// How many events may be on their way to push subscribers at once: an equal share for each that has some, and never less than one.

/** Of this process. Each may hold a socket for as long as a receiver takes; fewer, and a thousand slow receivers would leave hardly any to the quick ones. */
export const mostPushes = 256;

export class PushPlaces {
  readonly #most: number;
  readonly #taken = new Map<number, number>();
  #sum = 0;

  constructor(most: number = mostPushes) {
    this.#most = most;
  }

  get taken(): number {
    return this.#sum;
  }

  /**
   * How many more this subscription may have on their way. A newcomer gets one even where all places are taken, and more as the others come down to
   * their shares: nobody waits for anybody else's receiver.
   */
  room(subscription: number, maxInFlight: number): number {
    const own = this.#taken.get(subscription) ?? 0;
    const sharers = this.#taken.size + (own === 0 ? 1 : 0);
    const share = Math.max(1, Math.floor(this.#most / sharers));
    const left = Math.max(this.#most - this.#sum, own === 0 ? 1 : 0);
    return Math.max(0, Math.min(maxInFlight - own, share - own, left));
  }

  take(subscription: number): void {
    this.#taken.set(subscription, (this.#taken.get(subscription) ?? 0) + 1);
    this.#sum++;
  }

  free(subscription: number): void {
    const own = this.#taken.get(subscription)! - 1;
    if (own === 0) this.#taken.delete(subscription);
    else this.#taken.set(subscription, own);
    this.#sum--;
  }
}
