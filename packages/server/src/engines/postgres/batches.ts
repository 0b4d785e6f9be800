// The calls that go in batches: which connection carries each, and what follows from a batch: leases given, work announced, waiters told.
import type { ClockTransition, ExtendOutcome, Extension, Settlement, SettleOutcome } from '../../engine/engine.ts';
import type { AppendOutcome, NewEvent } from '../../engine/topics.ts';
import { Batcher } from './batcher.ts';
import type { Connection, Connections } from './connections.ts';
import { appendBatch } from './log.ts';
import { extendBatch } from './extend.ts';
import { applyClockBatch, settleBatch, type SettleContext } from './settle.ts';
import { createSubmits, type Submits, type SubmitsContext } from './submits.ts';

/** Batches of the hot calls: larger ones hold their locks longer and save nothing more. */
const maxItems = 256;
/** Of events: as many as one publish may have. In statements of 256 an event cost the database half as much again. */
const maxEvents = 1000;

export interface BatchesContext extends SubmitsContext {
  control: Connections;
  changed: (seqs: Iterable<number>) => void;
  ended: (seqs: Iterable<number>) => void;
  appended: (namespaces: ReadonlySet<string>) => void;
  told: () => void;
}

export interface Batches {
  submits: Submits;
  settles: Batcher<Settlement, SettleOutcome>;
  extensions: Batcher<Extension, ExtendOutcome | { kind: 'refused'; error: Error }>;
  decisions: Batcher<ClockTransition, boolean>;
  appends: Batcher<NewEvent, AppendOutcome>;
}

export function createBatches(all: BatchesContext): Batches {
  const { writes, control, wake, now: nowMs, madeReady, moved, changed, ended, appended, told } = all;
  const dueAt = (ms: number): void => wake.at(ms, nowMs());
  const habit = { tellsUntil: 0 };
  const context = (connection: Connection): SettleContext => ({
    nowMs: nowMs(),
    connection,
    madeReady,
    moved,
    changed,
    ended,
    told,
    habit,
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
    maxItems: maxEvents,
    wholeCalls: true,
    bytesOf: (event) => event.body.length,
    refused: (error) => ({ kind: 'refused', error }),
  });

  return { submits: createSubmits(all), settles, extensions, decisions, appends };
}
