// Everything that only looks: operations, results, lists, timelines, counters, bodies.
import type {
  Counts,
  OperationFilter,
  OperationKey,
  OperationPage,
  OperationRecord,
  Queue,
  ResultRecord,
  TimelineRow,
  TimelineWanted,
} from '../../engine/engine.ts';
import { matches, type RecordColumns, stage, toRecord } from '../rows.ts';
import { int4Array, int8Array } from './arrays.ts';
import type { Connections, Row, Statement } from './connections.ts';
import type { Queues } from './queues.ts';

/** Bodies up to this come with their record; the same as in the file, so that callers see no difference. */
export const inlineBytes = 131_072;
const partBytes = 131_072;
/** Rows a list looks at before it answers with what it has and a cursor: bounds the time of a filter that matches little. */
const listScanRows = 10_000;
/** Rows of a list fetched at once. */
const chunkRows = 500;

/** In the order of `RecordColumns`, from `recordTables`. */
export const recordColumns =
  'o.seq, r.nonce, o.queue, o.stage, o.version, o.attempt, o.lease_no, r.correlation, r.labels, o.created_at, o.updated_at, o.started_at, o.finished_at, ' +
  'o.run_at, o.deadline_at, o.lease_until, o.wake_at, o.error_code, o.error_message, o.progress_seq, o.progress, o.attempt_at, o.worker, ' +
  // Only an operation that succeeded can have ended by reference, so nobody else pays for the look.
  `CASE WHEN o.stage = ${stage.succeeded} THEN (SELECT x.headers FROM result x WHERE x.seq = o.seq AND x.status = 303) END, r.key`;
export const recordTables = 'operation o JOIN request r ON r.seq = o.seq';

const byNumbers: Statement = {
  name: 'records',
  text: `SELECT ${recordColumns} FROM ${recordTables} WHERE o.seq = ANY ($1::int8[])`,
};
const requestOf: Statement = {
  name: 'request',
  text: 'SELECT head, octet_length(body) FROM request WHERE seq = $1::int8',
};
/** In the order of `ResultColumns`, from the table `result` under this name. */
export const resultColumns = (x: string): string =>
  `${x}.seq, ${x}.status, ${x}.headers, octet_length(${x}.body), ${x}.hash, CASE WHEN octet_length(${x}.body) <= ${inlineBytes} THEN ${x}.body END`;

export type ResultColumns = [
  seq: number,
  status: number,
  headers: string,
  bodyBytes: number,
  hash: string,
  body: Buffer | null,
];

export const toResult = ([, status, headers, bodyBytes, hash, body]: ResultColumns): ResultRecord => ({
  status,
  headers: JSON.parse(headers) as string[],
  bodyBytes,
  hash,
  body,
});

const resultsOf: Statement = {
  name: 'results',
  text: `SELECT ${resultColumns('x')} FROM result x WHERE x.seq = ANY ($1::int8[])`,
};
const partOf = (table: 'request' | 'result'): Statement => ({
  name: `part-of-${table}`,
  text: `SELECT substring(body FROM $2::int4 FOR ${partBytes}) FROM ${table} WHERE seq = $1::int8`,
});
const parts = { request: partOf('request'), result: partOf('result') };
const timelineOf: Statement = {
  name: 'timeline',
  text: `SELECT n, at, kind, attempt, started_at, worker, outcome, backend_status, detail, next_at, progress FROM happening
    WHERE seq = $1::int8 AND n >= $2::int4 AND kind <= $3::int2 ORDER BY n LIMIT $4::int4`,
};
/** Columns of a timeline's row, in the order in which it is read. */
export function toTimelineRow(row: Row): TimelineRow {
  const [version, at, kind, attempt, startedAt, worker, outcome, backendStatus, detail, nextAt, progress] = row;
  return {
    version: version as number,
    at: at as number,
    kind: kind === 0 ? 'attempt' : 'progress',
    attempt: attempt as number,
    startedAt: startedAt as number | null,
    worker: worker as string | null,
    outcome: outcome as string | null,
    backendStatus: backendStatus as number | null,
    detail: detail as string | null,
    nextAt: nextAt as number | null,
    progress: progress === null ? null : (JSON.parse(progress as string) as TimelineRow['progress']),
  };
}
const countsText = (
  which: string,
): string => `SELECT q.id, q.namespace, q.service, coalesce(sum(queued), 0)::int8, coalesce(sum(running), 0)::int8, coalesce(sum(succeeded), 0)::int8,
      coalesce(sum(failed), 0)::int8, coalesce(sum(cancelled), 0)::int8
    FROM queue q LEFT JOIN counter c ON c.queue = q.id ${which} GROUP BY q.id ORDER BY q.service, q.namespace`;
const allCounts: Statement = { name: 'counts', text: countsText('') };
const countsOf: Statement = { name: 'counts-of', text: countsText('WHERE q.id = ANY ($1::int4[])') };
const aheadOf: Statement = {
  name: 'ahead',
  // Ordered for the planner: the index of the ready ones is walked from its front, also by a plan made when there were none.
  text: `SELECT (SELECT count(*) FROM (SELECT FROM operation b WHERE b.queue = o.queue AND b.stage = ${stage.ready} AND (b.rank, b.seq) < (o.rank, o.seq)
      ORDER BY b.rank, b.seq LIMIT $2::int4) AS before)::int4
    FROM operation o WHERE o.seq = $1::int8 AND o.stage + 0 = ${stage.ready}`,
};

/** The index that leads to the fewest rows for a filter; all are walked newest first. */
const walks = {
  correlation: {
    name: 'list-correlation',
    text: `SELECT ${recordColumns} FROM ${recordTables} WHERE r.correlation = $2 AND r.seq < $1::int8 ORDER BY r.seq DESC LIMIT ${chunkRows}`,
  },
  key: {
    name: 'list-key',
    text: `SELECT ${recordColumns} FROM ${recordTables} WHERE r.key = $2 AND r.seq < $1::int8 ORDER BY r.seq DESC LIMIT ${chunkRows}`,
  },
  label: {
    name: 'list-label',
    text: `SELECT ${recordColumns} FROM label l JOIN operation o ON o.seq = l.seq JOIN request r ON r.seq = l.seq
      WHERE l.name = $2 AND l.value = $3 AND l.seq < $1::int8 ORDER BY l.seq DESC LIMIT ${chunkRows}`,
  },
  trouble: {
    name: 'list-trouble',
    text: `SELECT ${recordColumns} FROM ${recordTables} WHERE o.queue = $2::int4 AND o.stage > 3 AND o.seq < $1::int8 ORDER BY o.seq DESC LIMIT ${chunkRows}`,
  },
  all: {
    name: 'list',
    text: `SELECT ${recordColumns} FROM ${recordTables} WHERE o.seq < $1::int8 ORDER BY o.seq DESC LIMIT ${chunkRows}`,
  },
} satisfies Record<string, Statement>;

/** Single look-ups by number: those of one turn of the event loop are one statement. */
class ByNumber<T> {
  readonly #read: (seqs: readonly number[]) => Promise<Iterable<readonly [number, T]>>;
  #asked = new Map<number, Promise<T | undefined>>();
  #reading: Promise<Map<number, T>> | undefined;

  constructor(read: (seqs: readonly number[]) => Promise<Iterable<readonly [number, T]>>) {
    this.#read = read;
  }

  get(seq: number): Promise<T | undefined> {
    const asked = this.#asked.get(seq);
    if (asked) return asked;
    this.#reading ??= new Promise<void>((resolve) => setImmediate(resolve)).then(async () => {
      const seqs = [...this.#asked.keys()];
      this.#asked = new Map();
      this.#reading = undefined;
      return new Map(await this.#read(seqs));
    });
    const answer = this.#reading.then((found) => found.get(seq));
    this.#asked.set(seq, answer);
    return answer;
  }
}

export class Reads {
  readonly #connections: Connections;
  readonly #queues: Queues;
  readonly #records: ByNumber<OperationRecord>;
  readonly #results: ByNumber<ResultRecord>;

  constructor({ connections, queues }: { connections: Connections; queues: Queues }) {
    this.#connections = connections;
    this.#queues = queues;
    this.#records = new ByNumber(async (seqs) =>
      (await this.recordsOf(seqs)).map((record) => [record.seq, record] as const),
    );
    this.#results = new ByNumber((seqs) => this.#resultsOf(seqs));
  }

  async records(rows: readonly Row[]): Promise<OperationRecord[]> {
    await this.#queues.learn(rows.map((row) => row[2] as number));
    return (rows as unknown as RecordColumns[]).map((row) => toRecord(row, this.#queues.known(row[2])!));
  }

  async recordsOf(seqs: readonly number[]): Promise<OperationRecord[]> {
    if (seqs.length === 0) return [];
    return this.records(await this.#connections.run(byNumbers, [int8Array(seqs)]));
  }

  async operation({
    seq,
    nonce,
    namespace,
  }: OperationKey & { namespace: string }): Promise<OperationRecord | undefined> {
    const record = await this.#records.get(seq);
    return record?.nonce === nonce && record.namespace === namespace ? record : undefined;
  }

  result(seq: number): Promise<ResultRecord | undefined> {
    return this.#results.get(seq);
  }

  async #resultsOf(seqs: readonly number[]): Promise<(readonly [number, ResultRecord])[]> {
    const rows = await this.#connections.run(resultsOf, [int8Array(seqs)]);
    return (rows as unknown as ResultColumns[]).map((row) => [row[0], toResult(row)] as const);
  }

  async request(seq: number): Promise<{ head: string; bodyBytes: number } | undefined> {
    const [row] = (await this.#connections.run(requestOf, [seq])) as [string, number][];
    return row && { head: row[0], bodyBytes: row[1] };
  }

  async *body(seq: number, of: 'request' | 'result'): AsyncIterable<Uint8Array> {
    for (let from = 1; ; from += partBytes) {
      const [row] = await this.#connections.run(parts[of], [seq, from]);
      const bytes = row?.[0] as Buffer | undefined;
      if (!bytes || bytes.length === 0) return;
      yield bytes;
      if (bytes.length < partBytes) return;
    }
  }

  async timeline(seq: number, { from = 0, limit, attempts = false }: TimelineWanted = {}): Promise<TimelineRow[]> {
    const rows = await this.#connections.run(timelineOf, [seq, from, attempts ? 0 : 1, limit ?? null]);
    return rows.map(toTimelineRow);
  }

  async counts(of?: readonly number[]): Promise<{ queue: Queue; counts: Counts }[]> {
    const rows = (await (of
      ? this.#connections.run(countsOf, [int4Array(of)])
      : this.#connections.run(allCounts, []))) as [number, string, string, ...number[]][];
    return rows.map(([id, namespace, service, queued = 0, running = 0, succeeded = 0, failed = 0, cancelled = 0]) => ({
      queue: { id, namespace, service },
      counts: { queued, running, succeeded, failed, cancelled },
    }));
  }

  async ahead(seq: number, limit: number): Promise<number | undefined> {
    const [row] = await this.#connections.run(aheadOf, [seq, limit]);
    return row?.[0] as number | undefined;
  }

  async #walk(filter: OperationFilter, before: number): Promise<OperationRecord[]> {
    const run = async (statement: Statement, ...values: unknown[]): Promise<OperationRecord[]> =>
      this.records(await this.#connections.run(statement, [before, ...values]));
    if (filter.correlationId !== undefined) return run(walks.correlation, filter.correlationId);
    if (filter.key !== undefined) return run(walks.key, filter.key);
    const label = Object.entries(filter.labels ?? {})[0];
    if (label) return run(walks.label, label[0], label[1]);
    const trouble = filter.statuses?.every((status) => status === 'failed' || status === 'cancelled');
    if (trouble && filter.service !== undefined) {
      const [queue] = this.#queues.of(filter.service, filter.namespace);
      return queue === undefined ? [] : run(walks.trouble, queue);
    }
    return run(walks.all);
  }

  async operations(filter: OperationFilter): Promise<OperationPage> {
    await this.#queues.refresh();
    const items: OperationRecord[] = [];
    let looked = 0;
    let last = filter.beforeSeq ?? Number.MAX_SAFE_INTEGER;
    for (;;) {
      const records = await this.#walk(filter, last);
      for (const record of records) {
        // One more than asked was found, or enough was looked at: there is a next page.
        if (items.length === filter.limit || looked === listScanRows) return { items, nextSeq: last };
        looked++;
        last = record.seq;
        if (matches(record, filter)) items.push(record);
        // Numbers grow with time, so nothing older can match; a minute of slack for what nodes took their numbers for at once.
        else if (filter.createdAfter !== undefined && record.createdAt < filter.createdAfter - 60_000)
          return { items, nextSeq: null };
      }
      if (records.length < chunkRows) return { items, nextSeq: null };
    }
  }
}
