// watch and unwatch: what a connection is told of operations, from where it wants, until their end.
import { type OperationReset, streamLimits, type WatchEvents, WaitlessError } from '@waitless/protocol';
import { includedResultJson, mostIncludedBytes } from '../../core/document.ts';
import type { Fetch } from '../../core/fetch.ts';
import type { Ids } from '../../core/ids.ts';
import type { Live, News } from '../../core/live.ts';
import { eventIdOf, lastEvent, type OperationEvent, versionOf } from '../../core/operation-events.ts';
import type { FeedEnd, Follower, OperationFeeds } from '../../core/operation-feed.ts';
import type { Accepted } from '../../core/submit.ts';
import type { OperationRecord } from '../../engine/engine.ts';
import { wholeBody } from '../json/lease.ts';
import { fieldError, Shape } from '../json/shape.ts';
import type { Connection } from './connection.ts';
import { eventFrame, eventMessage } from './event-frames.ts';
import type { Frame } from './read-frames.ts';
import { refMember, textFrame } from './text-frame.ts';

export interface WatchDependencies {
  fetch: Pick<Fetch, 'operation' | 'operationsOf' | 'result'>;
  feeds: Pick<OperationFeeds, 'attach'>;
  live: Pick<Live, 'follow'>;
  ids: Pick<Ids, 'operationId'>;
  /** The status document with what lies before the operation. */
  snapshot: (record: OperationRecord, base: string) => Promise<string>;
}

/** What is wanted of an operation's events. */
export interface Wish {
  ref: string | undefined;
  events: WatchEvents;
  includes: boolean;
}

interface Watch extends Wish {
  id: string;
  leave: () => void;
}

export class Watches {
  readonly #d: WatchDependencies;
  readonly #connection: Connection;
  readonly #byId = new Map<string, Set<Watch>>();
  #count = 0;

  constructor(dependencies: WatchDependencies, connection: Connection) {
    this.#d = dependencies;
    this.#connection = connection;
    connection.atEnd(() => {
      for (const of of this.#byId.values()) for (const { leave } of of) leave();
      this.#byId.clear();
    });
  }

  /** The frame `watch`. Throws for one that is wrong. */
  async watch(frame: Frame): Promise<void> {
    const { ref, at, value } = frame;
    const shape = new Shape(value, at, ['operations', 'after', 'events', 'include']);
    const asked = operationsIn(shape, at);
    const after = afterIn(shape.any('after'), { at: `${at}/after`, asked });
    const wish = { ref, events: eventsIn(shape, 'events', at) ?? 'all', includes: includesIn(shape, at) };
    this.ensureRoom(asked.size);
    const connection = this.#connection;
    connection.begin();
    const found = await this.#found([...asked]).finally(() => connection.done());
    if (connection.over) return;
    connection.ok(ref);
    for (const [id, record] of found) {
      if (record instanceof Error)
        connection.failGuess(record, { ref, guess: id, members: `,"id":${JSON.stringify(id)}` });
      else this.follow(record, { id, wish, seen: after.get(id) });
    }
  }

  /** Each operation, or why the connection may not watch it. One read of the store where all are there. */
  async #found(asked: readonly string[]): Promise<[string, OperationRecord | Error][]> {
    const { namespace, visit } = this.#connection;
    const { fetch } = this.#d;
    const open = asked.filter((id) => !visit || visit.opens(id));
    const together = await fetch.operationsOf(open, namespace).catch((error: unknown) => {
      if (error instanceof WaitlessError && error.status < 500) return undefined;
      throw error;
    });
    if (together && open.length === asked.length) return asked.map((id, i) => [id, together[i]!]);
    const found: [string, OperationRecord | Error][] = [];
    for (const id of asked) {
      // As an id that nobody has, whether there is such an operation or not.
      const [record] = await fetch
        .operationsOf(!visit || visit.opens(id) ? [id] : [''], namespace)
        .catch((error: unknown) => [error as Error]);
      found.push([id, record!]);
    }
    return found;
  }

  /** Throws where so many more would be too many. */
  ensureRoom(more = 1): void {
    const most = streamLimits.connectionWatches;
    if (this.#count + more > most)
      throw new WaitlessError(
        'too-many-connections',
        `one connection watches ${most} operations at most; unwatch some, or open another one`,
      );
  }

  /** Tells what happened to an operation after the event that the client knows, and what will. */
  follow(record: OperationRecord, { id, wish, seen }: { id: string; wish: Wish; seen?: string | undefined }): void {
    const known = seen === undefined ? 0 : versionOf(seen, id);
    const over = record.finishedAt !== null && known === record.version;
    if (known === undefined || known > record.version || over) {
      const detail =
        known === undefined
          ? '"after" names no event of this operation'
          : over
            ? 'there is no event after the one that "after" names'
            : '"after" names an event that has not happened';
      void this.#reset(record, { id, wish, detail }).then(() => {
        if (record.finishedAt === null && !this.#connection.over)
          this.#attach(record, { id, wish, after: record.version });
      });
    } else this.#attach(record, { id, wish, after: known });
  }

  #attach(record: OperationRecord, { id, wish, after }: { id: string; wish: Wish; after: number }): void {
    const watch: Watch = { ...wish, id, leave: () => {} };
    this.#add(watch);
    watch.leave = this.#d.feeds.attach(record, { after, follower: this.#follower(watch, record) });
  }

  /** The same from the beginning, for an operation that was made just now. */
  async followMade(id: string, wish: Wish): Promise<void> {
    const record = await this.#d.fetch.operation(id, this.#connection.namespace);
    if (!this.#connection.over) this.follow(record, { id, wish });
  }

  #follower(watch: Watch, record: OperationRecord): Follower {
    const connection = this.#connection;
    const { id, ref } = watch;
    return {
      take: (events) => {
        const last = events.at(-1)!;
        const told = watch.events === 'all' ? events : last.done ? [last] : [];
        if (told.length === 0) return;
        if (!last.done || !watch.includes)
          return connection.sendEvents(eventMessage(told, { id, base: connection.base, ref }), told.length);
        if (told.length > 1) {
          const before = told.slice(0, -1);
          connection.sendEvents(eventMessage(before, { id, base: connection.base, ref }), before.length);
        }
        void this.#lastWithResult(watch, { namespace: record.namespace, event: last });
      },
      ready: () => connection.ready(),
      ended: (why, error) => {
        this.#remove(watch);
        // At a stop the connection is closed, which says it all.
        if (why === 'forgotten' || why === 'failed') this.#failed(watch, why, error);
      },
    };
  }

  /**
   * Tells of the last event alone of an operation that was made just now: what the answer to its lease has shown is told without a look at the store.
   * The feed does all else.
   */
  untilEnd(made: Pick<Accepted, 'id' | 'seq' | 'service' | 'correlationId'>, wish: Wish): void {
    const { live, fetch } = this.#d;
    const { id, seq, service, correlationId } = made;
    const connection = this.#connection;
    const watch: Watch = { ...wish, id, leave: () => {} };
    this.#add(watch);
    const look = (): void => {
      watch.leave();
      fetch.operation(id, connection.namespace).then(
        (record) => {
          if (!this.#has(watch)) return;
          this.#remove(watch);
          this.follow(record, { id, wish });
        },
        (error: unknown) => {
          if (!this.#has(watch)) return;
          this.#remove(watch);
          this.#failed(watch, 'failed', error);
        },
      );
    };
    watch.leave = live.follow(seq, {
      onlyDone: true,
      changed: (_, news) => {
        const ended = news.record ?? (news.ended && { ...news.ended, service, correlationId, version: news.version });
        const result = wish.includes ? includedNow(news) : undefined;
        if (!ended || (ended.finishedAt ?? null) === null || result === 'unknown') return look();
        watch.leave();
        this.#remove(watch);
        const event = lastEvent(ended, id);
        connection.sendEvents(textFrame(eventFrame(event, { id, base: connection.base, ref: wish.ref }, result)), 1);
      },
      gone: look,
      stopped: () => {},
    });
  }

  async #lastWithResult(
    watch: Watch,
    { namespace, event }: { namespace: string; event: OperationEvent },
  ): Promise<void> {
    const { id, ref } = watch;
    const connection = this.#connection;
    const result = await this.resultOf(id, namespace).catch(() => 'null');
    connection.sendEvents(textFrame(eventFrame(event, { id, base: connection.base, ref }, result)), 1);
  }

  /** JSON of the result of an operation that has ended; `null` where there is none, or none that is small enough. */
  async resultOf(id: string, namespace: string): Promise<string> {
    const found = await this.#d.fetch.result(id, namespace, { waitMs: 0 }).catch((error: unknown) => {
      // Why it ended without one stands in its last event.
      if (error instanceof WaitlessError && !error.retry) return undefined;
      throw error;
    });
    if (found?.kind !== 'result' || found.replay.bodyBytes > mostIncludedBytes) return 'null';
    return includedResultJson(found.replay, await wholeBody(found.replay.body));
  }

  async #reset(
    record: OperationRecord,
    { id, wish: { ref }, detail }: { id: string; wish: Wish; detail: OperationReset['detail'] },
  ): Promise<void> {
    const connection = this.#connection;
    const about = `"id":"${eventIdOf(id, record.version)}","detail":${JSON.stringify(detail)}`;
    try {
      const operation = await this.#d.snapshot(record, connection.base);
      connection.send(`{"type":"reset"${refMember(ref)},${about},"operation":${operation}}`);
    } catch (error) {
      connection.fail(error, ref, `,"id":"${id}"`);
    }
  }

  #failed({ id, ref }: Watch, why: FeedEnd, error: unknown): void {
    const problem = why === 'forgotten' ? new WaitlessError('result-expired') : error;
    this.#connection.fail(problem, ref, `,"id":"${id}"`);
  }

  /** The frame `unwatch`. */
  unwatch(frame: Frame): void {
    const shape = new Shape(frame.value, frame.at, ['operations', 'watch']);
    const asked = operationsIn(shape, frame.at);
    const ref = shape.text('watch', { most: streamLimits.refCharacters, least: 1 });
    for (const id of asked) {
      for (const watch of this.#byId.get(id) ?? []) {
        if (ref !== undefined && watch.ref !== ref) continue;
        watch.leave();
        this.#remove(watch);
      }
    }
    this.#connection.ok(frame.ref);
  }

  #has(watch: Watch): boolean {
    return this.#byId.get(watch.id)?.has(watch) === true;
  }

  #add(watch: Watch): void {
    const of = this.#byId.get(watch.id);
    if (of) of.add(watch);
    else this.#byId.set(watch.id, new Set([watch]));
    this.#count++;
  }

  #remove(watch: Watch): void {
    const of = this.#byId.get(watch.id);
    if (!of?.delete(watch)) return;
    this.#count--;
    if (of.size === 0) this.#byId.delete(watch.id);
  }
}

/** JSON of a result that came with the news of the end; `unknown` where it did not. */
function includedNow({ result, ended, record }: News): string {
  if (result) return result.body.length > mostIncludedBytes ? 'null' : includedResultJson(result, result.body);
  // What the end of a lease has shown is all there is.
  return ended && !record ? 'null' : 'unknown';
}

function operationsIn(shape: Shape, at: string): Set<string> {
  const most = streamLimits.watchOperations;
  const list = shape.list('operations', most) ?? [];
  if (list.length === 0)
    throw fieldError('invalid-parameter', `${at}/operations`, `must name 1 to ${most} operations by their ids`);
  for (const [i, id] of list.entries())
    if (typeof id !== 'string')
      throw fieldError('invalid-parameter', `${at}/operations/${i}`, 'must be the id of an operation');
  return new Set(list as string[]);
}

function afterIn(
  value: unknown,
  { at, asked }: { at: string; asked: ReadonlySet<string> },
): ReadonlyMap<string, string> {
  if (value === undefined) return new Map();
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw fieldError('invalid-parameter', at, 'must be an object of event ids by the ids of their operations');
  const after = new Map<string, string>();
  for (const [id, seen] of Object.entries(value)) {
    const pointer = `${at}/${id.slice(0, 64)}`;
    if (!asked.has(id)) throw fieldError('invalid-parameter', pointer, 'is none of the operations that are named');
    if (typeof seen !== 'string') throw fieldError('invalid-parameter', pointer, 'must be the id of an event');
    after.set(id, seen);
  }
  return after;
}

/** `all`, `end`, or undefined where it is not there. */
export function eventsIn(shape: Shape, name: string, at: string): WatchEvents | undefined {
  const value = shape.any(name);
  if (value !== undefined && value !== 'all' && value !== 'end')
    throw fieldError('invalid-parameter', `${at}/${name}`, 'must be "all" or "end"');
  return value;
}

export function includesIn(shape: Shape, at: string): boolean {
  const value = shape.any('include');
  if (value !== undefined && value !== 'result')
    throw fieldError('invalid-parameter', `${at}/include`, 'must be "result"');
  return value !== undefined;
}
