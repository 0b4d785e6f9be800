// watch and unwatch of topics: a connection is told their events from where it wants, for as long as it stays.
import { streamLimits, WaitlessError } from '@waitless/protocol';
import { cursorOf, type EventPlace, type PlaceReset, placeOf } from '../../core/event-place.ts';
import { structuredJson } from '../../core/event-words.ts';
import type { TopicFeeds, TopicFollower, TopicWish } from '../../core/topic-feed.ts';
import type { LoggedEvent } from '../../engine/topics.ts';
import { fieldError, Shape } from '../json/shape.ts';
import { filterFrom, mostTopics, readTopics } from '../json/topic-wish.ts';
import type { Connection } from './connection.ts';
import type { Frame } from './read-frames.ts';
import { messageOf, refMember, textFrame } from './text-frame.ts';

interface TopicWatch {
  ref: string | undefined;
  topics: readonly string[];
  leave: () => void;
}

/** Names that are kept for each batch of events: clients count theirs, so that those of many are the same. */
const mostKept = 16;

interface Kept {
  ref: string | undefined;
  bytes: Buffer;
}

const messages = new WeakMap<readonly LoggedEvent[], Kept[]>();
const tails = new WeakMap<LoggedEvent, string>();

/** The message that tells of these events, put together once for all who gave their watch the same name. */
function messageFor(
  events: readonly LoggedEvent[],
  { epoch, ref }: { epoch: string; ref: string | undefined },
): Buffer {
  let kept = messages.get(events);
  if (!kept) messages.set(events, (kept = []));
  for (const one of kept) if (one.ref === ref) return one.bytes;
  const start = `{"type":"event"${refMember(ref)}`;
  const bytes = textFrame(messageOf(events.map((event) => `${start}${tailOf(event, epoch)}`)));
  if (kept.length < mostKept) kept.push({ ref, bytes });
  return bytes;
}

function tailOf(event: LoggedEvent, epoch: string): string {
  let text = tails.get(event);
  if (text === undefined) {
    const id = cursorOf({ position: event.position, epoch });
    text = `,"id":"${id}","topic":"${event.topic}","position":${event.position},"event":${structuredJson(event)}}`;
    tails.set(event, text);
  }
  return text;
}

export class TopicWatches {
  readonly #feeds: Pick<TopicFeeds, 'attach' | 'newest'>;
  readonly #connection: Connection;
  readonly #watches = new Set<TopicWatch>();

  constructor({ topicFeeds }: { topicFeeds: Pick<TopicFeeds, 'attach' | 'newest'> }, connection: Connection) {
    this.#feeds = topicFeeds;
    this.#connection = connection;
    connection.atEnd(() => {
      for (const { leave } of this.#watches) leave();
      this.#watches.clear();
    });
  }

  /** The frame `watch` with `topics`. Throws for one that is wrong. */
  async watch({ ref, at, value }: Frame): Promise<void> {
    const connection = this.#connection;
    const shape = new Shape(value, at, ['topics', 'after', 'filter']);
    const topics = topicsIn(shape, at);
    const { visit, namespace } = connection;
    if (visit && !topics.every((topic) => visit.opensTopic(topic)))
      throw new WaitlessError('insufficient-scope', 'the read-only token does not open all of these topics');
    const wanted = afterIn(shape.any('after'), `${at}/after`);
    const filter = shape.has('filter') ? filterFrom(shape.any('filter'), `${at}/filter`) : undefined;
    const most = streamLimits.topicWatches;
    if (this.#watches.size >= most)
      throw new WaitlessError(
        'too-many-connections',
        `one connection watches topics ${most} times at most; name several in one frame, or open another one`,
      );
    const watch: TopicWatch = { ref, topics, leave: () => {} };
    this.#watches.add(watch);
    const wish: TopicWish = { namespace, topics, filter };
    let newest;
    try {
      newest = await this.#feeds.newest(wish);
    } catch (error) {
      this.#watches.delete(watch);
      throw error;
    }
    // It may have been given up meanwhile.
    if (connection.over || !this.#watches.has(watch)) return;
    connection.ok(ref, `,"id":"${cursorOf(newest)}"`);
    const isNewest = wanted === 'now';
    const follower = this.#follower(watch);
    if (wanted === 'none') follower.reset(noPlace, newest.epoch);
    const place = isNewest ? newest : wanted === 'none' ? 'start' : wanted;
    watch.leave = this.#feeds.attach(wish, { place, isNewest, follower });
  }

  #follower(watch: TopicWatch): TopicFollower {
    const connection = this.#connection;
    const { ref, topics } = watch;
    return {
      take: (events, epoch) => connection.sendEvents(messageFor(events, { epoch, ref }), events.length),
      reset: (reset, epoch) => {
        const position = reset.reason === 'history' ? reset.to : reset.from;
        const about = JSON.stringify({ id: cursorOf({ position, epoch }), topics, ...reset });
        connection.send(`{"type":"reset"${refMember(ref)},${about.slice(1)}`);
      },
      ready: () => connection.ready(),
      ended: (why, error) => {
        this.#watches.delete(watch);
        // At a stop the connection is closed, which says it all.
        if (why === 'failed') connection.fail(error, ref, `,"topics":${JSON.stringify(topics)}`);
      },
    };
  }

  /** The frame `unwatch` with `topics`: ends what was begun with these, or some of them, and with no others. */
  unwatch({ ref, at, value }: Frame): void {
    const shape = new Shape(value, at, ['topics', 'watch']);
    const named = new Set(topicsIn(shape, at));
    const own = shape.text('watch', { most: streamLimits.refCharacters, least: 1 });
    for (const watch of this.#watches) {
      if ((own !== undefined && watch.ref !== own) || !watch.topics.every((topic) => named.has(topic))) continue;
      this.#watches.delete(watch);
      watch.leave();
    }
    this.#connection.ok(ref);
  }
}

/** What is kept is told after it, so that nothing of it is missed. */
const noPlace: PlaceReset = {
  reason: 'history',
  from: 0,
  to: 0,
  detail: '"after" is no place in these events; what is kept is told from its beginning',
};

function topicsIn(shape: Shape, at: string): string[] {
  const list = shape.list('topics', mostTopics) ?? [];
  if (list.length === 0)
    throw fieldError('invalid-parameter', `${at}/topics`, `must name 1 to ${mostTopics} topics, by names or patterns`);
  for (const [i, topic] of list.entries())
    if (typeof topic !== 'string')
      throw fieldError('invalid-parameter', `${at}/topics/${i}`, 'must be the name of a topic, or a pattern of names');
  return readTopics(list as string[], `${at}/topics`);
}

function afterIn(value: unknown, at: string): 'now' | 'start' | 'none' | EventPlace {
  if (value === undefined) return 'now';
  if (value === 0) return 'start';
  if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0)
    return { position: value, epoch: undefined };
  if (typeof value === 'string') {
    const place = placeOf(value);
    return place?.epoch === undefined ? 'none' : place;
  }
  throw fieldError('invalid-parameter', at, 'must be the id of an event, or a position; 0 is the beginning');
}
