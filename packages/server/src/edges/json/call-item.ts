// A request to a service inside a JSON envelope: its shape, its header fields, and what could not have come through a parser of HTTP.
import { METHODS } from 'node:http';
import { WaitlessError } from '@waitless/protocol';
import { JsonScan } from './scan.ts';
import { fieldError } from './shape.ts';

/** One request inside an envelope, as it was written; what it means is judged like that of a request of its own. */
export interface CallItem {
  service: string;
  method: string;
  path: string;
  query: string;
  /** Name and value in turn. */
  rawHeaders: string[];
  /** A view on the envelope where its bytes stand there as they are. */
  body: Buffer;
}

/** Envelopes are a few levels deep; more is an attack on whoever recurses. Bodies are opaque and may be as deep as they like. */
export const mostDepth = 64;
/** One more than a request of its own may have: the check that both share then says so. */
const mostHeaders = 101;
/** As large as the header block of a request of its own may be. */
const mostHeaderBytes = 16_384;
const methods: ReadonlySet<string> = new Set(METHODS);

/** Would reach the prototype of whatever object a careless reader copies them to. */
export const forbiddenKeys: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

const fieldName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/;
// oxlint-disable-next-line no-control-regex -- RFC 9110 5.5: what a field value may hold
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/;
const quote = 0x22;
const [comma, colon] = [0x2c, 0x3a];
const [openBracket, closeBracket] = [0x5b, 0x5d];
const [openBrace, closeBrace] = [0x7b, 0x7d];

export const forbidden = (key: string): WaitlessError =>
  new WaitlessError('forbidden-key', `the key ${JSON.stringify(key)} is not allowed`);

/** What no request of its own could have been, since it would not have come through a parser of HTTP. */
export function misfit({ method, path, query, rawHeaders }: CallItem, at: string): WaitlessError | undefined {
  if (!methods.has(method))
    return fieldError('invalid-parameter', `${at}/method`, 'must be an HTTP method in capitals, such as POST');
  if (path !== '' && path[0] !== '/')
    return fieldError('invalid-parameter', `${at}/path`, 'must begin with "/": it is what follows the service');
  if (path.includes('?'))
    return fieldError('invalid-parameter', `${at}/path`, 'must not have a "?": what follows it belongs into query');
  if (!/^[\x21-\x7e]*$/.test(query))
    return fieldError('invalid-parameter', `${at}/query`, 'must be as in a URL, with percent-encoding');
  let bytes = 0;
  for (const text of rawHeaders) bytes += text.length + 2;
  return bytes > mostHeaderBytes
    ? new WaitlessError('too-many-headers', `${at}/headers are larger than ${mostHeaderBytes} bytes`)
    : undefined;
}

/** An object of fields, or a list of `[name, value]` pairs where one name stands several times. */
export function readHeaders(
  into: string[],
  scan: JsonScan,
  { at, like }: { at: string; like: readonly string[] },
): WaitlessError | undefined {
  const wrong = (): WaitlessError =>
    fieldError('invalid-parameter', at, 'must be an object of header fields or a list of [name, value] pairs');
  const first = scan.next();
  if (first !== openBrace && first !== openBracket) {
    scan.value(mostDepth - 2);
    return wrong();
  }
  scan.take(first);
  const close = first === openBrace ? closeBrace : closeBracket;
  if (scan.take(close)) return undefined;
  let good = true;
  do {
    if (first === openBrace) {
      scan.string();
      const name = scan.text(like[into.length]);
      scan.need(colon, 'after a key');
      if (forbiddenKeys.has(name)) throw forbidden(name);
      good = readValue(into, name, scan, like) && good;
    } else good = readPair(into, scan, like) && good;
    // Read to its end all the same; what is refused for its number need not be kept.
    if (into.length > mostHeaders * 2) into.length = mostHeaders * 2;
  } while (scan.take(comma));
  scan.need(close, 'or "," after a header');
  if (!good) return wrong();
  return first === openBrace ? twice(into, at) : undefined;
}

function readPair(into: string[], scan: JsonScan, like: readonly string[]): boolean {
  if (scan.next() !== openBracket) {
    scan.value(mostDepth - 4);
    return false;
  }
  scan.take(openBracket);
  if (scan.take(closeBracket)) return false;
  let name: string | undefined;
  if (scan.next() === quote) {
    scan.string();
    name = scan.text(like[into.length]);
  } else scan.value(mostDepth - 4);
  if (!scan.take(comma)) {
    scan.need(closeBracket, 'or "," after a value');
    return false;
  }
  let good = readValue(into, name, scan, like);
  while (scan.take(comma)) {
    scan.value(mostDepth - 4);
    good = false;
  }
  scan.need(closeBracket, 'or "," after a value');
  return good;
}

function readValue(into: string[], name: string | undefined, scan: JsonScan, like: readonly string[]): boolean {
  if (scan.next() !== quote) {
    scan.value(mostDepth - 4);
    return false;
  }
  scan.string();
  const [knownName, knownValue] = [like[into.length], like[into.length + 1]];
  const value = scan.text(knownValue);
  // What the item before has was judged there.
  if (name === undefined || (name !== knownName && !fieldName.test(name))) return false;
  if (value !== knownValue && !fieldValue.test(value)) return false;
  // White space around a value is none of it (RFC 9110 5.5), as for a field that came over the wire.
  into.push(name, bare(value));
  return true;
}

function bare(value: string): string {
  const blank = (at: number): boolean => value[at] === ' ' || value[at] === '\t';
  let [from, to] = [0, value.length];
  while (from < to && blank(from)) from++;
  while (to > from && blank(to - 1)) to--;
  return to - from === value.length ? value : value.slice(from, to);
}

/** Two readers of one object pick another one of two equal keys each. */
function twice(raw: readonly string[], at: string): undefined {
  if (raw.length < 4) return undefined;
  for (let i = 2; i < raw.length; i += 2) {
    for (let before = 0; before < i; before += 2) {
      if (raw[before] === raw[i])
        throw new WaitlessError('invalid-json', `the key ${JSON.stringify(raw[i])} stands twice in ${at}`);
    }
  }
  return undefined;
}
