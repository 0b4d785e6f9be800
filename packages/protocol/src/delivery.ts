// The shapes of callbacks as their senders see them: what is to be told, to whom, and what became of each attempt.

/** `dead`: given up, since the schedule is used up, or it was refused for good. */
export const deliveryStates = ['waiting', 'sending', 'delivered', 'dead'] as const;
export type DeliveryStatus = (typeof deliveryStates)[number];

/** One notice to one URL. Times are RFC 3339 or null. */
export interface Delivery {
  id: string;
  /** Id of the operation that it tells of. */
  operation: string;
  /** Also the `webhook-id`, the same on every attempt. */
  eventId: string;
  correlationId: string;
  url: string;
  /** Whether the result stands in it. */
  body: 'full' | 'thin';
  status: DeliveryStatus;
  /** Attempts begun so far. */
  attempt: number;
  createdAt: string;
  /** When it is tried next, where it waits. */
  nextAt: string | null;
  /** When it was delivered or given up. */
  endedAt: string | null;
  /** Why it was given up, or why the last attempt failed. */
  code: string | null;
  links: { self: string; operation: string };
}

export interface DeliveryAttempt {
  attempt: number;
  at: string;
  /** null: the server ended meanwhile, and whether it arrived is not known. */
  durationMs: number | null;
  /** Status of the receiver's answer. */
  status: number | null;
  /** What went wrong; null: nothing. */
  code: string | null;
  detail: string | null;
  /** The beginning of the receiver's answer, its control characters written as escapes. */
  answer: string | null;
  /** When the next attempt was set to. */
  nextAt: string | null;
}

export interface DeliveryWithAttempts extends Delivery {
  /** In their order. */
  attempts: DeliveryAttempt[];
}
