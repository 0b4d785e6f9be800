// Reads the items of a batch, from one JSON array or from lines. An item that is wrong is an error in its place and spoils no other.
import { isUtf8 } from 'node:buffer';
import { METHODS } from 'node:http';
import { mostBatchItems as mostItems, WaitlessError } from '@waitless/protocol';
import { JsonScan } from './batch-scan.ts';
import { fieldError } from './shape.ts';

/** One request of a batch, as it was written; what it means is judged like that of a request of its own. */
export interface BatchItem {
  service: string;
  method: string;
  path: string;
  query: string;
  /** Name and value in turn. */
  rawHeaders: string[];
  /** A view on the batch where its bytes stand there as they are. */
  body: Buffer;
}

/** Envelopes are a few levels deep; more is an attack on whoever recurses. Bodies are opaque and may be as deep as they like. */
const mostDepth = 64;
/** One more than a request of its own may have: the check that both share then says so. */
const mostHeaders = 101;
/** As large as the header block of a request of its own may be. */
const mostHeaderBytes = 16_384;
const methods: ReadonlySet<string> = new Set(METHODS);

const fields = ['service', 'method', 'path', 'query', 'headers', 'body', 'bodyBase64'] as const;
type Field = (typeof fields)[number];
const bits: ReadonlyMap<string, number> = new Map(fields.map((name, index) => [name, 1 << index]));
const both = bits.get('body')! | bits.get('bodyBase64')!;
/** Would reach the prototype of whatever object a careless reader copies them to. */
const forbiddenKeys: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

const fieldName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/;
// oxlint-disable-next-line no-control-regex -- RFC 9110 5.5: what a field value may hold
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/;
const noBody = Buffer.alloc(0);

const quote = 0x22;
const newline = 0x0a;
const [comma, colon] = [0x2c, 0x3a];
const [openBracket, closeBracket] = [0x5b, 0x5d];
const [openBrace, closeBrace] = [0x7b, 0x7d];

const tooMany = (): WaitlessError =>
  new WaitlessError('payload-too-large', `a batch takes at most ${mostItems} items; send the others in another one`, {
    members: { limitItems: mostItems, accepted: false },
  });

/** A JSON array. What is no JSON, or has a field that no item has, is an error of the whole: it throws. */
export function readArray(bytes: Buffer): (BatchItem | WaitlessError)[] {
  if (!isUtf8(bytes)) throw new WaitlessError('invalid-json', 'the body is not valid UTF-8');
  const scan = new JsonScan(bytes);
  const items: (BatchItem | WaitlessError)[] = [];
  if (scan.next() !== openBracket) {
    scan.value(mostDepth);
    if (scan.next() !== undefined)
      throw scan.wrong('something stands after it; one item a line is application/x-ndjson');
    throw fieldError('invalid-parameter', '', 'must be a JSON array of items, or lines of application/x-ndjson');
  }
  scan.take(openBracket);
  if (!scan.take(closeBracket)) {
    do {
      if (items.length === mostItems) throw tooMany();
      items.push(readItem(scan, `/${items.length}`, before(items)));
    } while (scan.take(comma));
    scan.need(closeBracket, 'or "," after an item');
  }
  if (scan.next() !== undefined) throw scan.wrong('something stands after the array');
  return items;
}

/** One item a line. Whatever is wrong with a line is an error in its place, which names the line; empty lines are no items. */
export function readLines(bytes: Buffer): (BatchItem | WaitlessError)[] {
  const sound = isUtf8(bytes);
  const items: (BatchItem | WaitlessError)[] = [];
  for (let from = 0, line = 1; from < bytes.length; line++) {
    const found = bytes.indexOf(newline, from);
    const end = found < 0 ? bytes.length : found;
    const scan = new JsonScan(bytes, from, end);
    if (scan.next() !== undefined) {
      if (items.length === mostItems) throw tooMany();
      items.push(sound || isUtf8(bytes.subarray(from, end)) ? readLine(scan, line, before(items)) : notText(line));
    }
    from = end + 1;
  }
  return items;
}

/** Stands for the item before the first one, and for one that is wrong. */
const nothing: BatchItem = { service: '', method: 'POST', path: '', query: '', rawHeaders: [], body: noBody };

function before(items: readonly (BatchItem | WaitlessError)[]): BatchItem {
  const last = items.at(-1);
  return last === undefined || last instanceof WaitlessError ? nothing : last;
}

const notText = (line: number): WaitlessError => ofLine(new WaitlessError('invalid-json', 'not valid UTF-8'), line);

function readLine(scan: JsonScan, line: number, like: BatchItem): BatchItem | WaitlessError {
  try {
    const item = readItem(scan, '', like);
    if (scan.next() !== undefined) throw scan.wrong('something stands after the item');
    return item instanceof WaitlessError ? ofLine(item, line) : item;
  } catch (error) {
    if (error instanceof WaitlessError) return ofLine(error, line);
    throw error;
  }
}

const ofLine = (error: WaitlessError, line: number): WaitlessError =>
  new WaitlessError(error.code, `line ${line}: ${error.message}`, { members: { ...error.members, line } });

/**
 * @param at JSON pointer of the item
 * @param like the item before it, whose texts are taken over where they are the same
 */
function readItem(scan: JsonScan, at: string, like: BatchItem): BatchItem | WaitlessError {
  if (scan.next() !== openBrace) {
    scan.value(mostDepth - 1);
    return fieldError('invalid-parameter', at, 'must be an object such as {"service":"score","body":{}}');
  }
  scan.take(openBrace);
  const item: BatchItem = { service: '', method: 'POST', path: '', query: '', rawHeaders: [], body: noBody };
  let wrong: WaitlessError | undefined;
  let seen = 0;
  if (!scan.take(closeBrace)) {
    do {
      const field = readField(scan, at);
      const bit = bits.get(field)!;
      if ((seen & bit) !== 0) throw new WaitlessError('invalid-json', `${at}/${field} stands twice in one item`);
      seen |= bit;
      wrong = readInto(item, field, scan, { at, like }) ?? wrong;
    } while (scan.take(comma));
    scan.need(closeBrace, 'or "," after a field');
  }
  if (wrong) return wrong;
  if ((seen & bits.get('service')!) === 0) return fieldError('invalid-parameter', `${at}/service`, 'is missing');
  if ((seen & both) === both) return fieldError('invalid-parameter', at, 'must not have both body and bodyBase64');
  return misfit(item, at) ?? item;
}

/** What no request of its own could have been, since it would not have come through a parser of HTTP. */
function misfit({ method, path, query, rawHeaders }: BatchItem, at: string): WaitlessError | undefined {
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

function readField(scan: JsonScan, at: string): Field {
  scan.string();
  const known = fields.find((name) => scan.is(name));
  const key = known ?? scan.text();
  scan.need(colon, 'after a key');
  if (bits.has(key)) return key as Field;
  if (forbiddenKeys.has(key)) throw forbidden(key);
  throw fieldError(
    'unknown-field',
    `${at}/${key.slice(0, 64)}`,
    `is not known here; the fields of an item are ${fields.join(', ')}`,
  );
}

const forbidden = (key: string): WaitlessError =>
  new WaitlessError('forbidden-key', `the key ${JSON.stringify(key)} is not allowed`);

/** Takes the value of a field; an error where it is JSON and not what the field takes. */
function readInto(
  item: BatchItem,
  field: Field,
  scan: JsonScan,
  { at, like }: { at: string; like: BatchItem },
): WaitlessError | undefined {
  const first = scan.next();
  if (field === 'headers') return readHeaders(item.rawHeaders, scan, { at: `${at}/headers`, like: like.rawHeaders });
  if (field === 'body') {
    if (first === quote) {
      scan.string();
      item.body = scan.textBytes();
    } else {
      scan.value();
      item.body = scan.source();
    }
    return undefined;
  }
  if (first !== quote) {
    scan.value(mostDepth - 2);
    return fieldError('invalid-parameter', `${at}/${field}`, 'must be a string');
  }
  scan.string();
  const text = scan.text(field === 'bodyBase64' ? '' : like[field]);
  if (field !== 'bodyBase64') {
    item[field] = text;
    return undefined;
  }
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text))
    return fieldError('invalid-parameter', `${at}/bodyBase64`, 'is not base64 (RFC 4648 section 4, with its padding)');
  item.body = Buffer.from(text, 'base64');
  return undefined;
}

/** An object of fields, or a list of `[name, value]` pairs where one name stands several times. */
function readHeaders(
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
