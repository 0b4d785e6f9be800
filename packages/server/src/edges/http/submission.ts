// What a request to a service asks for, read from its head: one way for requests of their own and for those in a batch.
import { WaitlessError } from '@waitless/protocol';
import type { Services } from '../../core/services.ts';
import type { SubmitRequest } from '../../core/submit.ts';
import { callbackOf } from './callback-fields.ts';
import type { FieldLookup } from './exchange.ts';
import {
  cacheWish,
  correlationId,
  durability,
  durationField,
  forwarded,
  idempotencyKey,
  isTraceparent,
  labels,
  orderingKey,
  priority,
  refuseUnbuilt,
  resultKey,
  waiting,
  type Waiting,
  withoutStreamWish,
} from './fields.ts';
import { namedService } from './named-service.ts';
import { asksForStream } from './sse.ts';

/** The head of a request to a service. */
export interface CallHead {
  namespace: string;
  /** Name of the service. */
  service: string;
  method: string;
  /** Path below the service and query, as they came. */
  path: string;
  query: string;
  headers: FieldLookup;
  /** Name and value in turn, as they came. */
  rawHeaders: readonly string[];
  /** The address under which the caller knows the server. */
  base: string;
}

export interface Submission {
  request: Omit<SubmitRequest, 'body'>;
  hold: Waiting;
  /** The answer is to be the stream of the operation's events. */
  streams: boolean;
}

export function readSubmission(
  { namespace, service: name, method, path, query, headers, rawHeaders, base }: CallHead,
  { services, maxWaitMs }: { services: Services; maxWaitMs: number },
): Submission {
  const service = namedService(services, name);
  refuseUnbuilt(headers);
  const hold = waiting(headers, service, maxWaitMs);
  const level = durability(headers);
  const key = idempotencyKey(headers);
  const delayMs = durationField(headers, 'Operation-Delay');
  const streams = asksForStream(headers('accept'));
  if (level === 'none') refuseWithNone(headers, { hold, streams });
  const correlation = correlationId(headers);
  const callback = callbackOf(headers, { correlationId: correlation, base });
  const trace = headers('traceparent');
  const all = forwarded(rawHeaders, service.forward);
  const passedOn = streams ? withoutStreamWish(all) : all;
  return {
    hold,
    streams,
    request: {
      namespace,
      service,
      head: {
        method,
        path,
        query,
        headers:
          trace !== undefined && !isTraceparent(trace)
            ? passedOn.filter(([field]) => !/^trace(parent|state)$/i.test(field))
            : passedOn,
      },
      contentType: headers('content-type'),
      contentEncoding: headers('content-encoding'),
      resultKey: resultKey(headers),
      cache: cacheWish(headers),
      correlationId: correlation,
      callback,
      labels: labels(headers),
      orderingKey: orderingKey(headers),
      idempotencyKey: key,
      durability: level,
      timeoutMs: durationField(headers, 'Operation-Timeout'),
      delayMs,
      startByMs: durationField(headers, 'Operation-Start-By'),
      priority: priority(headers),
      waits: level !== 'none' && (streams || hold.waitMs > 0),
    },
  };
}

/** What keeps nothing cannot wait, be repeated safely, or be held to a time. */
const kept = [
  'Idempotency-Key',
  'Operation-Delay',
  'Operation-Timeout',
  'Operation-Start-By',
  'Operation-Priority',
  'Ordering-Key',
  'Result-Key',
  'Callback-Url',
] as const;

function refuseWithNone(
  headers: FieldLookup,
  { hold: { preferences }, streams }: { hold: Waiting; streams: boolean },
): void {
  const clash = streams
    ? 'Accept: text/event-stream'
    : preferences.waitSeconds === undefined
      ? kept.find((name) => headers(name.toLowerCase()) !== undefined)
      : 'Prefer: wait';
  if (clash) {
    throw new WaitlessError(
      'conflicting-headers',
      `Operation-Durability: none keeps nothing, so ${clash} cannot be honoured; drop one of the two`,
      { members: { accepted: false } },
    );
  }
}
