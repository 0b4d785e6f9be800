// This process among those that serve the store: its number, what it knows of the queues, and the connections it may use.
import type { Connections, Statement } from './connections.ts';
import type { Queues } from './queues.ts';
import { leaseKinds, stage } from '../rows.ts';

/** A node's connections have slots of their own, in which their counters stand. */
export const slotsPerNode = 32;

const register: Statement = {
  name: 'node-add',
  text: 'INSERT INTO node (seen_ms) SELECT last_ms - paused_ms FROM time_line RETURNING id',
};
const leave: Statement = { name: 'node-leave', text: 'DELETE FROM node WHERE id = $1::int4' };

/**
 * Push leases whose node is not there any more are void: the operations are ready again and the attempt does not count.
 * Answers the queues concerned and how many there were in each.
 */
const voidPushLeases: Statement = {
  name: 'void-push-leases',
  text: `
WITH orphans AS MATERIALIZED (
  SELECT seq FROM operation o WHERE stage = 2 AND lease_kind = ${leaseKinds.push} AND NOT EXISTS (SELECT FROM node n WHERE n.id = o.node)
  ORDER BY seq FOR NO KEY UPDATE SKIP LOCKED
), readied AS (
  UPDATE operation o SET stage = ${stage.ready}, version = version + 1, attempt = attempt - 1, lease_kind = NULL, lease_until = NULL, node = NULL,
    wake_at = deadline_at, updated_at = $1::int8
  FROM orphans WHERE o.seq = orphans.seq RETURNING o.seq, o.queue, o.version, o.attempt, o.attempt_at, o.worker
), noted AS (
  INSERT INTO happening (seq, n, kind, at, attempt, started_at, worker, outcome, detail)
  SELECT seq, version, 0, $1::int8, attempt + 1, attempt_at, worker, 'interrupted', 'the server stopped during this attempt' FROM readied
), counted AS (
  INSERT INTO counter AS c (queue, slot, queued, running) SELECT queue, $2::int4, count(*), -count(*) FROM readied GROUP BY queue
  ON CONFLICT (queue, slot) DO UPDATE SET queued = c.queued + excluded.queued, running = c.running + excluded.running
)
SELECT queue, count(*) FROM readied GROUP BY queue`,
};

/** Counters of nodes that are gone become one row per queue, so that there are never more rows than connections that live. */
const foldCounters: Statement = {
  name: 'fold-counters',
  text: `
WITH gone AS (
  DELETE FROM counter c WHERE slot >= ${slotsPerNode} AND NOT EXISTS (SELECT FROM node n WHERE n.id = c.slot / ${slotsPerNode}) RETURNING *
)
INSERT INTO counter AS c (queue, slot, queued, running, succeeded, failed, cancelled)
SELECT queue, 0, sum(queued), sum(running), sum(succeeded), sum(failed), sum(cancelled) FROM gone GROUP BY queue
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
    const rows = await this.#control.use(async (connection) => {
      const readied = await connection.run(voidPushLeases, [nowMs, connection.slot]);
      await connection.run(foldCounters, []);
      return readied;
    });
    return new Map(rows as [number, number][]);
  }

  /** Gives back what this process carries and says goodbye. */
  async leave(nowMs: number): Promise<Map<number, number>> {
    await this.#control.run(leave, [this.id]);
    return this.voidOrphans(nowMs);
  }
}
