// Follows one operation by its events, across lost connections and restarts of the server: each event once, in order. Over the client's one
// WebSocket, or by a stream of the operation's own where none comes through.
import { routePath, WaitlessError } from '@waitless/protocol';
import { pauseMs } from './backoff.ts';
import { type Link, NotTold, type Told } from './channel.ts';
import { messages } from './event-stream.ts';
import { setHeader, type Wire } from './wire.ts';

/** The server gives a sign of life every 15 s; a stream that is silent for three of them has lost its connection. */
const silentMs = 45_000;

export interface EventsOptions {
  /** Only events after the one with this id, such as the `eventId` of a status document. */
  after?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Called before each pause after a lost or refused stream, so that a person can be told. */
  onRetry?: ((error: WaitlessError, pauseMs: number) => void) | undefined;
}

/** Silence at its beginning ends it: a proxy in between keeps back what it gets. */
export interface Impatience {
  firstSignMs: number;
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
    const stream = open(wire, id, { after, signal, impatience });
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

interface Opened extends AsyncIterable<{ id: string; data: string }> {
  /** The server has said that the operation has no further event. */
  readonly nothingMore: boolean;
}

/** One stream, from its request to its end. */
function open(
  wire: Wire,
  id: string,
  {
    after,
    signal,
    impatience,
  }: { after: string | undefined; signal: AbortSignal | undefined } & {
    impatience: Impatience | undefined;
  },
): Opened {
  let nothingMore = false;
  async function* read(): AsyncGenerator<{ id: string; data: string }, void, void> {
    const stop = new AbortController();
    let lost: WaitlessError | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const expectSign = (ms: number, what: WaitlessError): void => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        lost = what;
        stop.abort(what);
      }, ms);
    };
    const silent = new WaitlessError('unreachable', `nothing came from ${wire.url} any more.`, { status: 503 });
    if (impatience)
      expectSign(
        impatience.firstSignMs,
        new WaitlessError('unexpected-answer', `no event of ${wire.url} came through in time.`, { status: 200 }),
      );
    else expectSign(silentMs, silent);
    const headers = new Headers({ Accept: 'text/event-stream' });
    if (after !== undefined) setHeader(headers, 'Last-Event-ID', after);
    try {
      const response = await wire.send({
        path: routePath('getEvents', { id }),
        headers,
        signal: signal ? AbortSignal.any([signal, stop.signal]) : stop.signal,
      });
      if (response.status === 204) {
        nothingMore = true;
        return;
      }
      if (!response.body || !/^text\/event-stream\b/i.test(response.headers.get('content-type') ?? ''))
        throw new WaitlessError('unexpected-answer', `${wire.url} answered without a stream of events.`, {
          status: response.status,
        });
      yield* messages(response.body, () => expectSign(silentMs, silent));
    } catch (error) {
      signal?.throwIfAborted();
      if (lost) throw lost;
      if (error instanceof WaitlessError) throw error;
      throw new WaitlessError('unreachable', `the stream of events broke off, from ${wire.url}.`, {
        status: 503,
        cause: error,
      });
    } finally {
      clearTimeout(timer);
      stop.abort();
    }
  }
  return {
    get nothingMore() {
      return nothingMore;
    },
    [Symbol.asyncIterator]: read,
  };
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
