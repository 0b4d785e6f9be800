// Where a reader of topics stands: a position of a history. Positions of another history, as before a restore, mean nothing in this one.
import type { EventPage } from '../engine/topics.ts';

export interface EventPlace {
  /** Everything up to here was read. */
  position: number;
  /** The history that it belongs to; undefined: whichever there is. */
  epoch: string | undefined;
}

/** Why a reader cannot go on where it stood, and where it goes on instead. */
export interface PlaceReset {
  /** `removed`: events that it had not read are gone. `history`: it stood in another history, or where this one has not come to. */
  reason: 'removed' | 'history';
  /** Where it stood. */
  from: number;
  /** It goes on with the first event after this one. */
  to: number;
  detail: string;
}

const cursorPattern = /^([0-9a-z]{1,9})-([A-Za-z0-9_-]{1,64})$/;
const positionPattern = /^\d{1,15}$/;

export const cursorOf = ({ position, epoch }: { position: number; epoch: string }): string =>
  `${position.toString(36)}-${epoch}`;

/** A cursor of ours, or a bare position; undefined for what is neither. */
export function placeOf(text: string): EventPlace | undefined {
  if (positionPattern.test(text)) return { position: Number(text), epoch: undefined };
  const [, position, epoch] = cursorPattern.exec(text) ?? [];
  return position === undefined ? undefined : { position: Number.parseInt(position, 36), epoch };
}

/** What a reader at this place has to be told, by what the store gave for its position; undefined: it goes on as it was. */
export function resetOf(
  { position, epoch }: EventPlace,
  page: Pick<EventPage, 'epoch' | 'last' | 'removedTo'>,
): PlaceReset | undefined {
  if (epoch !== undefined && epoch !== page.epoch)
    return {
      reason: 'history',
      from: position,
      to: 0,
      detail:
        'the history that this place belongs to was replaced, as by a restore; what is kept now is told from its beginning',
    };
  if (position > page.last)
    return {
      reason: 'history',
      from: position,
      to: 0,
      detail: `this place is beyond the newest position, ${page.last}; what is kept is told from its beginning`,
    };
  if (page.removedTo > position)
    return {
      reason: 'removed',
      from: position,
      to: page.removedTo,
      detail: 'events after this place have been removed by the retention of their topic; what is kept is told',
    };
  return undefined;
}
