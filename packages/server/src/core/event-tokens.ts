// What the lease token of an event stands for, and whether it is of the namespace that brings it.
import { WaitlessError } from '@waitless/protocol';
import type { LeasedEvent } from '../engine/subscriptions.ts';
import type { EventLeaseName, Ids } from './ids.ts';
import type { Subscriptions } from './subscriptions.ts';

export interface GivenToken {
  token: string;
  /** Undefined where the token alone is the credential. */
  namespace: string | undefined;
}

export interface EventTokensDependencies {
  ids: Pick<Ids, 'eventToken' | 'eventLeaseName' | 'leaseName'>;
  subscriptions: Pick<Subscriptions, 'byNumber' | 'read'>;
}

export class EventTokens {
  readonly #d: EventTokensDependencies;

  constructor(dependencies: EventTokensDependencies) {
    this.#d = dependencies;
  }

  tokenOf(lease: EventLeaseName): string {
    return this.#d.ids.eventToken(lease);
  }

  /** A nack gives it up. */
  isLastAttempt({ subscription, attempt }: Pick<LeasedEvent, 'subscription' | 'attempt'>): boolean {
    return attempt >= (this.#d.subscriptions.byNumber(subscription)?.retry.maxAttempts ?? Infinity);
  }

  /** Whether it was issued here for an event, to whomever. */
  isOfEvent(token: string): boolean {
    return this.leaseOf(token) !== undefined;
  }

  /** Of a token that this server gave out itself. */
  leaseOf(token: string): EventLeaseName | undefined {
    return this.#d.ids.eventLeaseName(token);
  }

  /** The lease of each; undefined for one that was never issued, of another kind, or of another namespace. */
  async leasesOf(given: readonly GivenToken[]): Promise<(EventLeaseName | undefined)[]> {
    const { subscriptions } = this.#d;
    const found = given.map(({ token, namespace }) => ({ lease: this.leaseOf(token), namespace }));
    const isNew = found.some(
      ({ lease, namespace }) => lease && namespace !== undefined && !subscriptions.byNumber(lease.subscription),
    );
    // Made on another node in this moment, or removed: read once for all of them, for a worker may hold a thousand of one that was removed.
    if (isNew) await subscriptions.read();
    return found.map(({ lease, namespace }) =>
      lease && (namespace === undefined || subscriptions.byNumber(lease.subscription)?.namespace === namespace)
        ? lease
        : undefined,
    );
  }

  /** Of one that is no lease of an event. */
  noLease(token: string): WaitlessError {
    return new WaitlessError(
      'not-found',
      this.#d.ids.leaseName(token)
        ? 'this is the token of an operation; answer it with reply, fail or release'
        : 'no lease has this token',
    );
  }
}

/** An answer that only operations take. */
export const ofAnEvent = (): WaitlessError =>
  new WaitlessError('not-found', 'this is the token of an event; answer it with ack, nack or release');
