// What becomes of an event that a subscriber did not take: another try, the dead letters, or nothing where none are kept. Pure.
import type { EventSettlement } from '../engine/subscriptions.ts';
import { type RetryPolicy, retryDelayMs } from './retry.ts';

export interface Refusal {
  /** Tries so far, this one included. */
  attempt: number;
  code: string;
  detail: string | null;
  /** When the subscriber wants it again; undefined: as the policy says. */
  retryAfterMs?: number | undefined;
}

export interface RefusalRules {
  retry: RetryPolicy;
  deadLetter: boolean;
}

export type RefusalOutcome = 'retried' | 'dead' | 'dropped';

/** Nobody waits longer than a day for what somebody else asks for. */
const longestRetryAfterMs = 86_400_000;

/** @param fraction uniform in [0, 1) */
export function afterRefusal(
  { attempt, code, detail, retryAfterMs }: Refusal,
  { rules: { retry, deadLetter }, nowMs, fraction }: { rules: RefusalRules; nowMs: number; fraction: number },
): { outcome: RefusalOutcome; verdict: EventSettlement['verdict'] } {
  if (attempt >= retry.maxAttempts) return givenUp({ code, detail }, deadLetter);
  const delayMs =
    retryAfterMs === undefined ? retryDelayMs(retry, attempt, fraction) : Math.min(retryAfterMs, longestRetryAfterMs);
  return { outcome: 'retried', verdict: { to: 'waiting', at: nowMs + delayMs, attemptUsed: true, code, detail } };
}

export const givenUp = (
  { code, detail }: Pick<Refusal, 'code' | 'detail'>,
  deadLetter: boolean,
): { outcome: 'dead' | 'dropped'; verdict: EventSettlement['verdict'] } =>
  deadLetter
    ? { outcome: 'dead', verdict: { to: 'dead', code, detail } }
    : { outcome: 'dropped', verdict: { to: 'acked' } };
