// Deliveries: what has to be told to somebody outside. Each is a message of its own, leased and tried again until it is through or given up; the
// row is written in the commit that causes it, so "done, but nobody was told" cannot exist.
//
//   waiting ──lease──▶ sending ──▶ delivered
//      ▲                  │  └──▶ dead (schedule used up, refused for good, or the receiver said 410)
//      └── failed, or ────┘         │
//          interrupted              └──redeliver──▶ waiting
//
// What goes to one place waits in one outlet. An outlet lets no more than `maxInFlight` of its deliveries be sent at once, and while it is blocked
// until a moment none before that and then one, the probe: a dead place costs nobody else anything, however much waits for it.
import type { OperationKey } from './operations.ts';

/** Somebody who wants to be told of an operation; written with the submit, also with one that joins another's operation. */
export interface CallbackWanted {
  /** Normalised. */
  url: string;
  /** The outlet: what shares a breaker and a limit with it, within its namespace. */
  outlet: string;
  /** The submitter's own; null: the operation id. */
  correlationId: string | null;
  /** Tell each progress, not the end alone. */
  progress: boolean;
  /** Leave the result out. */
  thin: boolean;
  /** The address under which the submitter knows the server: what URLs in the notice begin with. */
  base: string;
}

/** Most callbacks of one operation, so that a thousand who join cannot make one end a long transaction. Further ones are told `callbacks-full`. */
export const mostCallbacks = 100;

export type DeliveryState = 'waiting' | 'sending' | 'delivered' | 'dead';

export interface Delivery {
  /** Growing number; the public id is made from it. */
  number: number;
  namespace: string;
  /** The operation it tells of, and the version that it tells. */
  operation: OperationKey;
  version: number;
  callback: CallbackWanted;
  createdAt: number;
  /** Tries begun, the one under way included. */
  attempt: number;
  /** Tries that failed since it began or was begun anew: what the schedule goes by. A try that was interrupted by our own end is none of them. */
  failures: number;
}

export interface LeasedDelivery extends Delivery {
  /** Fencing token. */
  leaseNo: number;
}

export interface DeliveryRecord extends Delivery {
  state: DeliveryState;
  /** When it is tried next, where it waits. */
  nextAt: number | null;
  /** When it was delivered or given up. */
  endedAt: number | null;
  /** Why it was given up, or why the last try failed: a code of ours. */
  code: string | null;
}

/** One try, as it is shown. */
export interface DeliveryAttempt {
  attempt: number;
  /** When it began. */
  at: number;
  /** null: interrupted by the end of our process; whether it arrived is not known. */
  durationMs: number | null;
  /** Of the receiver's answer, if there was one. */
  status: number | null;
  /** What went wrong, in a code of ours; null: nothing. */
  code: string | null;
  detail: string | null;
  /** The beginning of the answer, at most `mostAnswerBytes`. */
  answer: Uint8Array | null;
  /** When the next try was set to. */
  nextAt: number | null;
}

export const mostAnswerBytes = 4096;
/** The code of a try that ended with our process. */
export const interrupted = 'interrupted';

export interface DeliveriesWanted {
  max: number;
  /** After that a try is taken for interrupted, and made again. */
  leaseMs: number;
  /** Most deliveries of one outlet under way at once, over all nodes. */
  maxInFlight: number;
}

/** What a try says of its outlet. */
export type OutletNews =
  /** It answers: whatever blocked it is over. */
  | { kind: 'well' }
  /** Counts against it; with `tripAt` failures in a row and more it is blocked until then. */
  | { kind: 'ill'; tripAt: number; blockUntil: number }
  /** Says nothing of it, as a refusal of ours. */
  | { kind: 'none' };

export interface DeliverySettlement {
  number: number;
  leaseNo: number;
  /** When the try began, and the rest of what is written of it. */
  tried: Omit<DeliveryAttempt, 'attempt' | 'nextAt'>;
  verdict:
    | { to: 'delivered' }
    /** Tried again; `failed` false leaves the schedule where it is. */
    | { to: 'waiting'; at: number; failed: boolean }
    | { to: 'dead' };
  outlet: OutletNews;
}

export type DeliverySettleOutcome =
  | { kind: 'recorded'; outlet: { failures: number; blockedUntil: number | null } | null }
  /** It was taken for interrupted, or settled before. */
  | { kind: 'lost' }
  | { kind: 'unknown' };

export interface DeliveryFilter {
  namespace: string;
  /** Of one operation. */
  seq?: number;
  state?: DeliveryState;
  limit: number;
  /** Only deliveries with a smaller number: the cursor. */
  before?: number;
}

export interface DeliveryEngine {
  /** Those that are due, fairly by outlet. What is leased is durable before it is given out, so that no try is made that the log does not know. */
  leaseDeliveries(wanted: DeliveriesWanted, nowMs: number): Promise<LeasedDelivery[]>;
  /** Writes each try with what follows from it in one commit. */
  settleDeliveries(batch: readonly DeliverySettlement[], nowMs: number): Promise<DeliverySettleOutcome[]>;
  /** Newest first. */
  deliveries(filter: DeliveryFilter): Promise<DeliveryRecord[]>;
  delivery(
    number: number,
    namespace: string,
  ): Promise<{ delivery: DeliveryRecord; attempts: DeliveryAttempt[] } | undefined>;
  /** Has it sent at once, whatever became of it; `sending`: it is on its way just now. */
  redeliver(
    number: number,
    namespace: string,
    nowMs: number,
  ): Promise<{ kind: 'waiting'; delivery: DeliveryRecord } | { kind: 'sending' } | { kind: 'unknown' }>;
}
