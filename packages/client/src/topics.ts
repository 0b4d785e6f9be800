// Topics: what is kept of them, page by page. Their names come into being with their first event.
import { isName, type Page, type RouteName, routePath, WaitlessError } from '@waitless/protocol';
import { utf8 } from './body.ts';
import { elementTexts, memberText, type TopicEvent, topicEventOf } from './topic-event.ts';
import { readBytes, readJson, type Wire } from './wire.ts';

/** The path of a route of topics; a name that is none would lead URL parsing elsewhere. */
export function topicPath(route: RouteName, topic: string): string {
  if (!topic.split('.').every((word) => word === '*' || word === '**' || word === '#' || isName(word)))
    throw new WaitlessError(
      'invalid-name',
      `"${topic}" is not a topic: words of letters, digits, "_" and "-" joined by dots; in a pattern "*" stands for one word and "**" for any number.`,
    );
  return routePath(route, { topic });
}

/** What a topic keeps. Durations and sizes are text with a unit, such as `30d` and `10gb`. */
export interface TopicSettings {
  /** Events that are older go, once every subscription of the server has read them. */
  maxAge?: string | undefined;
  maxBytes?: string | undefined;
  /** Events that are older go, whoever has still to read them. */
  hardMaxAge?: string | undefined;
  hardMaxBytes?: string | undefined;
}

export interface TopicSummary {
  name: string;
  /** Events that are kept, and their bytes. */
  events: number;
  bytes: number;
  /** Position of the newest one; 0 where there was none yet. */
  last: number;
  /** Largest position that its retention has removed. */
  removedTo: number;
  oldestAt: string | null;
  /** With every default filled in. */
  retention: TopicSettings;
  /** `api`: it has settings of its own. */
  source: 'api' | 'default';
  savedAt: string | null;
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

/** The topics that there are, by name, all pages of them. */
export async function listTopics(wire: Wire, signal: AbortSignal | undefined): Promise<TopicSummary[]> {
  const found: TopicSummary[] = [];
  for (let cursor: string | null = ''; cursor !== null;) {
    const search: string = `?limit=1000${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`;
    const response = await wire.send({ path: routePath('listTopics') + search, signal });
    const { items, next }: Page<TopicSummary> = await readJson(wire.url, response, signal);
    found.push(...items);
    cursor = next;
  }
  return found;
}

export async function getTopic(wire: Wire, topic: string, signal: AbortSignal | undefined): Promise<TopicSummary> {
  return readJson(wire.url, await wire.send({ path: topicPath('getTopic', topic), signal }), signal);
}

export async function setTopic(
  wire: Wire,
  topic: string,
  { settings, signal }: { settings: TopicSettings; signal: AbortSignal | undefined },
): Promise<TopicSummary> {
  const headers = new Headers({ 'Content-Type': 'application/json' });
  const body = utf8(JSON.stringify(settings));
  const response = await wire.send({ method: 'PUT', path: topicPath('putTopic', topic), headers, body, signal });
  return readJson(wire.url, response, signal);
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
