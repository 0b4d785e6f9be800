// Counters as plain numbers, so that counting costs nothing on the hot path; /metrics turns them into text when it is read.

/** By name of the call. Seconds are those its callers waited, group commit included. */
export type EngineCallTimes = Map<string, { calls: number; failures: number; seconds: number }>;

export interface Pushes {
  delivered: number;
  failed: number;
  dead: number;
  dropped: number;
  returned: number;
  lost: number;
}

export interface Metrics {
  engine: EngineCallTimes;
  accepted: { stored: number; memory: number; none: number };
  published: { stored: number; memory: number; none: number };
  eventsRemoved: number;
  /** Removed before every subscription had read them. */
  eventsMissed: number;
  /** Events given to those who pull. */
  eventLeases: number;
  /** What came of events that were given or sent to subscribers. */
  eventOutcomes: { acked: number; retried: number; dead: number; dropped: number; released: number; lost: number };
  /** Subscriptions that wanted what their topics had lost. */
  subscriptionResets: number;
  replayed: number;
  joined: number;
  storedHits: number;
  leased: number;
  settled: { succeeded: number; failed: number; queued: number; later: number; refused: number };
  attempts: number;
  polls: number;
  /** Notices sent. */
  deliveryAttempts: number;
  /** What came of tries to deliver; `returned`: not sent, or interrupted by our own end; `lost`: too late to be recorded. */
  deliveries: { delivered: number; failed: number; dead: number; returned: number; lost: number };
  /** What came of carrying events to push subscribers; `dropped`: given up where no dead letters are kept. The rest as for deliveries. */
  pushes: Record<'webhook' | 'service', Pushes>;
  httpResponses: Map<number, number>;
  swept: number;
  expired: number;
}

const noPushes = (): Pushes => ({ delivered: 0, failed: 0, dead: 0, dropped: 0, returned: 0, lost: 0 });

export const newMetrics = (): Metrics => ({
  engine: new Map(),
  accepted: { stored: 0, memory: 0, none: 0 },
  published: { stored: 0, memory: 0, none: 0 },
  eventsRemoved: 0,
  eventsMissed: 0,
  eventLeases: 0,
  eventOutcomes: { acked: 0, retried: 0, dead: 0, dropped: 0, released: 0, lost: 0 },
  subscriptionResets: 0,
  replayed: 0,
  joined: 0,
  storedHits: 0,
  leased: 0,
  settled: { succeeded: 0, failed: 0, queued: 0, later: 0, refused: 0 },
  attempts: 0,
  polls: 0,
  deliveryAttempts: 0,
  deliveries: { delivered: 0, failed: 0, dead: 0, returned: 0, lost: 0 },
  pushes: { webhook: noPushes(), service: noPushes() },
  httpResponses: new Map(),
  swept: 0,
  expired: 0,
});
