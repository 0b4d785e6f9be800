// Reads the JSON that Waitless itself understands: strict, bounded, without recursion; bodies inside envelopes keep their source text.
import { isUtf8 } from 'node:buffer';
import { WaitlessError } from '@waitless/protocol';
import type { Exchange } from './exchange.ts';

/** Envelopes are a few levels deep; more is an attack on whoever recurses. */
const mostDepth = 64;
const mostKeys = 10_000;
/** A full settle envelope has some 50,000 values; millions of them would hold up everybody while they are parsed. */
const mostValues = 200_000;
/** Would reach the prototype of whatever object a careless reader copies them to. */
const forbiddenKeys = new Set(['__proto__', 'constructor', 'prototype']);

export interface JsonDocument {
  value: unknown;
  /** Source text of every member that was asked for, in order of appearance. */
  verbatim: string[];
}

/** A member whose value is opaque. The depth tells it from others of the same name: 1 is a member of the outermost object. */
export interface Verbatim {
  key: string;
  depth: number;
}

/** The JSON body of a request; 415 for other media types, 413 beyond `limit`, 400 for what is not acceptable JSON. An absent body is `{}`. */
export async function jsonBody(
  exchange: Exchange,
  { limit, verbatim }: { limit: number; verbatim?: Verbatim },
): Promise<JsonDocument> {
  const type = exchange.headers('content-type');
  const encoding = exchange.headers('content-encoding');
  if (encoding !== undefined && encoding.trim().toLowerCase() !== 'identity')
    throw new WaitlessError(
      'unsupported-content-encoding',
      `Content-Encoding ${JSON.stringify(encoding.slice(0, 64))} is not read here`,
    );
  const bytes = await exchange.body(limit);
  if (bytes.length === 0) return { value: {}, verbatim: [] };
  if (type === undefined || !/^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i.test(type))
    throw new WaitlessError('unsupported-media-type', 'send the body with Content-Type: application/json');
  if (!isUtf8(bytes)) throw new WaitlessError('invalid-json', 'the body is not valid UTF-8');
  return readJson(bytes.toString('utf8'), verbatim);
}

export function readJson(text: string, verbatim?: Verbatim): JsonDocument {
  const found = scan(text, verbatim);
  try {
    return { value: JSON.parse(text), verbatim: found };
  } catch (error) {
    throw new WaitlessError('invalid-json', `the body is not valid JSON: ${(error as Error).message.slice(0, 200)}`);
  }
}

const quote = 34;
const backslash = 92;

/** Walks the tokens once. Judges depth, number of keys and values, repeated and forbidden keys and broken characters; leaves the grammar to JSON.parse. */
function scan(text: string, verbatim: Verbatim | undefined): string[] {
  const found: string[] = [];
  /** Keys of each open object; null for an array. */
  const open: (Set<string> | null)[] = [];
  let keys = 0;
  let values = 0;
  let expectKey = false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === quote) {
      const end = endOfString(text, i);
      const level = open.at(-1);
      const key = stringAt(text, i, end);
      if (expectKey && level) {
        if (++keys > mostKeys)
          throw new WaitlessError('payload-too-complex', `the body has more than ${mostKeys} keys`);
        if (forbiddenKeys.has(key))
          throw new WaitlessError('forbidden-key', `the key ${JSON.stringify(key)} is not allowed`);
        if (level.has(key))
          throw new WaitlessError(
            'invalid-json',
            `the key ${JSON.stringify(key.slice(0, 64))} stands twice in one object`,
          );
        level.add(key);
        expectKey = false;
        if (key === verbatim?.key && open.length === verbatim.depth) {
          const colon = text.indexOf(':', end);
          if (colon < 0) return found;
          const [from, to] = valueSpan(text, colon + 1);
          if (text.charCodeAt(from) === quote) stringAt(text, from, to - 1);
          found.push(text.slice(from, to));
          i = to - 1;
          continue;
        }
      }
      i = end;
    } else if (c === 123 || c === 91) {
      open.push(c === 123 ? new Set() : null);
      if (open.length > mostDepth)
        throw new WaitlessError('payload-too-complex', `the body is nested deeper than ${mostDepth} levels`);
      expectKey = c === 123;
    } else if (c === 125 || c === 93) {
      open.pop();
      expectKey = false;
    } else if (c === 44) {
      if (++values > mostValues)
        throw new WaitlessError('payload-too-complex', `the body has more than ${mostValues} values`);
      expectKey = open.at(-1) instanceof Set;
    }
  }
  return found;
}

/** What the string between two quotes stands for. Half of a surrogate pair has no UTF-8 and would be kept as another character. */
function stringAt(text: string, start: number, end: number): string {
  const inner = text.slice(start + 1, end);
  if (!inner.includes('\\')) return inner;
  let found: string;
  try {
    found = JSON.parse(text.slice(start, end + 1)) as string;
  } catch {
    throw new WaitlessError('invalid-json', 'a string has a broken escape or control character');
  }
  if (!found.isWellFormed()) throw new WaitlessError('invalid-json', 'a string has half of a surrogate pair');
  return found;
}

/** Index of the closing quote, or the end of the text. */
function endOfString(text: string, start: number): number {
  for (let i = text.indexOf('"', start + 1); i >= 0; i = text.indexOf('"', i + 1)) {
    let slashes = 0;
    while (text.charCodeAt(i - 1 - slashes) === backslash) slashes++;
    if (slashes % 2 === 0) return i;
  }
  return text.length;
}

/** Where the value that starts after `at` begins and ends, whatever is in it: opaque, so neither depth nor keys count. */
function valueSpan(text: string, at: number): [number, number] {
  let from = at;
  while (/\s/.test(text[from] ?? '')) from++;
  let depth = 0;
  for (let i = from; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === quote) i = endOfString(text, i);
    else if (c === 123 || c === 91) depth++;
    else if (c === 125 || c === 93) {
      if (depth === 0) return [from, endOfWord(text, from, i)];
      depth--;
    } else if (c === 44 && depth === 0) return [from, endOfWord(text, from, i)];
    if (depth === 0 && (c === quote || c === 125 || c === 93)) return [from, Math.min(i + 1, text.length)];
  }
  return [from, text.length];
}

/** Numbers, true, false and null end before the white space that follows them. */
function endOfWord(text: string, from: number, to: number): number {
  while (to > from && /\s/.test(text[to - 1]!)) to--;
  return to;
}
