// Publishing to topics and reading them as a client does.
import assert from 'node:assert/strict';
import { get, post, type Received, type Sent } from './http.ts';

export interface Published {
  ids: string[];
  positions: number[];
  repeated?: boolean[];
}

export interface EventItem {
  position: number;
  topic: string;
  event: Record<string, unknown>;
}

export interface EventPage {
  items: EventItem[];
  next: string | null;
  cursor: string;
  reset?: { reason: string; from: number; to: number; detail: string };
}

export const eventsUrl = (url: string, topic: string, query = ''): string =>
  `${url}/v1/topics/${topic.replaceAll('#', '%23')}/events${query}`;

export const structured = { 'Content-Type': 'application/cloudevents+json' } as const;
export const batched = { 'Content-Type': 'application/cloudevents-batch+json' } as const;

/** A CloudEvent in JSON, its members as they are to stand there. */
export const cloudEvent = (id: string, more: Readonly<Record<string, unknown>> = {}): string =>
  JSON.stringify({ specversion: '1.0', id, source: '/test', type: 'test.happened', ...more });

/** Publishes, and holds the answer to what every 202 promises. */
export async function publish(url: string, topic: string, sent: Sent): Promise<Published> {
  return published(await post(eventsUrl(url, topic), sent));
}

export function published(answer: Received): Published {
  assert.equal(answer.status, 202, answer.text);
  const said = answer.json<Published>();
  assert.equal(said.positions.length, said.ids.length);
  return said;
}

export async function eventPage(url: string, topic: string, query = '', sent: Sent = {}): Promise<EventPage> {
  const answer = await get(eventsUrl(url, topic, query), sent);
  assert.equal(answer.status, 200, answer.text);
  return answer.json<EventPage>();
}

/** Every event after a place, page by page. */
export async function allEvents(url: string, topic: string, sent: Sent = {}): Promise<EventItem[]> {
  const found: EventItem[] = [];
  for (let after = ''; ;) {
    const page = await eventPage(url, topic, `?limit=1000${after}`, sent);
    assert.equal(page.reset, undefined);
    found.push(...page.items);
    if (page.next === null) return found;
    after = `&after=${page.next}`;
  }
}
