// GET /v1/stream?operations=…: the events of many operations on one connection, each under the place of all of them.
import { WaitlessError } from '@waitless/protocol';
import type { Fetch } from '../../core/fetch.ts';
import type { Ids } from '../../core/ids.ts';
import type { Live } from '../../core/live.ts';
import type { OperationEvent } from '../../core/operation-events.ts';
import type { FeedEnd, OperationFeeds } from '../../core/operation-feed.ts';
import type { OperationRecord } from '../../engine/engine.ts';
import type { Handler, StreamReader } from './exchange.ts';
import type { OperationHandlers } from './operations.ts';
import { parseQuery } from './query.ts';
import { acceptsStream, eventText, frame, streamAnswer } from './sse.ts';
import { pieceOf } from './watchers.ts';
import { WrongGuess } from './wrong-guess.ts';

export interface StreamDependencies {
  fetch: Pick<Fetch, 'operationsOf'>;
  feeds: OperationFeeds;
  ids: Pick<Ids, 'streamSubjects' | 'streamCursor' | 'streamVersions'>;
  live: Pick<Live, 'ensureRoom' | 'hold'>;
  operations: Pick<OperationHandlers, 'snapshot'>;
}

/** As many as a read-only token opens. With their ids the URL stays below the 8 KB that common proxies take. */
const mostOperations = 100;

/** The operations that a stream is asked for, each once and in one order, whatever order the client named them in. */
export function operationsIn(text: string): string[] {
  const query = parseQuery(text);
  for (const name of query.names())
    if (name === 'topics')
      throw new WaitlessError('not-implemented', '"topics" is not built yet; leave it out and name operations');
    else if (name !== 'operations' && name !== 'token')
      throw new WaitlessError('invalid-parameter', `a stream has no parameter ${JSON.stringify(name.slice(0, 64))}`);
  const named = new Set((query.get('operations') ?? '').split(','));
  if (named.has('') || named.size > mostOperations)
    throw new WaitlessError(
      'invalid-parameter',
      `"operations" must name 1 to ${mostOperations} operations by their ids, with commas between them`,
    );
  return [...named].toSorted();
}

export function streamHandler({ fetch, feeds, ids, live, operations }: StreamDependencies): Handler {
  async function recordsOf(named: readonly string[], namespace: string): Promise<OperationRecord[]> {
    try {
      return await fetch.operationsOf(named, namespace);
    } catch (error) {
      if (!(error instanceof WaitlessError) || error.code !== 'not-found') throw error;
      throw new WrongGuess('not-found', { detail: 'there is no operation with one of these ids', guess: named.join() });
    }
  }

  /** Which versions the client knows, and why its own place will not do. */
  function startOf(
    lastEventId: string | undefined,
    { subjects, records }: { subjects: string; records: readonly OperationRecord[] },
  ): { versions: number[]; reset?: string } {
    if (lastEventId === undefined || lastEventId === '') return { versions: records.map(() => 0) };
    const versions = ids.streamVersions(lastEventId, subjects);
    if (versions?.every((version, i) => version <= records[i]!.version)) return { versions };
    return {
      versions: records.map(({ version }) => version),
      reset: versions
        ? 'Last-Event-ID names events that have not happened'
        : 'Last-Event-ID is no place in the events of these operations',
    };
  }

  async function resetFrame(
    records: readonly OperationRecord[],
    { at, base, detail }: { at: string; base: string; detail: string },
  ): Promise<string> {
    const documents: string[] = [];
    // One after another: a hundred at once would take the store's connections from everybody else.
    for (const record of records) documents.push(await operations.snapshot(record, base));
    const data = `{"type":"reset","detail":${JSON.stringify(detail)},"operations":[${documents.join(',')}]}`;
    return frame({ id: at, event: 'reset', data });
  }

  return async (exchange) => {
    const { base, namespace, mostMs } = exchange;
    const named = operationsIn(exchange.query);
    if (!acceptsStream(exchange.headers('accept')))
      throw new WaitlessError(
        'not-acceptable',
        'a stream is told as text/event-stream; ask for that, or leave out Accept',
      );
    const records = await recordsOf(named, namespace);
    const subjects = ids.streamSubjects(named, namespace);
    const { versions, reset } = startOf(exchange.headers('last-event-id'), { subjects, records });
    const over = records.every(({ finishedAt, version }, i) => finishedAt !== null && versions[i] === version);
    if (over && reset === undefined) return { status: 204, headers: ['Cache-Control', 'no-store'] };
    live.ensureRoom(namespace);
    const placeOf = (places: readonly number[]): string => ids.streamCursor(places, subjects);
    const before = reset && (await resetFrame(records, { at: placeOf(versions), base, detail: reset }));
    const told = { named, records, versions, base, before, placeOf };
    return streamAnswer((reader) => {
      const letGo = live.hold(namespace);
      const leave = new SharedStream(reader, told).begin(feeds);
      const end = mostMs === undefined ? undefined : setTimeout(() => reader.end(), mostMs);
      reader.onGone(() => {
        clearTimeout(end);
        leave();
        letGo();
      });
    });
  };
}

interface Told {
  named: readonly string[];
  records: readonly OperationRecord[];
  /** Newest version of each that the reader knows. */
  versions: readonly number[];
  base: string;
  /** What stands before the events. */
  before: string | undefined;
  placeOf: (versions: readonly number[]) => string;
}

/** What is told to one reader of many operations. */
class SharedStream {
  readonly #reader: StreamReader;
  readonly #told: Told;
  readonly #places: number[];
  readonly #leaves: (() => void)[] = [];
  /** What came in this turn. */
  #text = '';
  #events = 0;
  #left: number;
  #over = false;

  constructor(reader: StreamReader, told: Told) {
    this.#reader = reader;
    this.#told = told;
    this.#places = [...told.versions];
    this.#left = told.named.length;
  }

  /** Gives what ends it. */
  begin(feeds: OperationFeeds): () => void {
    const { before } = this.#told;
    if (before !== undefined) this.#reader.send(pieceOf(before, 1));
    this.#attach(feeds, 0);
    return () => {
      this.#over = true;
      for (const leave of this.#leaves) leave();
    };
  }

  /** One after another, each once the one before has caught up: a hundred pasts at once are more than a reader takes. */
  #attach(feeds: OperationFeeds, at: number): void {
    if (this.#over || at === this.#told.named.length) return;
    let next: (() => void) | undefined = () => this.#attach(feeds, at + 1);
    const goOn = (): void => {
      next?.();
      next = undefined;
    };
    const leave = feeds.attach(this.#told.records[at]!, {
      after: this.#places[at]!,
      follower: {
        take: (events) => this.#tell(at, events),
        ready: () => {
          this.#send();
          return this.#reader.taken();
        },
        caughtUp: goOn,
        ended: (why) => {
          this.#ended(why);
          goOn();
        },
      },
    });
    this.#leaves.push(leave);
  }

  #tell(at: number, events: readonly OperationEvent[]): void {
    const { named, base, placeOf } = this.#told;
    if (this.#events === 0) setImmediate(() => this.#send());
    for (const event of events) {
      this.#places[at] = event.version;
      this.#text += eventText(event, { id: named[at]!, base, at: placeOf(this.#places) });
    }
    this.#events += events.length;
  }

  #send(): void {
    if (this.#events === 0 || this.#over) return;
    const piece = pieceOf(this.#text, this.#events);
    this.#text = '';
    this.#events = 0;
    this.#reader.send(piece);
  }

  #ended(why: FeedEnd): void {
    if (why === 'failed') return this.#reader.cut();
    // One that was forgotten has no more to tell; the others have.
    if (why !== 'stopped' && --this.#left > 0) return;
    this.#send();
    this.#reader.end();
  }
}
