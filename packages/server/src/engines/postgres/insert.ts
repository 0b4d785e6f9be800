// The statement that stores new operations: takes the idempotency keys first, then the shares, and stores what won them, all in one.
//
// Rows go in the order of their keys, or two nodes could each hold a key that the other waits for.
import type { Submission } from '../../engine/engine.ts';
import { leaseKinds, stage } from '../rows.ts';
import { byteaArray, int4Array, int8Array, textArray, uuidArray } from './arrays.ts';
import { callbackColumns, callbackParameters, callbackValues, storeCallbacks } from './callbacks.ts';
import { type Connection, extraMs, type Statement, statementTimeoutMs } from './connections.ts';
import { giveBackKey, hasKey } from './keys.ts';
import { laneOf } from '../lane.ts';
import { type Advanced, advanceLanes, lockLanes } from './lanes.ts';
import { leaseNow } from './time-line.ts';
import type { Node } from './node.ts';
import type { Taker } from './takers.ts';
import { inTransaction } from './transaction.ts';

/** What a statement does beyond storing: each costs processor, and most batches need none. */
interface Shape {
  /** Idempotency keys. */
  once: boolean;
  labelled: boolean;
  /** Business keys. */
  shared: boolean;
  /** Somebody is to be told of some of them. */
  called: boolean;
  /** Ordering keys: those that have one are stored as held, whoever goes before them. */
  ordered: boolean;
}

/** How a submission takes its share: `compare`: if it is still as it was seen; `force`: in any case; `follow`: with the one of its batch that forces it. */
const takes = { compare: 0, force: 1, follow: 2 } as const;

/**
 * Takes the shares of a batch, each at most once: the row names the operation that computes from now on. Whoever saw another state than there is takes
 * nothing and looks again. In the order of shares, as all that touch several rows of them: by bytes, as the column has it.
 */
const takeShares = `, claimed AS (
  INSERT INTO keyed AS k (queue, share, identity, running, early)
  SELECT queue, share, identity, seq, $25::bool FROM free WHERE share IS NOT NULL AND take < ${takes.follow} ORDER BY queue, share COLLATE "C"
  ON CONFLICT (queue, share) DO UPDATE SET running = excluded.running, early = excluded.early
  WHERE EXISTS (SELECT FROM free f WHERE f.seq = excluded.running AND (f.take = ${takes.force} OR
    (k.running IS NOT DISTINCT FROM f.seen_running AND k.stored IS NOT DISTINCT FROM f.seen_stored)))
  RETURNING id, queue, share, running
), accepted AS MATERIALIZED (
  SELECT f.*, c.id AS keyed FROM free f LEFT JOIN claimed c ON c.queue = f.queue AND c.share = f.share
  WHERE f.share IS NULL OR c.running = f.seq OR (c.id IS NOT NULL AND f.take = ${takes.follow})
)`;

/** Where the columns begin that only some shapes have. */
const callbacksFrom = ({ shared }: Pick<Shape, 'shared'>): number => (shared ? 32 : 26);
function laneParameters(of: Shape): string {
  const from = callbacksFrom(of) + (of.called ? callbackColumns.split(',').length : 0);
  return `, $${from}::int8[], $${from + 1}::int8[]`;
}

const insertText = ({ once, labelled, shared, called, ordered }: Shape): string => `
WITH input AS MATERIALIZED (
  SELECT nextval('operation_seq') AS seq, i.*
  FROM unnest($3::int4[], $4::uuid[], $5::int4[], $6::int8[], $7::int8[], $8::int8[], $9::int8[], $10::int8[], $11::int8[], $12::int8[], $13::int8[],
    $14::int4[], $15::int8[], $16::text[], $17::text[], $18::text[], $19::text[], $20::bytea[], $21::text[], $22::text[], $23::int8[]${
      shared ? ', $26::text[], $27::text[], $28::text[], $29::int4[], $30::int8[], $31::int8[]' : ''
    }${called ? `, ${callbackParameters(callbacksFrom({ shared }))}` : ''}${
      ordered ? laneParameters({ once, labelled, shared, called, ordered }) : ''
    }) WITH ORDINALITY AS i (queue, nonce, stage, rank, wake_at, created_at, deadline_at, retention_ms, keep_until, run_at, start_by_at,
      lease_kind, lease_ms, worker, correlation, labels, head, body, key, fingerprint, key_expires_at${
        shared ? ', business_key, share, identity, take, seen_running, seen_stored' : ''
      }${called ? `, ${callbackColumns}` : ''}${ordered ? ', lane, ready_at' : ''}, ord)
)${
  once
    ? `, keys AS (
  INSERT INTO idempotency (queue, key, fingerprint, seq, expires_at, early)
  SELECT queue, key, fingerprint, seq, key_expires_at, $25::bool FROM input WHERE key IS NOT NULL ORDER BY queue, key
  ON CONFLICT (queue, key) DO NOTHING RETURNING seq
), free AS MATERIALIZED (
  SELECT * FROM input WHERE key IS NULL OR seq IN (SELECT seq FROM keys)
)`
    : ', free AS (SELECT * FROM input)'
}${shared ? takeShares : ', accepted AS (SELECT * FROM free)'}, operations AS (
  INSERT INTO operation (seq, rank, wake_at, created_at, updated_at, deadline_at, retention_ms, keep_until, run_at, start_by_at, started_at, attempt_at,
    lease_until, queue, version, attempt, lease_no, request_bytes, node, stage, lease_kind, worker${shared ? ', keyed' : ''}${called ? ', callbacks, reports' : ''}${ordered ? ', lane' : ''})
  SELECT seq, rank, wake_at, created_at, $1::int8, deadline_at, retention_ms, keep_until, run_at, start_by_at,
    CASE WHEN stage = 2 THEN $1::int8 END, CASE WHEN stage = 2 THEN $1::int8 END, ${leaseNow('$1::int8')} + lease_ms,
    queue, CASE WHEN stage = 2 THEN 2 ELSE 1 END, CASE WHEN stage = 2 THEN 1 ELSE 0 END, CASE WHEN stage = 2 THEN 1 ELSE 0 END, octet_length(body),
    CASE WHEN stage = 2 THEN $24::int4 END, stage, lease_kind, worker${shared ? ', keyed' : ''}${called ? ', CASE WHEN cb_url IS NOT NULL THEN 1 END, CASE cb_progress WHEN 1 THEN true END' : ''}${ordered ? ', lane' : ''}
  FROM accepted, time_line
), requests AS (
  INSERT INTO request (seq, nonce, correlation, labels, head, idempotency, body${shared ? ', key' : ''})
  SELECT seq, nonce, correlation, labels, head, key, body${shared ? ', business_key' : ''} FROM accepted
)${
  labelled
    ? `, labels AS (
  INSERT INTO label (name, value, seq) SELECT e.key, e.value, a.seq FROM accepted a CROSS JOIN LATERAL jsonb_each_text(a.labels::jsonb) e WHERE a.labels IS NOT NULL
)`
    : ''
}${called ? `, callbacks AS (${storeCallbacks('accepted', '1')})` : ''}${
  ordered
    ? ', in_line AS (INSERT INTO ordered (lane, seq, run_at) SELECT lane, seq, ready_at FROM accepted WHERE lane IS NOT NULL)'
    : ''
}, counted AS (
  INSERT INTO counter AS c (queue, slot, queued, running)
  SELECT queue, $2::int4, count(*) FILTER (WHERE stage < 2), count(*) FILTER (WHERE stage = 2) FROM accepted GROUP BY queue
  ON CONFLICT (queue, slot) DO UPDATE SET queued = c.queued + excluded.queued, running = c.running + excluded.running
)
SELECT seq, ord, ${
  shared
    ? 'true FROM accepted UNION ALL SELECT seq, ord, false FROM free WHERE seq NOT IN (SELECT seq FROM accepted)'
    : 'true FROM accepted'
}`;

const shape = (name: string, of: Partial<Shape>): { of: Shape; statement: Statement } => {
  const asked = { once: false, labelled: false, shared: false, called: false, ordered: false, ...of };
  return { of: asked, statement: { name, text: insertText(asked) } };
};
/** What is shared costs more anyway, and so does what somebody is told of: one statement each does all the rest as well. */
const whole = { once: true, labelled: true };
const sharedShape = shape('submit-shared', { ...whole, shared: true });
const sharedCalledShape = shape('submit-shared-called', { ...whole, shared: true, called: true });
const calledShape = shape('submit-called', { ...whole, called: true });
const orderedShape = shape('submit-ordered', { ...whole, called: true, ordered: true });
const sharedOrderedShape = shape('submit-shared-ordered', { ...whole, shared: true, called: true, ordered: true });
const shapes = [
  shape('submit', {}),
  shape('submit-labelled', { labelled: true }),
  shape('submit-keyed', { once: true }),
  shape('submit-keyed-labelled', { once: true, labelled: true }),
];

function chooseShape({ once, labelled, shared, called, ordered }: Shape): (typeof shapes)[number] {
  if (ordered) return shared ? sharedOrderedShape : orderedShape;
  if (shared) return called ? sharedCalledShape : sharedShape;
  return called ? calledShape : shapes.find(({ of }) => of.once === once && of.labelled === labelled)!;
}

/** A submission with the taker it is stored for, if somebody waits. */
export interface SubmitItem {
  submission: Submission;
  taker: Taker | undefined;
}

export interface SubmitContext {
  /** The connection does not wait for the disk. */
  early: boolean;
  node: Node;
  nowMs: number;
  connection: Connection;
  /** Who is next in some lanes may start. */
  advanced: (next: Advanced) => void;
}

const never = Number.POSITIVE_INFINITY;

interface Times {
  stage: number;
  wakeAt: number;
  leaseMs: number | null;
}

/** Where a new operation stands and when the clock looks at it first. */
function timesOf({ submission: s, taker }: SubmitItem, now: number): Times {
  const held = hasLane(s);
  const ready = s.runAt <= now && !held;
  const startBy = s.startByAt ?? never;
  const leaseMs = taker?.wanted.leaseMs ?? null;
  const wakeAt = Math.min(s.deadlineAt, leaseMs === null ? startBy : now + leaseMs, ready || held ? never : s.runAt);
  return { stage: taker ? stage.running : ready ? stage.ready : stage.waiting, wakeAt, leaseMs };
}

/** How a submission of this batch takes its share, and the row as it was seen. */
export interface Claim {
  take: keyof typeof takes;
  running: number | null;
  stored: number | null;
}

export const hasLane = (s: Submission): boolean => s.orderingKey != null;
const laneIn = ({ queue, orderingKey }: Submission): number | null =>
  orderingKey == null ? null : laneOf(queue, orderingKey);

/** Stores what wins its key and, with `claims`, its share; numbers by place. */
export async function insert(
  items: readonly SubmitItem[],
  context: SubmitContext,
  claims?: readonly Claim[],
): Promise<Map<number, number>> {
  const { connection, nowMs, advanced } = context;
  const lanes = items.flatMap(({ submission }) => laneIn(submission) ?? []);
  if (lanes.length === 0) return store(items, context, claims);
  let next: Advanced | undefined;
  const seqs = await inTransaction(connection, async () => {
    await lockLanes(connection, lanes);
    const stored = await store(items, context, claims);
    next = await advanceLanes(
      connection,
      lanes.map((lane) => ({ lane, ended: null })),
      nowMs,
    );
    return stored;
  });
  advanced(next!);
  return seqs;
}

async function store(
  items: readonly SubmitItem[],
  { connection, node, nowMs, early }: SubmitContext,
  claims?: readonly Claim[],
): Promise<Map<number, number>> {
  const all = items.map((item) => item.submission);
  const times = items.map((item) => timesOf(item, nowMs));
  const { of, statement } = chooseShape({
    once: all.some(hasKey),
    labelled: all.some((s) => s.labels !== null),
    shared: claims !== undefined,
    called: all.some((s) => s.callback),
    ordered: all.some(hasLane),
  });
  const bytes = all.reduce((sum, s) => sum + s.body.length, 0);
  const values = [
    nowMs,
    connection.slot,
    int4Array(all.map((s) => s.queue)),
    uuidArray(all.map((s) => s.nonce)),
    int4Array(times.map((t) => t.stage)),
    int8Array(all.map((s) => s.rank)),
    int8Array(times.map((t) => t.wakeAt)),
    int8Array(all.map((s) => s.createdAt)),
    int8Array(all.map((s) => s.deadlineAt)),
    int8Array(all.map((s) => s.retentionMs)),
    int8Array(all.map((s) => s.idempotency?.expiresAt ?? null)),
    int8Array(times.map((t, i) => (t.stage === stage.waiting && !hasLane(all[i]!) ? all[i]!.runAt : null))),
    int8Array(all.map((s) => s.startByAt)),
    int4Array(items.map(({ taker }) => (taker ? leaseKinds[taker.wanted.kind] : null))),
    int8Array(times.map((t) => t.leaseMs)),
    textArray(items.map(({ taker }) => taker?.wanted.worker ?? null)),
    textArray(all.map((s) => s.correlationId)),
    textArray(all.map((s) => (s.labels === null ? null : JSON.stringify(s.labels)))),
    textArray(all.map((s) => s.head)),
    byteaArray(all.map((s) => s.body)),
    textArray(all.map((s) => s.idempotency?.key ?? null)),
    textArray(all.map((s) => s.idempotency?.fingerprint ?? null)),
    int8Array(all.map((s) => s.idempotency?.expiresAt ?? null)),
    node.id,
    ...(of.once ? [early] : []),
    ...(claims
      ? [
          textArray(all.map((s) => s.key)),
          textArray(all.map((s) => s.sharing?.share ?? null)),
          textArray(all.map((s) => s.sharing?.identity ?? null)),
          int4Array(claims.map(({ take }) => takes[take])),
          int8Array(claims.map(({ running }) => running)),
          int8Array(claims.map(({ stored }) => stored)),
        ]
      : []),
    ...(of.called ? callbackValues(all.map((s) => s.callback)) : []),
    ...(of.ordered ? [int8Array(all.map(laneIn)), int8Array(all.map((s) => s.runAt))] : []),
  ];
  const rows = (await connection.run(statement, values, statementTimeoutMs + extraMs(bytes))) as [
    number,
    number,
    boolean,
  ][];
  for (const [seq, ord, stored] of rows) {
    const submission = all[ord - 1]!;
    // It won its key and lost its share. A key that stands for no operation is free, so nothing is wrong where this fails.
    if (!stored && hasKey(submission)) await giveBackKey(submission, seq, connection).catch(() => {});
  }
  return new Map(rows.filter(([, , stored]) => stored).map(([seq, ord]) => [ord - 1, seq]));
}
