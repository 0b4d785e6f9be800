// Looks at backends that have to be asked: when each is due, and until its lease has ended.
import type { DuePoll, Poll } from '../../engine/engine.ts';
import { leaseKinds, stage } from '../rows.ts';
import type { Store } from './store.ts';

/** A look that was given out and never answered for is given out again after this; less would ask twice a backend that is slow to say where it stands. */
const againMs = 30_000;
/** Looks given out in one go. */
const mostPolls = 200;

interface PollRow extends Omit<DuePoll, 'leaseNo' | 'correlationId'> {
  leaseNo: number;
  correlationId: string | null;
  holds: number | null;
}

export interface PollStatements {
  set(seq: number, leaseNo: number, poll: Poll): void;
  due(): DuePoll[];
  /** When the next one is due. */
  next(): number | undefined;
  remove(seq: number): void;
}

export function pollStatements(store: Store): PollStatements {
  const { db } = store;
  const put = db.prepare('INSERT OR REPLACE INTO poll (seq, lease_no, at, url) VALUES (?, ?, ?, ?)');
  const select = db.prepare<[number, number], PollRow>(
    `SELECT p.seq, p.lease_no AS leaseNo, p.url, o.queue, o.attempt, o.nonce, o.attempt_at AS attemptAt, o.deadline_at AS deadlineAt, r.correlation AS correlationId, r.head,
       o.stage = ${stage.running} AND o.lease_no = p.lease_no AND o.lease_kind = ${leaseKinds.later} AS holds
     FROM poll p LEFT JOIN operation o ON o.seq = p.seq LEFT JOIN request r ON r.seq = p.seq WHERE p.at <= +? ORDER BY p.at LIMIT +?`,
  );
  const postpone = db.prepare('UPDATE poll SET at = ? WHERE seq = ?');
  const drop = db.prepare('DELETE FROM poll WHERE seq = ?');
  const next = db.prepare<[], number | null>('SELECT min(at) FROM poll').pluck();

  return {
    set(seq, leaseNo, { url, at }) {
      put.run(seq, leaseNo, at, url);
      store.wake(at);
    },
    due() {
      const found: DuePoll[] = [];
      for (const { holds, ...row } of select.all(store.nowMs, mostPolls)) {
        if (holds === 1) {
          postpone.run(store.nowMs + againMs, row.seq);
          found.push(row);
        } else drop.run(row.seq);
      }
      return found;
    },
    next: () => next.get() ?? undefined,
    remove: (seq) => void drop.run(seq),
  };
}
