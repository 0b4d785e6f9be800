// The calls that go in batches: which connection carries each, and what follows from a batch: leases given, work announced, waiters told.
import { WaitlessError } from '@waitless/protocol';
import type {
  AppendOutcome,
  ClockTransition,
  ExtendOutcome,
  Extension,
  NewEvent,
  Settlement,
  SettleOutcome,
  Submission,
  SubmitOutcome,
} from '../../engine/engine.ts';
import { Batcher } from './batcher.ts';
import type { Connection, Connections } from './connections.ts';
import { appendBatch } from './log.ts';
import type { Node } from './node.ts';
import type { Queues } from './queues.ts';
import { inlineBytes } from './read.ts';
import { applyClockBatch, extendBatch, settleBatch, type SettleContext } from './settle.ts';
import type { Strays } from './strays.ts';
import { leasedOf, submitBatch, type SubmitItem } from './submit.ts';
import type { Takers } from './takers.ts';
import type { Wake } from './wake.ts';

/** Batches of the hot calls: larger ones hold their locks longer and save nothing more. */
const maxItems = 256;

const noQueue = (id: number): Error => new WaitlessError('storage-unavailable', `there is no queue ${id}`);

export interface BatchesContext {
  writes: Connections;
  control: Connections;
  /** Commits that are not waited for: what it stores may be lost in a crash of the database. */
  memory: Connections;
  node: Node;
  queues: Queues;
  takers: Takers;
  strays: Strays;
  wake: Wake;
  now: () => number;
  madeReady: (queues: Iterable<number>) => void;
  changed: (seqs: Iterable<number>) => void;
  ended: (seqs: Iterable<number>) => void;
  appended: (namespaces: ReadonlySet<string>) => void;
}

export interface Batches {
  stored: Batcher<Submission, SubmitOutcome>;
  early: Batcher<Submission, SubmitOutcome>;
  settles: Batcher<Settlement, SettleOutcome>;
  extensions: Batcher<Extension, ExtendOutcome | { kind: 'refused'; error: Error }>;
  decisions: Batcher<ClockTransition, boolean>;
  appends: Batcher<NewEvent, AppendOutcome>;
}

export function createBatches({
  writes,
  control,
  memory,
  node,
  queues,
  takers,
  strays,
  wake,
  now: nowMs,
  madeReady,
  changed,
  ended,
  appended,
}: BatchesContext): Batches {
  /** Stores a batch; those who wait for work get their operations in the same commit. */
  async function submit(all: readonly Submission[], connections: Connections): Promise<SubmitOutcome[]> {
    await queues.learn(all.map((s) => s.queue));
    const batch = all.filter((s) => queues.known(s.queue));
    if (batch.length < all.length) {
      const rest = batch.length === 0 ? [] : await submit(batch, connections);
      return all.map((s) => (queues.known(s.queue) ? rest.shift()! : { kind: 'refused', error: noQueue(s.queue) }));
    }
    const now = nowMs();
    const items: SubmitItem[] = batch.map((submission) => ({
      submission,
      taker: submission.runAt <= now ? takers.reserve(submission.queue, submission.body.length) : undefined,
    }));
    let outcomes: SubmitOutcome[] = [];
    const readied = new Set<number>();
    try {
      const store = (): Promise<SubmitOutcome[]> =>
        connections.use((connection) =>
          submitBatch(items, { node, nowMs: now, connection, early: connections === memory }),
        );
      const leaseMs = items.flatMap(({ taker }) => taker?.wanted.leaseMs ?? []);
      outcomes = await (leaseMs.length > 0 ? strays.watch({ atMs: now, leaseMs }, store, takenOf(items)) : store());
    } finally {
      for (const [i, { submission: s, taker }] of items.entries()) {
        const outcome = outcomes[i];
        const stored = outcome?.kind === 'new';
        if (taker)
          takers.give(taker, stored ? leasedOf(s, outcome.seq, taker, now, inlineBytes) : undefined, s.body.length);
        else if (stored && s.runAt <= now) readied.add(s.queue);
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
    }
    return outcomes;
  }

  const takenOf = (items: readonly SubmitItem[]) => (outcomes: readonly SubmitOutcome[]) => ({
    seqs: outcomes.flatMap((outcome, i) => (items[i]!.taker && outcome.kind === 'new' ? outcome.seq : [])),
    // Only a loss in the middle refuses items as the database's absence; what is wrong with a row has not been stored.
    lost: outcomes.flatMap((outcome) => (outcome.kind === 'refused' ? outcome.error : []))[0],
  });

  const submitOn = (connections: Connections): Batcher<Submission, SubmitOutcome> =>
    new Batcher({
      run: (batch) => submit(batch, connections),
      parallel: 2,
      maxItems,
      keyOf: (s) => (s.idempotency ? `${s.queue}/${s.idempotency.key}` : null),
      bytesOf: (s) => s.body.length,
      refused: (error) => ({ kind: 'refused', error }),
    });
  const stored = submitOn(writes);
  const early = submitOn(memory);

  const dueAt = (ms: number): void => wake.at(ms, nowMs());
  const context = (connection: Connection): SettleContext => ({
    nowMs: nowMs(),
    connection,
    madeReady,
    changed,
    ended,
    dueAt,
  });
  const settles = new Batcher<Settlement, SettleOutcome>({
    run: (batch) => writes.use((connection) => settleBatch(batch, context(connection))),
    parallel: 2,
    maxItems,
    keyOf: (s) => s.seq,
    bytesOf: (s) => ('result' in s.transition ? (s.transition.result?.body.length ?? 0) : 0),
    refused: (error) => ({ kind: 'refused', error }),
  });
  const extensions = new Batcher<Extension, ExtendOutcome | { kind: 'refused'; error: Error }>({
    run: (batch) => writes.use((connection) => extendBatch(batch, context(connection))),
    parallel: 1,
    maxItems,
    keyOf: (e) => e.seq,
    refused: (error) => ({ kind: 'refused', error }),
  });
  const decisions = new Batcher<ClockTransition, boolean>({
    run: (batch) => control.use((connection) => applyClockBatch(batch, context(connection))),
    parallel: 1,
    maxItems,
    keyOf: (c) => c.seq,
    refused: () => false,
  });
  const appends = new Batcher<NewEvent, AppendOutcome>({
    run: async (batch) => {
      const outcomes = await writes.use((connection) => appendBatch(batch, { connection, nowMs: nowMs() }));
      appended(new Set(batch.map((event) => event.namespace)));
      return outcomes;
    },
    // One at a time: a second would wait for the first one's counter anyway.
    parallel: 1,
    maxItems,
    bytesOf: (event) => event.body.length,
    refused: (error) => ({ kind: 'refused', error }),
  });

  return { stored, early, settles, extensions, decisions, appends };
}
