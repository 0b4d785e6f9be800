// Looking at callbacks and having them sent again: what their senders see of the deliveries that `deliver.ts` makes.
import type { Delivery, DeliveryAttempt, DeliveryWithAttempts } from '@waitless/protocol';
import { WaitlessError } from '@waitless/protocol';
import type {
  DeliveryAttempt as AttemptRecord,
  DeliveryEngine,
  DeliveryRecord,
  DeliveryState,
} from '../engine/deliveries.ts';
import { type Clock, isoTime } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Fetch } from './fetch.ts';
import type { Ids } from './ids.ts';
import { eventIdOf } from './operation-events.ts';

export interface DeliveriesDependencies {
  engine: Pick<DeliveryEngine, 'deliveries' | 'delivery' | 'redeliver'>;
  fetch: Pick<Fetch, 'operation'>;
  ids: Ids;
  clock: Clock;
  log: Log;
}

export interface PageWanted {
  namespace: string;
  limit: number;
  /** Only those with a smaller number. */
  before: number | undefined;
}

export interface DeliveryPage {
  items: DeliveryRecord[];
  /** Number of the last one, where there may be more. */
  next: number | null;
}

const noSuchDelivery = (): WaitlessError => new WaitlessError('not-found', 'there is no such delivery');

export class Deliveries {
  readonly #d: DeliveriesDependencies;

  constructor(dependencies: DeliveriesDependencies) {
    this.#d = dependencies;
  }

  /** Those of a namespace, newest first. */
  list(wanted: PageWanted & { state?: DeliveryState | undefined }): Promise<DeliveryPage> {
    const { state } = wanted;
    return this.#page(wanted, state === undefined ? {} : { state });
  }

  /** Those of an operation. Throws where the namespace has none such. */
  async ofOperation(id: string, wanted: PageWanted): Promise<DeliveryPage> {
    const { seq } = await this.#d.fetch.operation(id, wanted.namespace);
    return this.#page(wanted, { seq });
  }

  async one(id: string, namespace: string): Promise<{ delivery: DeliveryRecord; attempts: AttemptRecord[] }> {
    const number = this.#d.ids.deliveryNumber(id);
    const found = number === undefined ? undefined : await this.#d.engine.delivery(number, namespace);
    if (!found) throw noSuchDelivery();
    return found;
  }

  /** Has it sent at once, whatever became of it before. */
  async retry(id: string, namespace: string): Promise<DeliveryRecord> {
    const { engine, ids, clock, log } = this.#d;
    const number = ids.deliveryNumber(id);
    const outcome =
      number === undefined ? { kind: 'unknown' as const } : await engine.redeliver(number, namespace, clock.now());
    if (outcome.kind === 'unknown') throw noSuchDelivery();
    if (outcome.kind === 'sending') throw new WaitlessError('delivery-under-way');
    log.info?.('delivery.retried', { delivery: id, operation: ids.operationId(outcome.delivery.operation), namespace });
    return outcome.delivery;
  }

  async #page(
    { namespace, limit, before }: PageWanted,
    only: { seq?: number; state?: DeliveryState },
  ): Promise<DeliveryPage> {
    const filter = { namespace, ...only, limit: limit + 1, ...(before === undefined ? {} : { before }) };
    const found = await this.#d.engine.deliveries(filter);
    const items = found.slice(0, limit);
    return { items, next: found.length > limit ? items.at(-1)!.number : null };
  }
}

/** As its sender sees it. */
export function shownDelivery(record: DeliveryRecord, { ids, base }: { ids: Ids; base: string }): Delivery {
  const { callback, operation, version, state, attempt, createdAt, nextAt, endedAt, code } = record;
  const [id, operationId] = [ids.deliveryId(record.number), ids.operationId(operation)];
  return {
    id,
    operation: operationId,
    eventId: eventIdOf(operationId, version),
    correlationId: callback.correlationId ?? operationId,
    url: callback.url,
    body: callback.thin ? 'thin' : 'full',
    status: state,
    attempt,
    createdAt: isoTime(createdAt)!,
    nextAt: isoTime(nextAt),
    endedAt: isoTime(endedAt),
    code,
    links: { self: `${base}/v1/deliveries/${id}`, operation: `${base}/v1/operations/${operationId}` },
  };
}

export const shownWithAttempts = (
  { delivery, attempts }: { delivery: DeliveryRecord; attempts: readonly AttemptRecord[] },
  how: { ids: Ids; base: string },
): DeliveryWithAttempts => ({ ...shownDelivery(delivery, how), attempts: attempts.map(shownAttempt) });

const shownAttempt = ({ at, answer, nextAt, ...rest }: AttemptRecord): DeliveryAttempt => ({
  ...rest,
  at: isoTime(at)!,
  answer: answer && plainText(answer),
  nextAt: isoTime(nextAt),
});

/** What a stranger's answer might do to whoever reads it in a terminal or a log: nothing. Controls, and what turns or hides text, as escapes. */
export function plainText(bytes: Uint8Array): string {
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
  // oxlint-disable-next-line no-control-regex -- those are what it looks for
  return text.replace(/[\0-\x1f\x7f-\x9f]|\p{Cf}|\u2028|\u2029/gu, (one) => {
    if (one === '\n') return '\\n';
    if (one === '\r') return '\\r';
    if (one === '\t') return '\\t';
    const code = one.codePointAt(0)!.toString(16);
    return code.length <= 2 ? `\\x${code.padStart(2, '0')}` : `\\u{${code}}`;
  });
}
