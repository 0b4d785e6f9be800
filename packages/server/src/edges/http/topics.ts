// /v1/topics/{topic}/events: publishing to a topic, and reading what is kept of one or of many.
import { WaitlessError } from '@waitless/protocol';
import { type EventPlace, cursorOf, placeOf, resetOf } from '../../core/event-place.ts';
import { structuredJson } from '../../core/event-words.ts';
import { checkTopic, type Publish, type PublishRequest } from '../../core/publish.ts';
import type { LoggedEvent, TopicEngine } from '../../engine/topics.ts';
import { type Clock, isoTime } from '../../lib/clock.ts';
import type { Random } from '../../lib/random.ts';
import { isTopicPattern, mostTopicLength } from '../../lib/topic-trie.ts';
import { type Naming, type ReadEvent, readEvents } from '../json/cloud-event.ts';
import { conflict, orderOf, publishedMembers } from '../json/published.ts';
import { type Exchange, type FieldLookup, type Handler, jsonAnswer } from './exchange.ts';
import { durability, idempotencyKey, isTraceparent, orderingKey } from './fields.ts';
import { limitOf } from './limit.ts';
import { parseQuery } from './query.ts';
import { readTopics } from '../json/topic-wish.ts';
import { asksForStream } from './sse.ts';
import type { topicStream } from './topic-stream.ts';

export interface TopicHandlersDependencies {
  publish: Pick<Publish, 'publish'>;
  engine: Pick<TopicEngine, 'read'>;
  clock: Clock;
  random: Random;
  /** The same events as Server-Sent Events. */
  stream: ReturnType<typeof topicStream>;
}

/** Of one event; larger ones are better stored elsewhere and named in the event, since every subscriber gets a copy. */
const mostEventBytes = 1024 * 1024;
const mostBatchBytes = 16 * 1024 * 1024;
/** Data in one page; at least one event is shown all the same. */
const pageBytes = 4 * 1024 * 1024;
const ofPage = [new Set(['after', 'limit']), 'a page of events takes after and limit'] as const;
const ofStream = [new Set(['from', 'filter']), 'a stream of events takes from and filter'] as const;
const batchedType = /^\s*application\/cloudevents-batch\+json\s*(?:;|$)/i;

export function topicHandlers({ publish, engine, clock, random, stream }: TopicHandlersDependencies) {
  const nonce = (): string => random.nonce();

  const post: Handler = async (exchange) => {
    const { headers, rawHeaders, namespace } = exchange;
    const topic = topicOf(exchange.params['topic']!);
    checkTopic(topic);
    refuseEncoded(headers);
    const level = durability(headers);
    const ordering = orderingKey(headers);
    const key = idempotencyKey(headers);
    if (key !== null && level === 'none')
      throw conflict(
        'Operation-Durability: none keeps nothing, so Idempotency-Key cannot be honoured; drop one of the two',
      );
    const type = headers('content-type');
    const isBatch = type !== undefined && batchedType.test(type);
    const body = await exchange.body(isBatch ? mostBatchBytes : mostEventBytes);
    const naming: Naming = {
      id: key === null ? nonce : () => key,
      source: `/v1/topics/${topic}`,
      type: topic,
      time: () => isoTime(clock.now())!,
    };
    const events = readEvents({ body, headers, rawHeaders }, naming);
    if (key !== null && events.some(({ isNamedHere }) => !isNamedHere))
      throw conflict('a CloudEvent is known by its source and id, which make a repeat safe; drop Idempotency-Key');
    if (isBatch) refuseLarge(events);
    const trace = traceOf(headers);
    const published = await publish.publish(
      events.map(({ attributes, data, isNamedHere }, at): PublishRequest => ({
        namespace,
        topic,
        attributes:
          trace === undefined || attributes['traceparent'] !== undefined ? attributes : { ...attributes, ...trace },
        data,
        orderingKey: orderOf(attributes, { ordering, at: isBatch ? `/${at}/` : '' }),
        durability: level,
        isNamedHere: isNamedHere && key === null,
      })),
    );
    exchange.releaseBody();
    if (level === 'none')
      return { status: 202, headers: ['Operation-Durability', 'none', 'Cache-Control', 'no-store'] };
    return jsonAnswer(202, `{${publishedMembers(published)}}`, ['Operation-Durability', level]);
  };

  const events: Handler = async (exchange) => {
    const pattern = patternOf(exchange.params['topic']!);
    const query = parseQuery(exchange.query);
    const isStream = asksForStream(exchange.headers('accept'));
    const [known, words] = isStream ? ofStream : ofPage;
    for (const name of query.names())
      if (!known.has(name) && name !== 'token')
        throw new WaitlessError(
          'invalid-parameter',
          `${JSON.stringify(name.slice(0, 64))} is not known here; ${words}`,
        );
    if (isStream) return stream(exchange, { topics: readTopics([pattern], 'the topic'), query });
    const after = query.get('after');
    const place = after === undefined ? undefined : placeOf(after);
    if (after !== undefined && place === undefined)
      throw new WaitlessError(
        'invalid-cursor',
        'after must be a position or the next of a page before; leave it out for the oldest event that is kept',
      );
    return jsonAnswer(200, await pageOf(exchange, { pattern, place, limit: limitOf(query.get('limit')) }));
  };

  async function pageOf(
    { namespace }: Exchange,
    { pattern, place, limit }: { pattern: string; place: EventPlace | undefined; limit: number },
  ): Promise<string> {
    const readAfter = (after: number) =>
      engine.read({ namespace, topics: [pattern], after, limit, maxBytes: pageBytes });
    let page = await readAfter(place?.position ?? 0);
    const reset = place && resetOf(place, page);
    // Its own place means nothing here.
    if (reset?.reason === 'history' && reset.from > 0) page = await readAfter(reset.to);
    const { epoch, last, readTo } = page;
    const cursor = cursorOf({ position: readTo, epoch });
    const items = page.events.map((event) => itemJson(event)).join(',');
    const told = reset === undefined ? '' : `,"reset":${JSON.stringify(reset)}`;
    return `{"items":[${items}],"next":${readTo < last ? `"${cursor}"` : 'null'},"cursor":"${cursor}"${told}}`;
  }

  return { post, events };
}

/** The event is as its subscribers get it, its data the bytes that were published. */
const itemJson = (event: LoggedEvent): string =>
  `{"position":${event.position},"topic":"${event.topic}","event":${structuredJson(event)}}`;

/** The listener has seen to it that the encoding is whole. */
export const topicOf = (raw: string): string => (raw.includes('%') ? decodeURIComponent(raw) : raw);

/** Topics to read: a name, or a pattern of names. */
export function patternOf(raw: string): string {
  const pattern = topicOf(raw);
  if (isTopicPattern(pattern)) return pattern;
  throw new WaitlessError(
    /[*#]/.test(pattern) ? 'invalid-filter' : 'invalid-name',
    `the topic ${JSON.stringify(pattern.slice(0, 64))} must be words of letters, digits, "_" and "-" joined by dots, with * for one word and ** for any number (four times at most), ${mostTopicLength} characters at most`,
  );
}

function refuseEncoded(headers: FieldLookup): void {
  const encoding = headers('content-encoding');
  if (encoding !== undefined && encoding.trim().toLowerCase() !== 'identity')
    throw new WaitlessError(
      'unsupported-content-encoding',
      `Content-Encoding ${JSON.stringify(encoding.slice(0, 64))} is not read here; an event is kept as it is and has no place for it`,
      { members: { accepted: false } },
    );
}

function refuseLarge(events: readonly ReadEvent[]): void {
  for (const [at, { data }] of events.entries())
    if (data.length > mostEventBytes)
      throw new WaitlessError(
        'payload-too-large',
        `/${at} has more data than the limit of ${mostEventBytes} bytes of one event`,
        { members: { limitBytes: mostEventBytes, accepted: false } },
      );
}

/** The trace that the publish is a part of goes on with its events. */
function traceOf(headers: FieldLookup): { traceparent: string; tracestate?: string } | undefined {
  const traceparent = headers('traceparent');
  if (traceparent === undefined || !isTraceparent(traceparent)) return undefined;
  const tracestate = headers('tracestate');
  return tracestate !== undefined && /^[\x20-\x7e]{1,512}$/.test(tracestate)
    ? { traceparent, tracestate }
    : { traceparent };
}
