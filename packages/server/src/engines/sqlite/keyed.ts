// What stands under business keys: for each share at most one operation that computes it and one stored result that answers for it.
import { hash } from 'node:crypto';
import type { Keep, KeyFound, KeyName, OperationRecord, Sharing, StoredResult } from '../../engine/engine.ts';
import type { ShareState } from '../../engine/sharing.ts';
import { stage } from '../rows.ts';
import { shareName } from './known-answers.ts';
import type { ReadStatements } from './read.ts';
import type { Store } from './store.ts';

/** 52 bits of SHA-256: small enough for an integer index, and the text itself is compared after. */
export const textHash = (text: string): number => Number.parseInt(hash('sha256', text, 'hex').slice(0, 13), 16);
/** The same of what is a digest already. */
const digestHash = (digest: string): number => Buffer.from(digest.slice(0, 8), 'base64url').readUIntBE(0, 6);

interface ShareRow {
  id: number;
  running: number | null;
  untouched: number | null;
  stored: number | null;
  stored_at: number | null;
  fresh_until: number | null;
  stale_until: number | null;
}

interface ShareName {
  queue: number;
  share: string;
}

/** What is known of a share, and how to read what it points to. */
export interface Share {
  id: number | undefined;
  state: ShareState;
  stored: number | null;
  storedAt: number;
  freshUntil: number | null;
  running: number | null;
}

export interface KeyedStatements {
  find(queue: number, sharing: Sharing): Share;
  /** The operation is what computes the share now. */
  begin(share: Share, queue: number, sharing: Sharing, seq: number): void;
  /** The stored result of a share; undefined where its operation is gone. */
  storedOf(share: Pick<Share, 'stored' | 'storedAt' | 'freshUntil'>): StoredResult | undefined;
  runningOf(share: Pick<Share, 'running'>): OperationRecord | undefined;
  /** Keeps an operation at least so long: an idempotency key points to it. */
  keepUntil(seq: number, ms: number): void;
  /** The operation has ended; with `keep` its result is now the stored one. Answers until when it is kept for others, 0 without. */
  ended(seq: number, keep?: Keep | null): number;
  /** The operation is about to be removed. */
  removing(seq: number): void;
  lookUp(key: KeyName): KeyFound | undefined;
  forget(key: KeyName): boolean;
}

const absent: Share = {
  id: undefined,
  state: { running: null, stored: null },
  stored: null,
  storedAt: 0,
  freshUntil: null,
  running: null,
};

export function keyedStatements(store: Store, reads: ReadStatements): KeyedStatements {
  const { db } = store;
  const columns = 'k.id, k.running, k.stored, k.stored_at, k.fresh_until, k.stale_until';
  const findShare = db.prepare<[number, number, string], ShareRow>(
    `SELECT ${columns}, (SELECT o.stage = ${stage.waiting} AND o.attempt = 0 AND o.run_at IS NOT NULL FROM operation o WHERE o.seq = k.running) AS untouched
     FROM keyed k WHERE k.share_hash = ? AND k.queue = ? AND k.share = ?`,
  );
  const insert = db.prepare(
    'INSERT INTO keyed (queue, share_hash, identity_hash, share, identity, running) VALUES (?, ?, ?, ?, ?, ?)',
  );
  const setRunning = db.prepare('UPDATE keyed SET running = ? WHERE id = ?');
  const setKeyed = db.prepare('UPDATE operation SET keyed = ? WHERE seq = ?');
  const raiseKeep = db.prepare(
    'UPDATE operation SET keep_until = max(coalesce(keep_until, 0), ?), wake_at = CASE WHEN stage > 2 THEN max(wake_at, ?) ELSE wake_at END WHERE seq = ?',
  );
  const keyedOf = db.prepare<[number], number | null>('SELECT keyed FROM operation WHERE seq = ?').pluck();
  const stopRunning = db.prepare<unknown[], ShareName>(
    'UPDATE keyed SET running = NULL WHERE id = ? AND running = ? RETURNING queue, share',
  );
  const setStored = db.prepare<unknown[], ShareName>(
    'UPDATE keyed SET stored = ?, stored_at = ?, fresh_until = ?, stale_until = ? WHERE id = ? RETURNING queue, share',
  );
  const clearStored = db.prepare<unknown[], ShareName>(
    'UPDATE keyed SET stored = NULL, stored_at = NULL, fresh_until = NULL, stale_until = NULL WHERE id = ? AND stored = ? RETURNING queue, share',
  );
  // Only here, not when an operation ends without a result: of several under way at once another may still bring one.
  const dropEmpty = db.prepare('DELETE FROM keyed WHERE id = ? AND running IS NULL AND stored IS NULL');
  const ofIdentity = db.prepare<[number, number, string], ShareRow>(
    `SELECT ${columns}, 0 AS untouched FROM keyed k WHERE k.identity_hash = +? AND k.queue = +? AND k.identity = +? ORDER BY k.stored_at DESC, k.stored DESC`,
  );
  const removeIdentity = db.prepare<[number, number, string], ShareName & { full: number }>(
    'DELETE FROM keyed WHERE identity_hash = ? AND queue = ? AND identity = ? RETURNING queue, share, running IS NOT NULL OR stored IS NOT NULL AS full',
  );
  const changed = (name: ShareName | undefined): void => {
    if (name) store.changedShares.add(shareName(name.queue, name.share));
  };

  const toShare = (row: ShareRow): Share => ({
    id: row.id,
    state: {
      running: row.running === null || row.untouched === null ? null : { untouched: row.untouched === 1 },
      stored:
        row.stored === null
          ? null
          : { storedAt: row.stored_at!, freshUntil: row.fresh_until, staleUntil: row.stale_until },
    },
    stored: row.stored,
    storedAt: row.stored_at ?? 0,
    freshUntil: row.fresh_until,
    running: row.running,
  });

  const storedOf: KeyedStatements['storedOf'] = ({ stored, storedAt, freshUntil }) => {
    const [operation] = stored === null ? [] : reads.recordsOf([stored]);
    const result = operation && reads.result(operation.seq);
    return result && { operation, result, storedAt, freshUntil };
  };
  const runningOf: KeyedStatements['runningOf'] = ({ running }) =>
    running === null ? undefined : reads.recordsOf([running])[0];

  return {
    find(queue, sharing) {
      const row = findShare.get(digestHash(sharing.share), queue, sharing.share);
      return row ? toShare(row) : absent;
    },
    begin(share, queue, { share: digest, identity }, seq) {
      let { id } = share;
      if (id === undefined)
        id = Number(insert.run(queue, digestHash(digest), digestHash(identity), digest, identity, seq).lastInsertRowid);
      else {
        setRunning.run(seq, id);
        changed({ queue, share: digest });
      }
      setKeyed.run(id, seq);
    },
    storedOf,
    runningOf,
    keepUntil: (seq, ms) => void raiseKeep.run(ms, ms, seq),
    ended(seq, keep) {
      const id = keyedOf.get(seq) ?? null;
      if (id === null) return 0;
      changed(stopRunning.get(id, seq));
      if (!keep) return 0;
      const freshUntil = keep.freshMs > 0 ? store.nowMs + keep.freshMs : null;
      const until = freshUntil === null ? 0 : freshUntil + keep.staleMs;
      changed(setStored.get(seq, store.nowMs, freshUntil, freshUntil === null ? null : until, id));
      return until;
    },
    removing(seq) {
      const id = keyedOf.get(seq) ?? null;
      if (id === null) return;
      changed(stopRunning.get(id, seq));
      changed(clearStored.get(id, seq));
      dropEmpty.run(id);
    },
    lookUp({ queue, identity }) {
      const now = store.nowMs;
      let running: OperationRecord | undefined;
      for (const row of ofIdentity.all(digestHash(identity), queue, identity)) {
        const share = toShare(row);
        const found = storedOf(share);
        const until =
          share.freshUntil === null
            ? (found?.operation.expiresAt ?? 0)
            : Math.max(share.freshUntil, row.stale_until ?? 0);
        if (found && now < until) return { kind: 'stored', stored: found };
        const at = runningOf(share);
        if (at && (!running || at.seq > running.seq)) running = at;
      }
      return running && { kind: 'running', operation: running };
    },
    forget({ queue, identity }) {
      const rows = removeIdentity.all(digestHash(identity), queue, identity);
      for (const row of rows) changed(row);
      return rows.some(({ full }) => full === 1);
    },
  };
}
