// Follows topics as they happen, across lost connections and restarts of the server: each event once, in order. Nothing is kept for the one who follows.
import { WaitlessError } from '@waitless/protocol';
import { pauseMs } from './backoff.ts';
import type { Message } from './event-stream.ts';
import type { Seams } from './seams.ts';
import { openStream } from './sse.ts';
import type { EventFilter } from './subscriptions.ts';
import { type TopicEvent, topicEventOf } from './topic-event.ts';
import { type HistoryReset, topicPath } from './topics.ts';
import type { Wire } from './wire.ts';

/** An event as it happened, and where the one who follows stands with it. */
export interface LiveEvent extends TopicEvent {
  /** For `from`, to go on after this event, in another process or after a restart. */
  readonly cursor: string;
}

export interface SubscribeOptions {
  /** `now` by default; `start` for all that is kept, a position or the `cursor` of an event for what came after it. */
  from?: number | string | undefined;
  /** Only events that it lets through. */
  filter?: EventFilter | undefined;
  signal?: AbortSignal | undefined;
  /**
   * Called when events cannot be told: they were removed before they were read, or `from` belongs to a history that was replaced. What is kept is told
   * after it. Without this that is an error `events-lost`, so that a gap is never taken for none.
   */
  onReset?: ((reset: HistoryReset) => void) | undefined;
  /** Called before each pause after a lost or refused stream. */
  onRetry?: ((error: WaitlessError, pauseMs: number) => void) | undefined;
}

/** Yields each event of a topic, or of all that a pattern matches, until the signal aborts, whose reason is then thrown. */
export async function* subscribe(
  { wire, seams }: { wire: Wire; seams: Seams },
  topic: string,
  { from, filter, signal, onReset, onRetry }: SubscribeOptions,
): AsyncGenerator<LiveEvent, void, void> {
  const query = new URLSearchParams();
  if (from !== undefined) query.set('from', String(from));
  if (filter !== undefined) query.set('filter', JSON.stringify(filter));
  const path = `${topicPath('listEvents', topic)}${query.size === 0 ? '' : `?${query.toString()}`}`;
  /** Where it stands, once it was told. */
  let after: string | undefined;
  for (let failures = 0; ;) {
    let trouble: WaitlessError | undefined;
    const onPlace = (id: string): void => {
      after = id;
      failures = 0;
    };
    try {
      for await (const message of openStream(wire, { path, after, signal, onPlace })) {
        onPlace(message.id);
        if (message.event === 'reset') lost(message.data, { wire, onReset });
        else yield liveEventOf(message, wire);
      }
      // A server that stops ends its streams, and the next one goes on with them.
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof WaitlessError) || !error.retry) throw error;
      trouble = error;
    }
    const ms = pauseMs({ failures: failures++, random: seams.random, retryAfterSeconds: trouble?.retryAfterSeconds });
    if (trouble) onRetry?.(trouble, ms);
    await seams.sleep(ms, signal);
  }
}

function lost(data: string, { wire, onReset }: { wire: Wire; onReset: SubscribeOptions['onReset'] }): void {
  let told: HistoryReset;
  try {
    told = JSON.parse(data) as HistoryReset;
  } catch {
    throw unexpected(wire);
  }
  const { reason, from, to, detail } = told;
  const reset = { reason, from, to, detail };
  if (!onReset) throw new WaitlessError('events-lost', `${detail}.`, { status: 410, members: reset });
  onReset(reset);
}

function liveEventOf({ id, data, more: { topic, position } }: Message, wire: Wire): LiveEvent {
  if (topic === undefined || position === undefined) throw unexpected(wire);
  try {
    return Object.assign(topicEventOf(data, { topic, position: Number(position) }), { cursor: id });
  } catch {
    throw unexpected(wire);
  }
}

const unexpected = (wire: Wire): WaitlessError =>
  new WaitlessError('unexpected-answer', `${wire.url} sent what is no event of a topic: is that a Waitless server?`, {
    status: 200,
  });
