// Leases of a pull subscription's events, for the workers of a WebSocket.
import { isName } from '@waitless/protocol';
import type { EventTokens } from '../../core/event-tokens.ts';
import { type Pull, refuseOther } from '../../core/pull.ts';
import type { SubscriptionKey, Subscriptions, SubscriptionSettings } from '../../core/subscriptions.ts';
import { eventLeaseMembers } from '../json/event-lease.ts';
import { fieldError } from '../json/shape.ts';
import type { LeaseSource } from './lease-source.ts';

export interface SubscriptionSourceDependencies {
  subscriptions: Pick<Subscriptions, 'get' | 'require'>;
  pull: Pick<Pull, 'take' | 'settle'>;
  eventTokens: EventTokens;
}

/**
 * Throws for one that there is not, and one that pushes. At once where it is known, so that frames are obeyed in their order.
 * @param at JSON pointer of the frame
 */
export function subscriptionSource(
  dependencies: SubscriptionSourceDependencies,
  { namespace, name, at }: SubscriptionKey & { at: string },
): LeaseSource | Promise<LeaseSource> {
  const { subscriptions } = dependencies;
  if (!isName(name))
    throw fieldError(
      'invalid-name',
      `${at}/subscription`,
      'must start with a letter or digit and go on with letters, digits, "_" and "-", 128 at most',
    );
  const key = { namespace, name };
  const of = (settings: SubscriptionSettings): LeaseSource => {
    refuseOther(settings);
    return sourceOf(dependencies, key);
  };
  const known = subscriptions.get(key);
  return known ? of(known) : subscriptions.require(key).then(of);
}

function sourceOf(
  { pull, eventTokens }: SubscriptionSourceDependencies,
  { namespace, name }: SubscriptionKey,
): LeaseSource {
  return {
    key: `subscription ${name}`,
    about: { subscription: name },
    async take(wanted) {
      const { events, missed } = await pull.take({ ...wanted, namespace, name });
      return {
        leases: events.map((one) => ({
          token: eventTokens.tokenOf(one.lease),
          members: () => eventLeaseMembers(one, eventTokens),
        })),
        reset: missed && `"subscription":"${name}","from":${missed.from},"to":${missed.to}`,
      };
    },
    giveBack: (tokens) =>
      pull.settle(
        tokens.flatMap((token) => {
          const lease = eventTokens.leaseOf(token);
          return lease ? { lease, answer: { kind: 'released' } } : [];
        }),
      ),
  };
}
