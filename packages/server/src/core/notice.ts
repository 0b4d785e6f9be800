// What a receiver is told: one event of an operation as a CloudEvent, with the result where it is small enough. Pure.
import { isoTime } from '../lib/clock.ts';
import type { Delivery } from '../engine/deliveries.ts';
import type { OperationRecord, TimelineRow } from '../engine/engine.ts';
import { eventIdOf, eventJson, eventsOf } from './operation-events.ts';

export const noticeType = 'application/cloudevents+json';

export interface NoticeParts {
  delivery: Pick<Delivery, 'callback' | 'version'>;
  record: OperationRecord;
  /** Of the version that it tells; none is needed for the end. */
  row: TimelineRow | undefined;
  /** Of the operation. */
  id: string;
  /** JSON of the result, as in a status document. */
  result: string | undefined;
}

export interface Notice {
  /** The same for each try, and on every other outlet. */
  id: string;
  /** The very bytes that are signed and sent. */
  body: Buffer;
}

/** The submitter's correlation id stands in it, also where the operation that was joined has another one. */
export function noticeOf({ delivery, record, row, id, result }: NoticeParts): Notice {
  const { version, callback } = delivery;
  const { base, correlationId } = callback;
  const [event] = eventsOf({ ...record, correlationId }, row ? [row] : [], { id, after: version - 1, upTo: version });
  if (!event) throw new Error(`operation ${id} has no version ${version}`);
  const data = eventJson(event, { id, base });
  const eventId = eventIdOf(id, version);
  // The data is put in as the text that it is: parsed and written anew, numbers and repeated names of a result would change.
  const head = JSON.stringify({
    specversion: '1.0',
    id: eventId,
    source: `${base}/v1/operations`,
    type: `waitless.operation.${event.kind}`,
    subject: id,
    time: isoTime(event.at),
    datacontenttype: 'application/json',
  });
  const whole = result === undefined ? data : `${data.slice(0, -1)},"result":${result}}`;
  return { id: eventId, body: Buffer.from(`${head.slice(0, -1)},"data":${whole}}`) };
}
