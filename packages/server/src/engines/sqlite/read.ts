// Everything that only looks: one operation, its result, lists, the timeline, counters.
import type {
  Counts,
  OperationFilter,
  OperationPage,
  OperationRecord,
  Queue,
  ResultRecord,
  TimelineRow,
  TimelineWanted,
} from '../../engine/engine.ts';
import { type RecordColumns, stage, statusOfStage, toRecord } from '../rows.ts';
import type { CallbackStatements } from './callbacks.ts';
import { type KeyedStatements, textHash } from './keyed.ts';
import type { LaneStatements } from './lanes.ts';
import { recordColumns } from './record.ts';
import type { Store } from './store.ts';
import type { TransitionStatements } from './transitions.ts';

/** Rows a list looks at before it answers with what it has and a cursor: bounds the time of a filter that matches little. */
const listScanRows = 10_000;

const from = 'FROM operation o JOIN request r ON r.seq = o.seq';

export interface ReadStatements {
  operation(key: { seq: number; nonce: string; namespace: string }): OperationRecord | undefined;
  recordsOf(seqs: readonly number[]): OperationRecord[];
  result(seq: number): ResultRecord | undefined;
  operations(filter: OperationFilter): OperationPage;
  request(seq: number): { head: string; bodyBytes: number } | undefined;
  timeline(seq: number, wanted?: TimelineWanted): TimelineRow[];
  counts(of?: readonly number[]): { queue: Queue; counts: Counts }[];
  ahead(seq: number, limit: number): number | undefined;
}

export function readStatements(store: Store): ReadStatements {
  const { db } = store;
  const readOne = db.prepare<[number], RecordColumns>(`SELECT ${recordColumns} ${from} WHERE o.seq = +?`).raw();
  const readResult = db.prepare<
    [number],
    { status: number; headers: string; body: Buffer | null; body_bytes: number; hash: string }
  >('SELECT status, headers, body, body_bytes, hash FROM result WHERE seq = ?');
  const readRequest = db.prepare<[number], { head: string; bodyBytes: number }>(
    'SELECT head, body_bytes AS bodyBytes FROM request WHERE seq = ?',
  );
  const readTimeline = db.prepare<[number, number, number, number], Record<string, never>>(
    'SELECT * FROM happening WHERE seq = +? AND n >= +? AND kind <= +? ORDER BY n LIMIT +?',
  );
  const readCounts = db.prepare<[], Queue & Counts>('SELECT * FROM queue ORDER BY service, namespace');

  const readCount = db.prepare<[number], Queue & Counts>('SELECT * FROM queue WHERE id = ?');
  const readRank = db.prepare<[number], { queue: number; rank: number }>(
    `SELECT queue, rank FROM operation WHERE seq = ? AND stage = ${stage.ready}`,
  );
  // Two ranges of one index: with both conditions in one, all of the same rank would be looked at, however many came after.
  const ready = `FROM operation INDEXED BY operation_ready WHERE queue = +? AND stage = ${stage.ready}`;
  const countBefore = db
    .prepare<[number, number, number], number>(`SELECT count(*) FROM (SELECT 1 ${ready} AND rank < +? LIMIT +?)`)
    .pluck();
  const countBeside = db
    .prepare<[number, number, number, number], number>(
      `SELECT count(*) FROM (SELECT 1 ${ready} AND rank = +? AND seq < +? LIMIT +?)`,
    )
    .pluck();

  const recordOf = (row: RecordColumns): OperationRecord => toRecord(row, store.queues.get(row[2])!);

  /** The index that leads to the fewest rows for this filter; all are walked newest first. */
  function walk(filter: OperationFilter): IterableIterator<RecordColumns> {
    const before = filter.beforeSeq ?? Number.MAX_SAFE_INTEGER;
    const label = Object.entries(filter.labels ?? {})[0];
    const select = `SELECT ${recordColumns}`;
    const run = (sql: string, ...values: (string | number)[]): IterableIterator<RecordColumns> =>
      db
        .prepare<unknown[], RecordColumns>(sql)
        .raw()
        .iterate(...values);
    if (filter.correlationId !== undefined)
      return run(
        `${select} ${from} WHERE r.correlation = ? AND r.seq < ? ORDER BY r.seq DESC`,
        filter.correlationId,
        before,
      );
    if (filter.key !== undefined)
      return run(
        `${select} ${from} WHERE r.key_hash = ? AND r.seq < ? ORDER BY r.seq DESC`,
        textHash(filter.key),
        before,
      );
    if (label)
      return run(
        `${select} FROM label l JOIN operation o ON o.seq = l.seq JOIN request r ON r.seq = l.seq WHERE l.name = ? AND l.value = ? AND l.seq < ? ORDER BY l.seq DESC`,
        label[0],
        label[1],
        before,
      );
    const trouble = filter.statuses?.every((s) => s === 'failed' || s === 'cancelled') && filter.service !== undefined;
    if (trouble) {
      const queue = store.queuesOf(filter.service!, filter.namespace)[0] ?? -1;
      return run(
        `${select} FROM operation o INDEXED BY operation_trouble JOIN request r ON r.seq = o.seq WHERE o.queue = ? AND o.stage >= 4 AND o.seq < ? ORDER BY o.seq DESC`,
        queue,
        before,
      );
    }
    return run(`${select} ${from} WHERE o.seq < ? ORDER BY o.seq DESC`, before);
  }

  /** On the bare row: a list that matches little looks at thousands, and making a record of each would be most of its cost. */
  function matches(row: RecordColumns, filter: OperationFilter): boolean {
    const queue = store.queues.get(row[2])!;
    if (queue.namespace !== filter.namespace) return false;
    if (filter.service !== undefined && queue.service !== filter.service) return false;
    if (filter.key !== undefined && row[24] !== filter.key) return false;
    if (filter.statuses && !filter.statuses.includes(statusOfStage[row[3]]!)) return false;
    if (filter.createdAfter !== undefined && row[9] <= filter.createdAfter) return false;
    if (filter.createdBefore !== undefined && row[9] >= filter.createdBefore) return false;
    if (filter.labels) {
      const labels = row[8] === null ? {} : (JSON.parse(row[8]) as Record<string, string>);
      for (const [name, value] of Object.entries(filter.labels))
        if (!Object.hasOwn(labels, name) || labels[name] !== value) return false;
    }
    return true;
  }

  return {
    operation({ seq, nonce, namespace }) {
      const row = readOne.get(seq);
      const record = row?.[1] === nonce ? recordOf(row) : undefined;
      return record?.namespace === namespace ? record : undefined;
    },
    recordsOf(seqs) {
      const rows = seqs.map((seq) => readOne.get(seq)).filter((row) => row !== undefined);
      return rows.map(recordOf);
    },
    result(seq) {
      const row = readResult.get(seq);
      if (!row) return undefined;
      const body = row.body_bytes === 0 ? Buffer.alloc(0) : row.body;
      return {
        status: row.status,
        headers: JSON.parse(row.headers) as string[],
        body,
        bodyBytes: row.body_bytes,
        hash: row.hash,
      };
    },
    request: (seq) => readRequest.get(seq),
    operations(filter) {
      const items: OperationRecord[] = [];
      let looked = 0;
      let last = 0;
      for (const row of walk(filter)) {
        // One more than asked was found, or enough was looked at: there is a next page.
        if (items.length === filter.limit || looked === listScanRows) return { items, nextSeq: last };
        looked++;
        last = row[0];
        if (matches(row, filter)) items.push(recordOf(row));
        // Keys grow with time, so nothing older can match; a minute of slack for clocks that differ between nodes.
        else if (filter.createdAfter !== undefined && row[9] < filter.createdAfter - 60_000) break;
      }
      return { items, nextSeq: null };
    },
    timeline: (seq, { from: first = 0, limit = -1, attempts = false } = {}) =>
      readTimeline.all(seq, first, attempts ? 0 : 1, limit).map((row) => ({
        version: row['n']!,
        at: row['at']!,
        kind: row['kind'] === 0 ? ('attempt' as const) : ('progress' as const),
        attempt: row['attempt']!,
        startedAt: row['started_at']!,
        worker: row['worker']!,
        outcome: row['outcome']!,
        backendStatus: row['backend_status']!,
        detail: row['detail']!,
        nextAt: row['next_at']!,
        progress: row['progress'] === null ? null : (JSON.parse(row['progress']!) as TimelineRow['progress']),
      })),
    counts: (of) =>
      (of ? of.flatMap((id) => readCount.all(id)) : readCounts.all()).map(
        ({ id, namespace, service, queued, running, succeeded, failed, cancelled }) => ({
          queue: { id, namespace, service },
          counts: { queued, running, succeeded, failed, cancelled },
        }),
      ),
    ahead(seq, limit) {
      const at = readRank.get(seq);
      if (!at) return undefined;
      const before = countBefore.get(at.queue, at.rank, limit)!;
      return before === limit ? limit : before + countBeside.get(at.queue, at.rank, seq, limit - before)!;
    },
  };
}

/** Ends an operation by its client's wish. */
export function cancelStatements(
  store: Store,
  {
    reads,
    keyed,
    lanes,
    callbacks,
    transitions,
  }: {
    reads: ReadStatements;
    keyed: KeyedStatements;
    lanes: LaneStatements;
    callbacks: CallbackStatements;
    transitions: TransitionStatements;
  },
) {
  const cancel = store.db.prepare<unknown[], { version: number; callbacks: number | null; lane: number | null }>(
    `UPDATE operation SET stage = ${stage.cancelled}, version = version + 1, updated_at = ?, finished_at = ?, wake_at = max(? + retention_ms, coalesce(keep_until, 0)), lease_until = NULL, lease_kind = NULL,
       run_at = NULL, error_code = 'cancelled', error_message = 'cancelled by the client' WHERE seq = ? RETURNING version, callbacks, lane`,
  );
  const stageOf = store.db.prepare<[number], number>('SELECT stage FROM operation WHERE seq = ?').pluck();
  return (key: {
    seq: number;
    nonce: string;
    namespace: string;
  }): { before: OperationRecord | undefined; after: OperationRecord | undefined } => {
    const before = reads.operation(key);
    const at = stageOf.get(key.seq);
    if (!before || at === undefined || at >= stage.succeeded) return { before, after: undefined };
    const ended = cancel.get(store.nowMs, store.nowMs, store.nowMs, key.seq)!;
    store.count(before.queue, at, stage.cancelled);
    keyed.ended(key.seq);
    callbacks.ended({ seq: key.seq, queue: before.queue, ...ended });
    lanes.ended(key.seq, ended.lane);
    transitions.tell(key.seq, before.queue);
    return { before, after: reads.operation(key) };
  };
}
