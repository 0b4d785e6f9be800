// A lease of an event in words, as consumers get it wherever they ask, and the answers that they give in words.
import type { EventTokens } from '../../core/event-tokens.ts';
import type { TakenEvent } from '../../core/event-taking.ts';
import { structuredJson } from '../../core/event-words.ts';
import type { EventAnswer } from '../../core/pull.ts';
import { isoTime } from '../../lib/clock.ts';
import type { Shape } from './shape.ts';

const mostMessage = 2000;

/** JSON members of a lease, without braces. The event's own text is put in as it is. */
export function eventLeaseMembers({ lease, event }: TakenEvent, tokens: EventTokens): string {
  const { position, attempt, leaseUntil } = lease;
  const about = {
    token: tokens.tokenOf(lease),
    position,
    topic: event.topic,
    attempt,
    lastAttempt: tokens.isLastAttempt(lease),
    expiresAt: isoTime(leaseUntil),
  };
  return `${JSON.stringify(about).slice(1, -1)},"event":${structuredJson(event)}`;
}

/** Members of a nack, beside those of its envelope. */
export const nackFields = ['retryAfter', 'message'] as const;

export const readNack = (shape: Shape): EventAnswer => ({
  kind: 'nack',
  retryAfterMs: shape.pauseMs('retryAfter'),
  message: shape.text('message', { most: mostMessage }) ?? null,
});
