// GET /v1/stream?operations=…&topics=…: events of many operations and topics on one connection, each under the place of all of them.
import { WaitlessError } from '@waitless/protocol';
import type { Fetch } from '../../core/fetch.ts';
import type { EventPlace } from '../../core/event-place.ts';
import type { Ids } from '../../core/ids.ts';
import type { Live } from '../../core/live.ts';
import type { OperationEvent } from '../../core/operation-events.ts';
import type { FeedEnd, OperationFeeds } from '../../core/operation-feed.ts';
import type { TopicFeeds, TopicFollower, TopicWish } from '../../core/topic-feed.ts';
import type { OperationRecord } from '../../engine/engine.ts';
import { filterIn, readTopics, startIn } from '../json/topic-wish.ts';
import type { Handler, StreamReader } from './exchange.ts';
import type { OperationHandlers } from './operations.ts';
import { parseQuery, type Query } from './query.ts';
import { acceptsStream, eventText, frame, streamAnswer } from './sse.ts';
import { placeAfter, placeText, resetText, topicEventText } from './topic-events.ts';
import { pieceOf } from './watchers.ts';
import { WrongGuess } from './wrong-guess.ts';

export interface StreamDependencies {
  fetch: Pick<Fetch, 'operationsOf'>;
  feeds: OperationFeeds;
  topicFeeds: Pick<TopicFeeds, 'attach' | 'newest'>;
  ids: Pick<Ids, 'streamSubjects' | 'streamCursor' | 'streamVersions'>;
  live: Pick<Live, 'ensureRoom' | 'hold'>;
  operations: Pick<OperationHandlers, 'snapshot'>;
}

/** As many as a read-only token opens. With their ids the URL stays below the 8 KB that common proxies take. */
const mostOperations = 100;

const parameters: ReadonlySet<string> = new Set(['operations', 'topics', 'from', 'filter', 'token']);

export interface StreamQuery {
  operations: string[];
  topics: string[];
  query: Query;
}

/** What a stream is asked for, each operation and topic once and in one order, whatever order the client named them in. */
export function streamQuery(text: string): StreamQuery {
  const query = parseQuery(text);
  for (const name of query.names())
    if (!parameters.has(name))
      throw new WaitlessError('invalid-parameter', `a stream has no parameter ${JSON.stringify(name.slice(0, 64))}`);
  const topics = query.get('topics') === undefined ? [] : readTopics(query.get('topics')!.split(','), '"topics"');
  const named = new Set(query.get('operations')?.split(',') ?? (topics.length > 0 ? [] : ['']));
  if (named.has('') || named.size > mostOperations)
    throw new WaitlessError(
      'invalid-parameter',
      `"operations" must name 1 to ${mostOperations} operations by their ids, with commas between them; or name "topics"`,
    );
  if (topics.length === 0 && (query.get('from') ?? query.get('filter')) !== undefined)
    throw new WaitlessError('invalid-parameter', '"from" and "filter" are for topics; name "topics" or leave them out');
  return { operations: [...named].toSorted(), topics, query };
}

export function streamHandler({ fetch, feeds, topicFeeds, ids, live, operations }: StreamDependencies): Handler {
  async function recordsOf(named: readonly string[], namespace: string): Promise<OperationRecord[]> {
    try {
      return await fetch.operationsOf(named, namespace);
    } catch (error) {
      if (!(error instanceof WaitlessError) || error.code !== 'not-found') throw error;
      throw new WrongGuess('not-found', { detail: 'there is no operation with one of these ids', guess: named.join() });
    }
  }

  /** Which versions the client knows, what of its topics, and why its own place will not do. */
  function startOf(
    lastEventId: string | undefined,
    { subjects, records, log }: { subjects: string; records: readonly OperationRecord[]; log: TopicStart | undefined },
  ): { versions: number[]; log: TopicStart | undefined; reset?: string } {
    if (lastEventId === undefined || lastEventId === '') return { versions: records.map(() => 0), log };
    const places = ids.streamVersions(lastEventId, subjects);
    const versions = places?.slice(0, records.length);
    const position = places?.[records.length];
    const place: EventPlace | undefined = log && position !== undefined ? { position, epoch: log.epoch } : undefined;
    if (versions?.every((version, i) => version <= records[i]!.version))
      return { versions, log: log && { ...log, place: place ?? 'start', isNewest: false } };
    return {
      versions: records.map(({ version }) => version),
      log: log && { ...log, place: place ?? 'start', isNewest: false },
      reset: versions
        ? 'Last-Event-ID names events that have not happened'
        : 'Last-Event-ID is no place in the events of these operations and topics',
    };
  }

  async function resetFrame(
    records: readonly OperationRecord[],
    { at, base, detail, topics }: { at: string; base: string; detail: string; topics: readonly string[] },
  ): Promise<string> {
    const documents: string[] = [];
    // One after another: a hundred at once would take the store's connections from everybody else.
    for (const record of records) documents.push(await operations.snapshot(record, base));
    // What is kept of topics follows from its beginning.
    const told = topics.length === 0 ? '' : `,"topics":${JSON.stringify(topics)}`;
    const data = `{"type":"reset","detail":${JSON.stringify(detail)},"operations":[${documents.join(',')}]${told}}`;
    return frame({ id: at, event: 'reset', data });
  }

  return async (exchange) => {
    const { base, namespace, mostMs } = exchange;
    const { operations: named, topics, query } = streamQuery(exchange.query);
    const wish = topics.length === 0 ? undefined : { namespace, topics, filter: filterIn(query.get('filter')) };
    const from = startIn(query.get('from'));
    if (!acceptsStream(exchange.headers('accept')))
      throw new WaitlessError(
        'not-acceptable',
        'a stream is told as text/event-stream; ask for that, or leave out Accept',
      );
    const records = await recordsOf(named, namespace);
    const newest = wish && (await topicFeeds.newest(wish));
    const subjects = ids.streamSubjects(named, namespace, newest && { topics, epoch: newest.epoch });
    const { versions, log, reset } = startOf(exchange.headers('last-event-id'), {
      subjects,
      records,
      log: newest && {
        epoch: newest.epoch,
        place: from === 'now' ? newest : from,
        isNewest: from === 'now',
      },
    });
    const over = records.every(({ finishedAt, version }, i) => finishedAt !== null && versions[i] === version);
    if (over && !log && reset === undefined) return { status: 204, headers: ['Cache-Control', 'no-store'] };
    live.ensureRoom(namespace);
    const placeOf = (places: readonly number[]): string => ids.streamCursor(places, subjects);
    const first = log ? [...versions, log.place === 'start' ? 0 : log.place.position] : versions;
    const before =
      reset === undefined
        ? log?.isNewest
          ? placeText(placeOf(first))
          : undefined
        : await resetFrame(records, { at: placeOf(first), base, detail: reset, topics });
    const told = { named, records, places: first, base, before, placeOf, wish, log };
    return streamAnswer((reader) => {
      const letGo = live.hold(namespace);
      const leave = new SharedStream(reader, told).begin(feeds, topicFeeds);
      const end = mostMs === undefined ? undefined : setTimeout(() => reader.end(), mostMs);
      reader.onGone(() => {
        clearTimeout(end);
        leave();
        letGo();
      });
    });
  };
}

/** From where topics are told. */
interface TopicStart {
  epoch: string;
  place: EventPlace | 'start';
  isNewest: boolean;
}

interface Told {
  named: readonly string[];
  records: readonly OperationRecord[];
  /** Newest version of each that the reader knows, and after them what it knows of topics. */
  places: readonly number[];
  base: string;
  /** What stands before the events. */
  before: string | undefined;
  placeOf: (places: readonly number[]) => string;
  wish: TopicWish | undefined;
  log: TopicStart | undefined;
}

/** What is told to one reader of many operations and topics. */
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
    this.#places = [...told.places];
    // Topics never come to an end.
    this.#left = told.named.length + (told.log ? 1 : 0);
  }

  /** Gives what ends it. */
  begin(feeds: OperationFeeds, topicFeeds: Pick<TopicFeeds, 'attach'>): () => void {
    const { before } = this.#told;
    if (before !== undefined) this.#reader.send(pieceOf(before, 1));
    this.#attach(feeds, 0);
    this.#attachTopics(topicFeeds);
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

  #attachTopics(feeds: Pick<TopicFeeds, 'attach'>): void {
    const { wish, log, named, placeOf } = this.#told;
    if (!wish || !log) return;
    const { place, isNewest, epoch: signedFor } = log;
    const at = named.length;
    const follower: TopicFollower = {
      take: (events, epoch) => {
        if (epoch !== signedFor) return this.#reader.cut();
        for (const event of events) {
          this.#places[at] = event.position;
          this.#add(topicEventText(event, placeOf(this.#places)));
        }
      },
      reset: (reset, epoch) => {
        // The places of this stream are signed for a history that is no more: who comes back is told so.
        if (epoch !== signedFor) return this.#reader.cut();
        this.#places[at] = placeAfter(reset, epoch).position;
        this.#add(resetText(reset, placeOf(this.#places)));
      },
      ready: () => {
        this.#send();
        return this.#reader.taken();
      },
      ended: (why) => this.#ended(why),
    };
    this.#leaves.push(feeds.attach(wish, { place, isNewest, follower }));
  }

  #add(text: string): void {
    if (this.#events++ === 0) setImmediate(() => this.#send());
    this.#text += text;
  }

  #tell(at: number, events: readonly OperationEvent[]): void {
    const { named, base, placeOf } = this.#told;
    for (const event of events) {
      this.#places[at] = event.version;
      this.#add(eventText(event, { id: named[at]!, base, at: placeOf(this.#places) }));
    }
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
