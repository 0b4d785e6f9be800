// How long things took lately: a decaying histogram of fixed size, so that what was slow a thousand answers ago is forgotten and memory stays the same.

/** Buckets per doubling: neighbours differ by 9 %, and the mean of a bucket is kept too, so that equal durations are told exactly. */
const perDoubling = 8;
/** 2^30 ms are twelve days; what took longer is counted there. */
const buckets = 30 * perDoubling + 1;
/** Each answer weighs this much more than the one before: about the last 64 decide. */
const growth = 1 + 1 / 64;
const tooHeavy = 1e60;

const bucketOf = (ms: number): number =>
  ms <= 1 ? 0 : Math.min(buckets - 1, 1 + Math.floor(Math.log2(ms) * perDoubling));

export class Durations {
  readonly #weights = new Float64Array(buckets);
  /** Weight times duration in each bucket. */
  readonly #sums = new Float64Array(buckets);
  #total = 0;
  #next = 1;

  get known(): boolean {
    return this.#total > 0;
  }

  add(ms: number): void {
    const at = bucketOf(ms);
    this.#weights[at]! += this.#next;
    this.#sums[at]! += this.#next * Math.max(0, ms);
    this.#total += this.#next;
    this.#next *= growth;
    if (this.#next > tooHeavy) this.#lighten();
  }

  /** Weights only matter to each other; without this they would grow beyond numbers after some ten thousand answers. */
  #lighten(): void {
    for (let i = 0; i < buckets; i++) {
      this.#weights[i]! /= this.#next;
      this.#sums[i]! /= this.#next;
    }
    this.#total /= this.#next;
    this.#next = 1;
  }

  /** The duration that this part (0 to 1) of the weight stays at or under; undefined while nothing is known. */
  quantile(part: number): number | undefined {
    if (!this.known) return undefined;
    let seen = 0;
    let last = 0;
    for (let i = 0; i < buckets; i++) {
      const weight = this.#weights[i]!;
      if (weight === 0) continue;
      seen += weight;
      last = this.#sums[i]! / weight;
      if (seen >= part * this.#total) return last;
    }
    // Rounding may leave the sum of the weights a hair under their total.
    return last;
  }

  /** How long something that has taken `ms` so far takes in all, by those that took longer; undefined when none did. */
  beyond(ms: number): number | undefined {
    let before = 0;
    for (let i = 0; i < buckets; i++) {
      const weight = this.#weights[i]!;
      if (weight > 0 && this.#sums[i]! / weight <= ms) before += weight;
    }
    return before >= this.#total * (1 - 1e-9) ? undefined : this.quantile((1 + before / this.#total) / 2);
  }
}
