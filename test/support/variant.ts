// How the journeys of this process run: with the signals that wake waiters, or without them, to prove that nothing depends on a hint.

export interface Variant {
  /** false: nobody is woken by a hint, and the engine's own hints are lost; everyone finds what they wait for by their own slow polls. */
  hints: boolean;
  /** How often waiters re-read without a hint; undefined is the server's own pace. */
  pollMs: number | undefined;
}

/** Read at each start of a test's server. Set it before the first test of the process begins. */
export const variant: Variant = { hints: true, pollMs: undefined };
