// How the journeys of this process run: on which store, with how many nodes, and with the signals that wake waiters or without them, to
// prove that nothing depends on a hint.

export interface Variant {
  engine: 'sqlite' | 'postgres';
  /** Servers on one store. Two stand behind a balancer, so that every exchange of a test may be answered by the other one. */
  nodes: 1 | 2;
  /** false: nobody is woken by a hint, and the engine's own hints are lost; everyone finds what they wait for by their own slow polls. */
  hints: boolean;
  /** How often waiters re-read without a hint; undefined is the server's own pace. */
  pollMs: number | undefined;
}

/** Read at each start of a test's server. Set it before the first test of the process begins. */
export const variant: Variant = { engine: 'sqlite', nodes: 1, hints: true, pollMs: undefined };

/** How far the clocks of the nodes may be apart: each measures the time that they share, at its start and then every second. Nothing to one node. */
export const clocksApartMs = (): number => (variant.nodes > 1 ? 1000 : 0);
