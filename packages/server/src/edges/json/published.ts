// What every way to publish has in common: the key that orders an event, and what its publisher is told.
import { WaitlessError } from '@waitless/protocol';
import type { Published } from '../../core/publish.ts';
import type { ReadEvent } from './cloud-event.ts';

export const conflict = (detail: string): WaitlessError =>
  new WaitlessError('conflicting-headers', detail, { members: { accepted: false } });

/** The header is for all events of a request; the extension `partitionkey` of CloudEvents is one event's own. */
export function orderOf(
  { partitionkey: own }: ReadEvent['attributes'],
  { ordering, at }: { ordering: string | null; at: string },
): string | null {
  if (own === undefined) return ordering;
  const key = String(own as string | number | boolean);
  if (key === '' || key.length > 255)
    throw new WaitlessError('invalid-cloudevent', `${at}partitionkey must be 1 to 255 characters`, {
      members: { accepted: false },
    });
  if (ordering !== null && ordering !== key)
    throw conflict(`Ordering-Key and the attribute ${at}partitionkey name different keys; drop one of them`);
  return key;
}

/** Members of the answer to a publish. */
export function publishedMembers(published: readonly Published[]): string {
  const ids = JSON.stringify(published.map(({ id }) => id));
  const positions = published.map(({ position }) => position).join();
  const repeated = published.some((one) => one.repeated)
    ? `,"repeated":[${published.map((one) => one.repeated).join()}]`
    : '';
  return `"ids":${ids},"positions":[${positions}]${repeated}`;
}
