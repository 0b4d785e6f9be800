// For how long a result answers others: the service's times, overridden by what the backend says in Cache-Control. Pure.
import type { Keep } from '../engine/engine.ts';

/** Directives of a Cache-Control field (RFC 9111 5.2), names in lower case, values without their quotes; null without one. */
export function cacheDirectives(field: string): [name: string, value: string | null][] {
  const found: [string, string | null][] = [];
  let start = 0;
  let quoted = false;
  for (let i = 0; i <= field.length; i++) {
    const c = field[i];
    if (c === '"') quoted = !quoted;
    else if (c === '\\' && quoted) i++;
    if (i < field.length && (c !== ',' || quoted)) continue;
    const part = field.slice(start, i).trim();
    start = i + 1;
    if (part === '') continue;
    const equals = part.indexOf('=');
    if (equals < 0) found.push([part.toLowerCase(), null]);
    else found.push([part.slice(0, equals).toLowerCase(), unquoted(part.slice(equals + 1))]);
  }
  return found;
}

const unquoted = (value: string): string =>
  value.length > 1 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;

/** More is no promise that anybody can keep, and would overflow in the end. */
const longestMs = 365 * 86_400_000;

/** Whole seconds as milliseconds; undefined for anything else. */
export const deltaSeconds = (value: string | null): number | undefined =>
  value !== null && /^\d+$/.test(value) ? Math.min(Number(value) * 1000, longestMs) : undefined;

export interface ValiditySource {
  /** Of the service; undefined: its results answer no new submits, unless the backend says so. */
  validForMs: number | undefined;
  staleMs: number;
  /** Name and value in turn, of the backend's answer. */
  responseHeaders: readonly string[];
  status: number;
}

/**
 * For how long a result is kept for others, or null: not at all. `private` does not matter: who shares a result is said by the key rule, the
 * namespace and the credentials that are passed on. What cannot be read is ignored.
 */
export function keepOf({ validForMs, staleMs, responseHeaders, status }: ValiditySource): Keep | null {
  if (status < 200 || status > 299) return null;
  const directives = cacheDirectives(fieldOf(responseHeaders, 'cache-control'));
  const has = (name: string): boolean => directives.some(([other]) => other === name);
  const seconds = (name: string): number | undefined => {
    for (const [other, value] of directives) {
      const ms = other === name ? deltaSeconds(value) : undefined;
      if (ms !== undefined) return ms;
    }
    return undefined;
  };
  if (has('no-store')) return null;
  const said = seconds('s-maxage') ?? seconds('max-age');
  // Where the backend itself answered from a cache, its time has been running since; the service's own begins here.
  const age = said === undefined ? 0 : (deltaSeconds(fieldOf(responseHeaders, 'age').trim()) ?? 0);
  const freshMs = has('no-cache') ? 0 : bounded((said ?? validForMs ?? 0) - age);
  const mayBeStale = freshMs > 0 && !has('must-revalidate') && !has('proxy-revalidate');
  return { freshMs, staleMs: mayBeStale ? bounded(seconds('stale-while-revalidate') ?? staleMs) : 0 };
}

const bounded = (ms: number): number => Math.min(Math.max(ms, 0), longestMs);

/** All values of a field, as one list. */
function fieldOf(headers: readonly string[], name: string): string {
  const found = [];
  for (let i = 0; i < headers.length; i += 2) if (headers[i]!.toLowerCase() === name) found.push(headers[i + 1]!);
  return found.join(', ');
}
