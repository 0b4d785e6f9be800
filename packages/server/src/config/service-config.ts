// The strict check of a service document, the same from the config file and over the API: every field is used or refused by name.
import { formatDuration, isName } from '@waitless/protocol';
import { isSignatureField } from '../lib/webhook-signature.ts';
import { isFields } from './config-file.ts';
import { ConfigError, type Where, WrongValue } from './config-error.ts';
import type { ServiceConfig, ServiceTarget } from './config-shape.ts';
import { framingHeaders, isHeaderName, ownHeaders } from './header-names.ts';
import { keyValue, sharingMethods } from './key-rule.ts';
import { didYouMean } from './nearest.ts';
import { rateValue } from './rate.ts';
import { secretsValue } from './secrets.ts';
import {
  booleanValue,
  choiceValue,
  durationValue,
  formatSize,
  integerValue,
  show,
  sizeValue,
  targetUrlValue,
} from './values.ts';

type Path = readonly (string | number)[];

export interface ServiceDocument {
  readonly name: string;
  readonly document: unknown;
  /** What the server as a whole allows. */
  readonly limits: { readonly maxWaitMs: number; readonly maxBodyMemoryBytes: number };
  /** How to call a field in a message, and where it stands; by default its path. */
  readonly where?: (path: Path) => Where;
}

const second = 1000;
const hour = 3600 * second;
const day = 24 * hour;
const mb = 1024 ** 2;

/** Every documented field of a service. `false`: not built yet. */
export const serviceFields = {
  target: true,
  mode: true,
  syncWait: true,
  forward: true,
  retryFailed: true,
  idempotencyTtl: true,
  timeout: true,
  attemptTimeout: true,
  replyTimeout: true,
  lease: true,
  retry: true,
  concurrency: true,
  maxBody: true,
  retention: true,
  priority: true,
  key: true,
  validFor: true,
  staleWhileRevalidate: true,
  poll: true,
  rate: true,
  maxQueued: true,
  schema: false,
  publishTransitions: true,
} as const;
const targetFields = { url: true, headers: true, pull: true, secret: true, amqp: false, kafka: false } as const;
const retryFields = { maxAttempts: true, initialDelay: true, maxDelay: true } as const;

/**
 * The service with its defaults filled in.
 * Throws ConfigError with the path of the field (`services.score.timeout`) for anything wrong, unknown or not built yet.
 */
export function readService({ name, document, limits, where = () => ({}) }: ServiceDocument): ServiceConfig {
  const root: Path = ['services', name];
  const fail = (path: Path, sentence: string): never => {
    throw new ConfigError(path.join('.'), sentence, where(path));
  };
  if (!isName(name))
    fail(
      root,
      `${show(name)} is not a name; begin with a letter or digit and go on with letters, digits, "_" and "-", 128 at most`,
    );

  const fieldsOf = (
    value: unknown,
    path: Path,
    known: Readonly<Record<string, boolean>>,
    example: string,
  ): Record<string, unknown> => {
    if (!isFields(value)) return fail(path, `it takes fields such as ${example}`);
    for (const field of Object.keys(value)) {
      if (Object.hasOwn(known, field) && known[field]) continue;
      if (Object.hasOwn(known, field)) fail([...path, field], 'not built yet; remove the field');
      fail([...path, field], `there is no such field${didYouMean(field, Object.keys(known))}`);
    }
    return value;
  };
  const check = <T>(path: Path, value: unknown, read: (value: unknown) => T): T => {
    try {
      return read(value);
    } catch (error) {
      if (error instanceof WrongValue) return fail(path, error.message);
      throw error;
    }
  };

  const fields = fieldsOf(document, root, serviceFields, '{"target": {"url": "http://127.0.0.1:9001"}}');
  const take = <T, const O>(field: keyof typeof serviceFields, otherwise: O, read: (value: unknown) => T): T | O =>
    Object.hasOwn(fields, field) ? check([...root, field], fields[field], read) : otherwise;
  const duration = (field: keyof typeof serviceFields, otherwise: number, max: number, min = 1): number =>
    take(field, otherwise, (value) => durationValue(value, { min, max }));

  const target = readTarget();
  const isSigned = target.kind === 'http' && target.secrets !== undefined;
  const timeoutMs = duration('timeout', 600 * second, 365 * day);
  const mode = take('mode', 'async', (value) => choiceValue(value, ['async', 'sync']));
  const syncWaitMs = take('syncWait', Math.min(30 * second, limits.maxWaitMs), (value) => {
    const ms = durationValue(value, { min: 0, max: hour });
    if (ms > limits.maxWaitMs)
      throw new WrongValue(
        `${show(value)} is more than --max-wait ${formatDuration(limits.maxWaitMs)} allows; raise that or shorten this`,
      );
    return ms;
  });
  const maxBodyBytes = take('maxBody', Math.min(10 * mb, limits.maxBodyMemoryBytes), (value) => {
    // SQLite keeps up to 1,000,000,000 bytes in one value; 512 MB leaves room for the headers beside the body.
    const bytes = sizeValue(value, { min: 1, max: 512 * mb });
    if (bytes > limits.maxBodyMemoryBytes)
      throw new WrongValue(
        `${show(value)} is more than --max-body-memory ${formatSize(limits.maxBodyMemoryBytes)}, so no such body could be taken; raise that or shrink this`,
      );
    return bytes;
  });
  const concurrency = take('concurrency', target.kind === 'http' ? 16 : Number.POSITIVE_INFINITY, (value) => {
    if (target.kind === 'pull')
      throw new WrongValue('not built yet for a pull service, whose workers set the pace; remove the field');
    return integerValue(value, { min: 1, max: 10_000 });
  });

  const { parts: key, methods: keyMethods } = take(
    'key',
    { parts: Object.freeze([]), methods: sharingMethods },
    (value) => {
      const source = keyValue(value);
      // Then the backend computes for that value, whatever the key says.
      const set = target.kind === 'http' ? Object.keys(target.headers).map((name) => name.toLowerCase()) : [];
      for (const one of source.parts) {
        if (one.from === 'header' && isSigned && isSignatureField(one.name))
          throw new WrongValue(
            `with a target.secret "${one.name}" is ours, so that of a request never reaches the backend; remove one of the two`,
          );
        if (one.from === 'header' && set.includes(one.name))
          throw new WrongValue(
            `target.headers sets "${one.name}" itself, so that of a request never reaches the backend; remove one of the two`,
          );
      }
      return source;
    },
  );
  const poll = take('poll', false, (value) => {
    const polls = booleanValue(value);
    if (polls && target.kind === 'pull')
      throw new WrongValue('only a backend with a "url" can be asked how it goes; remove the field');
    return polls;
  });

  return Object.freeze({
    name,
    target,
    mode,
    syncWaitMs,
    forward: take('forward', Object.freeze([]), (value) => readForward(value)),
    retryFailed: take('retryFailed', false, booleanValue),
    idempotencyTtlMs: duration('idempotencyTtl', day, 365 * day),
    timeoutMs,
    // Longer connections are cut on the way sooner or later; a backend that needs more answers 202 and replies.
    attemptTimeoutMs: duration('attemptTimeout', 60 * second, day),
    replyTimeoutMs: duration('replyTimeout', hour, 365 * day),
    leaseMs: duration('lease', 30 * second, day),
    retry: readRetry(),
    concurrency,
    maxBodyBytes,
    retentionMs: duration('retention', day, 365 * day),
    key,
    keyMethods,
    validForMs: take('validFor', undefined, (value) => durationValue(value, { min: 1, max: 365 * day })),
    // Also without validFor: the backend may give its results a validity of their own.
    staleMs: duration('staleWhileRevalidate', 0, 365 * day, 0),
    poll,
    rate: take('rate', undefined, rateValue),
    publishTransitions: take('publishTransitions', false, booleanValue),
    maxQueued: take('maxQueued', undefined, (value) => integerValue(value, { min: 1, max: 1_000_000_000 })),
    priority: take('priority', 5, (value) => integerValue(value, { min: 0, max: 9 })),
  });

  function readTarget(): ServiceTarget {
    const path = [...root, 'target'];
    if (!Object.hasOwn(fields, 'target'))
      return fail(path, 'it is missing; write {"url": "http://…"} or {"pull": true}');
    const given = fieldsOf(fields['target'], path, targetFields, '{"url": "http://127.0.0.1:9001"} or {"pull": true}');
    const [url, pull] = [Object.hasOwn(given, 'url'), Object.hasOwn(given, 'pull')];
    if (url === pull) return fail(path, `it takes exactly one of "url" and "pull"; ${url ? 'remove one' : 'add one'}`);
    if (pull) {
      if (given['pull'] !== true) return fail([...path, 'pull'], 'it takes true; for a backend write "url" instead');
      if (Object.hasOwn(given, 'headers'))
        return fail([...path, 'headers'], 'only a backend with a "url" is sent headers; remove the field');
      if (Object.hasOwn(given, 'secret'))
        return fail([...path, 'secret'], 'only what is sent to a backend with a "url" is signed; remove the field');
      return Object.freeze({ kind: 'pull' });
    }
    const checked = check([...path, 'url'], given['url'], targetUrlValue);
    const headers = readHeaders(given['headers'] ?? {}, [...path, 'headers']);
    if (!Object.hasOwn(given, 'secret')) return Object.freeze({ kind: 'http', url: checked, headers });
    for (const header of Object.keys(headers))
      if (isSignatureField(header))
        fail([...path, 'headers', header], 'with a secret Waitless sets this header itself; remove it');
    const secrets = check([...path, 'secret'], given['secret'], secretsValue);
    return Object.freeze({ kind: 'http', url: checked, headers, secrets });
  }

  function readHeaders(value: unknown, path: Path): Readonly<Record<string, string>> {
    if (!isFields(value)) return fail(path, 'it takes names and values such as {"X-Api-Key": "${env:SCORE_KEY}"}');
    const seen = new Set<string>();
    for (const [header, content] of Object.entries(value)) {
      const at = [...path, header];
      const lower = header.toLowerCase();
      if (!isHeaderName(header)) fail(at, 'this is not a header name (RFC 9110 5.1)');
      if (seen.has(lower)) fail(at, 'the header stands twice, in different case; keep one');
      if (framingHeaders.has(lower) || ownHeaders.has(lower)) fail(at, 'Waitless sets this header itself; remove it');
      // The value may be a secret and never stands in a message.
      if (typeof content !== 'string' || !/^[\t\x20-\x7e\x80-\xff]*$/.test(content))
        fail(at, 'its value must be text without line breaks and control characters');
      seen.add(lower);
    }
    return Object.freeze(Object.fromEntries(Object.entries(value) as [string, string][]));
  }

  function readForward(value: unknown): readonly string[] {
    const path = [...root, 'forward'];
    if (!Array.isArray(value)) return fail(path, 'it takes a list of header names such as ["authorization"]');
    const names = value.map((header: unknown, index) => {
      if (typeof header !== 'string' || !isHeaderName(header))
        return fail([...path, index], `${show(header)} is not a header name`);
      const lower = header.toLowerCase();
      if (framingHeaders.has(lower) || ownHeaders.has(lower) || lower === 'host')
        fail([...path, index], `${show(header)} cannot be passed on, since Waitless sets it itself; remove it`);
      if (isSigned && isSignatureField(header))
        fail([...path, index], `${show(header)} cannot be passed on beside a target.secret; remove it`);
      return lower;
    });
    return Object.freeze([...new Set(names)]);
  }

  function readRetry(): ServiceConfig['retry'] {
    const path = [...root, 'retry'];
    const given = Object.hasOwn(fields, 'retry')
      ? fieldsOf(fields['retry'], path, retryFields, '{"maxAttempts": 5}')
      : {};
    const part = (field: keyof typeof retryFields, otherwise: number, read: (value: unknown) => number): number =>
      Object.hasOwn(given, field) ? check([...path, field], given[field], read) : otherwise;
    const maxAttempts = part('maxAttempts', 5, (value) => integerValue(value, { min: 1, max: 1000 }));
    const initialDelayMs = part('initialDelay', second, (value) => durationValue(value, { min: 0, max: day }));
    const maxDelayMs = part('maxDelay', 300 * second, (value) => durationValue(value, { min: 0, max: 30 * day }));
    if (maxDelayMs < initialDelayMs) {
      const field = Object.hasOwn(given, 'maxDelay') ? 'maxDelay' : 'initialDelay';
      return fail(
        [...path, field],
        `maxDelay ${formatDuration(maxDelayMs)} is shorter than initialDelay ${formatDuration(initialDelayMs)}; set maxDelay to at least that`,
      );
    }
    return Object.freeze({ maxAttempts, initialDelayMs, maxDelayMs });
  }
}
