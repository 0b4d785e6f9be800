// One stream of Server-Sent Events, from its request to its end; a connection that has died in silence is found out.
import { WaitlessError } from '@waitless/protocol';
import { type Message, messages } from './event-stream.ts';
import { setHeader, type Wire } from './wire.ts';

/** The server gives a sign of life every 15 s; a stream that is silent for three of them has lost its connection. */
const silentMs = 45_000;

/** Silence at its beginning ends it: a proxy in between keeps back what it gets. */
export interface Impatience {
  firstSignMs: number;
}

export interface StreamWanted {
  path: string;
  /** The id of the last event that is known. */
  after: string | undefined;
  signal: AbortSignal | undefined;
  impatience?: Impatience | undefined;
  /** Called with each place that comes without an event. */
  onPlace?: ((id: string) => void) | undefined;
}

export interface OpenStream extends AsyncIterable<Message> {
  /** The server has said that there is no further event. */
  readonly nothingMore: boolean;
}

/** Throws WaitlessError while it is read: the problem it was answered with, or `unreachable`. Ends where the server ends it. */
export function openStream(wire: Wire, { path, after, signal, impatience, onPlace }: StreamWanted): OpenStream {
  let nothingMore = false;
  async function* read(): AsyncGenerator<Message, void, void> {
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
        path,
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
      yield* messages(response.body, () => expectSign(silentMs, silent), onPlace);
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
