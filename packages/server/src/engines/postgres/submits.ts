// The submit call: which batch each submission goes in, on which connection, and what follows from what was stored: leases given, work announced.
//
// Ordinary submissions are stored at once. Those under business keys, and those that may make no work, are looked at first, by a statement that writes nothing, so that what is answered from
// the store waits for no disk and for nobody's write.
import { WaitlessError } from '@waitless/protocol';
import type { Submission, SubmitOutcome } from '../../engine/engine.ts';
import { Batcher } from './batcher.ts';
import type { Connection, Connections } from './connections.ts';
import { isLoss, notAnswered, toCallerError } from './errors.ts';
import { hasLane, insert, type SubmitItem } from './insert.ts';
import type { Advanced } from './lanes.ts';
import type { Node } from './node.ts';
import type { Queues } from './queues.ts';
import { inlineBytes } from './read.ts';
import { lookAtShares, type Looked, makeShared, type SharedItem } from './submit-shared.ts';
import type { Strays } from './strays.ts';
import { leasedOf, submitBatch } from './submit.ts';
import type { Takers } from './takers.ts';
import type { Wake } from './wake.ts';

/** Batches of the hot calls: larger ones hold their locks longer and save nothing more. */
const maxItems = 256;
/** The statement that takes shares compares each of a batch with each. */
const maxShared = 64;

export interface SubmitsContext {
  writes: Connections;
  /** Commits that are not waited for: what it stores may be lost in a crash of the database. */
  memory: Connections;
  reading: Connections;
  node: Node;
  queues: Queues;
  takers: Takers;
  strays: Strays;
  wake: Wake;
  now: () => number;
  madeReady: (queues: Iterable<number>) => void;
  /** Operations of these queues have changed their state. */
  moved: (queues: Iterable<number>) => void;
}

export interface Submits {
  call(batch: readonly Submission[]): Promise<SubmitOutcome[]>;
}

/** Those of which a look may say that they are not stored. */
const isLookedAt = (s: Submission): boolean => s.sharing !== null || s.key !== null || s.mayMake === false;
const noQueue = (id: number): Error => new WaitlessError('storage-unavailable', `there is no queue ${id}`);

export function createSubmits(context: SubmitsContext): Submits {
  const { writes, memory, reading, node, queues, takers, strays, wake, now: nowMs, madeReady, moved } = context;

  /** Stores a batch; those who wait for work get their operations in the same commit. `toldOf`: which were stored, and what was lost all the same. */
  async function storing<T>(
    submissions: readonly Submission[],
    now: number,
    store: (items: readonly SubmitItem[]) => Promise<T>,
    toldOf: (answer: T) => { seqs: ReadonlyMap<number, number>; lost: unknown },
  ): Promise<T> {
    const items: SubmitItem[] = submissions.map((submission) => ({
      submission,
      // Whose turn it is in a lane is known only once it is stored.
      taker:
        submission.runAt <= now && !hasLane(submission)
          ? takers.reserve(submission.queue, submission.body.length)
          : undefined,
    }));
    let seqs: ReadonlyMap<number, number> = new Map();
    // The clock looks at such a row at the end of its lease, or at its deadline where that comes first.
    const leaseMs = items.flatMap(({ taker, submission: s }) =>
      taker ? Math.min(taker.wanted.leaseMs, s.deadlineAt - now) : [],
    );
    try {
      const answer = await (leaseMs.length === 0
        ? store(items)
        : strays.watch(
            { atMs: now, leaseMs },
            () => store(items),
            (told) => {
              const { seqs: given, lost } = toldOf(told);
              return { seqs: [...given].flatMap(([i, seq]) => (items[i]!.taker ? seq : [])), lost };
            },
          ));
      seqs = toldOf(answer).seqs;
      return answer;
    } finally {
      const readied = new Set<number>();
      for (const [i, { submission: s, taker }] of items.entries()) {
        const seq = seqs.get(i);
        const stored = seq !== undefined;
        if (taker) takers.give(taker, stored ? leasedOf(s, seq, taker, now, inlineBytes) : undefined, s.body.length);
        else if (stored && s.runAt <= now && !hasLane(s)) readied.add(s.queue);
        if (stored)
          wake.at(
            Math.min(
              taker ? now + taker.wanted.leaseMs : s.runAt > now ? s.runAt : s.deadlineAt,
              s.startByAt ?? s.deadlineAt,
            ),
            now,
          );
      }
      if (readied.size > 0) madeReady(readied);
      moved([...seqs.keys()].map((i) => items[i]!.submission.queue));
    }
  }

  const storedOf = (outcomes: readonly SubmitOutcome[]) => ({
    seqs: new Map(outcomes.flatMap((o, i) => (o.kind === 'new' ? [[i, o.seq] as const] : []))),
    // Only a loss in the middle refuses items as the database's absence; what is wrong with a row has not been stored.
    lost: outcomes.flatMap((outcome) => (outcome.kind === 'refused' ? outcome.error : []))[0],
  });

  const contextOn = (connection: Connection, connections: Connections, now: number) => ({
    node,
    queues,
    nowMs: now,
    connection,
    early: connections === memory,
    advanced({ readied, dueAt }: Advanced) {
      if (readied.size > 0) madeReady(readied);
      for (const ms of dueAt) wake.at(ms, now);
    },
  });

  async function submit(batch: readonly Submission[], connections: Connections): Promise<SubmitOutcome[]> {
    const now = nowMs();
    return storing(
      batch,
      now,
      (items) => connections.use((connection) => submitBatch(items, contextOn(connection, connections, now))),
      storedOf,
    );
  }

  async function make(items: readonly SharedItem[], connections: Connections): Promise<SubmitOutcome[]> {
    const now = nowMs();
    return connections.use((connection) => {
      const at = contextOn(connection, connections, now);
      return makeShared(items, {
        ...at,
        store: (submissions, claims) =>
          storing(
            submissions,
            now,
            (taken) => insert(taken, at, claims),
            (seqs) => ({ seqs, lost: undefined }),
          ),
      });
    });
  }

  async function look(batch: readonly Submission[]): Promise<Looked[]> {
    try {
      return await reading.use((connection) => lookAtShares(batch, { connection, queues, nowMs: nowMs() }));
    } catch (error) {
      // A look has accepted nothing, whatever became of it.
      throw isLoss(error) ? toCallerError(error, { sent: false }) : error;
    }
  }

  const keyOf = (s: Submission): string | null => (s.idempotency ? `${s.queue}/${s.idempotency.key}` : null);
  const refused = (error: WaitlessError): SubmitOutcome => ({ kind: 'refused', error });
  const common = { parallel: 2, refused };
  const lanes = [writes, memory].map((connections) => ({
    plain: new Batcher<Submission, SubmitOutcome>({
      ...common,
      run: (batch) => submit(batch, connections),
      maxItems,
      keyOf,
      bytesOf: (s) => s.body.length,
    }),
    /** One batch at a time, so that what came first is committed first. */
    ordered: new Batcher<Submission, SubmitOutcome>({
      ...common,
      parallel: 1,
      run: (batch) => submit(batch, connections),
      maxItems,
      keyOf,
      bytesOf: (s) => s.body.length,
    }),
    shared: new Batcher<SharedItem, SubmitOutcome>({
      ...common,
      run: (items) => make(items, connections),
      maxItems: maxShared,
      bytesOf: ({ submission }) => submission.body.length,
    }),
  }));
  const looks = new Batcher<Submission, Looked>({
    run: look,
    parallel: 2,
    maxItems,
    refused: (error) => ({ kind: 'answered', outcome: { kind: 'refused', error } }),
  });

  async function callShared(
    batch: readonly Submission[],
    lane: Batcher<SharedItem, SubmitOutcome>,
  ): Promise<SubmitOutcome[]> {
    const since = performance.now();
    const looked = await looks.call(batch);
    const open = looked.flatMap((one) => (one.kind === 'open' ? one.item : []));
    const made = await lane.call(open, since);
    return looked.map((one) => (one.kind === 'answered' ? one.outcome : made.shift()!));
  }

  /** Each part in a batch of its own; outcomes in the order of the whole. */
  async function inParts(batch: readonly Submission[]): Promise<SubmitOutcome[]> {
    const partOf = (s: Submission): number =>
      (s.durability === 'memory' ? 1 : 0) + (isLookedAt(s) ? 2 : hasLane(s) ? 4 : 0);
    const parts = new Map<number, Submission[]>();
    for (const s of batch) {
      const part = parts.get(partOf(s));
      if (part) part.push(s);
      else parts.set(partOf(s), [s]);
    }
    const calls = [...parts].map(([part, of]) => {
      const lane = lanes[part % 2]!;
      return part < 2 ? lane.plain.call(of) : part < 4 ? callShared(of, lane.shared) : lane.ordered.call(of);
    });
    if (calls.length === 1) return calls[0]!;
    const settled = await Promise.allSettled(calls);
    const reasons = settled.flatMap((part) => (part.status === 'rejected' ? (part.reason as WaitlessError) : []));
    // Where a part was stored, or may have been, it cannot be said that nothing was.
    if (reasons.length > 0)
      throw reasons.length === calls.length && reasons.every((reason) => reason.members?.['accepted'] === false)
        ? reasons[0]
        : notAnswered();
    const outcomes = new Map(
      [...parts.keys()].map((part, i) => [part, (settled[i] as PromiseFulfilledResult<SubmitOutcome[]>).value]),
    );
    return batch.map((s) => outcomes.get(partOf(s))!.shift()!);
  }

  /** What may make no work finds what others of its batch have made. */
  async function makersFirst(batch: readonly Submission[]): Promise<SubmitOutcome[]> {
    const makers = batch.filter((s) => s.mayMake !== false);
    const made = makers.length === 0 ? [] : await inParts(makers);
    if (makers.length === batch.length) return made;
    const others = await inParts(batch.filter((s) => s.mayMake === false)).catch((error: unknown): never => {
      // Of the whole batch it cannot be said any more that nothing was accepted.
      throw made.length > 0 ? notAnswered() : error;
    });
    return batch.map((s) => (s.mayMake === false ? others : made).shift()!);
  }

  return {
    async call(batch) {
      if (batch.some((s) => !queues.known(s.queue))) {
        await queues.learn(batch.map((s) => s.queue)).catch((error: unknown) => {
          throw toCallerError(error, { sent: false });
        });
      }
      const known = batch.filter((s) => queues.known(s.queue));
      const outcomes = await makersFirst(known);
      return batch.map((s) =>
        queues.known(s.queue) ? outcomes.shift()! : { kind: 'refused', error: noQueue(s.queue) },
      );
    },
  };
}
