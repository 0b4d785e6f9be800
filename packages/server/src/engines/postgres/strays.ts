// Leases that this node was given and nobody got: the statement was carried out, and the connection was lost before its answer came.
//
// Without this their operations would wait for the end of leases that nobody holds: minutes for an attempt, a day for a worker who asked for one.
// What a lost statement has leased is known by its time, which stands in the rows; statements of the same millisecond tell what they gave away.
import { WaitlessError } from '@waitless/protocol';
import { int4Array, int8Array } from './arrays.ts';
import type { Connections, Statement } from './connections.ts';
import { giveBackText, type Node } from './node.ts';

/** A statement that was given up may still be carried out for so long: the server's own limit for it, and a little. */
const lateMs = 6000;

/** Leases end on the line of all nodes, and a sign of life, of this node or another, may have moved it on since the statement took its time. */
const aheadMs = 5000;

const find: Statement = {
  name: 'find-strays',
  text: `SELECT seq, lease_no, attempt_at FROM operation
      WHERE stage = 2 AND lease_kind = 1 AND node = $1::int4 AND attempt_at = ANY ($2::int8[])
    UNION ALL SELECT o.seq, o.lease_no, o.attempt_at FROM unnest($3::int8[]) AS e (until) CROSS JOIN LATERAL (
      SELECT seq, lease_no, attempt_at FROM operation WHERE stage = 2 AND lease_kind > 1 AND wake_at BETWEEN e.until AND e.until + ${aheadMs}
        AND node = $1::int4 AND attempt_at = ANY ($2::int8[])
    ) o`,
};

const giveBack: Statement = {
  name: 'give-back-strays',
  text: giveBackText(
    `SELECT o.seq FROM unnest($3::int8[], $4::int4[]) AS i (seq, lease_no) JOIN operation o ON o.seq = i.seq
      WHERE o.stage + 0 = 2 AND o.lease_no = i.lease_no ORDER BY o.seq FOR NO KEY UPDATE OF o`,
    'the database was lost while this attempt began',
  ),
};

interface Moment {
  underWay: number;
  given: Set<number>;
  /** Until when it leased to workers: those leases are found by their end, for there may be very many others. */
  ends: Set<number>;
  /** performance.now() of the last loss; undefined when every statement of it was answered. */
  lostAt: number | undefined;
}

export class Strays {
  readonly #control: Connections;
  readonly #node: Node;
  /** The newest, and those before it that have a statement under way or lost. */
  readonly #moments = new Map<number, Moment>();
  #newest = Number.NEGATIVE_INFINITY;

  constructor({ control, node }: { control: Connections; node: Node }) {
    this.#control = control;
    this.#node = node;
  }

  /** Watches over a statement that leases at `atMs` for these times; `told` is what its answer says was leased, and what went unanswered all the same. */
  async watch<T>(
    { atMs, leaseMs }: { atMs: number; leaseMs: Iterable<number> },
    lease: () => Promise<T>,
    told: (answer: T) => { seqs: Iterable<number>; lost: unknown },
  ): Promise<T> {
    const moment = this.#begin(atMs);
    for (const ms of leaseMs) moment.ends.add(atMs + ms);
    const lost = (error: unknown): void => {
      if (!(error instanceof WaitlessError && error.members?.['accepted'] === false)) moment.lostAt = performance.now();
    };
    try {
      const answer = await lease();
      const { seqs, lost: why } = told(answer);
      for (const seq of seqs) moment.given.add(seq);
      if (why !== undefined) lost(why);
      return answer;
    } catch (error) {
      lost(error);
      throw error;
    } finally {
      moment.underWay--;
      this.#forget(atMs);
    }
  }

  #begin(atMs: number): Moment {
    const moment = this.#moments.get(atMs) ?? { underWay: 0, given: new Set(), ends: new Set(), lostAt: undefined };
    moment.underWay++;
    this.#moments.set(atMs, moment);
    const before = this.#newest;
    this.#newest = Math.max(before, atMs);
    this.#forget(before);
    return moment;
  }

  #forget(atMs: number): void {
    const moment = this.#moments.get(atMs);
    if (moment && atMs < this.#newest && moment.underWay === 0 && moment.lostAt === undefined)
      this.#moments.delete(atMs);
  }

  /** Gives back what lost statements have leased; the queues in which something became ready again, with how many. */
  async collect(nowMs: number): Promise<Map<number, number>> {
    const lost = new Map(
      [...this.#moments].filter(([, { lostAt, underWay }]) => lostAt !== undefined && underWay === 0),
    );
    if (lost.size === 0) return new Map();
    const found = (await this.#control.run(find, [
      this.#node.id,
      int8Array([...lost.keys()]),
      int8Array([...lost.values()].flatMap(({ ends }) => [...ends])),
    ])) as [number, number, number][];
    const strays = [...new Map(found.map((row) => [row[0], row])).values()].filter(
      ([seq, , at]) => !lost.get(at)!.given.has(seq),
    );
    const readied =
      strays.length === 0
        ? []
        : await this.#control.use((connection) =>
            connection.run(giveBack, [
              nowMs,
              connection.slot,
              int8Array(strays.map(([seq]) => seq)),
              int4Array(strays.map(([, leaseNo]) => leaseNo)),
            ]),
          );
    for (const [at, moment] of lost) {
      // What is carried out late is found by a second look.
      if (performance.now() - moment.lostAt! < lateMs) continue;
      moment.lostAt = undefined;
      this.#forget(at);
    }
    return new Map(readied as [number, number][]);
  }
}
