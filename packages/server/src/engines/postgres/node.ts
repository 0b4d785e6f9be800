// This process among those that serve the store: its number, what it knows of the queues, and the connections it may use.
import type { Connections, Statement } from './connections.ts';
import type { Queues } from './queues.ts';
import { leaseKinds, stage } from '../rows.ts';
import { notBefore } from './time-line.ts';

/** A node's connections have slots of their own, in which their counters stand. */
export const slotsPerNode = 32;

const register: Statement = {
  name: 'node-add',
  text: 'INSERT INTO node (seen_ms) SELECT last_ms - paused_ms FROM time_line RETURNING id',
};
const leave: Statement = { name: 'node-leave', text: 'DELETE FROM node WHERE id = $1::int4' };

/** Leases given back in one statement, so that each is over long before its time limit, however many a node carried. */
const orphansAtOnce = 2000;
/** After this no further statement is begun: the next look goes on, and the sign of life between them is not late. */
const orphansMs = 2000;

/**
 * Text of a statement that makes leases void: their operations are ready again and the attempt does not count. `which` locks the rows and gives their
 * numbers; $1 is now, $2 the connection's slot. Answers the queues concerned and how many there were in each.
 */
export const giveBackText = (which: string, why: string): string => `
WITH held AS MATERIALIZED (
  ${which}
), readied AS (
  UPDATE operation o SET stage = ${stage.ready}, version = version + 1, attempt = attempt - 1, lease_kind = NULL, lease_until = NULL, node = NULL,
    wake_at = deadline_at, updated_at = ${notBefore('$1::int8')}
  FROM held WHERE o.seq = held.seq RETURNING o.seq, o.queue, o.version, o.attempt, o.updated_at, o.attempt_at, o.worker
), noted AS (
  INSERT INTO happening (seq, n, kind, at, attempt, started_at, worker, outcome, detail)
  SELECT seq, version, 0, updated_at, attempt + 1, attempt_at, worker, 'interrupted', '${why}' FROM readied
), counted AS (
  INSERT INTO counter AS c (queue, slot, queued, running) SELECT queue, $2::int4, count(*), -count(*) FROM readied GROUP BY queue
  ON CONFLICT (queue, slot) DO UPDATE SET queued = c.queued + excluded.queued, running = c.running + excluded.running
)
SELECT queue, count(*) FROM readied GROUP BY queue`;

/**
 * Push leases whose node is not there any more. They are looked for first and then locked by their lease's number: what another node gave back and
 * leased anew in between keeps its lease. A lock that had to follow such a row repeats the conditions on the row, but not the look for its node.
 */
const voidPushLeases: Statement = {
  name: 'void-push-leases',
  text: giveBackText(
    `SELECT h.seq FROM (
      SELECT seq, lease_no FROM operation o WHERE stage = 2 AND lease_kind = ${leaseKinds.push} AND NOT EXISTS (SELECT FROM node n WHERE n.id = o.node)
      LIMIT ${orphansAtOnce}
    ) carried CROSS JOIN LATERAL (
      SELECT o.seq FROM operation o
      WHERE o.seq = carried.seq AND o.lease_no = carried.lease_no AND o.stage + 0 = ${stage.running} AND o.lease_kind + 0 = ${leaseKinds.push}
      FOR NO KEY UPDATE SKIP LOCKED
    ) h`,
    'the server stopped during this attempt',
  ),
};

/** Counters of nodes that are gone become one row per queue, so that there are never more rows than connections that live. */
const foldCounters: Statement = {
  name: 'fold-counters',
  text: `
WITH gone AS (
  DELETE FROM counter c WHERE slot >= ${slotsPerNode} AND NOT EXISTS (SELECT FROM node n WHERE n.id = c.slot / ${slotsPerNode}) RETURNING *
)
INSERT INTO counter AS c (queue, slot, queued, running, succeeded, failed, cancelled)
SELECT queue, 0, sum(queued), sum(running), sum(succeeded), sum(failed), sum(cancelled) FROM gone GROUP BY queue ORDER BY queue
ON CONFLICT (queue, slot) DO UPDATE SET queued = c.queued + excluded.queued, running = c.running + excluded.running,
  succeeded = c.succeeded + excluded.succeeded, failed = c.failed + excluded.failed, cancelled = c.cancelled + excluded.cancelled`,
};

export class Node {
  /** Changes when the others took this process for dead and it comes back. */
  id = 0;
  readonly queues: Queues;
  readonly #control: Connections;

  constructor({ queues, control }: { queues: Queues; control: Connections }) {
    this.queues = queues;
    this.#control = control;
  }

  async join(): Promise<void> {
    const [[id] = [0]] = await this.#control.run(register, []);
    this.id = id as number;
  }

  /** Queues in which something became ready again, with how many. */
  async voidOrphans(nowMs: number): Promise<Map<number, number>> {
    const readied = new Map<number, number>();
    const until = performance.now() + orphansMs;
    await this.#control.use(async (connection) => {
      for (let found = orphansAtOnce; found === orphansAtOnce && performance.now() < until;) {
        found = 0;
        for (const [queue, count] of (await connection.run(voidPushLeases, [nowMs, connection.slot])) as [
          number,
          number,
        ][]) {
          readied.set(queue, (readied.get(queue) ?? 0) + count);
          found += count;
        }
      }
      await connection.run(foldCounters, []);
    });
    return readied;
  }

  /** Gives back what this process carries and says goodbye. */
  async leave(nowMs: number): Promise<Map<number, number>> {
    await this.#control.run(leave, [this.id]);
    return this.voidOrphans(nowMs);
  }
}
