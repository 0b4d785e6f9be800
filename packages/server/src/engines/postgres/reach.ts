// Whether the database can be reached, known once for all connections of a process: who finds it away spares the others, who finds it back calls them.

/** After a connection could not be made, others are refused for this long instead of each finding out anew. */
const restMs = 250;

export class Reach {
  #lost: { at: number; error: Error } | undefined;
  #reachedAt = Number.NEGATIVE_INFINITY;

  /** Why there is no use in trying right now. */
  get refusal(): Error | undefined {
    return this.#lost && performance.now() - this.#lost.at < restMs ? this.#lost.error : undefined;
  }

  reached(): void {
    this.#lost = undefined;
    this.#reachedAt = performance.now();
  }

  /** @returns false when another attempt that began later got through, so that this one says nothing */
  missed(error: Error, triedAt: number): boolean {
    if (this.#reachedAt > triedAt) return false;
    this.#lost = { at: performance.now(), error };
    return true;
  }
}
