// Subscriptions that the server keeps: made, looked at, paused and removed, and what they could not bring to anybody.
import { isName, type Page, type RouteName, routePath, routes, WaitlessError } from '@waitless/protocol';
import { utf8 } from './body.ts';
import { answerGraceMs } from './response.ts';
import { elementTexts, memberText, type TopicEvent, topicEventOf } from './topic-event.ts';
import { readBytes, readJson, type Wire } from './wire.ts';

/** A condition over attributes of events, in the words of the CloudEvents Subscriptions API; a list means all of them. */
export type EventFilter =
  | { exact: Readonly<Record<string, string>> }
  | { prefix: Readonly<Record<string, string>> }
  | { suffix: Readonly<Record<string, string>> }
  | { all: readonly EventFilter[] }
  | { any: readonly EventFilter[] }
  | { not: EventFilter }
  | readonly EventFilter[];

/** What a subscription is made of. Durations are text with a unit, such as `30s`. */
export interface SubscriptionDocument {
  /** A name or a pattern: `*` is one word, `**` any number. */
  topic?: string | undefined;
  /** Instead of `topic`, several. */
  topics?: readonly string[] | undefined;
  filter?: EventFilter | undefined;
  /** Who gets the events: a URL, a service that does something for each, or whoever asks for them. */
  target:
    | { url: string; headers?: Readonly<Record<string, string>>; secret?: string | readonly string[] }
    | { service: string }
    | { pull: true };
  /** Where a new one begins: `now` by default, or after a position. */
  from?: 'now' | 'start' | number | undefined;
  /** One of an ordering key at a time, in the order of their positions. */
  ordered?: boolean | undefined;
  maxInFlight?: number | undefined;
  retry?: { maxAttempts?: number; initialDelay?: string; maxDelay?: string } | undefined;
  /** Of a pull target: how long a consumer has where it does not say. */
  lease?: string | undefined;
  /** Keep what could not be delivered; true by default. */
  deadLetter?: boolean | undefined;
}

export interface Subscription {
  name: string;
  /** `blocked`: its receiver fails, and is tried again at `blockedUntil`. `unusable`: `problem` says why. */
  state: 'active' | 'paused' | 'blocked' | 'unusable';
  problem?: string;
  blockedUntil: string | null;
  createdAt: string;
  savedAt: string;
  /** Everything up to here was looked at. */
  readTo: number;
  /** Events that it has not looked at yet. */
  lag: { atLeast: number; atMost: number };
  oldestUnacknowledged: { position: number; since: string } | null;
  /** What was taken and is not done with. */
  open: { waiting: number; sending: number; held: number; dead: number };
  /** With every default filled in; secrets are masked. */
  document: SubscriptionDocument | null;
}

/** An event that was taken and is not acknowledged yet. */
export interface OpenDelivery {
  position: number;
  state: 'waiting' | 'sending' | 'held';
  topic: string | null;
  orderingKey: string | null;
  attempt: number;
  worker: string | null;
  takenAt: string;
  nextAt: string | null;
  expiresAt: string | null;
  /** Why the last try failed. */
  code: string | null;
  detail: string | null;
}

/** An event that could not be delivered. */
export interface DeadLetter {
  position: number;
  topic: string | null;
  orderingKey: string | null;
  attempt: number;
  takenAt: string;
  code: string | null;
  detail: string | null;
  /** undefined: its topic had lost it before it was given up. */
  event: TopicEvent | undefined;
}

interface Abortable {
  signal?: AbortSignal | undefined;
}

export interface PageOptions extends Abortable {
  /** 1 to 1000, 50 by default. */
  limit?: number | undefined;
  /** `next` of the page before. */
  cursor?: string | undefined;
}

export interface SubscriptionVerbs {
  list(options?: Abortable): Promise<Subscription[]>;
  get(name: string, options?: Abortable): Promise<Subscription>;
  /** Makes it or changes it. `from` matters to a new one alone. */
  put(name: string, document: SubscriptionDocument, options?: Abortable): Promise<Subscription>;
  /** With its place and its dead letters; the events stay in their topics. */
  remove(name: string, options?: Abortable): Promise<void>;
  /** Nothing goes out until it is resumed, and nothing is lost. */
  pause(name: string, options?: Abortable): Promise<Subscription>;
  resume(name: string, options?: Abortable): Promise<Subscription>;
  /** What is on its way, or waits for another try. */
  deliveries(name: string, options?: PageOptions & { state?: OpenDelivery['state'] }): Promise<Page<OpenDelivery>>;
  deadLetters(name: string, options?: PageOptions): Promise<Page<DeadLetter>>;
  /** Has dead letters tried again, those at `positions` or all. How many. */
  redrive(name: string, options?: Abortable & { positions?: readonly number[] | undefined }): Promise<number>;
  /** Forgets dead letters, those at `positions` or all. How many. */
  forget(name: string, options?: Abortable & { positions?: readonly number[] | undefined }): Promise<number>;
}

/** A name that is none would lead URL parsing elsewhere. */
export function subscriptionPath(route: RouteName, name: string): string {
  if (!isName(name))
    throw new WaitlessError('invalid-name', `"${name}" is not a subscription name: letters, digits, "_" and "-" only.`);
  return routePath(route, { name });
}

export function subscriptionVerbs(wire: Wire): SubscriptionVerbs {
  interface Call extends Abortable {
    body?: unknown;
    query?: Readonly<Record<string, string | number | undefined>>;
  }
  const send = (route: RouteName, name: string, { body, query = {}, signal }: Call): Promise<Response> =>
    wire.send({
      method: routes[route].method,
      path: (name === '' ? routePath(route) : subscriptionPath(route, name)) + searchOf(query),
      headers: new Headers({
        Accept: 'application/json',
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      }),
      ...(body === undefined ? {} : { body: utf8(JSON.stringify(body)) }),
      signal,
      headersTimeoutMs: answerGraceMs,
    });
  const call = async <T>(route: RouteName, name: string, options: Call): Promise<T> =>
    readJson<T>(wire.url, await send(route, name, options), options.signal);
  return {
    list: async (options = {}) => (await call<Page<Subscription>>('listSubscriptions', '', options)).items,
    get: (name, options = {}) => call('getSubscription', name, options),
    put: (name, body, { signal } = {}) => call('putSubscription', name, { body, signal }),
    async remove(name, options = {}) {
      await (await send('removeSubscription', name, options)).body?.cancel();
    },
    pause: (name, { signal } = {}) => call('pauseSubscription', name, { body: {}, signal }),
    resume: (name, { signal } = {}) => call('resumeSubscription', name, { body: {}, signal }),
    deliveries: (name, { signal, ...query } = {}) => call('listSubscriptionDeliveries', name, { query, signal }),
    async deadLetters(name, { signal, ...query } = {}) {
      const response = await send('listDeadLetters', name, { query, signal });
      return lettersOf(new TextDecoder().decode(await readBytes(wire.url, response, signal)), wire);
    },
    async redrive(name, { signal, positions } = {}) {
      return (await call<{ redriven: number }>('redriveDeadLetters', name, { body: { positions }, signal })).redriven;
    },
    async forget(name, { signal, positions } = {}) {
      const query = { positions: positions?.join(',') };
      return (await call<{ removed: number }>('removeDeadLetters', name, { query, signal })).removed;
    },
  };
}

function searchOf(query: Readonly<Record<string, string | number | undefined>>): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  return given.length === 0 ? '' : `?${new URLSearchParams(given as [string, string][]).toString()}`;
}

function lettersOf(text: string, wire: Wire): Page<DeadLetter> {
  try {
    const { items, next } = JSON.parse(text) as Page<Omit<DeadLetter, 'event'> & { event: unknown }>;
    const texts = elementTexts(memberText(text, 'items')!);
    return {
      items: items.map(({ event, ...letter }, at) => {
        const { topic, position } = letter;
        const source = event === null ? undefined : memberText(texts[at]!, 'event');
        return {
          ...letter,
          event: source === undefined ? undefined : topicEventOf(source, { topic: topic ?? '', position }),
        };
      }),
      next,
    };
  } catch (error) {
    throw new WaitlessError(
      'unexpected-answer',
      `${wire.url} answered without dead letters: is that a Waitless server?`,
      {
        cause: error,
        status: 200,
      },
    );
  }
}
