// Documents of subscriptions, which come over the API: the strict check, every field used or refused by its JSON pointer, and the document as it is shown.
import { type ErrorCode, formatDuration, isName, WaitlessError } from '@waitless/protocol';
import { isTopicPattern, mostTopicLength } from '../lib/topic-trie.ts';
import { isSignatureField } from '../lib/webhook-signature.ts';
import { WrongValue } from './config-error.ts';
import { isFields } from './config-file.ts';
import { framingHeaders, isHeaderName, ownHeaders } from './header-names.ts';
import { didYouMean } from './nearest.ts';
import { mask, secretsValue } from './secrets.ts';
import { booleanValue, durationValue, httpUrl, integerValue, show } from './values.ts';

export type SubscriptionTarget =
  | { readonly kind: 'pull' }
  | {
      readonly kind: 'webhook';
      readonly url: string;
      readonly headers: Readonly<Record<string, string>>;
      /** Its own, `whsec_…`, newest first; undefined: those of the namespace sign. */
      readonly secrets?: readonly string[];
    }
  | { readonly kind: 'service'; readonly service: string };

/** A subscription with every default filled in, but for its filter, which is read where it is used. */
export interface SubscriptionConfig {
  readonly topics: readonly string[];
  readonly filter: unknown;
  readonly target: SubscriptionTarget;
  /** Where a new one begins. */
  readonly from: 'now' | 'start' | { readonly position: number };
  readonly ordered: boolean;
  readonly maxInFlight: number;
  readonly retry: { readonly maxAttempts: number; readonly initialDelayMs: number; readonly maxDelayMs: number };
  /** How long a puller has, unless it says otherwise. */
  readonly leaseMs: number;
  /** Whether what could not be delivered is kept to be tried again by hand; false: it is dropped. */
  readonly deadLetter: boolean;
}

const fields = [
  'topic',
  'topics',
  'filter',
  'target',
  'from',
  'ordered',
  'maxInFlight',
  'retry',
  'lease',
  'deadLetter',
] as const;
const targetFields = ['url', 'secret', 'headers', 'service', 'pull'] as const;
const retryFields = ['maxAttempts', 'initialDelay', 'maxDelay'] as const;

/** The place is the URL's, and the media type the event's. */
const madeHere: ReadonlySet<string> = new Set(['host', 'content-type']);

const mostPatterns = 32;
const mostUrl = 2048;
const second = 1000;
const day = 24 * 3600 * second;

/** Far apart on purpose: a puller that fails is there and can be asked again soon, a receiver that is down stays so for a while. */
const usual = {
  pull: { maxInFlight: 1000, maxAttempts: 5, initialDelayMs: second, maxDelayMs: 300 * second },
  webhook: { maxInFlight: 16, maxAttempts: 16, initialDelayMs: 5 * second, maxDelayMs: day },
  service: { maxInFlight: 100, maxAttempts: 16, initialDelayMs: second, maxDelayMs: 300 * second },
} as const;

const escaped = (step: string): string => step.slice(0, 64).replaceAll('~', '~0').replaceAll('/', '~1');

const wrong = (code: ErrorCode, pointer: string, detail: string): WaitlessError =>
  new WaitlessError(code, `${pointer || 'the document'}: ${detail}`, { members: { errors: [{ pointer, detail }] } });

function fieldsOf(value: unknown, at: string, known: readonly string[], example: string): Record<string, unknown> {
  if (!isFields(value)) throw wrong('invalid-parameter', at, `it takes fields such as ${example}`);
  for (const field of Object.keys(value))
    if (!known.includes(field))
      throw wrong('unknown-field', `${at}/${escaped(field)}`, `there is no such field${didYouMean(field, known)}`);
  return value;
}

function take<T, const O>(
  of: Record<string, unknown>,
  at: string,
  { otherwise, read }: { otherwise: O; read: (value: unknown) => T },
): T | O {
  const name = at.slice(at.lastIndexOf('/') + 1);
  if (!Object.hasOwn(of, name)) return otherwise;
  try {
    return read(of[name]);
  } catch (error) {
    throw error instanceof WrongValue ? wrong('invalid-parameter', at, error.message) : error;
  }
}

/** The subscription of a document. Throws WaitlessError that names the field by its JSON pointer. */
export function readApiSubscription(document: unknown): SubscriptionConfig {
  const given = fieldsOf(document, '', fields, '{"topic": "orders.*", "target": {"pull": true}}');
  const target = readTarget(given);
  const defaults = usual[target.kind];
  const lease = take(given, '/lease', {
    otherwise: 30 * second,
    read: (value) => {
      if (target.kind !== 'pull') throw new WrongValue('only who pulls has a lease; remove the field');
      return durationValue(value, { min: 1, max: day });
    },
  });
  return Object.freeze({
    topics: readTopics(given),
    filter: given['filter'],
    target,
    from: take(given, '/from', { otherwise: 'now', read: fromValue }),
    ordered: take(given, '/ordered', { otherwise: false, read: booleanValue }),
    maxInFlight: take(given, '/maxInFlight', {
      otherwise: defaults.maxInFlight,
      read: (value) => integerValue(value, { min: 1, max: 10_000 }),
    }),
    retry: readRetry(given, defaults),
    leaseMs: lease,
    deadLetter: take(given, '/deadLetter', { otherwise: true, read: booleanValue }),
  });
}

function readTopics(given: Record<string, unknown>): readonly string[] {
  const [one, several] = [Object.hasOwn(given, 'topic'), Object.hasOwn(given, 'topics')];
  if (one === several)
    throw wrong(
      'invalid-parameter',
      one ? '/topics' : '/topic',
      one
        ? 'it stands beside "topic"; keep one of the two'
        : 'it is missing; write a name or a pattern such as "orders.*"',
    );
  if (one) return Object.freeze([pattern(given['topic'], '/topic')]);
  const list = given['topics'];
  if (!Array.isArray(list) || list.length === 0 || list.length > mostPatterns)
    throw wrong('invalid-parameter', '/topics', `it takes a list of 1 to ${mostPatterns} names or patterns`);
  return Object.freeze([...new Set(list.map((value: unknown, i) => pattern(value, `/topics/${i}`)))]);
}

function pattern(value: unknown, pointer: string): string {
  if (typeof value === 'string' && isTopicPattern(value)) return value;
  throw wrong(
    'invalid-filter',
    pointer,
    `it takes words of letters, digits, "_" and "-" joined by dots, with "*" for one word and "**" for any number (four of them at most), ${mostTopicLength} characters in all`,
  );
}

function fromValue(value: unknown): SubscriptionConfig['from'] {
  if (value === 'now' || value === 'start') return value;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return { position: value };
  throw new WrongValue(`${show(value)} does not fit; it takes "now", "start" or the position to begin after`);
}

function readTarget(given: Record<string, unknown>): SubscriptionTarget {
  const at = '/target';
  if (!Object.hasOwn(given, 'target'))
    throw wrong(
      'invalid-parameter',
      at,
      'it is missing; write {"pull": true}, {"url": "https://…"} or {"service": "NAME"}',
    );
  const target = fieldsOf(given['target'], at, targetFields, '{"pull": true} or {"url": "https://example.com/in"}');
  const kinds = (['url', 'service', 'pull'] as const).filter((name) => Object.hasOwn(target, name));
  const [kind] = kinds;
  if (kind === undefined || kinds.length > 1)
    throw wrong('invalid-parameter', at, 'it takes exactly one of "url", "service" and "pull"');
  if (kind === 'url') return readWebhook(target);
  for (const field of ['headers', 'secret'])
    if (Object.hasOwn(target, field))
      throw wrong('invalid-parameter', `${at}/${field}`, 'it belongs to a "url" alone; remove the field');
  if (kind === 'pull') {
    if (target['pull'] !== true) throw wrong('invalid-parameter', `${at}/pull`, 'it takes true');
    return Object.freeze({ kind: 'pull' });
  }
  const { service } = target;
  if (typeof service !== 'string' || !isName(service))
    throw wrong('invalid-parameter', `${at}/service`, 'it takes the name of a service');
  return Object.freeze({ kind: 'service', service });
}

function readWebhook(target: Record<string, unknown>): SubscriptionTarget {
  const url = take(target, '/target/url', { otherwise: '', read: urlValue });
  const headers = readHeaders(target['headers'] ?? {});
  if (!Object.hasOwn(target, 'secret')) return Object.freeze({ kind: 'webhook', url, headers });
  const secrets = take(target, '/target/secret', { otherwise: [], read: ownSecrets });
  return Object.freeze({ kind: 'webhook', url, headers, secrets });
}

/** Kept as it is called. What a parser takes and a person reads as another place is refused. */
function urlValue(value: unknown): string {
  const url = httpUrl(value, 'https://example.com/events');
  if (!/^https?:\/\/[^/?#]/i.test(value as string))
    throw new WrongValue('it takes an http or https URL such as https://example.com/events');
  url.hash = '';
  if (url.href.length > mostUrl) throw new WrongValue(`it is longer than ${mostUrl} characters`);
  return url.href;
}

/** As in the config file, but for the advice to take it from the environment. */
function ownSecrets(value: unknown): readonly string[] {
  if (value === mask || (Array.isArray(value) && value.includes(mask)))
    throw new WrongValue(`${mask} is shown in the place of a secret, which is needed here; send the secret itself`);
  try {
    return secretsValue(value);
  } catch {
    throw new WrongValue(
      'it takes "whsec_" and 24 to 64 random bytes in base64 (printf whsec_; openssl rand -base64 32), or a list of the new one and the one before',
    );
  }
}

function readHeaders(value: unknown): Readonly<Record<string, string>> {
  const at = '/target/headers';
  if (!isFields(value)) throw wrong('invalid-parameter', at, 'it takes names and values such as {"X-Api-Key": "…"}');
  const seen = new Set<string>();
  for (const [header, content] of Object.entries(value)) {
    const pointer = `${at}/${escaped(header)}`;
    const fail = (detail: string): never => {
      throw wrong('invalid-parameter', pointer, detail);
    };
    const lower = header.toLowerCase();
    if (!isHeaderName(header)) fail('this is not a header name (RFC 9110 5.1)');
    if (seen.has(lower)) fail('the header stands twice, in different case; keep one');
    if (framingHeaders.has(lower) || ownHeaders.has(lower) || isSignatureField(lower) || madeHere.has(lower))
      fail('Waitless sets this header itself; remove it');
    // The value may be a secret and never stands in a message.
    if (typeof content !== 'string' || !/^[\t\x20-\x7e\x80-\xff]*$/.test(content))
      fail('its value must be text without line breaks and control characters');
    if (content === mask)
      fail(`${mask} is shown in the place of the value, which is needed here; send the value itself`);
    seen.add(lower);
  }
  return Object.freeze(Object.fromEntries(Object.entries(value) as [string, string][]));
}

function readRetry(given: Record<string, unknown>, defaults: SubscriptionConfig['retry']): SubscriptionConfig['retry'] {
  const retry = Object.hasOwn(given, 'retry')
    ? fieldsOf(given['retry'], '/retry', retryFields, '{"maxAttempts": 5}')
    : {};
  const maxAttempts = take(retry, '/retry/maxAttempts', {
    otherwise: defaults.maxAttempts,
    read: (value) => integerValue(value, { min: 1, max: 1000 }),
  });
  const initialDelayMs = take(retry, '/retry/initialDelay', {
    otherwise: defaults.initialDelayMs,
    read: (value) => durationValue(value, { min: 0, max: day }),
  });
  const maxDelayMs = take(retry, '/retry/maxDelay', {
    otherwise: Math.max(defaults.maxDelayMs, initialDelayMs),
    read: (value) => durationValue(value, { min: 0, max: 30 * day }),
  });
  if (maxDelayMs < initialDelayMs)
    throw wrong(
      'invalid-parameter',
      '/retry/maxDelay',
      `${formatDuration(maxDelayMs)} is shorter than initialDelay ${formatDuration(initialDelayMs)}; set it to at least that`,
    );
  return Object.freeze({ maxAttempts, initialDelayMs, maxDelayMs });
}

/** Every default filled in, as it could be sent again; what may be secret is masked. */
export function shownSubscription({
  topics,
  filter,
  target,
  from,
  ordered,
  maxInFlight,
  retry,
  leaseMs,
  deadLetter,
}: SubscriptionConfig): Record<string, unknown> {
  return {
    ...(topics.length === 1 ? { topic: topics[0] } : { topics }),
    ...(filter === undefined ? {} : { filter }),
    target: shownTarget(target),
    from: typeof from === 'string' ? from : from.position,
    ordered,
    maxInFlight,
    retry: {
      maxAttempts: retry.maxAttempts,
      initialDelay: formatDuration(retry.initialDelayMs),
      maxDelay: formatDuration(retry.maxDelayMs),
    },
    ...(target.kind === 'pull' ? { lease: formatDuration(leaseMs) } : {}),
    deadLetter,
  };
}

function shownTarget(target: SubscriptionTarget): Record<string, unknown> {
  if (target.kind === 'pull') return { pull: true };
  if (target.kind === 'service') return { service: target.service };
  const headers = Object.fromEntries(Object.keys(target.headers).map((name) => [name, mask]));
  return { url: target.url, headers, ...(target.secrets ? { secret: mask } : {}) };
}
