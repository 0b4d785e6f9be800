// Topics: what is kept of them, page by page. Their names come into being with their first event.
import { isName, type RouteName, routePath, WaitlessError } from '@waitless/protocol';
import { elementTexts, memberText, type TopicEvent, topicEventOf } from './topic-event.ts';
import { readBytes, type Wire } from './wire.ts';

/** The path of a route of topics; a name that is none would lead URL parsing elsewhere. */
export function topicPath(route: RouteName, topic: string): string {
  if (!topic.split('.').every((word) => word === '*' || word === '**' || word === '#' || isName(word)))
    throw new WaitlessError(
      'invalid-name',
      `"${topic}" is not a topic: words of letters, digits, "_" and "-" joined by dots; in a pattern "*" stands for one word and "**" for any number.`,
    );
  return routePath(route, { topic });
}

/** Events of the topics were lost to a reader, or its place was none of this history. */
export interface HistoryReset {
  /** `removed`: what was not read yet is gone, by the retention of its topic. `history`: the place belongs to another history, as before a restore. */
  reason: 'removed' | 'history';
  /** Where the reader stood. */
  from: number;
  /** It goes on after this position. */
  to: number;
  detail: string;
}

export interface HistoryOptions {
  /** A position, or the `cursor` of a page before; from the oldest that is kept by default. */
  after?: number | string | undefined;
  /** 1 to 1000, 50 by default. */
  limit?: number | undefined;
  signal?: AbortSignal | undefined;
}

export interface HistoryPage {
  items: TopicEvent[];
  /** For `after`: the place behind all that was looked at. */
  cursor: string;
  /** There is more now. */
  more: boolean;
  /** Only where `after` could not be kept to. */
  reset: HistoryReset | undefined;
}

/** One page of what is kept of a topic, or of all that a pattern matches, oldest first. */
export async function history(wire: Wire, topic: string, options: HistoryOptions = {}): Promise<HistoryPage> {
  const { after, limit, signal } = options;
  const query = new URLSearchParams();
  if (after !== undefined) query.set('after', String(after));
  if (limit !== undefined) query.set('limit', String(limit));
  const search = query.size === 0 ? '' : `?${query.toString()}`;
  const headers = new Headers({ Accept: 'application/json' });
  const response = await wire.send({ path: topicPath('listEvents', topic) + search, headers, signal });
  const text = new TextDecoder().decode(await readBytes(wire.url, response, signal));
  try {
    const { items, next, cursor, reset } = JSON.parse(text) as EventPage;
    const texts = elementTexts(memberText(text, 'items')!);
    return {
      items: items.map((item, at) => topicEventOf(memberText(texts[at]!, 'event')!, item)),
      cursor,
      more: next !== null,
      reset,
    };
  } catch (error) {
    throw new WaitlessError('unexpected-answer', `${wire.url} answered without a page of events.`, {
      status: response.status,
      cause: error,
    });
  }
}

interface EventPage {
  items: { topic: string; position: number }[];
  next: string | null;
  cursor: string;
  reset?: HistoryReset;
}
