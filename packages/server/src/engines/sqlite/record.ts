// An operation's columns, for every statement that reads one.
import { stage } from '../rows.ts';

/** Follows `FROM operation o JOIN request r ON r.seq = o.seq`; the order is that of `RecordColumns`. */
export const recordColumns =
  'o.seq, o.nonce, o.queue, o.stage, o.version, o.attempt, o.lease_no, r.correlation, r.labels, o.created_at, o.updated_at, o.started_at, o.finished_at, o.run_at, ' +
  'o.deadline_at, o.lease_until, o.wake_at, o.error_code, o.error_message, o.progress_seq, o.progress, o.attempt_at, o.worker, ' +
  // Only an operation that succeeded can have ended by reference, so nobody else pays for the look.
  `CASE WHEN o.stage = ${stage.succeeded} THEN (SELECT x.headers FROM result x WHERE x.seq = o.seq AND x.status = 303) END, r.key`;
