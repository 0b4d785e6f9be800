// Reads the header fields of a submit into what the core understands; one sentence that names the field for everything wrong.
import {
  type Durability,
  durabilities,
  isName,
  parseDuration,
  parsePrefer,
  type Preferences,
  unbuiltRequestHeaders,
  unforwardedRequestHeaders,
  WaitlessError,
} from '@waitless/protocol';
import type { ServiceConfig } from '../../config/config-shape.ts';
import { utf8OfField } from '../../core/business-key.ts';
import type { CacheWish } from '../../core/shared-request.ts';
import { cacheDirectives, deltaSeconds } from '../../core/validity.ts';
import type { FieldLookup } from './exchange.ts';

const invalid = (field: string, what: string): WaitlessError =>
  new WaitlessError('invalid-parameter', `${field} ${what}`);

export function durationField(headers: FieldLookup, name: string): number | undefined {
  const value = headers(name.toLowerCase());
  if (value === undefined) return undefined;
  const ms = parseDuration(value.trim());
  if (ms === undefined)
    throw invalid(
      name,
      `must be a duration such as 250ms, 30s, 10m or 2h, at most 366d, not ${JSON.stringify(value.slice(0, 64))}`,
    );
  return ms;
}

/** RFC 8941 string or a bare token; `"k"` and `k` are one key. */
export function idempotencyKey(headers: FieldLookup): string | null {
  const value = headers('idempotency-key')?.trim();
  if (value === undefined) return null;
  const quoted = /^"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"$/.exec(value);
  const key = quoted ? quoted[1]!.replace(/\\(["\\])/g, '$1') : value;
  if (key.length === 0 || key.length > 255 || (!quoted && !/^[\x21\x23-\x2b\x2d-\x3a\x3c-\x7e]+$/.test(value))) {
    throw new WaitlessError(
      'idempotency-key-invalid',
      'Idempotency-Key must be one quoted string or bare token of 1 to 255 visible ASCII characters',
    );
  }
  return key;
}

/** Also stands in URLs, logs and other people's headers: visible ASCII and spaces only. */
export function correlationId(headers: FieldLookup): string | null {
  const value = headers('correlation-id')?.trim();
  if (value === undefined) return null;
  if (!/^[\x20-\x7e]{1,255}$/.test(value)) throw invalid('Correlation-Id', 'must be 1 to 255 visible ASCII characters');
  return value;
}

/** What shares it is handled one after another; in visible ASCII, as it stands in lists. */
export function orderingKey(headers: FieldLookup): string | null {
  const value = headers('ordering-key')?.trim();
  if (value === undefined) return null;
  if (!/^[\x20-\x7e]{1,255}$/.test(value)) throw invalid('Ordering-Key', 'must be 1 to 255 visible ASCII characters');
  return value;
}

export function priority(headers: FieldLookup): number | undefined {
  const value = headers('operation-priority')?.trim();
  if (value === undefined) return undefined;
  if (!/^[0-9]$/.test(value))
    throw invalid(
      'Operation-Priority',
      `must be a whole number from 0 to 9, not ${JSON.stringify(value.slice(0, 32))}`,
    );
  return Number(value);
}

/** More would make lists slow and rows large. */
const mostLabels = 16;

export function labels(headers: FieldLookup): Record<string, string> | null {
  const value = headers('operation-labels');
  if (value === undefined) return null;
  const found: Record<string, string> = {};
  let count = 0;
  for (const part of value.split(',')) {
    // No pattern takes a pair apart in one go without going back and forth over a long run of spaces.
    const equals = part.indexOf('=');
    const name = part.slice(0, Math.max(0, equals)).trim();
    const text = part.slice(equals + 1).trim();
    if (!isName(name) || !/^[\x20-\x7e]{1,255}$/.test(text)) {
      throw invalid(
        'Operation-Labels',
        `must be name=value pairs separated by commas; ${JSON.stringify(part.slice(0, 64))} is none`,
      );
    }
    if (Object.hasOwn(found, name)) throw invalid('Operation-Labels', `has ${name} twice`);
    if (++count > mostLabels) throw invalid('Operation-Labels', `takes at most ${mostLabels} labels`);
    Object.defineProperty(found, name, { value: text, enumerable: true });
  }
  return found;
}

export function durability(headers: FieldLookup): Durability {
  const value = headers('operation-durability')?.trim();
  if (value === undefined) return 'stored';
  if (!(durabilities as readonly string[]).includes(value))
    throw invalid('Operation-Durability', `must be stored, memory or none, not ${JSON.stringify(value.slice(0, 32))}`);
  return value as Durability;
}

/** Refuses what is documented and not built yet, so that nobody believes in it. */
export function refuseUnbuilt(headers: FieldLookup): void {
  for (const [name, written] of unbuiltRequestHeaders) {
    if (headers(name) !== undefined)
      throw new WaitlessError('not-implemented', `${written} is not built yet; send the request without it`, {
        members: { accepted: false },
      });
  }
}

/** What a submit's Cache-Control asks. Directives of others are ignored, as RFC 9111 says. */
export function cacheWish(headers: FieldLookup): CacheWish {
  const wish: CacheWish = { noStore: false, noCache: false, maxAgeMs: null, onlyIfCached: false };
  const value = headers('cache-control');
  if (value === undefined) return wish;
  for (const [name, argument] of cacheDirectives(value)) {
    if (name === 'no-store') wish.noStore = true;
    else if (name === 'no-cache') wish.noCache = true;
    else if (name === 'only-if-cached') wish.onlyIfCached = true;
    else if (name.trimEnd() === 'max-age') {
      const ms = name === 'max-age' ? deltaSeconds(argument) : undefined;
      if (ms === undefined) throw invalid('Cache-Control', 'max-age must be whole seconds, such as max-age=60');
      wish.maxAgeMs = Math.min(ms, wish.maxAgeMs ?? ms);
    }
  }
  return wish;
}

/** Any text: an RFC 8941 string in quotes, whose bytes may be UTF-8, or the value as it stands. Percent-encoding is not undone. */
export function resultKey(headers: FieldLookup): string | null {
  const value = headers('result-key');
  if (value === undefined) return null;
  const text = utf8OfField(value);
  if (text === undefined) throw invalid('Result-Key', 'must be UTF-8');
  if (!text.startsWith('"')) return text;
  if (!/^"(?:[^"\\]|\\["\\])*"$/.test(text))
    throw invalid(
      'Result-Key',
      'begins with a quote and is no quoted string; within quotes, write \\" and \\\\ for those two',
    );
  return text.slice(1, -1).replace(/\\(["\\])/g, '$1');
}

/** The fields without the wish for a stream, which is ours and would make a backend answer with one too. */
export function withoutStreamWish(fields: [string, string][]): [string, string][] {
  return fields.flatMap(([name, value]): [string, string][] => {
    if (name.toLowerCase() !== 'accept') return [[name, value]];
    const others = value.split(',').filter((range) => !/^\s*text\/event-stream\s*(;|$)/i.test(range));
    return others.length === 0 ? [] : [[name, others.join(',').trim()]];
  });
}

export interface Waiting {
  waitMs: number;
  preferences: Preferences;
}

/** How long to hold: asked for, or the service's way; capped since proxies cut idle requests. */
export function waiting(
  headers: FieldLookup,
  service: Pick<ServiceConfig, 'mode' | 'syncWaitMs'>,
  maxWaitMs: number,
): Waiting {
  const preferences = parsePrefer(headers('prefer'));
  if (preferences.waitSeconds !== undefined)
    return { waitMs: Math.min(preferences.waitSeconds * 1000, maxWaitMs), preferences };
  if (preferences.respondAsync || service.mode === 'async') return { waitMs: 0, preferences };
  return { waitMs: Math.min(service.syncWaitMs, maxWaitMs), preferences };
}

/** The fields that go on to the backend, in order. `Connection` may name more that do not. */
export function forwarded(rawHeaders: readonly string[], optedIn: readonly string[]): [string, string][] {
  const kept: [string, string][] = [];
  let named: Set<string> | undefined;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!;
    const lower = name.toLowerCase();
    if (lower === 'connection') {
      const value = rawHeaders[i + 1]!.toLowerCase();
      if (value !== 'keep-alive' && value !== 'close')
        for (const token of value.split(',')) (named ??= new Set()).add(token.trim());
      continue;
    }
    if (
      unforwardedRequestHeaders.has(lower) &&
      !optedIn.includes(lower) &&
      lower !== 'traceparent' &&
      lower !== 'tracestate'
    )
      continue;
    kept.push([name, rawHeaders[i + 1]!]);
  }
  return named ? kept.filter(([name]) => !named.has(name.toLowerCase())) : kept;
}

export { isTraceparent } from '../../core/trace-context.ts';
