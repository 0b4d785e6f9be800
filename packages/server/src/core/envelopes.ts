// Makes a delivery ready to be sent: reads what it tells of, writes the notice, and signs those bytes with every secret in use.
import { buffer } from 'node:stream/consumers';
import type { Delivery } from '../engine/deliveries.ts';
import type { Engine, OperationRecord, RequestHead } from '../engine/engine.ts';
import { signatureFields } from '../lib/webhook-signature.ts';
import type { BodyBudget } from './body-budget.ts';
import type { CallbackSecrets } from './callback-secrets.ts';
import { includedResultJson, mostIncludedBytes } from './document.ts';
import type { Ids } from './ids.ts';
import { hasOwnResult } from './lifecycle.ts';
import { noticeOf, noticeType } from './notice.ts';

export interface EnvelopesDependencies {
  engine: Pick<Engine, 'operation' | 'timeline' | 'result' | 'request' | 'readBody'>;
  ids: Pick<Ids, 'operationId'>;
  secrets: Pick<CallbackSecrets, 'current'>;
  budget: Pick<BodyBudget, 'hold' | 'release'>;
  /** What a signature is dated with: the wall's time, not the store's, since receivers compare it with their own. */
  wallNow?: () => number;
}

export interface Envelope {
  headers: [string, string][];
  body: Uint8Array;
  /** To be called when the body is not needed any more. */
  release: () => void;
}

export class Envelopes {
  readonly #d: EnvelopesDependencies;

  constructor(dependencies: EnvelopesDependencies) {
    this.#d = dependencies;
  }

  /** Undefined where the operation is not kept any more. Rejects with `secrets-locked` where it cannot be signed, and where the store cannot be read. */
  async of(delivery: Delivery, signal: AbortSignal): Promise<Envelope | undefined> {
    const { engine, ids, secrets, budget, wallNow = Date.now } = this.#d;
    const { namespace, operation, version, callback } = delivery;
    const record = await engine.operation({ ...operation, namespace });
    if (!record || record.version < version) return undefined;
    const isEnd = record.finishedAt !== null && version === record.version;
    const [rows, result, request, current] = await Promise.all([
      isEnd ? [] : engine.timeline(record.seq, { from: version, limit: 1 }),
      isEnd && !callback.thin ? this.#result(record) : undefined,
      engine.request(record.seq),
      secrets.current(namespace),
    ]);
    const row = rows.find((one) => one.version === version);
    const { id, body } = noticeOf({ delivery, record, row, id: ids.operationId(record), result });
    const signature = await signatureFields({
      secrets: current.map(({ secret }) => secret),
      id,
      nowMs: wallNow(),
      body,
      signal,
    });
    budget.hold(body.length);
    return {
      headers: [['Content-Type', noticeType], ['User-Agent', 'Waitless'], ...traceOf(request?.head), ...signature],
      body,
      release: () => budget.release(body.length),
    };
  }

  /** JSON of a result that is small enough. */
  async #result(record: OperationRecord): Promise<string | undefined> {
    const { engine } = this.#d;
    const result = hasOwnResult(record) ? await engine.result(record.seq) : undefined;
    if (!result || result.bodyBytes > mostIncludedBytes) return undefined;
    const body = result.body ?? (await buffer(engine.readBody(record.seq, 'result')));
    return includedResultJson(result, body);
  }
}

/** The submitter's trace goes on, as with every attempt. */
function traceOf(head: string | undefined): [string, string][] {
  if (head === undefined) return [];
  const { headers } = JSON.parse(head) as RequestHead;
  return headers.filter(([name]) => /^(traceparent|tracestate)$/i.test(name));
}
