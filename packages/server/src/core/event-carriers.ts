// Carries one event to a push subscriber: as a signed webhook, or as a request that becomes an operation.
import { hash } from 'node:crypto';
import { WaitlessError } from '@waitless/protocol';
import type { ServiceConfig } from '../config/config-shape.ts';
import type { LoggedEvent } from '../engine/topics.ts';
import type { Log } from '../lib/log.ts';
import { signatureFields } from '../lib/webhook-signature.ts';
import type { CallbackSecrets } from './callback-secrets.ts';
import type { NoticeTarget } from './deliver.ts';
import type { Attributes } from './event-filter.ts';
import { attributesOf } from './event-taking.ts';
import { type EventOrigin, type EventOrigins, hopsAttribute, isOwnTransition, mostHops } from './event-origins.ts';
import type { Carried } from './event-verdicts.ts';
import { binaryFields, dataType, structuredJson } from './event-words.ts';
import { noticeType } from './notice.ts';
import type { SubmitRequest, SubmitVerbs } from './submit.ts';
import type { SubscriptionSettings } from './subscriptions.ts';
import { traceFields } from './trace-context.ts';

/** One event on its way. */
export interface Push {
  settings: SubscriptionSettings;
  event: LoggedEvent;
  signal: AbortSignal;
}

/** Never rejects: what goes wrong is an answer too. */
export type Carry = (push: Push) => Promise<Carried>;

/** After a failure of our own: long enough not to spin, short enough that nobody notices much. */
const ownPauseMs = 5000;
/** A secret that cannot be opened is mended by a person. */
const lockedPauseMs = 30_000;
/** A queue that asks for more is asked again before. */
const longestPauseMs = 60_000;

/**
 * What a receiver knows a repeat by: the same for each try and after a redrive, another one for each subscription, so that none is taken for that of
 * another. Letters and digits alone, since the id stands in what is signed, between dots.
 */
export function messageIdOf({ number }: Pick<SubscriptionSettings, 'number'>, { source, id }: Attributes): string {
  const text = [number, source, id].map((part) => `${String(part).length}:${String(part)}`).join('');
  return `evt_${hash('sha256', text, 'hex').slice(0, 40)}`;
}

export interface WebhookCarrierDependencies {
  target: NoticeTarget;
  secrets: Pick<CallbackSecrets, 'current'>;
  /** What a signature is dated with: the wall's time, not the store's, since receivers compare it with their own. */
  wallNow?: (() => number) | undefined;
  log: Log;
}

export function webhookCarrier({ target, secrets, wallNow = Date.now, log }: WebhookCarrierDependencies): Carry {
  return async ({ settings, event, signal }) => {
    const { namespace, target: to } = settings;
    if (to.kind !== 'webhook') throw new Error(`the subscription ${settings.name} has no URL`);
    let headers: [string, string][];
    const body = Buffer.from(structuredJson(event));
    try {
      const own = to.secrets ?? (await secrets.current(namespace)).map(({ secret }) => secret);
      const attributes = attributesOf(event);
      const id = messageIdOf(settings, attributes);
      const signature = await signatureFields({ secrets: own, id, nowMs: wallNow(), body, signal });
      headers = merged([['User-Agent', 'Waitless'], ...traceFields(attributes)], Object.entries(to.headers), [
        ['Content-Type', noticeType],
        ...signature,
      ]);
    } catch (error) {
      if (signal.aborted) return { kind: 'interrupted' };
      const locked = error instanceof WaitlessError && error.code === 'secrets-locked';
      log.warn('event.unsent', { subscription: settings.name, namespace, position: event.position, error });
      return locked
        ? { kind: 'postponed', code: 'secrets-locked', detail: 'it cannot be signed now', afterMs: lockedPauseMs }
        : { kind: 'postponed', code: 'not-sent', detail: 'it could not be made ready', afterMs: ownPauseMs };
    }
    const tried = await target.post({ url: to.url, headers, body, signal });
    // Whatever it was that failed, it may have been our own end.
    return tried.kind === 'failed' && signal.aborted ? { kind: 'interrupted' } : { kind: 'tried', tried };
  };
}

/** A later field takes the place of an earlier one of its name. */
function merged(...lists: (readonly [string, string])[][]): [string, string][] {
  const fields = new Map<string, [string, string]>();
  for (const list of lists) for (const [name, value] of list) fields.set(name.toLowerCase(), [name, value]);
  return [...fields.values()];
}

export interface ServiceCarrierDependencies {
  submit: SubmitVerbs['submit'];
  /** Also one that was made a moment ago on another node. */
  find: (service: string) => Promise<ServiceConfig | undefined>;
  origins: Pick<EventOrigins, 'of'>;
  log: Log;
}

/** An operation for each event: the same path as a POST to the service in the binary mode of CloudEvents. */
export function serviceCarrier({ submit, find, origins, log }: ServiceCarrierDependencies): Carry {
  return async ({ settings, event }) => {
    const { namespace, name, target } = settings;
    if (target.kind !== 'service') throw new Error(`the subscription ${name} has no service`);
    if (isOwnTransition(event, target.service)) return { kind: 'left-out' };
    try {
      const service = await find(target.service);
      if (!service)
        return {
          kind: 'refused',
          code: 'unknown-target',
          detail: `there is no service ${target.service} any more; make it, or change the subscription, and redrive`,
        };
      if (event.body.length > service.maxBodyBytes)
        return {
          kind: 'refused',
          code: 'payload-too-large',
          detail: `the data is larger than the service's maxBody of ${service.maxBodyBytes} bytes`,
        };
      const origin = await origins.of(event, namespace);
      if (origin.hops >= mostHops)
        return {
          kind: 'refused',
          code: 'too-many-hops',
          detail: `${mostHops} operations have led to this event one after another, which is taken for a loop`,
        };
      await submit(requestOf(settings, { service, event, origin }));
      return { kind: 'started' };
    } catch (error) {
      if (error instanceof WaitlessError && !error.retry)
        return { kind: 'refused', code: error.code, detail: error.message };
      if (error instanceof WaitlessError) {
        const afterMs = Math.min(Math.max(error.retryAfterSeconds ?? 1, 1) * 1000, longestPauseMs);
        return { kind: 'postponed', code: error.code, detail: error.message, afterMs };
      }
      log.warn('event.unsent', { subscription: name, namespace, position: event.position, error });
      return { kind: 'postponed', code: 'not-sent', detail: 'it could not be submitted', afterMs: ownPauseMs };
    }
  };
}

export function requestOf(
  { number, namespace }: Pick<SubscriptionSettings, 'number' | 'namespace'>,
  { service, event, origin }: { service: ServiceConfig; event: LoggedEvent; origin: EventOrigin },
): SubmitRequest {
  const attributes = attributesOf(event);
  return {
    namespace,
    service,
    head: {
      method: 'POST',
      path: '',
      query: '',
      headers: merged(binaryFields(event), traceFields(attributes), [[`ce-${hopsAttribute}`, String(origin.hops + 1)]]),
    },
    body: event.body,
    contentType: event.body.length === 0 ? undefined : dataType(attributes),
    contentEncoding: undefined,
    resultKey: null,
    cache: { noStore: false, noCache: false, maxAgeMs: null, onlyIfCached: false },
    correlationId: origin.correlationId,
    labels: null,
    // Unlike any that a client can send, which is printable: nobody can take the place of an event.
    idempotencyKey: `event\t${number}\t${event.position}`,
    // A second one would be made for an event whose operation failed between its submit and the word of it.
    retryFailed: false,
    durability: 'stored',
    timeoutMs: undefined,
    delayMs: undefined,
    startByMs: undefined,
    priority: undefined,
    // The work keeps the order that the events have.
    orderingKey: event.orderingKey,
    waits: false,
  };
}
