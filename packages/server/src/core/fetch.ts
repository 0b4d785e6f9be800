// Fetch: status, result, lists and timeline, and the cancel that ends what is looked at.
import { type ErrorCode, errorTable, WaitlessError } from '@waitless/protocol';
import type { DeliveryRecord } from '../engine/deliveries.ts';
import type {
  Engine,
  OperationFilter,
  OperationRecord,
  ResultRecord,
  StoredResult,
  TimelineRow,
} from '../engine/engine.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Dispatch } from './dispatch.ts';
import type { Ids } from './ids.ts';
import { hasOwnResult } from './lifecycle.ts';
import type { Live, News } from './live.ts';
import type { Outlook, Outlooks } from './outlook.ts';

export interface FetchDependencies {
  engine: Pick<
    Engine,
    'operation' | 'recordsOf' | 'result' | 'operations' | 'timeline' | 'cancel' | 'purge' | 'readBody' | 'deliveries'
  >;
  ids: Ids;
  live: Live;
  outlooks: Pick<Outlooks, 'of'>;
  clock: Clock;
  dispatch: Pick<Dispatch, 'abort'>;
  log: Log;
}

/** A result as it is replayed. */
export interface Replay {
  status: number;
  headers: string[];
  hash: string;
  bodyBytes: number;
  body: Uint8Array | AsyncIterable<Uint8Array>;
}

/** What a result request finds: not done yet, the result, or why there is none. */
export type Found =
  | { kind: 'pending'; record: OperationRecord }
  | { kind: 'result'; record: OperationRecord; replay: Replay };

export interface WaitOptions {
  waitMs: number;
  signal?: AbortSignal;
}

/** In a timeline; older ones are in the list of deliveries. */
const mostDeliveriesTold = 1000;

/** One sentence for every id that the caller has no part in, whatever the reason. */
export const noSuchOperation = (): WaitlessError =>
  new WaitlessError('not-found', 'there is no operation with this id');

export class Fetch {
  readonly #d: FetchDependencies;

  constructor(dependencies: FetchDependencies) {
    this.#d = dependencies;
  }

  /** The operation, or 404 that is the same for unknown ids and for those of other namespaces; 410 past its retention. */
  async operation(id: string, namespace: string): Promise<OperationRecord> {
    const key = this.#d.ids.operationKey(id);
    const record = key && (await this.#d.engine.operation({ ...key, namespace }));
    if (!record) throw noSuchOperation();
    if (record.expiresAt !== null && record.expiresAt <= this.#d.clock.now()) throw new WaitlessError('result-expired');
    return record;
  }

  /** All of these operations, in their order, or the 404 of one that is not there. */
  async operationsOf(ids: readonly string[], namespace: string): Promise<OperationRecord[]> {
    const keys = ids.map((id) => this.#d.ids.operationKey(id));
    const seqs = keys.flatMap((key) => key?.seq ?? []);
    const found = new Map<number, OperationRecord>();
    for (const record of seqs.length > 0 ? await this.#d.engine.recordsOf(seqs) : []) found.set(record.seq, record);
    return keys.map((key) => {
      const record = key && found.get(key.seq);
      if (!record || record.nonce !== key.nonce || record.namespace !== namespace) throw noSuchOperation();
      if (record.expiresAt !== null && record.expiresAt <= this.#d.clock.now())
        throw new WaitlessError('result-expired');
      return record;
    });
  }

  /** The operation once its version is above `seenVersion`, or as it is when the wait ends. */
  async changed(
    id: string,
    namespace: string,
    seenVersion: number | undefined,
    { waitMs, signal }: WaitOptions,
  ): Promise<OperationRecord> {
    const record = await this.operation(id, namespace);
    const known = seenVersion ?? record.version;
    if (waitMs <= 0 || record.finishedAt !== null || record.version > known) return record;
    this.#d.live.ensureRoom(record.namespace);
    await this.#waitFrom(record, { version: known, onlyDone: false, waitMs, ...(signal ? { signal } : {}) });
    // Read again whatever ended the wait: the hint of a change may have been lost.
    return this.operation(id, namespace);
  }

  /** Looks again after it has begun to wait: what happened in between woke nobody. */
  async #waitFrom(
    record: OperationRecord,
    { version, onlyDone, waitMs, signal }: { version: number; onlyDone: boolean } & WaitOptions,
  ): Promise<News | undefined> {
    const waiting = this.#d.live.wait(record.seq, {
      namespace: record.namespace,
      version,
      onlyDone,
      timeoutMs: waitMs,
      ...(signal ? { signal } : {}),
    });
    const again = await this.#d.engine
      .operation({ seq: record.seq, nonce: record.nonce, namespace: record.namespace })
      // A store that cannot be read at this moment ends no wait: the slow poll looks again.
      .catch(() => record);
    if (!again || again.finishedAt !== null || (!onlyDone && again.version > version)) {
      this.#d.live.wake(record.seq, {
        version: again?.version ?? Number.MAX_SAFE_INTEGER,
        done: again?.finishedAt !== null,
      });
      return { version: again?.version ?? record.version, done: true };
    }
    return waiting;
  }

  /** Resolves once the operation has ended, or the wait has. */
  async ended(record: OperationRecord, { waitMs, signal }: WaitOptions): Promise<void> {
    if (record.finishedAt !== null || waitMs <= 0) return;
    this.#d.live.ensureRoom(record.namespace);
    await this.#waitFrom(record, { version: record.version, onlyDone: true, waitMs, ...(signal ? { signal } : {}) });
  }

  async result(id: string, namespace: string, { waitMs, signal }: WaitOptions): Promise<Found> {
    let record = await this.operation(id, namespace);
    if (record.finishedAt === null && waitMs > 0) {
      await this.ended(record, { waitMs, ...(signal ? { signal } : {}) });
      record = await this.operation(id, namespace);
    }
    return record.finishedAt === null
      ? { kind: 'pending', record }
      : { kind: 'result', record, replay: await this.#replay(record) };
  }

  /** The stored result, or the problem that says why the operation ended without one. */
  async #replay(record: OperationRecord): Promise<Replay> {
    const code = record.error?.code;
    const result = hasOwnResult(record) ? await this.#d.engine.result(record.seq) : undefined;
    if (result) return this.#toReplay(record.seq, result);
    if (code === undefined) throw new WaitlessError('result-expired', 'the result is gone');
    const known = code in errorTable ? (code as ErrorCode) : undefined;
    // A worker's own failure code is no code of ours: 502, with its words in the detail.
    if (!known)
      throw new WaitlessError('failed-by-worker', `${code}: ${record.error!.message}`, {
        members: { errorCode: code },
      });
    throw new WaitlessError(known, record.error!.message);
  }

  /** A stored result as it is replayed. */
  replayOf({ operation, result }: Pick<StoredResult, 'operation' | 'result'>): Replay {
    return this.#toReplay(operation.seq, result);
  }

  #toReplay(seq: number, result: ResultRecord): Replay {
    const { status, headers, hash, bodyBytes } = result;
    return { status, headers, hash, bodyBytes, body: result.body ?? this.#d.engine.readBody(seq, 'result') };
  }

  list(filter: OperationFilter): ReturnType<Engine['operations']> {
    return this.#d.engine.operations(filter);
  }

  async timeline(
    id: string,
    namespace: string,
  ): Promise<{
    record: OperationRecord;
    rows: TimelineRow[];
    backendStatus: number | null;
    deliveries: DeliveryRecord[];
  }> {
    const record = await this.operation(id, namespace);
    const { engine } = this.#d;
    const rows = await engine.timeline(record.seq);
    const result = record.finishedAt === null ? undefined : await engine.result(record.seq);
    const deliveries = await engine.deliveries({ namespace, seq: record.seq, limit: mostDeliveriesTold });
    return { record, rows, backendStatus: result?.status ?? null, deliveries: deliveries.reverse() };
  }

  /** Best effort and repeatable: the operation as it stands after. */
  async cancel(id: string, namespace: string): Promise<OperationRecord> {
    const { ids, engine, clock, dispatch, live, log } = this.#d;
    const key = ids.operationKey(id);
    const outcome = key ? await engine.cancel({ ...key, namespace }, clock.now()) : { kind: 'unknown' as const };
    if (outcome.kind === 'unknown') throw noSuchOperation();
    if (outcome.kind === 'cancelled') {
      dispatch.abort(outcome.operation.seq);
      live.wake(outcome.operation.seq, { version: outcome.operation.version, done: true });
      log.info?.('operation.cancelled', { operation: id, service: outcome.operation.service, namespace });
    }
    return outcome.operation;
  }

  async purge(id: string, namespace: string): Promise<void> {
    const record = await this.operation(id, namespace);
    if (
      record.finishedAt === null ||
      !(await this.#d.engine.purge({ seq: record.seq, nonce: record.nonce, namespace }))
    )
      throw new WaitlessError('not-finished');
  }

  /** What lies before it: asked for one at a time, not for lists. */
  outlook(record: OperationRecord): Promise<Outlook> {
    return this.#d.outlooks.of(record);
  }
}
