// Writing new operations: the idempotency record first, then what is stored or under way under its key, then a new row, leased at once where somebody
// waits for it.
import type { Sharing, SubmitOutcome } from '../../engine/engine.ts';
import { judgeShare } from '../../engine/sharing.ts';
import type { BodyParts } from './body-parts.ts';
import type { CallbackStatements } from './callbacks.ts';
import { type KeyedStatements, type Share, textHash } from './keyed.ts';
import type { LaneStatements } from './lanes.ts';
import { type RecordColumns, stage, toRecord } from '../rows.ts';
import { recordColumns } from './record.ts';
import { inlineBytes, type Store } from './store.ts';
import type { TransitionStatements } from './transitions.ts';
import type { SubmissionRow } from './wire.ts';

interface KeyRow {
  id: number;
  key: string;
  fingerprint: string;
  seq: number;
  expires_at: number;
  told: number;
}

/** What the first submit with an idempotency key was told, by the number it is kept as. */
const told = ['new', 'joined', 'stored'] as const;

export function submitStatements(
  store: Store,
  {
    parts,
    keyed,
    lanes,
    callbacks,
    transitions,
  }: {
    parts: BodyParts;
    keyed: KeyedStatements;
    lanes: LaneStatements;
    callbacks: CallbackStatements;
    transitions: TransitionStatements;
  },
): (s: SubmissionRow) => SubmitOutcome {
  const { db, takers } = store;
  // Two statements, since each bound value costs a tenth of a microsecond on the path of every submit.
  const insertWaiting = db.prepare(
    `INSERT INTO operation (seq, queue, nonce, stage, version, attempt, lease_no, rank, wake_at, created_at, updated_at, deadline_at, retention_ms, keep_until, run_at, start_by_at)
     VALUES (?, ?, ?, ?, 1, 0, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const insertLeased = db.prepare(
    `INSERT INTO operation (seq, queue, nonce, stage, version, attempt, lease_no, lease_kind, rank, wake_at, created_at, updated_at, deadline_at, retention_ms, keep_until, start_by_at,
       started_at, attempt_at, lease_until, worker)
     VALUES (?, ?, ?, 2, 2, 1, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const insertRequest = db.prepare(
    'INSERT INTO request (seq, correlation, labels, head, body_bytes, body) VALUES (?, ?, ?, ?, ?, ?)',
  );
  const setKey = db.prepare('UPDATE request SET key = ?, key_hash = ? WHERE seq = ?');
  const insertLabel = db.prepare('INSERT INTO label (queue, name, value, seq) VALUES (?, ?, ?, ?)');
  const findKeys = db.prepare<[number, number], KeyRow>(
    'SELECT id, key, fingerprint, seq, expires_at, told FROM idempotency WHERE queue = ? AND key_hash = ?',
  );
  const insertKey = db.prepare(
    'INSERT INTO idempotency (queue, key_hash, key, fingerprint, seq, told, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)',
  );
  const renewKey = db.prepare('UPDATE idempotency SET fingerprint = ?, seq = ?, told = ?, expires_at = ? WHERE id = ?');
  const readOperation = db
    .prepare<[number], RecordColumns>(
      `SELECT ${recordColumns} FROM operation o JOIN request r ON r.seq = o.seq WHERE o.seq = +?`,
    )
    .raw();

  function insert(s: SubmissionRow): number {
    const seq = store.nextSeq();
    const now = store.nowMs;
    const queue = store.queues.get(s.queue)!;
    const held = s.lane !== null && lanes.busy(s.lane);
    const ready = s.runAt <= now && !held;
    const taker = ready ? takers.next(queue.service, queue.namespace) : undefined;
    const leaseUntil = taker ? now + taker.leaseMs : null;
    const startBy = s.startByAt ?? Number.POSITIVE_INFINITY;
    const wakeAt = Math.min(s.deadlineAt, leaseUntil ?? startBy, ready || held ? Number.POSITIVE_INFINITY : s.runAt);
    const at = taker ? stage.running : ready ? stage.ready : stage.waiting;
    const keepUntil = s.idempotencyKey === null ? null : s.keyExpiresAt;
    if (taker) {
      insertLeased.run(
        seq,
        s.queue,
        s.nonce,
        taker.kind,
        s.rank,
        wakeAt,
        s.createdAt,
        now,
        s.deadlineAt,
        s.retentionMs,
        keepUntil,
        s.startByAt,
        now,
        now,
        leaseUntil! - store.pausedMs,
        taker.worker,
      );
    } else {
      insertWaiting.run(
        seq,
        s.queue,
        s.nonce,
        at,
        s.rank,
        wakeAt,
        s.createdAt,
        now,
        s.deadlineAt,
        s.retentionMs,
        keepUntil,
        ready || held ? null : s.runAt,
        s.startByAt,
      );
    }
    const inline = s.body.length <= inlineBytes;
    insertRequest.run(seq, s.correlationId, s.labels, s.head, s.body.length, inline ? s.body : null);
    if (!inline) parts.write(seq, 'request', s.body);
    if (s.key !== null) setKey.run(s.key, textHash(s.key), seq);
    if (s.labels !== null) {
      for (const [name, value] of Object.entries(JSON.parse(s.labels) as Record<string, string>))
        insertLabel.run(s.queue, name, value, seq);
    }
    if (s.callback !== null) callbacks.add(seq, s.callback);
    if (s.lane !== null) lanes.enter(s.lane, { seq, runAt: s.runAt });
    transitions.tellNew(seq, s.queue);
    store.count(s.queue, null, at);
    store.wake(wakeAt);
    if (taker) {
      takers.give(taker, {
        seq,
        nonce: s.nonce,
        queue: s.queue,
        leaseNo: 1,
        attempt: 1,
        correlationId: s.correlationId,
        labels: s.labels,
        createdAt: s.createdAt,
        deadlineAt: s.deadlineAt,
        leaseUntil: leaseUntil!,
        head: s.head,
        bodyBytes: s.body.length,
        body: inline ? s.body : null,
      });
    }
    return seq;
  }

  const startKeyed = (s: SubmissionRow, share: Share, sharing: Sharing): number => {
    const seq = insert(s);
    keyed.begin(share, s.queue, sharing, seq);
    return seq;
  };

  /** Questions two to four: what is stored, what is under way, new work. */
  function sharedOrNew(s: SubmissionRow): SubmitOutcome {
    const { sharing } = s;
    if (sharing === null) return s.mayMake ? { kind: 'new', seq: insert(s) } : { kind: 'full' };
    const share = keyed.find(s.queue, sharing);
    const stored = share.stored === null ? undefined : keyed.storedOf(share);
    const running = keyed.runningOf(share);
    const state = { running: running ? share.state.running : null, stored: stored ? share.state.stored : null };
    const verdict = judgeShare(sharing, state, store.nowMs, s);
    switch (verdict.kind) {
      case 'serve':
        return { kind: 'stored', stored: stored!, refreshing: false };
      case 'refresh':
        // The key stands for the answer that its sender gets, not for the work that happens behind it, and who has an answer is told of no other.
        startKeyed({ ...s, idempotencyKey: null, callback: null }, share, sharing);
        return { kind: 'stored', stored: stored!, refreshing: true };
      case 'join':
        if (s.callback !== null && !callbacks.add(running!.seq, s.callback)) return { kind: 'callbacks-full' };
        return { kind: 'joined', operation: running! };
      case 'not-stored':
      case 'full':
        return { kind: verdict.kind };
      case 'make': {
        const seq = startKeyed(s, share, sharing);
        return verdict.expired ? { kind: 'new', seq, expired: true } : { kind: 'new', seq };
      }
    }
  }

  /** What an outcome makes of its idempotency key: the operation it stands for and what was told of it; undefined where it stands for nothing. */
  function remembered(outcome: SubmitOutcome): { seq: number; as: number } | undefined {
    if (outcome.kind === 'new') return { seq: outcome.seq, as: 0 };
    if (outcome.kind === 'joined') return { seq: outcome.operation.seq, as: 1 };
    if (outcome.kind === 'stored') return { seq: outcome.stored.operation.seq, as: 2 };
    return undefined;
  }

  return (s) => {
    if (s.idempotencyKey === null) return sharedOrNew(s);
    const bits = textHash(s.idempotencyKey);
    const known = findKeys.all(s.queue, bits).find((row) => row.key === s.idempotencyKey);
    if (known && known.expires_at > store.nowMs) {
      const row = readOperation.get(known.seq);
      // A purged operation takes its key with it; a row without one is a key whose operation a crash lost.
      if (row && !(row[3] === stage.failed && s.retryFailed && known.fingerprint === s.fingerprint)) {
        return known.fingerprint === s.fingerprint
          ? { kind: 'replayed', operation: toRecord(row, store.queues.get(row[2])!), as: told[known.told as 0] }
          : { kind: 'mismatch' };
      }
    }
    const outcome = sharedOrNew(s);
    const record = remembered(outcome);
    if (!record) return outcome;
    const { seq, as } = record;
    if (known) renewKey.run(s.fingerprint, seq, as, s.keyExpiresAt, known.id);
    else insertKey.run(s.queue, bits, s.idempotencyKey, s.fingerprint, seq, as, s.keyExpiresAt);
    if (as !== 0) keyed.keepUntil(seq, s.keyExpiresAt);
    return outcome;
  };
}
