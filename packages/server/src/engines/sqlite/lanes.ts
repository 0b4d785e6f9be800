// Operations of one ordering key, one after another: only the first of a lane is ready, and its end makes the next one so in the same transaction.
import { stage } from '../rows.ts';
import type { Store } from './store.ts';

export interface LaneStatements {
  /** Whether the lane has anybody in it, who goes before the next one. */
  busy(lane: number): boolean;
  /** A new operation at the end of its lane; `runAt`: when it may start at the earliest. */
  enter(lane: number, of: { seq: number; runAt: number }): void;
  /** An operation has ended. `lane`: its column of that name, null for those without an ordering key. */
  ended(seq: number, lane: number | null): void;
}

interface HeadRow {
  queue: number;
  deadline_at: number;
  start_by_at: number | null;
  stage: number;
  run_at: number | null;
}

export function laneStatements(store: Store, madeReady: (service: string) => void): LaneStatements {
  const { db } = store;
  const first = db.prepare<[number], { seq: number; run_at: number }>(
    'SELECT seq, run_at FROM ordered WHERE lane = +? ORDER BY seq LIMIT 1',
  );
  const insert = db.prepare('INSERT INTO ordered (lane, seq, run_at) VALUES (?, ?, ?)');
  const setLane = db.prepare('UPDATE operation SET lane = ? WHERE seq = ?');
  const remove = db.prepare('DELETE FROM ordered WHERE lane = ? AND seq = ?');
  const head = db.prepare<[number], HeadRow>(
    'SELECT queue, deadline_at, start_by_at, stage, run_at FROM operation WHERE seq = ?',
  );
  const release = db.prepare('UPDATE operation SET stage = ?, run_at = ?, wake_at = ? WHERE seq = ?');

  /** The first of the lane may start now, or when its time comes. */
  function promote(seq: number, runAt: number): void {
    const row = head.get(seq);
    // Held is who waits without a time.
    if (!row || row.stage !== stage.waiting || row.run_at !== null) return;
    const ready = runAt <= store.nowMs;
    const never = Number.POSITIVE_INFINITY;
    const wakeAt = Math.min(row.deadline_at, row.start_by_at ?? never, ready ? never : runAt);
    release.run(ready ? stage.ready : stage.waiting, ready ? null : runAt, wakeAt, seq);
    store.wake(wakeAt);
    if (ready) madeReady(store.queues.get(row.queue)!.service);
  }

  return {
    busy: (lane) => first.get(lane) !== undefined,
    enter(lane, { seq, runAt }) {
      insert.run(lane, seq, runAt);
      setLane.run(lane, seq);
    },
    ended(seq, lane) {
      if (lane === null) return;
      const before = first.get(lane);
      remove.run(lane, seq);
      if (before?.seq !== seq) return;
      const next = first.get(lane);
      if (next) promote(next.seq, next.run_at);
    },
  };
}
