// Events of topics in the form of Server-Sent Events: put together once for all who are told the same.
import { cursorOf, type PlaceReset } from '../../core/event-place.ts';
import { structuredJson } from '../../core/event-words.ts';
import type { LoggedEvent } from '../../engine/topics.ts';
import type { Piece } from './exchange.ts';
import { fieldsOf, frame } from './sse.ts';
import { pieceOf } from './watchers.ts';

const fields = new WeakMap<LoggedEvent, string>();
const pieces = new WeakMap<readonly LoggedEvent[], Piece>();

/**
 * An event under an id of the reader's own. Its data is the event as it was published; what the log knows of it stands in fields beside that, which an
 * EventSource does not look at.
 */
export function topicEventText(event: LoggedEvent, at: string): string {
  let text = fields.get(event);
  if (text === undefined) {
    const { topic, position } = event;
    text = `topic: ${topic}\nposition: ${position}\n${fieldsOf('event', structuredJson(event))}`;
    fields.set(event, text);
  }
  return `id: ${at}\n${text}`;
}

/** Events that came together, for all who read these alone. */
export function topicPieceOf(events: readonly LoggedEvent[], epoch: string): Piece {
  let piece = pieces.get(events);
  if (!piece) {
    const text = events.map((event) => topicEventText(event, cursorOf({ position: event.position, epoch })));
    pieces.set(events, (piece = pieceOf(text.join(''), events.length)));
  }
  return piece;
}

/** @param at the place that a reader has who heard of it */
export const resetText = (reset: PlaceReset, at: string): string =>
  frame({ id: at, event: 'reset', data: JSON.stringify({ type: 'reset', ...reset }) });

/** Where a reader stands after a reset: before what is told next. */
export const placeAfter = ({ reason, from, to }: PlaceReset, epoch: string): { position: number; epoch: string } => ({
  position: reason === 'history' ? to : from,
  epoch,
});

/** Tells a reader where it stands and nothing else, for it to come back to. */
export const placeText = (at: string): string => `id: ${at}\n\n`;
