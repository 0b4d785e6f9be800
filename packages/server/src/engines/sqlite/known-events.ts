// Which events were written in the last minutes, so that a repeat of one is not written again.
//
// Identities are digests. In an index of the file each would be inserted at a page of its own: 15 KB were written for an event of 300 bytes, and more the
// more were known. So rows are only added at the end and removed at the beginning, and where to look for one stands in memory, 8 to 16 bytes for each,
// made again from the rows when it is needed first (0.4 µs for each). What stands there is a hint: the row itself is asked, so a wrong one costs a look and
// never an event.
import { randomInt } from 'node:crypto';
import type { Store } from './store.ts';

/** Names an event in every log: the number of its log and 22 characters of its digest, which are 132 bits. So no two events are ever taken for one. */
export const knownKey = (log: number, identity: string): string =>
  log.toString(36).padStart(logLength, '0') + identity.slice(0, digestLength).padEnd(digestLength, '.');

const logLength = 6;
const digestLength = 22;
const keyLength = logLength + digestLength;
/** Of a key: its log and 72 bits of its digest. */
const hashedLength = 18;
/** Removed in one go, which takes a millisecond. */
const forgetRows = 2000;
/** Read in one go when the hints are made. */
const loadRows = 16_384;

/** A word of a hint: low bits for the number of the row within its stretch, from 1 on, the others of the hash. */
const rowBits = 20;
const rowMask = 2 ** rowBits - 1;
const [fewestBits, mostBits] = [10, rowBits - 1];

/** Hints of rows that follow each other, twice as many places as rows, found by the low bits of their hash. */
interface Stretch {
  /** Number of the row before its first. */
  before: number;
  words: Uint32Array;
  /** How many more it takes. */
  room: number;
}

export interface KnownEvents {
  /** Where the event of this key stands that is known now. */
  position(key: string): number | undefined;
  add(key: string, event: { log: number; position: number; until: number }): void;
  /** Forgets which events were seen long ago: a bounded number of them. True when there are more. */
  forget(): boolean;
  committed(): void;
  rolledBack(): void;
}

export function knownEvents(store: Store): KnownEvents {
  const { db } = store;
  const find = db
    .prepare<[number, string, number], number>(
      `SELECT place & ${2 ** 40 - 1} FROM known_event WHERE id = ? AND identity = ? AND until > ?`,
    )
    .pluck();
  // The arithmetic is SQLite's own, in 64 bits: numbers of JavaScript end at 2^53.
  const insert = db.prepare('INSERT INTO known_event (id, place, until, identity) VALUES (?, (? << 40) | ?, ?, ?)');
  const oldest = db.prepare<[], number | null>('SELECT min(id) FROM known_event').pluck();
  const newest = db.prepare<[], number | null>('SELECT max(id) FROM known_event').pluck();
  const keys = db
    .prepare<[number, number], string | null>(
      "SELECT group_concat(identity, '') FROM (SELECT identity FROM known_event WHERE id >= +? ORDER BY id LIMIT +?)",
    )
    .pluck();
  const firstKept = db
    .prepare<[number, number], number>('SELECT id FROM known_event WHERE id < +? AND until > +? ORDER BY id LIMIT 1')
    .pluck();
  const remove = db.prepare('DELETE FROM known_event WHERE id < ?');
  // Nobody can choose names whose hints stand in each other's way.
  const seed = randomInt(2 ** 32);

  /** From the oldest on; undefined until they are needed. */
  let stretches: Stretch[] | undefined;
  let last = 0;
  let lastCommitted = 0;

  /** Of the key that begins at `from`. */
  function hashOf(text: string, from = 0): number {
    let hash = seed;
    for (let i = from; i < from + hashedLength; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
    return (hash ^ (hash >>> 13)) >>> 0;
  }

  function hint(of: Stretch[], row: number, hash: number): void {
    let stretch = of.at(-1);
    if (!stretch || stretch.room === 0) {
      // As large as all that are known, so that there are few to look into, and little is held where little is published.
      const known = row - (of[0]?.before ?? row);
      const bits = Math.min(Math.max(Math.ceil(Math.log2(known + 1)), fewestBits), mostBits);
      of.push((stretch = { before: row - 1, words: new Uint32Array(2 ** (bits + 1)), room: 2 ** bits }));
    }
    const { words, before } = stretch;
    const mask = words.length - 1;
    let at = hash & mask;
    while (words[at] !== 0) at = (at + 1) & mask;
    words[at] = (hash & ~rowMask) | (row - before);
    stretch.room--;
  }

  function load(): Stretch[] {
    const made: Stretch[] = [];
    last = newest.get() ?? 0;
    for (let row = oldest.get() ?? last + 1; row <= last;) {
      const text = keys.get(row, loadRows) ?? '';
      for (let at = 0; at < text.length; at += keyLength) hint(made, row++, hashOf(text, at));
    }
    lastCommitted = last;
    return made;
  }

  return {
    position(key) {
      stretches ??= load();
      const hash = hashOf(key);
      // The newest first: who repeats a publish does so soon.
      for (let i = stretches.length - 1; i >= 0; i--) {
        const { before, words } = stretches[i]!;
        const mask = words.length - 1;
        for (let at = hash & mask, word = words[at]!; word !== 0; at = (at + 1) & mask, word = words[at]!) {
          if (((word ^ hash) & ~rowMask) !== 0) continue;
          const position = find.get(before + (word & rowMask), key, store.nowMs);
          if (position !== undefined) return position;
        }
      }
      return undefined;
    },
    add(key, { log, position, until }) {
      stretches ??= load();
      insert.run(++last, log, position, until, key);
      hint(stretches, last, hashOf(key));
    },
    forget() {
      const first = oldest.get();
      if (first === undefined || first === null) return false;
      const end = first + forgetRows;
      const kept = firstKept.get(end, store.nowMs);
      const { changes } = remove.run(kept ?? end);
      while (stretches && stretches.length > 1 && stretches[1]!.before < (kept ?? end)) stretches.shift();
      return kept === undefined && changes === forgetRows;
    },
    committed() {
      lastCommitted = last;
    },
    rolledBack() {
      // Numbers are given again, so that none is missing between two rows. Hints of what is not there any more lead to other rows, or to none.
      last = lastCommitted;
      while (stretches && stretches.length > 0 && stretches.at(-1)!.before > last) stretches.pop();
    },
  };
}
