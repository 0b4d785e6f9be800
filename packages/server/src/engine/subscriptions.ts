// Subscriptions: a cursor over the log for each, and a row for what was taken from it and is not acknowledged yet.
//
//   in the log ──claim──▶ sending ──ack──▶ gone          (the row; the event stays in the log)
//                │           │
//                │           ├──nack──▶ waiting ──lease──▶ sending
//                ▼           └──given up──▶ dead ──redrive──▶ waiting
//               held  (an ordered subscription has one of its key out) ──the one before is through or dead──▶ waiting
//
// A million stored events cost a subscription nothing until it reads: nothing is written for it by a publish. The core reads a page after the cursor,
// filters it, and claims what is left; the claim moves the cursor only where nobody else has moved it meanwhile.
import type { LoggedEvent } from './topics.ts';

export interface SubscriptionDocument {
  namespace: string;
  name: string;
  /** JSON text of what was put, kept as it is. */
  text: string;
  /** Pattern of the topics that it reads. */
  topics: readonly string[];
  savedAt: number;
}

/** From where a new one reads. `now`: after the newest position at its commit. */
export type StartFrom = 'now' | 'start' | { position: number };

export interface SubscriptionRecord extends SubscriptionDocument {
  number: number;
  createdAt: number;
  /** Raised by every change of the document or of `paused`. */
  version: number;
  paused: boolean;
  /** History that `readTo` belongs to. */
  epoch: string;
  /** Everything up to here was looked at: acknowledged, filtered out, or a row. */
  readTo: number;
  /** Rows by state. */
  waiting: number;
  sending: number;
  held: number;
  dead: number;
  /** Oldest position that is taken and not acknowledged, dead ones aside; null: none. */
  oldestOpen: number | null;
  oldestOpenAt: number | null;
  /** Breaker of a webhook: failures in a row, and until when nothing is sent. */
  failures: number;
  blockedUntil: number | null;
}

export type EventLeaseKind = 'push' | 'pull';

export interface Claim {
  subscription: number;
  /** The cursor as it was when the page was read; the claim fails where it is another one by now. */
  readFrom: number;
  readTo: number;
  /** What passed the filter, in order; the rest up to `readTo` is done with. */
  take: readonly { position: number; orderingKey: string | null }[];
  /** One of a key at a time: what is behind another one of its key is held. */
  ordered: boolean;
  kind: EventLeaseKind;
  worker: string | null;
  leaseMs: number;
}

/** One event on its way to a subscriber. */
export interface LeasedEvent {
  subscription: number;
  position: number;
  /** Fencing token. */
  leaseNo: number;
  attempt: number;
  leaseUntil: number;
}

export type ClaimOutcome =
  /** Those that may go out at once; the others of `take` are held. */
  | { kind: 'claimed'; leases: LeasedEvent[] }
  /** The cursor is elsewhere by now. */
  | { kind: 'moved'; readTo: number }
  /** Whoever paused it was told so: from then on nothing goes out, also on a node that has not heard of it. */
  | { kind: 'paused' }
  | { kind: 'gone' };

export interface DueWanted {
  subscription: number;
  max: number;
  maxBytes: number;
  kind: EventLeaseKind;
  worker: string | null;
  leaseMs: number;
}

export interface EventSettlement {
  subscription: number;
  position: number;
  leaseNo: number;
  verdict:
    | { to: 'acked' }
    /** Tried again; `attemptUsed` false gives the try back. */
    | { to: 'waiting'; at: number; attemptUsed: boolean; code: string | null; detail: string | null }
    | { to: 'dead'; code: string; detail: string | null };
  /** Webhooks: what the try says of the place. */
  outlet?: { kind: 'well' } | { kind: 'ill'; tripAt: number; blockUntil: number };
}

export type EventSettleOutcome = { kind: 'recorded' } | { kind: 'repeated' } | { kind: 'lost' } | { kind: 'gone' };

export interface OpenEvent {
  position: number;
  state: 'waiting' | 'sending' | 'held' | 'dead';
  attempt: number;
  orderingKey: string | null;
  worker: string | null;
  /** When it is tried next, where it waits. */
  nextAt: number | null;
  leaseUntil: number | null;
  takenAt: number;
  code: string | null;
  detail: string | null;
  /** The event, where it is asked for; dead ones keep their own copy. null: its topic has lost it. */
  event: LoggedEvent | null;
}

export interface OpenFilter {
  subscription: number;
  states: readonly OpenEvent['state'][];
  limit: number;
  /** Only larger positions: the cursor. */
  after?: number;
}

export interface SubscriptionEngine {
  /** Made or changed; `from` matters to a new one alone. */
  saveSubscription(
    document: SubscriptionDocument,
    from: StartFrom,
  ): Promise<{ kind: 'made' | 'changed'; subscription: SubscriptionRecord }>;
  /** With all that is its own. False when there is none. */
  removeSubscription(key: { namespace: string; name: string }): Promise<boolean>;
  pauseSubscription(key: { namespace: string; name: string }, paused: boolean): Promise<SubscriptionRecord | undefined>;
  /** Those of a namespace by name; without one, of all. */
  subscriptions(namespace?: string): Promise<SubscriptionRecord[]>;
  subscription(key: { namespace: string; name: string }): Promise<SubscriptionRecord | undefined>;

  /** Takes from the log. The rows and the cursor are one commit. */
  claim(claim: Claim, nowMs: number): Promise<ClaimOutcome>;
  /** Takes of what waits for another try or was held, with the events themselves; nothing of a paused one. */
  leaseDue(wanted: DueWanted, nowMs: number): Promise<{ lease: LeasedEvent; event: LoggedEvent }[]>;
  extendEvent(
    lease: Pick<LeasedEvent, 'subscription' | 'position' | 'leaseNo'> & { leaseMs: number },
    nowMs: number,
  ): Promise<{ kind: 'extended'; leaseUntil: number } | { kind: 'lost' } | { kind: 'gone' }>;
  /** Several in one commit; each has its own outcome. */
  settleEvents(batch: readonly EventSettlement[], nowMs: number): Promise<EventSettleOutcome[]>;
  openEvents(filter: OpenFilter): Promise<OpenEvent[]>;
  /** Dead ones are tried again: all, or these. How many. */
  redriveEvents(
    of: { subscription: number; positions?: readonly number[]; limit: number },
    nowMs: number,
  ): Promise<number>;
  /** Dead ones are forgotten: all, or these. How many. */
  forgetDead(of: { subscription: number; positions?: readonly number[]; limit: number }): Promise<number>;
}
