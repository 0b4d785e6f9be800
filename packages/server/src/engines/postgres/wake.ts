// One timer for the earliest moment at which the clock has something to say.

/** setTimeout fires at once for more than this. */
const longestMs = 0x7fffffff;

export class Wake {
  readonly #due: () => void;
  #timer: NodeJS.Timeout | undefined;
  #for = Number.POSITIVE_INFINITY;
  #stopped = false;

  constructor(due: () => void) {
    this.#due = due;
  }

  /** Something is due at `atMs`, seen from `nowMs`. Whoever hears of it sweeps, and a sweep says what is due next. */
  at(atMs: number, nowMs: number): void {
    if (atMs >= this.#for || this.#stopped) return;
    clearTimeout(this.#timer);
    this.#for = atMs;
    this.#timer = setTimeout(
      () => {
        this.#for = Number.POSITIVE_INFINITY;
        this.#due();
      },
      Math.min(Math.max(atMs - nowMs, 1), longestMs),
    );
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }
}
