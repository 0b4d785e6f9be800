// Where the sweep begins to look. Entries of rows that are gone stay in an index until they are vacuumed, which one forgotten transaction anywhere
// in the database puts off for hours, and a look from the beginning passes over all of them each time: at some hundred thousand it takes seconds.
// So a look goes on where the last one ended, and starts from the beginning only now and then.

/** A row may be seen this much later than its time: its statement was under way, or another node's clock is behind. */
const marginMs = 10_000;
/** What comes later still is found by a look from the beginning. */
const wholeEveryMs = 15_000;
/** Of the time, such looks take one part in so many at most. */
const share = 50;
/** After two in a row that took too long: by then they may have been vacuumed. */
const restMs = 60_000;
const beginning = Number.MIN_SAFE_INTEGER;

export class Marks {
  /** Nothing before it is due. */
  due = beginning;
  /** Nothing before it has expired. */
  expired = beginning;
  /** No look at a backend is due before it. */
  polls = beginning;
  #wholeAt = beginning;
  #failures = 0;

  /** Carries out a sweep at `nowMs`. */
  async sweep<T>(nowMs: number, work: () => Promise<T>): Promise<T> {
    if (nowMs < this.#wholeAt) return work();
    const [due, expired, polls] = [this.due, this.expired, this.polls];
    this.due = this.expired = this.polls = beginning;
    const begun = performance.now();
    try {
      const answer = await work();
      this.#failures = 0;
      this.#wholeAt = nowMs + Math.max(wholeEveryMs, share * (performance.now() - begun));
      return answer;
    } catch (error) {
      if (++this.#failures > 1) {
        this.due = Math.max(due, nowMs - marginMs);
        this.expired = Math.max(expired, nowMs - marginMs);
        this.polls = Math.max(polls, nowMs - marginMs);
        this.#wholeAt = nowMs + restMs;
      }
      throw error;
    }
  }

  /** Everything due at `nowMs` was seen; the earliest of it is still there until it has been decided. */
  sawDue(nowMs: number, earliestMs: number): void {
    this.due = Math.min(earliestMs, nowMs - marginMs);
  }

  /** Every look that was due is put off, or some of them where there are `more`. */
  sawPolls(nowMs: number, more: boolean): void {
    if (!more) this.polls = nowMs - marginMs;
  }

  /** Removed up to `lastMs`; undefined where nothing that has expired is left. */
  removed(nowMs: number, lastMs: number | undefined): void {
    this.expired = lastMs ?? nowMs - marginMs;
  }
}
