// What somebody who follows topics asks for, in words that are the same on every outlet: patterns, a filter, and from where on. Pure.
import { WaitlessError } from '@waitless/protocol';
import { type EventPlace, placeOf } from '../../core/event-place.ts';
import { readFilter } from '../../core/event-filter.ts';
import type { TopicWish } from '../../core/topic-feed.ts';
import { isTopicPattern, mostTopicLength } from '../../lib/topic-trie.ts';

/** Names and patterns of one stream or watch: each event is looked up by all of them at once, but they stand in URLs and tokens. */
export const mostTopics = 100;
const mostFilterCharacters = 4096;

/** A name or pattern in its one spelling. Throws for what is none. */
export function readTopic(text: string, at: string): string {
  if (isTopicPattern(text)) return text.includes('#') ? text.replaceAll('#', '**') : text;
  throw new WaitlessError(
    /[*#]/.test(text) ? 'invalid-filter' : 'invalid-name',
    `${at} ${JSON.stringify(text.slice(0, 64))} must be words of letters, digits, "_" and "-" joined by dots, with * for one word and ** for any number (four times at most), ${mostTopicLength} characters at most`,
  );
}

/** Each once and in one order, whatever order they were named in. */
export function readTopics(named: readonly string[], at: string): string[] {
  const topics = [...new Set(named.map((text) => readTopic(text, at)))].toSorted();
  if (topics.length > mostTopics)
    throw new WaitlessError(
      'invalid-parameter',
      `${at} must name 1 to ${mostTopics} topics, by their names or by patterns`,
    );
  return topics;
}

/** The filter of a document that was read already. */
export function filterFrom(document: unknown, pointer: string): NonNullable<TopicWish['filter']> {
  const text = JSON.stringify(document);
  if (text.length > mostFilterCharacters) throw tooLong(pointer);
  return { text, test: readFilter(document, pointer) };
}

/** The same from its JSON. */
export function filterIn(text: string | undefined): TopicWish['filter'] {
  if (text === undefined) return undefined;
  if (text.length > mostFilterCharacters) throw tooLong('filter');
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    throw new WaitlessError(
      'invalid-filter',
      'filter is not JSON; it is a filter as of a subscription, such as {"exact":{"type":"order.placed"}}, percent-encoded',
    );
  }
  return filterFrom(document, 'filter');
}

const tooLong = (at: string): WaitlessError =>
  new WaitlessError('invalid-filter', `${at} has more than ${mostFilterCharacters} characters`);

/** Where a stream begins that has seen nothing yet. */
export function startIn(from: string | undefined): 'now' | 'start' | EventPlace {
  if (from === undefined || from === 'now') return 'now';
  if (from === 'start') return 'start';
  const place = placeOf(from);
  if (place) return place;
  throw new WaitlessError(
    'invalid-cursor',
    'from must be now, start, or a position or cursor that was told before; without it a stream begins now',
  );
}

/** The place in the id of an event. A bare position is none: it does not say of which history. */
export function seenPlace(lastEventId: string): EventPlace | undefined {
  const place = placeOf(lastEventId);
  return place?.epoch === undefined ? undefined : place;
}
