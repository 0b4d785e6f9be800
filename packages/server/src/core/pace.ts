// What each service's recent operations took, from which Retry-After is learned. In memory only: it is advice, not state.

/** Weight of the newest duration: lower forgets slowly, higher jumps with every outlier. */
const weight = 0.2;
const firstGuessMs = 1000;
/** Polls rarer than this make people think that nothing happens. */
const longestSeconds = 60;

export class Pace {
  readonly #totalMs = new Map<string, number>();

  /** An operation of the service ended `ms` after it was accepted. */
  finished(service: string, ms: number): void {
    const known = this.#totalMs.get(service);
    this.#totalMs.set(service, known === undefined ? ms : known + weight * (ms - known));
  }

  /** Whole seconds, at least 1, until a client should ask again: what is left of the usual duration, then a growing part of the time waited. */
  retryAfterSeconds(service: string, elapsedMs: number): number {
    const usual = this.#totalMs.get(service) ?? firstGuessMs;
    const left = elapsedMs < usual ? usual - elapsedMs : Math.max(elapsedMs / 4, 1000);
    return Math.min(longestSeconds, Math.max(1, Math.ceil(left / 1000)));
  }
}
