// GET /v1/operations/{id}/events, and the same stream as the answer to a submit.
import type { Fetch } from '../../core/fetch.ts';
import type { Live } from '../../core/live.ts';
import { eventIdOf, eventJson, versionOf } from '../../core/operation-events.ts';
import type { OperationFeeds } from '../../core/operation-feed.ts';
import type { OperationRecord } from '../../engine/engine.ts';
import { type Answer, type Exchange, type Handler, jsonAnswer, type StreamReader } from './exchange.ts';
import type { OperationHandlers } from './operations.ts';
import { frame, piecesOf, prefersJson, streamAnswer } from './sse.ts';
import { pieceOf } from './watchers.ts';

export interface OperationEventsDependencies {
  fetch: Pick<Fetch, 'operation'>;
  feeds: OperationFeeds;
  live: Pick<Live, 'ensureRoom' | 'hold'>;
  operations: Pick<OperationHandlers, 'snapshot'>;
}

export function operationEventHandlers({ fetch, feeds, live, operations }: OperationEventsDependencies) {
  /** The stream of an operation's events, after the last that the client knows. Throws where too many wait. */
  async function streamOf(exchange: Exchange, id: string, more: string[] = []): Promise<Answer> {
    const { base, namespace, mostMs } = exchange;
    const record = await fetch.operation(id, namespace);
    const headers = ['Operation-Id', id, ...more];
    const { after, reset } = startOf(exchange.headers('last-event-id'), { id, record });
    const over = record.finishedAt !== null && after === record.version;
    if (over && reset === undefined)
      // EventSource connects again after every end of a stream; this is how it is told that there is no more.
      return { status: 204, headers: ['Cache-Control', 'no-store', ...headers] };
    live.ensureRoom(namespace);
    const before = reset === undefined ? undefined : await resetFrame(record, { id, base, detail: reset });
    return streamAnswer(streamTo(record, { id, base, after, before, mostMs }), headers);
  }

  /** Keeps nothing of the request: it may go on for days. */
  function streamTo(
    record: OperationRecord,
    { id, base, after, before, mostMs }: Told,
  ): (reader: StreamReader) => void {
    return (reader) => {
      if (before !== undefined) reader.send(pieceOf(before, 1));
      const letGo = live.hold(record.namespace);
      const over = mostMs === undefined ? undefined : setTimeout(() => reader.end(), mostMs);
      const leave = feeds.attach(record, {
        after,
        follower: {
          take: (events) => reader.send(piecesOf(events, { id, base })),
          ready: () => reader.taken(),
          ended: (why) => (why === 'failed' ? reader.cut() : reader.end()),
        },
      });
      reader.onGone(() => {
        clearTimeout(over);
        leave();
        letGo();
      });
    };
  }

  /** Where events cannot go on from what the client names, it is told so, and where the operation stands. */
  async function resetFrame(
    record: OperationRecord,
    { id, base, detail }: { id: string; base: string; detail: string },
  ): Promise<string> {
    const operation = await operations.snapshot(record, base);
    const data = `{"type":"reset","detail":${JSON.stringify(detail)},"operation":${operation}}`;
    return frame({ id: eventIdOf(id, record.version), event: 'reset', data });
  }

  const events: Handler = async (exchange) => {
    const id = exchange.params['id']!;
    if (!prefersJson(exchange.headers('accept'))) return streamOf(exchange, id);
    const { base, namespace } = exchange;
    const record = await fetch.operation(id, namespace);
    const items: string[] = [];
    for await (const part of feeds.past(record, { after: 0 }))
      for (const event of part) items.push(eventJson(event, { id, base }));
    return jsonAnswer(200, `{"items":[${items.join(',')}],"next":null}`, ['Operation-Id', id]);
  };

  return { events, streamOf };
}

interface Told {
  id: string;
  base: string;
  after: number;
  /** What stands before the events. */
  before: string | undefined;
  /** How long it may go on. */
  mostMs: number | undefined;
}

/** From which version on to tell, and why a client's own place will not do. */
function startOf(
  lastEventId: string | undefined,
  { id, record }: { id: string; record: OperationRecord },
): { after: number; reset?: string } {
  if (lastEventId === undefined || lastEventId === '') return { after: 0 };
  const seen = versionOf(lastEventId, id);
  if (seen !== undefined && seen <= record.version) return { after: seen };
  const detail =
    seen === undefined
      ? 'Last-Event-ID names no event of this operation'
      : 'Last-Event-ID names an event that has not happened';
  return { after: record.version, reset: detail };
}
