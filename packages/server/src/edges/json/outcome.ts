// What became of a submit, as envelopes tell it: the operation, and whether it is new, was known, or has its result already.
import { receiptJson } from '../../core/document.ts';
import type { Accepted, Hit } from '../../core/submit.ts';
import type { StoredResult } from '../../engine/engine.ts';

/** Age and Cache-Status (RFC 9111, RFC 9211) of a stored result: whole seconds, and a negative time to live where it is served stale. */
export function storedFields({ freshUntil, storedAt }: StoredResult, ageMs: number): string[] {
  const ttl = freshUntil === null ? '' : `; ttl=${Math.floor((freshUntil - storedAt - ageMs) / 1000)}`;
  return ['Age', String(Math.floor(ageMs / 1000)), 'Cache-Status', `waitless; hit${ttl}`];
}

/** JSON members, without braces. `retryAfter`: seconds after which it is worth asking for the operation. */
export function outcomeMembers(
  outcome: Accepted | Hit,
  { base, retryAfter }: { base: string; retryAfter?: number | undefined },
): string {
  if (outcome.kind === 'stored') {
    const { id, correlationId, stored, ageMs } = outcome;
    const receipt = receiptJson({ ...stored.operation, id, correlationId }, base);
    const [, age, , cacheStatus] = storedFields(stored, ageMs);
    return `"operation":${receipt},"stored":true,"age":${age},"cacheStatus":"${cacheStatus}"`;
  }
  const { replayed, fromStore, cacheStatus } = outcome;
  return (
    `"operation":${receiptJson(outcome, base)}` +
    (retryAfter === undefined ? '' : `,"retryAfter":${retryAfter}`) +
    (fromStore ? ',"stored":true' : '') +
    (replayed ? ',"replayed":true' : '') +
    (cacheStatus === undefined ? '' : `,"cacheStatus":"${cacheStatus}"`)
  );
}
