// GET /v1/topics/{topic}/events as Server-Sent Events: what is published from now on, or after the place that a reader names, for as long as it stays.
import { cursorOf, type EventPlace, type PlaceReset } from '../../core/event-place.ts';
import type { TopicFeeds } from '../../core/topic-feed.ts';
import type { Live } from '../../core/live.ts';
import { filterIn, seenPlace, startIn } from '../json/topic-wish.ts';
import type { Answer, Exchange } from './exchange.ts';
import type { Query } from './query.ts';
import { streamAnswer } from './sse.ts';
import { placeAfter, placeText, resetText, topicPieceOf } from './topic-events.ts';
import { pieceOf } from './watchers.ts';

export interface TopicStreamDependencies {
  feeds: Pick<TopicFeeds, 'attach' | 'newest'>;
  live: Pick<Live, 'ensureRoom' | 'hold'>;
}

/** Where a stream of topics begins. */
export interface TopicStart {
  place: EventPlace | 'start';
  isNewest: boolean;
  /** Why that is not where the reader wanted to go on. */
  reset?: PlaceReset;
}

/** What a reader whose place is none is told; nothing that is kept is missed by that. */
const noPlace: PlaceReset = {
  reason: 'history',
  from: 0,
  to: 0,
  detail: 'Last-Event-ID is no place in these events; what is kept is told from its beginning',
};

/** The last event that a reader has seen matters more than where it once began. */
export function startOf(
  { lastEventId, from }: { lastEventId: string | undefined; from: string | undefined },
  newest: { position: number; epoch: string },
): TopicStart {
  const start = startIn(from);
  if (lastEventId !== undefined && lastEventId !== '') {
    const place = seenPlace(lastEventId);
    return place ? { place, isNewest: false } : { place: 'start', isNewest: false, reset: noPlace };
  }
  return start === 'now' ? { place: newest, isNewest: true } : { place: start, isNewest: false };
}

export function topicStream({ feeds, live }: TopicStreamDependencies) {
  return async (
    { namespace, mostMs, headers }: Exchange,
    { topics, query }: { topics: readonly string[]; query: Query },
  ): Promise<Answer> => {
    const wish = { namespace, topics, filter: filterIn(query.get('filter')) };
    startIn(query.get('from'));
    live.ensureRoom(namespace);
    const newest = await feeds.newest(wish);
    const { place, isNewest, reset } = startOf(
      { lastEventId: headers('last-event-id'), from: query.get('from') },
      newest,
    );
    const { epoch } = newest;
    const before = reset
      ? resetText(reset, cursorOf(placeAfter(reset, epoch)))
      : isNewest
        ? placeText(cursorOf(newest))
        : undefined;
    // Keeps nothing of the request: it may go on for days.
    return streamAnswer((reader) => {
      if (before !== undefined) reader.send(pieceOf(before, 0));
      const letGo = live.hold(namespace);
      const over = mostMs === undefined ? undefined : setTimeout(() => reader.end(), mostMs);
      const leave = feeds.attach(wish, {
        place,
        isNewest,
        follower: {
          take: (events, of) => reader.send(topicPieceOf(events, of)),
          reset: (told, of) => reader.send(pieceOf(resetText(told, cursorOf(placeAfter(told, of))), 1)),
          ready: () => reader.taken(),
          ended: (why) => (why === 'failed' ? reader.cut() : reader.end()),
        },
      });
      reader.onGone(() => {
        clearTimeout(over);
        leave();
        letGo();
      });
    });
  };
}
