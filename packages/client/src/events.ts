// Follows one operation by its events, across lost connections and restarts of the server: each event once, in order. Over the client's one
// WebSocket, or by a stream of the operation's own where none comes through.
import { routePath, WaitlessError } from '@waitless/protocol';
import { pauseMs } from './backoff.ts';
import { type Link, NotTold, type Told } from './channel.ts';
import { type Impatience, openStream } from './sse.ts';
import type { Wire } from './wire.ts';

export interface EventsOptions {
  /** Only events after the one with this id, such as the `eventId` of a status document. */
  after?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Called before each pause after a lost or refused stream, so that a person can be told. */
  onRetry?: ((error: WaitlessError, pauseMs: number) => void) | undefined;
}

/**
 * Yields every event up to the last one. A `reset` stands in the place of events that cannot be told, with the state as it is. Lost streams are
 * taken up again after the last event until the signal aborts, whose reason is then thrown. Throws WaitlessError for what trying again cannot mend.
 */
export async function* events(
  link: Link,
  id: string,
  options: EventsOptions,
  impatience?: Impatience,
): AsyncGenerator<Told, void, void> {
  let { after } = options;
  try {
    for await (const event of link.channel.follow(id, { ...options, events: 'all' })) {
      after = (event.type === 'reset' ? event.operation : event).eventId;
      yield event;
    }
  } catch (error) {
    if (!(error instanceof NotTold)) throw error;
    yield* byStream(link, id, { options: { ...options, after }, impatience });
  }
}

async function* byStream(
  { wire, seams }: Link,
  id: string,
  { options, impatience }: { options: EventsOptions; impatience: Impatience | undefined },
): AsyncGenerator<Told, void, void> {
  const { signal, onRetry } = options;
  let { after } = options;
  for (let failures = 0; ;) {
    let trouble: WaitlessError | undefined;
    const stream = openStream(wire, { path: routePath('getEvents', { id }), after, signal, impatience });
    try {
      for await (const message of stream) {
        failures = 0;
        after = message.id;
        const event = parsed(message.data, wire);
        yield event;
        if (event.type === 'reset' ? event.operation.done : event.done) return;
      }
      if (stream.nothingMore) return;
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

function parsed(data: string, wire: Wire): Told {
  try {
    return JSON.parse(data) as Told;
  } catch {
    throw new WaitlessError('unexpected-answer', `${wire.url} sent an event without JSON: is that a Waitless server?`, {
      status: 200,
    });
  }
}
