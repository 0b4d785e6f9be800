// The time line of the leases, common to all nodes: time without the moments in which no node was alive.
//
// `time_line.last_ms` is when any node last said that it lives, `paused_ms` how long none did in all. A worker that could reach nobody must not lose its
// lease by that, so leases end on this line, which stands still with the last sign of life and goes on with the next.
import type { Statement } from './connections.ts';

/** Nodes give a sign of life each second. A gap up to this is a busy machine, above it nobody was there; less would stretch leases under load. */
const slackMs = 2500;
/** Of such a gap this much was lived: the next sign was not due before. */
const beatMs = 1000;
/** A node silent for this long, on the line of the leases, is dead: its push leases are given to others. Less would do work twice on a starved machine. */
export const deadAfterMs = 8000;

/**
 * SQL for "now" on the line of the leases; the statement has `time_line` among its tables. Never before the last sign of life: a node that is behind,
 * for its machine was suspended, would otherwise lease what the others hold for expired.
 */
export const leaseNow = (now: string): string =>
  `(CASE WHEN ${now} - time_line.last_ms > ${slackMs} THEN time_line.last_ms + ${beatMs} ELSE greatest(${now}, time_line.last_ms) END - time_line.paused_ms)`;

/**
 * SQL for when a step of operation `o` happens. Nodes are some milliseconds apart, a starved one tens of them for a moment; the steps of one operation, taken on
 * several nodes, must still tell their times in order.
 */
export const notBefore = (now: string): string => `greatest(${now}, o.updated_at)`;

/**
 * One sign of life: moves the line on, notes that this node lives, and takes those from the list that have been silent for too long.
 * Answers: milliseconds since the last sign of any node by the database's clock, when that was, whether this node was still listed, how many are
 * listed, who was taken out. A node that is behind has lived now as well: its sign counts at the time of the line, or the next one takes it out.
 */
export const beat: Statement = {
  name: 'beat',
  text: `
WITH before AS MATERIALIZED (
  SELECT last_ms, (extract(epoch FROM clock_timestamp() - written_at) * 1000)::int8 AS age_ms FROM time_line FOR UPDATE
), line AS (
  UPDATE time_line l SET paused_ms = paused_ms + CASE WHEN $1::int8 - before.last_ms > ${slackMs} THEN $1::int8 - before.last_ms - ${beatMs} ELSE 0 END,
    last_ms = greatest(before.last_ms, $1::int8), written_at = clock_timestamp()
  FROM before RETURNING l.last_ms - l.paused_ms AS lease_now
), living AS (
  UPDATE node SET seen_ms = line.lease_now FROM line WHERE id = $2::int4 RETURNING id
), dead AS (
  DELETE FROM node USING line WHERE id <> $2::int4 AND seen_ms < line.lease_now - ${deadAfterMs} RETURNING id
)
SELECT before.age_ms, before.last_ms, EXISTS (SELECT FROM living), (SELECT count(*) FROM node), (SELECT count(*) FROM dead) FROM before`,
};

/** At start: when the store was last alive, by both clocks. A new store's line begins at the database's clock. */
export const firstLook: Statement = {
  name: 'first-look',
  text: `
WITH wall AS MATERIALIZED (SELECT clock_timestamp() AS at), before AS MATERIALIZED (SELECT last_ms, written_at FROM time_line FOR UPDATE), begun AS (
  UPDATE time_line SET last_ms = (extract(epoch FROM wall.at) * 1000)::int8 FROM before, wall WHERE before.last_ms = 0
)
SELECT last_ms, (extract(epoch FROM wall.at - written_at) * 1000)::int8, (extract(epoch FROM wall.at) * 1000)::int8 FROM before, wall`,
};

/** How recent a sign of life must be for its line to be believed over the database's wall clock. */
const recentMs = 5000;

/** Where a node that starts, or that may be behind, should be: on the line of the nodes that live, else at the database's clock. Pure. */
export function lineNow({ lastMs, ageMs, wallMs }: { lastMs: number; ageMs: number; wallMs: number }): number {
  const living = lastMs > 0 && ageMs >= 0 && ageMs < recentMs;
  return living ? lastMs + ageMs : Math.max(lastMs, wallMs);
}

/**
 * How far a node is behind the others, from its signs of life: the smaller of two measurements in a row, so that one jump of the database's wall
 * clock between two signs moves nobody.
 */
export class Behind {
  #before = 0;

  /** @returns milliseconds to move on by; 0 when it is not behind */
  measure({ lastMs, ageMs, nowMs }: { lastMs: number; ageMs: number; nowMs: number }): number {
    const recent = lastMs > 0 && ageMs >= 0 && ageMs < recentMs;
    const behind = recent ? Math.max(0, lastMs + ageMs - nowMs) : 0;
    const agreed = Math.min(behind, this.#before);
    this.#before = behind;
    return agreed;
  }
}
