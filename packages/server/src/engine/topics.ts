// Topics: facts of a namespace at positions that only grow, in one log, each under the name of its topic.
//
// A topic is a label of its events and no more: one counter and one history for all of a namespace, so that a pattern or many topics have one
// cursor. Reading goes along the topic's own index; what others publish costs a reader nothing.
import type { Durability } from '@waitless/protocol';

/** A fact to be written to the log of its namespace. */
export interface NewEvent {
  namespace: string;
  topic: string;
  /** JSON text of its attributes, kept as it is. */
  head: string;
  body: Uint8Array;
  /** `memory`: in the same commit, answered before it is synced. */
  durability: Exclude<Durability, 'none'>;
  /** Events of one key reach an ordered subscription one after another. */
  orderingKey: string | null;
  /** What a repeat would have too, a digest; null: it is never taken for one. */
  identity: string | null;
  /** Until when a repeat is known for one. */
  knownUntil: number;
}

export type AppendOutcome =
  | { kind: 'appended'; position: number }
  /** An event of the same identity was written before: its position. */
  | { kind: 'repeated'; position: number }
  /** This one could not be written; the others of its batch were. */
  | { kind: 'refused'; error: Error };

export interface LoggedEvent {
  position: number;
  topic: string;
  head: string;
  body: Uint8Array;
  orderingKey: string | null;
  appendedAt: number;
}

export interface ReadWanted {
  namespace: string;
  /** Names or patterns of topics; an event of any of them is read. Resolved by the store in the same look, so that no new topic is missed. */
  topics: readonly string[];
  /** Only events with a larger position; 0 is the beginning. */
  after: number;
  limit: number;
  /** Most bytes of bodies in one answer; at least one event is given all the same. */
  maxBytes: number;
}

export interface EventPage {
  /** Names the history that the positions belong to; another one after a restore means that positions from before are void. */
  epoch: string;
  /** In order of position. */
  events: LoggedEvent[];
  /** Newest position of the namespace that a reader may see; 0 while it is empty. */
  last: number;
  /** Up to here there is nothing more of these topics than `events`: where to go on from. */
  readTo: number;
  /** Largest position that these topics have lost to their retention; a reader who wants more than `after` and has not come so far has missed something. */
  removedTo: number;
}

/** One topic, as its counters tell; they ride in the commits. */
export interface TopicRecord {
  number: number;
  namespace: string;
  name: string;
  /** Events that are kept, and the bytes of their heads and bodies. */
  events: number;
  bytes: number;
  /** Newest position; 0 where nothing was written yet. */
  last: number;
  removedTo: number;
  /** When the oldest one that is kept was written; null where none is. */
  oldestAt: number | null;
}

/** How far a topic is to be cut. What is older, or in excess, goes from the oldest on, and never beyond `notBeyond`. */
export interface Trim {
  topic: number;
  olderThan: number | null;
  keepBytes: number | null;
  /** Largest position that may go. */
  notBeyond: number;
  /** Most events in one go. */
  limit: number;
}

export interface TopicEngine {
  /** Writes events, those of a namespace in the order given; durable when it resolves, but for `memory`. */
  append(batch: readonly NewEvent[], nowMs: number): Promise<AppendOutcome[]>;
  read(wanted: ReadWanted): Promise<EventPage>;
  /** Those of a namespace, by name; without one, of all. */
  topics(namespace?: string): Promise<TopicRecord[]>;
  /** How many events went, and whether there is more to cut. */
  trim(trim: Trim, nowMs: number): Promise<{ removed: number; removedTo: number; more: boolean }>;
}
