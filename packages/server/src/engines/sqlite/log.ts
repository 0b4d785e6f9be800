// The log: events get the next positions of their namespace and are read back in that order, each topic along its own index.
//
// One thread writes, one group commits at a time: positions become visible in the order they were given, so no reader can skip one.
import type { ReadWanted, TopicRecord, Trim } from '../../engine/topics.ts';
import { TopicNames } from '../../lib/topic-trie.ts';
import { knownEvents, knownKey } from './known-events.ts';
import type { EventRow, NewEventRow, PageRow } from './log-wire.ts';
import { codeOf, type StoreError, toStoreError } from './store-error.ts';
import type { Store } from './store.ts';

export interface LogRow {
  id: number;
  namespace: string;
  last: number;
}

interface TopicRow {
  id: number;
  log: number;
  name: string;
  events: number;
  bytes: number;
  last: number;
  removed_to: number;
}

export type AppendRow =
  | { kind: 'appended'; position: number }
  | { kind: 'repeated'; position: number }
  | { kind: 'refused'; error: StoreError };

export interface LogStatements {
  readonly epoch: string;
  append(event: NewEventRow): AppendRow;
  read(wanted: ReadWanted): PageRow;
  /** The history of these topics begins here: who wants what came before is told that it is not there. */
  begin(namespace: string, names: readonly string[]): void;
  /** One event, where its topic still has it. */
  event(log: LogRow, position: number): EventRow | undefined;
  topics(namespace: string | undefined): TopicRecord[];
  trim(trim: Trim): { removed: number; removedTo: number; more: boolean };
  /** Forgets which events were seen long ago: a bounded number of them. True when there are more. */
  forgetKnown(): boolean;
  /** The log of a namespace, made when it is new. */
  logOf(namespace: string): LogRow;
  /** Before the commit: writes how far the logs and topics have grown. */
  flush(): void;
  /** After the commit: the namespaces that have grown by it. */
  committed(): string[];
  /** After a rollback: forgets what was not written. */
  rolledBack(): void;
}

/** Positions of one log in the key of its events. */
const positions = 2 ** 40;
const positionOf = (column: string): string => `${column} & ${positions - 1}`;
/** Lists of patterns whose topics are remembered: anybody may ask for as many as there are words. */
const mostFound = 1000;

/** By topic, log number, position, log number again, and how many at most: from the index alone. */
export const selectPlaces = `SELECT ${positionOf('place')} FROM event INDEXED BY event_topic
   WHERE topic = +? AND place > ((? << 40) | ?) AND place < ((? + 1) << 40) ORDER BY place LIMIT +?`;

interface LogTopics {
  byName: Map<string, TopicRow>;
  names: TopicNames<TopicRow>;
  /** Topics of each list of patterns that was asked for since the last new topic. */
  found: Map<string, TopicRow[]>;
}

export function logStatements(store: Store): LogStatements {
  const { db } = store;
  const epoch = db.prepare<[], string>("SELECT value FROM meta WHERE key = 'epoch'").pluck().get()!;
  const selectLogs = db.prepare<[], LogRow>('SELECT id, namespace, last FROM log');
  const selectTopics = db.prepare<[], TopicRow>('SELECT * FROM topic');
  const addLog = db.prepare('INSERT INTO log (namespace, last) VALUES (?, 0)');
  const addTopic = db.prepare('INSERT INTO topic (log, name) VALUES (?, ?)');
  const setLast = db.prepare('UPDATE log SET last = ? WHERE id = ?');
  const setTopic = db.prepare('UPDATE topic SET events = ?, bytes = ?, last = ?, removed_to = ? WHERE id = ?');
  // The arithmetic is SQLite's own, in 64 bits: numbers of JavaScript end at 2^53.
  const insert = db.prepare(
    'INSERT INTO event (place, topic, ordering, head, appended_at, body) VALUES ((? << 40) | ?, ?, ?, ?, ?, ?)',
  );
  const places = db.prepare<unknown[], number>(selectPlaces).pluck();
  const readEvent = db
    .prepare<
      [number, number],
      [topic: number, head: string, appendedAt: number, ordering: string | null, body: Buffer]
    >('SELECT topic, head, appended_at, ordering, body FROM event WHERE place = ((? << 40) | ?)')
    .raw();
  const oldestAt = db
    .prepare<[number], number | null>(
      'SELECT appended_at FROM event INDEXED BY event_topic WHERE topic = +? ORDER BY place LIMIT 1',
    )
    .pluck();
  const oldest = db.prepare<[number, number], { position: number; at: number; bytes: number }>(
    `SELECT ${positionOf('place')} AS position, appended_at AS at, length(CAST(head AS BLOB)) + length(body) AS bytes FROM event INDEXED BY event_topic WHERE topic = +? ORDER BY place LIMIT +?`,
  );
  const known = knownEvents(store);
  const cut = db.prepare('DELETE FROM event WHERE topic = ? AND place <= ((? << 40) | ?)');

  const logs = new Map<string, LogRow>();
  const logsById = new Map<number, LogRow>();
  const topicsOf = new Map<number, LogTopics>();
  const topicsById = new Map<number, TopicRow>();
  const grown = new Set<LogRow>();
  const changed = new Set<TopicRow>();

  function load(): void {
    logs.clear();
    logsById.clear();
    topicsOf.clear();
    topicsById.clear();
    for (const log of selectLogs.all()) rememberLog(log);
    for (const topic of selectTopics.all()) rememberTopic(topic);
  }
  load();

  function rememberLog(log: LogRow): LogRow {
    logs.set(log.namespace, log);
    logsById.set(log.id, log);
    topicsOf.set(log.id, { byName: new Map(), names: new TopicNames(), found: new Map() });
    return log;
  }

  function rememberTopic(topic: TopicRow): TopicRow {
    const of = topicsOf.get(topic.log)!;
    of.byName.set(topic.name, topic);
    of.names.add(topic.name, topic);
    of.found.clear();
    topicsById.set(topic.id, topic);
    return topic;
  }

  const logOf = (namespace: string): LogRow =>
    logs.get(namespace) ?? rememberLog({ id: Number(addLog.run(namespace).lastInsertRowid), namespace, last: 0 });

  const topicOf = (log: LogRow, name: string): TopicRow =>
    topicsOf.get(log.id)!.byName.get(name) ??
    rememberTopic({
      id: Number(addTopic.run(log.id, name).lastInsertRowid),
      log: log.id,
      name,
      events: 0,
      bytes: 0,
      last: 0,
      removed_to: 0,
    });

  function matching(log: LogRow, patterns: readonly string[]): TopicRow[] {
    const { names, found } = topicsOf.get(log.id)!;
    const asked = patterns.join(' ');
    let topics = found.get(asked);
    if (!topics) {
      if (found.size >= mostFound) found.clear();
      found.set(asked, (topics = [...new Set(patterns.flatMap((pattern) => names.matching(pattern)))]));
    }
    return topics;
  }

  function eventAt(log: LogRow, position: number): EventRow | undefined {
    const row = readEvent.get(log.id, position);
    if (!row) return undefined;
    const [topic, head, appendedAt, orderingKey, body] = row;
    return { position, topic: topicsById.get(topic)!.name, head, appendedAt, orderingKey, body };
  }

  return {
    epoch,
    logOf,
    begin(namespace, names) {
      const log = logOf(namespace);
      // Of the beginning of an empty log nothing could be missing.
      if (log.last === 0) log.last = 1;
      grown.add(log);
      for (const name of names) {
        const topic = topicOf(log, name);
        topic.removed_to = log.last;
        changed.add(topic);
      }
    },
    event: eventAt,
    append({ namespace, topic: name, head, body, orderingKey, identity, knownUntil }) {
      try {
        const log = logOf(namespace);
        const key = identity === null ? null : knownKey(log.id, identity);
        const seen = key === null ? undefined : known.position(key);
        if (seen !== undefined) return { kind: 'repeated', position: seen };
        const topic = topicOf(log, name);
        const position = log.last + 1;
        insert.run(log.id, position, topic.id, orderingKey, head, store.nowMs, body);
        log.last = topic.last = position;
        topic.events++;
        topic.bytes += Buffer.byteLength(head) + body.length;
        if (key !== null) known.add(key, { log: log.id, position, until: knownUntil });
        grown.add(log);
        changed.add(topic);
        return { kind: 'appended', position };
      } catch (error) {
        // A row that cannot be stored is undone alone by SQLite. Anything else concerns the whole group.
        if (/^SQLITE_(?!CONSTRAINT|TOOBIG|MISMATCH)/.test(codeOf(error))) throw error;
        return { kind: 'refused', error: toStoreError(error) };
      }
    },
    read({ namespace, topics: patterns, after, limit, maxBytes }) {
      const log = logs.get(namespace);
      const page: PageRow = { epoch, last: log?.last ?? 0, readTo: log?.last ?? 0, removedTo: 0, events: [] };
      if (!log) return page;
      const from = Math.max(after, 0);
      const found: number[] = [];
      let whole = true;
      const topics = matching(log, patterns);
      for (const topic of topics) {
        if (topic.removed_to > page.removedTo) page.removedTo = topic.removed_to;
        // Its counter knows whether there is anything to look for.
        if (topic.last <= from) continue;
        const some = places.all(topic.id, log.id, from, log.id, limit);
        if (some.length === limit) whole = false;
        for (const position of some) found.push(position);
      }
      found.sort((a, b) => a - b);
      if (found.length > limit) {
        found.length = limit;
        whole = false;
      }
      let bytes = 0;
      for (const position of found) {
        const event = eventAt(log, position)!;
        bytes += event.body.length;
        if (page.events.length > 0 && bytes > maxBytes) {
          whole = false;
          break;
        }
        page.events.push(event);
      }
      if (!whole || page.events.length < found.length) page.readTo = page.events.at(-1)!.position;
      return page;
    },
    topics(namespace) {
      const wanted =
        namespace === undefined ? [...logs.values()] : [logs.get(namespace)].filter((log) => log !== undefined);
      return wanted.flatMap((log) =>
        [...topicsOf.get(log.id)!.byName.values()]
          .toSorted((a, b) => (a.name < b.name ? -1 : 1))
          .map((topic) => ({
            number: topic.id,
            namespace: log.namespace,
            name: topic.name,
            events: topic.events,
            bytes: topic.bytes,
            last: topic.last,
            removedTo: topic.removed_to,
            oldestAt: topic.events === 0 ? null : (oldestAt.get(topic.id) ?? null),
          })),
      );
    },
    trim({ topic: number, olderThan, keepBytes, notBeyond, limit }) {
      const topic = topicsById.get(number);
      if (!topic) return { removed: 0, removedTo: 0, more: false };
      let removed = 0;
      let { bytes, removed_to: removedTo } = topic;
      let more = false;
      const rows = oldest.all(number, limit);
      for (const row of rows) {
        const goes = (olderThan !== null && row.at < olderThan) || (keepBytes !== null && bytes > keepBytes);
        if (!goes || row.position > notBeyond) break;
        bytes -= row.bytes;
        removedTo = row.position;
        more = ++removed === limit;
      }
      if (removed > 0) {
        cut.run(number, topic.log, removedTo);
        topic.events -= removed;
        topic.bytes = topic.events === 0 ? 0 : bytes;
        topic.removed_to = removedTo;
        changed.add(topic);
      }
      return { removed, removedTo: topic.removed_to, more };
    },
    forgetKnown: () => known.forget(),
    flush() {
      for (const log of grown) setLast.run(log.last, log.id);
      for (const { id, events, bytes, last, removed_to } of changed) setTopic.run(events, bytes, last, removed_to, id);
      changed.clear();
    },
    committed() {
      if (grown.size === 0) return [];
      known.committed();
      const namespaces = [...grown].map((log) => log.namespace);
      grown.clear();
      return namespaces;
    },
    rolledBack() {
      grown.clear();
      changed.clear();
      known.rolledBack();
      load();
    },
  };
}
