// Recording what became of leases: the first settlement of the current lease wins, everything else learns why it lost.
import type {
  ClockTransition,
  Keep,
  OperationFailure,
  Poll,
  ResultContent,
  Settlement,
  SettleOutcome,
} from '../../engine/engine.ts';
import { leaseKinds, stage, statusOfStage } from '../rows.ts';
import { byteaArray, int4Array, int8Array, textArray } from './arrays.ts';
import { seesCallbacks, tellCallbacks } from './callbacks.ts';
import { type Connection, extraMs, type Statement, statementTimeoutMs } from './connections.ts';
import { toCallerError } from './errors.ts';
import { endShares, sharedUntil } from './keyed.ts';
import { type Advanced, advanceLanes, lockLanes } from './lanes.ts';
import { setPolls } from './polls.ts';
import { leaseNow, notBefore } from './time-line.ts';
import { inTransaction } from './transaction.ts';

/** Who may move an operation: the holder of its lease, or the clock, which has seen a certain version of it. */
type Guard = 'lease' | 'clock';

/** What 'later' is in the column of stages to come: it stays running. */
const laterStage = stage.running;

/** What a statement may end: with `tells` those whose callbacks it sees, otherwise those that tell nobody; and those of no lane, unless it holds lanes. */
const mayEnd = ({ tells, lanes }: Extras): string =>
  `(i.to_stage < 3 OR (${tells ? seesCallbacks : 'o.callbacks IS NULL'}${lanes ? '' : ' AND o.lane IS NULL'}))`;

/**
 * A version does not tell of a lease that was kept meanwhile, on a node whose clock was behind: the clock looks again.
 * `stage + 0`: written as `stage = 2` the planner may walk the whole index of running operations instead of looking each row up by its key.
 */
const guards: Record<Guard, string> = {
  lease: `o.lease_no = i.guard_no AND o.stage + 0 = ${stage.running} AND o.lease_until > ${leaseNow('$1::int8')}`,
  clock: `o.version = i.guard_no AND o.stage + 0 < ${stage.succeeded} AND (o.stage + 0 = ${stage.running} OR i.to_stage > 2)
      AND (o.stage + 0 < ${stage.running} OR o.deadline_at <= $1::int8 OR o.lease_until <= ${leaseNow('$1::int8')})`,
};

/** Nobody else gets these results, and nobody is to be asked later. */
const noMore = 'NULL::int8 AS fresh_ms, NULL::int8 AS stale_ms';

/** What a statement does beyond the usual: each costs some hundredths of its time, and most batches need neither. */
interface Extras {
  /** Reads which results are kept for others and which backends are to be asked when. */
  more: boolean;
  /** Writes who is to be told of the ends. */
  tells: boolean;
  /** Runs behind the locks of the lanes in which something ends. */
  lanes?: boolean;
}

/**
 * One statement for a batch: moves the rows that the guard lets through, writes their results and what happened, the counters, and what stands under
 * their shares. Rows are locked in the order of their numbers, or two nodes could each hold a row that the other waits for.
 */
const moveText = (guard: Guard, { more, tells, lanes = false }: Extras): string => `
WITH input AS MATERIALIZED (
  SELECT *${more ? '' : `, ${noMore}`} FROM unnest($3::int8[], $4::int4[], $5::int4[], $6::int4[], $7::int8[], $8::int8[], $9::text[], $10::text[], $11::int4[],
    $12::int4[], $13::text[], $14::text[], $15::bytea[]${more ? ', $16::int8[], $17::int8[], $18::int8[], $19::text[]' : ''})
    WITH ORDINALITY AS i (seq, guard_no, to_stage, give_back, until, new_rank, code, message, backend_status, status, headers, hash, body${
      more ? ', fresh_ms, stale_ms, poll_at, poll_url' : ''
    }, ord) ORDER BY seq
), held AS MATERIALIZED (
  SELECT i.*, h.* FROM input i CROSS JOIN time_line CROSS JOIN LATERAL (
    SELECT o.stage AS from_stage, ${leaseNow('$1::int8')} AS lease_now FROM operation o
    WHERE o.seq = i.seq AND ${guards[guard]} AND ${mayEnd({ more, tells, lanes })} FOR NO KEY UPDATE
  ) h
), moved AS (
  UPDATE operation o SET stage = h.to_stage, version = o.version + 1, updated_at = ${notBefore('$1::int8')}, attempt = o.attempt - h.give_back,
    lease_kind = CASE h.to_stage WHEN ${laterStage} THEN ${leaseKinds.later} END, node = NULL,
    lease_until = CASE h.to_stage WHEN ${laterStage} THEN greatest(h.until - $1::int8 + h.lease_now, CASE WHEN o.extended_no = o.lease_no THEN o.lease_until END) END,
    wake_at = CASE WHEN h.to_stage > 2 THEN greatest($1::int8 + o.retention_ms, o.keep_until${more ? `, ${sharedUntil}` : ''}) ELSE least(h.until, o.deadline_at) END,
    run_at = CASE h.to_stage WHEN 1 THEN h.until END,
    rank = coalesce(h.new_rank, o.rank),
    finished_at = CASE WHEN h.to_stage > 2 THEN ${notBefore('$1::int8')} END,
    error_code = CASE WHEN h.to_stage > 2 THEN h.code END, error_message = CASE WHEN h.to_stage > 2 THEN h.message END
  FROM held h WHERE o.seq = h.seq
  RETURNING o.seq, o.queue, o.version, o.wake_at, o.created_at, o.attempt, o.updated_at, o.attempt_at, o.worker, o.lease_no, o.run_at, h.from_stage,
    h.to_stage, h.give_back, h.ord, h.code, h.message, h.backend_status, h.status, h.headers, h.hash, h.body, o.keyed, o.callbacks, h.fresh_ms, h.stale_ms${
      more ? ', h.poll_at, h.poll_url' : ''
    }
), results AS (
  INSERT INTO result AS r (seq, status, lease_no, headers, hash, body)
  SELECT seq, status, lease_no, headers, hash, body FROM moved WHERE status IS NOT NULL
  ON CONFLICT (seq) DO UPDATE SET status = excluded.status, lease_no = excluded.lease_no, headers = excluded.headers, hash = excluded.hash, body = excluded.body
), noted AS (
  INSERT INTO happening (seq, n, kind, at, attempt, started_at, worker, outcome, backend_status, detail, next_at)
  SELECT seq, version, 0, updated_at, attempt + give_back, attempt_at, worker, code, backend_status, message, run_at FROM moved WHERE to_stage < 2
), counted AS (
  INSERT INTO counter AS c (queue, slot, queued, running, succeeded, failed)
  SELECT queue, $2::int4, count(*) FILTER (WHERE to_stage < 2) - count(*) FILTER (WHERE from_stage < 2),
    count(*) FILTER (WHERE to_stage = 2) - count(*) FILTER (WHERE from_stage = 2),
    count(*) FILTER (WHERE to_stage = 3), count(*) FILTER (WHERE to_stage = 4) FROM moved GROUP BY queue
  ON CONFLICT (queue, slot) DO UPDATE SET queued = c.queued + excluded.queued, running = c.running + excluded.running,
    succeeded = c.succeeded + excluded.succeeded, failed = c.failed + excluded.failed
), ${endShares('SELECT seq, keyed, updated_at, fresh_ms, stale_ms FROM moved WHERE keyed IS NOT NULL AND to_stage > 2')}${
  more ? `, polls AS (${setPolls('SELECT seq, lease_no, poll_at, poll_url FROM moved WHERE poll_at IS NOT NULL')})` : ''
}${tells ? `, ${tellCallbacks('SELECT seq, queue, version FROM moved WHERE callbacks IS NOT NULL AND to_stage > 2')}` : ''}
SELECT ord, version, created_at, wake_at, queue, updated_at, attempt_at, callbacks FROM moved`;

const moves = {
  lease: { name: 'settle', text: moveText('lease', { more: false, tells: false }) },
  clock: { name: 'apply-clock', text: moveText('clock', { more: false, tells: true }) },
} satisfies Record<Guard, Statement>;
const settleMore: Statement = { name: 'settle-more', text: moveText('lease', { more: true, tells: false }) };
const settleTold: Statement = { name: 'settle-told', text: moveText('lease', { more: true, tells: true }) };
const settleInLanes: Statement = {
  name: 'settle-in-lanes',
  text: moveText('lease', { more: true, tells: true, lanes: true }),
};
const clockInLanes: Statement = {
  name: 'apply-clock-in-lanes',
  text: moveText('clock', { more: false, tells: true, lanes: true }),
};
/** For so long after an end of which somebody is told, the next is expected to be such a one too. */
const habitMs = 60_000;

const standings: Statement = {
  name: 'standings',
  text: `SELECT o.seq, o.stage, o.lease_no, o.error_code, o.error_message, r.lease_no, r.status, r.headers, r.hash, o.callbacks, o.lane
    FROM operation o LEFT JOIN result r ON r.seq = o.seq WHERE o.seq = ANY ($1::int8[])`,
};

export interface SettleContext {
  nowMs: number;
  connection: Connection;
  /** Operations became ready in these queues. */
  madeReady: (queues: Iterable<number>) => void;
  /** Operations of these queues have changed their state. */
  moved: (queues: Iterable<number>) => void;
  /** Operations moved on. */
  changed: (seqs: Iterable<number>) => void;
  ended: (seqs: Iterable<number>) => void;
  /** Somebody is to be told of something. */
  told: () => void;
  /** Until when ends are expected of which somebody is told. */
  habit: { tellsUntil: number };
  /** The clock has something to say then. */
  dueAt: (ms: number) => void;
}

interface Move {
  seq: number;
  guardNo: number;
  toStage: number;
  giveBack: number;
  until: number;
  rank: number | null;
  error: OperationFailure | null;
  backendStatus: number | null;
  result: ResultContent | null;
  keep: Keep | null;
  poll: Poll | null;
}

function toMove(
  { seq, transition: t, backendStatus }: Pick<Settlement, 'seq' | 'transition' | 'backendStatus'>,
  guardNo: number,
  nowMs: number,
): Move {
  const until = Number.MAX_SAFE_INTEGER;
  const move = { seq, guardNo, giveBack: 0, until, rank: null, backendStatus, keep: null, poll: null };
  switch (t.to) {
    case 'succeeded':
      return { ...move, toStage: stage.succeeded, error: null, result: t.result, keep: t.keep ?? null };
    case 'failed':
      return { ...move, toStage: stage.failed, error: t.error, result: t.result };
    case 'later':
      return { ...move, toStage: laterStage, until: t.leaseUntil, error: null, result: null, poll: t.poll ?? null };
    case 'queued': {
      const ready = t.runAt <= nowMs;
      return {
        ...move,
        toStage: ready ? stage.ready : stage.waiting,
        giveBack: t.attemptUsed ? 0 : 1,
        until: ready ? Number.MAX_SAFE_INTEGER : t.runAt,
        rank: t.rank,
        error: t.error,
        result: t.result ?? null,
      };
    }
  }
}

interface Moved {
  version: number;
  createdAt: number;
  wakeAt: number;
  at: number;
  attemptAt: number | null;
}

type MovedColumns = [
  ord: number,
  version: number,
  createdAt: number,
  wakeAt: number,
  queue: number,
  at: number,
  attemptAt: number | null,
  callbacks: number | null,
];

/** Carries out those moves that the guard lets through. `held`: the lanes of all that end are locked. */
async function move(
  moves_: readonly Move[],
  { guard, held }: { guard: Guard; held: boolean },
  { connection, nowMs, habit }: SettleContext,
): Promise<readonly MovedColumns[]> {
  const bytes = moves_.reduce((sum, m) => sum + (m.result?.body.length ?? 0), 0);
  const values = [
    nowMs,
    connection.slot,
    int8Array(moves_.map((m) => m.seq)),
    int4Array(moves_.map((m) => m.guardNo)),
    int4Array(moves_.map((m) => m.toStage)),
    int4Array(moves_.map((m) => m.giveBack)),
    int8Array(moves_.map((m) => m.until)),
    int8Array(moves_.map((m) => m.rank)),
    textArray(moves_.map((m) => m.error?.code ?? null)),
    // A message is for people, and may have been cut in the middle of a character.
    textArray(moves_.map((m) => m.error?.message.toWellFormed() ?? null)),
    int4Array(moves_.map((m) => m.backendStatus)),
    int4Array(moves_.map((m) => m.result?.status ?? null)),
    textArray(moves_.map((m) => (m.result ? JSON.stringify(m.result.headers) : null))),
    textArray(moves_.map((m) => m.result?.hash ?? null)),
    byteaArray(moves_.map((m) => m.result?.body ?? null)),
  ];
  const tellsToo = guard === 'lease' && nowMs < habit.tellsUntil;
  const more = (held && guard === 'lease') || tellsToo || moves_.some((m) => m.keep || m.poll);
  if (more) {
    values.push(
      int8Array(moves_.map((m) => m.keep?.freshMs ?? null)),
      int8Array(moves_.map((m) => (m.keep ? (m.keep.freshMs > 0 ? m.keep.staleMs : 0) : null))),
      int8Array(moves_.map((m) => m.poll?.at ?? null)),
      textArray(moves_.map((m) => m.poll?.url ?? null)),
    );
  }
  const inLanes = guard === 'lease' ? settleInLanes : clockInLanes;
  const rows = await connection.run(
    held ? inLanes : tellsToo ? settleTold : more ? settleMore : moves[guard],
    values,
    statementTimeoutMs + extraMs(bytes),
  );
  return rows as unknown as MovedColumns[];
}

/** What follows from moves once they are committed: work announced, waiters told. Answers them by their place in the batch. */
function announce(
  moves_: readonly Move[],
  rows: readonly MovedColumns[],
  { nowMs, madeReady, moved: movedIn, changed, ended, told, habit, dueAt }: SettleContext,
): Map<number, Moved> {
  const moved = new Map<number, Moved>();
  const ready = new Set<number>();
  const done: number[] = [];
  const open: number[] = [];
  let tells = false;
  for (const [ord, version, createdAt, wakeAt, queue, at, attemptAt, callbacks] of rows) {
    const move = moves_[ord - 1]!;
    moved.set(ord - 1, { version, createdAt, wakeAt, at, attemptAt });
    (move.toStage >= stage.succeeded ? done : open).push(move.seq);
    if (callbacks !== null && move.toStage >= stage.succeeded) tells = true;
    if (move.toStage === stage.ready) ready.add(queue);
    if (move.toStage < stage.succeeded) dueAt(Math.min(wakeAt, move.poll?.at ?? wakeAt));
  }
  if (ready.size > 0) madeReady(ready);
  movedIn(new Set(rows.map(([, , , , queue]) => queue)));
  changed(open);
  ended(done);
  if (tells) {
    habit.tellsUntil = nowMs + habitMs;
    told();
  }
  return moved;
}

async function moveAll(moves_: readonly Move[], guard: Guard, context: SettleContext): Promise<Map<number, Moved>> {
  return moves_.length === 0
    ? new Map()
    : announce(moves_, await move(moves_, { guard, held: false }, context), context);
}

/** Ends operations of lanes, and has those behind them start in the same commit. */
async function moveInLanes(
  moves_: readonly (Move & { lane: number })[],
  guard: Guard,
  context: SettleContext,
): Promise<Map<number, Moved>> {
  if (moves_.length === 0) return new Map();
  const { connection, nowMs, madeReady, dueAt } = context;
  let next: Advanced = { readied: new Set(), dueAt: [] };
  const rows = await inTransaction(connection, async () => {
    await lockLanes(
      connection,
      moves_.map(({ lane }) => lane),
    );
    const moved = await move(moves_, { guard, held: true }, context);
    const left = moved.map(([ord]) => moves_[ord - 1]!).map(({ lane, seq }) => ({ lane, ended: seq }));
    if (left.length > 0) next = await advanceLanes(connection, left, nowMs);
    return moved;
  });
  if (next.readied.size > 0) madeReady(next.readied);
  for (const ms of next.dueAt) dueAt(ms);
  return announce(moves_, rows, context);
}

type Standing = [
  seq: number,
  stage: number,
  leaseNo: number,
  code: string | null,
  message: string | null,
  resultLease: number | null,
  status: number | null,
  headers: string | null,
  hash: string | null,
  callbacks: number | null,
  lane: number | null,
];

/** How operations stand, for those that lost. */
export async function standingOf(seqs: readonly number[], connection: Connection): Promise<Map<number, Standing>> {
  const rows = seqs.length > 0 ? await connection.run(standings, [int8Array(seqs)]) : [];
  return new Map((rows as unknown as Standing[]).map((row) => [row[0], row]));
}

/** Its lease is the current one: it has run out, or the statement could not tell those who want to be told, or did not hold its lane. */
const holdsStill = ({ leaseNo }: Settlement, at: Standing | undefined): boolean =>
  at !== undefined && at[1] === stage.running && at[2] === leaseNo && (at[9] !== null || at[10] !== null);

function whyNot({ leaseNo, transition: t }: Settlement, at: Standing | undefined): SettleOutcome {
  if (!at) return { kind: 'unknown' };
  const [, where, heldBy, code, message, resultLease, status, headers, hash] = at;
  if (where === stage.cancelled) return { kind: 'ended', status: 'cancelled' };
  if (where < stage.succeeded || heldBy !== leaseNo) return { kind: 'lost' };
  const result = t.to === 'later' ? null : (t.result ?? null);
  if (resultLease === leaseNo) {
    const same = result?.status === status && result?.hash === hash && JSON.stringify(result?.headers) === headers;
    return { kind: same ? 'repeated' : 'conflict' };
  }
  if (code === 'timed-out') return { kind: 'ended', status: statusOfStage[where]! };
  const same = !result && t.to === 'failed' && t.error.code === code && t.error.message === message;
  return { kind: same ? 'repeated' : 'conflict' };
}

/** More callbacks may come while the answer waits for the row again and again; there is an end to how many there are. */
const rounds = 5;

/** Records a batch in which no operation stands twice. */
export async function settleBatch(batch: readonly Settlement[], context: SettleContext): Promise<SettleOutcome[]> {
  const moved = new Map<number, Moved>();
  let standing: Map<number, Standing> | Error = new Map<number, Standing>();
  let open = batch.map((_, i) => i);
  /** Lanes of those that could not be ended without them. */
  const lanes = new Map<number, number>();
  try {
    for (let round = 0; open.length > 0 && round < rounds; round++) {
      const all = open.map((i) => ({ i, ...toMove(batch[i]!, batch[i]!.leaseNo, context.nowMs) }));
      const inLanes = all.flatMap((one) => (lanes.has(one.i) ? { ...one, lane: lanes.get(one.i)! } : []));
      const others = all.filter(({ i }) => !lanes.has(i));
      for (const [at, row] of await moveAll(others, 'lease', context)) moved.set(others[at]!.i, row);
      for (const [at, row] of await moveInLanes(inLanes, 'lease', context)) moved.set(inLanes[at]!.i, row);
      const losers = open.filter((i) => !moved.has(i));
      standing = await standingOf(
        losers.map((i) => batch[i]!.seq),
        context.connection,
      );
      const at = standing;
      open = losers.filter((i) => holdsStill(batch[i]!, at.get(batch[i]!.seq)));
      for (const i of open) {
        const [callbacks, lane] = at.get(batch[i]!.seq)!.slice(9) as [number | null, number | null];
        if (callbacks !== null) context.habit.tellsUntil = context.nowMs + habitMs;
        if (lane !== null) lanes.set(i, lane);
      }
    }
  } catch (error) {
    // Those that were recorded are not told otherwise because the others cannot be told why they were not.
    if (moved.size === 0) throw error;
    standing = toCallerError(error, { sent: true });
  }
  return batch.map((s, i): SettleOutcome => {
    const row = moved.get(i);
    if (!row) return standing instanceof Map ? whyNot(s, standing.get(s.seq)) : { kind: 'refused', error: standing };
    const done = s.transition.to === 'succeeded' || s.transition.to === 'failed';
    const { version, createdAt, wakeAt, at, attemptAt } = row;
    return {
      kind: 'recorded',
      version,
      createdAt,
      attemptAt,
      finishedAt: done ? at : null,
      expiresAt: done ? wakeAt : null,
    };
  });
}

export async function applyClockBatch(batch: readonly ClockTransition[], context: SettleContext): Promise<boolean[]> {
  const all = batch.map((c) => toMove({ ...c, backendStatus: null }, c.version, context.nowMs));
  const moved = new Set((await moveAll(all, 'clock', context)).keys());
  const left = batch.flatMap((_, i) => (moved.has(i) || all[i]!.toStage < stage.succeeded ? [] : i));
  const standing = await standingOf(
    left.map((i) => batch[i]!.seq),
    context.connection,
  );
  const inLanes = left.flatMap((i) => {
    const at = standing.get(batch[i]!.seq);
    const lane = at?.[10] ?? null;
    return lane !== null && at![1] < stage.succeeded ? { i, ...all[i]!, lane } : [];
  });
  for (const at of (await moveInLanes(inLanes, 'clock', context)).keys()) moved.add(inLanes[at]!.i);
  return batch.map((_, i) => moved.has(i));
}
