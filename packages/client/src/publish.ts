// Publishes events. Their ids are made here and once, so that a repeat after a lost connection is known for one and stored once.
import { type Durability, WaitlessError } from '@waitless/protocol';
import { utf8 } from './body.ts';
import { eventJson, type NewTopicEvent } from './cloud-event.ts';
import { persist } from './persist.ts';
import { answerGraceMs } from './response.ts';
import type { Seams } from './seams.ts';
import { topicPath } from './topics.ts';
import { readJson, setHeader, type Wire } from './wire.ts';

export interface PublishOptions {
  /** `stored` by default: on disk before this resolves. `memory`: before it is synced. `none`: handed over, and may be lost. */
  durability?: Durability | undefined;
  signal?: AbortSignal | undefined;
  /** How long a server may be away, 120 by default and 300 at most: a repeat is known for ten minutes. Of durability `none` nothing is repeated. */
  reconnectSeconds?: number | undefined;
  /** Called before each pause while the server is away. */
  onRetry?: ((error: WaitlessError, pauseMs: number) => void) | undefined;
}

export interface PublishedEvent {
  id: string;
  /** Where it stands in the log of its namespace; undefined for durability `none`. */
  position: number | undefined;
  /** An event of this source and id was there before, and this is where it stands. */
  repeated: boolean;
}

const defaultReconnectSeconds = 120;
const longestReconnectSeconds = 300;
/** The most that a server takes at once. */
export const mostEvents = 1000;

/** Publishes up to 1,000 events to one topic as one: all of them are there, or none is. */
export async function publish(
  { wire, seams }: { wire: Wire; seams: Seams },
  topic: string,
  { events, options = {} }: { events: readonly NewTopicEvent[]; options?: PublishOptions | undefined },
): Promise<PublishedEvent[]> {
  const { durability, signal, onRetry, reconnectSeconds = defaultReconnectSeconds } = options;
  if (!(reconnectSeconds >= 0 && reconnectSeconds <= longestReconnectSeconds))
    throw new WaitlessError(
      'invalid-parameter',
      `reconnectSeconds must be from 0 to ${longestReconnectSeconds} here, not ${reconnectSeconds}.`,
    );
  if (events.length > mostEvents)
    throw new WaitlessError(
      'invalid-parameter',
      `at most ${mostEvents} events are published at once, not ${events.length}; publish them in parts.`,
    );
  const path = topicPath('publishEvents', topic);
  const time = new Date().toISOString();
  const named = events.map((event) => eventJson(event, { topic, id: seams.newName(), time }));
  // Always as a batch: a request with one event may be no larger than that event, and base64 is.
  const body = utf8(`[${named.map(({ json }) => json).join(',')}]`);
  if (events.length === 0) return [];
  const send = async (): Promise<PublishedEvent[]> => {
    const headers = new Headers({ 'Content-Type': 'application/cloudevents-batch+json', Accept: 'application/json' });
    if (durability !== undefined) setHeader(headers, 'Operation-Durability', durability);
    const response = await wire.send({ method: 'POST', path, headers, body, signal, headersTimeoutMs: answerGraceMs });
    if (durability === 'none') {
      await response.body?.cancel();
      return named.map(({ id }) => ({ id, position: undefined, repeated: false }));
    }
    const { positions, repeated } = (await readJson<Answer | undefined>(wire.url, response, signal)) ?? {};
    if (!Array.isArray(positions) || positions.length !== named.length)
      throw new WaitlessError('unexpected-answer', `${wire.url} did not say where each of the events stands.`, {
        status: response.status,
      });
    return named.map(({ id }, at) => ({ id, position: positions[at], repeated: repeated?.[at] ?? false }));
  };
  // What is lost without a word is known to nobody, and a repeat of it neither.
  if (durability === 'none') return send();
  return persist(send, { signal, onRetry, reconnectSeconds }, seams);
}

interface Answer {
  positions?: number[];
  repeated?: boolean[];
}
