// Readers of single values: each takes what a person wrote and gives the checked value, or throws WrongValue with a sentence.
import { formatDuration, longestDurationMs, parseDuration } from '@waitless/protocol';
import { isIP } from 'node:net';
import { parseRange } from './addresses.ts';
import { WrongValue } from './config-error.ts';

const unitsBytes = { b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3 } as const;

/** Shows a value in a message: short, on one line. Only for values that cannot hold a secret; an address in the wrong place loses its password. */
export const show = (value: unknown): string => {
  const text = (JSON.stringify(value) ?? String(value)).replace(/(:\/\/[^\s:@]*:)\S*@/g, '$1***@');
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
};

/** Bytes of a size such as `10mb` (1 kb = 1024 bytes), or undefined when it is none. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d{1,12}(?:\.\d{1,3})?)(b|kb|mb|gb)$/i.exec(text);
  if (!match) return undefined;
  const bytes = Math.round(Number(match[1]) * unitsBytes[match[2]!.toLowerCase() as keyof typeof unitsBytes]);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** The shortest exact spelling: 10485760 → `10mb`. */
export function formatSize(bytes: number): string {
  for (const unit of ['gb', 'mb', 'kb'] as const) {
    if (bytes >= unitsBytes[unit] && bytes % unitsBytes[unit] === 0) return `${bytes / unitsBytes[unit]}${unit}`;
  }
  return `${bytes}b`;
}

export interface Bounds {
  readonly min: number;
  readonly max: number;
}

export function durationValue(value: unknown, { min, max }: Bounds = { min: 1, max: longestDurationMs }): number {
  const ms = typeof value === 'string' ? parseDuration(value) : undefined;
  if (ms === undefined)
    throw new WrongValue(
      `${show(value)} is not a duration; write a number with its unit, such as 250ms, 30s, 10m, 2h or 7d`,
    );
  if (ms < min || ms > max)
    throw new WrongValue(`${show(value)} is out of range; it takes ${formatDuration(min)} to ${formatDuration(max)}`);
  return ms;
}

export function sizeValue(value: unknown, { min, max }: Bounds): number {
  const bytes = typeof value === 'string' ? parseSize(value) : undefined;
  if (bytes === undefined)
    throw new WrongValue(`${show(value)} is not a size; write a number with its unit, such as 512kb, 10mb or 1gb`);
  if (bytes < min || bytes > max)
    throw new WrongValue(`${show(value)} is out of range; it takes ${formatSize(min)} to ${formatSize(max)}`);
  return bytes;
}

/** Whole numbers, also as the text that flags and variables carry. */
export function integerValue(value: unknown, { min, max }: Bounds): number {
  const number = typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isInteger(number) || number < min || number > max) {
    throw new WrongValue(`${show(value)} does not fit; it takes a whole number from ${min} to ${max}`);
  }
  return number;
}

/** `true` or `false`, also as the text that variables carry. */
export function booleanValue(value: unknown): boolean {
  if (value === true || value === 'true' || value === '1') return true;
  if (value === false || value === 'false' || value === '0') return false;
  throw new WrongValue(`${show(value)} does not fit; it takes true or false`);
}

export function choiceValue<const T extends string>(value: unknown, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === value);
  if (found === undefined)
    throw new WrongValue(
      `${show(value)} does not fit; it takes ${choices.slice(0, -1).join(', ')} or ${choices.at(-1)}`,
    );
  return found;
}

export function textValue(value: unknown): string {
  // eslint-disable-next-line no-control-regex -- control characters are what is refused
  if (typeof value !== 'string' || value === '' || /[\0-\x1f\x7f]/.test(value)) {
    throw new WrongValue('it takes a text that is not empty and has no control characters');
  }
  return value;
}

/** An address or host name to listen on; brackets around an IPv6 address are dropped. */
export function hostValue(value: unknown): string {
  const text = textValue(value);
  const bare = /^\[.*\]$/.test(text) ? text.slice(1, -1) : text;
  if (isIP(bare) > 0) return bare;
  if (/^(?!-)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*$/.test(text) && !/^[\d.]+$/.test(text)) return text;
  throw new WrongValue(
    `${show(value)} is not an address to listen on; write one such as 127.0.0.1, ::1 or 0.0.0.0, without scheme and port`,
  );
}

/** The parsed URL where it is http or https and carries no user name or password. The text never stands in a message: it may hold a password. */
export function httpUrl(value: unknown, example: string): URL {
  const text = textValue(value);
  const url = /^https?:\/\//i.test(text) && !/[\s\\]/.test(text) && URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined) throw new WrongValue(`it takes an http or https URL such as ${example}`);
  if (/^https?:\/\/[^/?#]*%/i.test(text) && url.username === '')
    throw new WrongValue('the host of a URL is written without "%"; write the characters themselves');
  if (url.username !== '' || url.password !== '')
    throw new WrongValue(
      'a URL may not carry a user name or password; put credentials into a header or leave them out',
    );
  return url;
}

/** The base of URLs in answers: a URL without query and fragment; the slash at the end is dropped. */
export function baseUrlValue(value: unknown): string {
  const url = httpUrl(value, 'https://jobs.example.com');
  if (url.search !== '' || url.hash !== '') throw new WrongValue('the base of other URLs has no query and no fragment');
  return url.origin + url.pathname.replace(/\/+$/, '');
}

/** The URL of a backend, as written. */
export function targetUrlValue(value: unknown): string {
  const url = httpUrl(value, 'http://127.0.0.1:9001/score');
  // The caller's path and query are appended, so a query of its own would have to be merged, and no merge is the obvious one.
  if (url.search !== '' || url.hash !== '')
    throw new WrongValue("a target URL has no query and no fragment; the caller's query is passed on as it came");
  return value as string;
}

export function rangeValue(value: unknown): string {
  if (typeof value !== 'string' || parseRange(value) === undefined)
    throw new WrongValue(
      `${show(value)} is not an address range; write one such as 10.0.0.0/8, fd00::/8 or 192.168.1.7`,
    );
  return value;
}

/** An origin exactly as browsers send it. */
export function originValue(value: unknown): string {
  if (value === '*')
    throw new WrongValue(
      '"*" would open the server to every web page; name each origin, such as https://app.example.com',
    );
  const url =
    typeof value === 'string' && /^https?:\/\//.test(value) && URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || url.username !== '' || url.password !== '' || url.origin !== value) {
    throw new WrongValue(
      `it takes an origin exactly as browsers send it, such as https://app.example.com${url && !url.username && !url.password ? `; did you mean "${url.origin}"?` : ''}`,
    );
  }
  return value as string;
}
