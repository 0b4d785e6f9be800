// Reads the items of a batch, from one JSON array or from lines. An item that is wrong is an error in its place and spoils no other.
import { isUtf8 } from 'node:buffer';
import { mostBatchItems as mostItems, WaitlessError } from '@waitless/protocol';
import { type CallItem, forbidden, forbiddenKeys, misfit, mostDepth, readHeaders } from '../json/call-item.ts';
import { JsonScan } from '../json/scan.ts';
import { fieldError } from '../json/shape.ts';

const fields = ['service', 'method', 'path', 'query', 'headers', 'body', 'bodyBase64'] as const;
type Field = (typeof fields)[number];
const bits: ReadonlyMap<string, number> = new Map(fields.map((name, index) => [name, 1 << index]));
const both = bits.get('body')! | bits.get('bodyBase64')!;
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
export function readArray(bytes: Buffer): (CallItem | WaitlessError)[] {
  if (!isUtf8(bytes)) throw new WaitlessError('invalid-json', 'the body is not valid UTF-8');
  const scan = new JsonScan(bytes);
  const items: (CallItem | WaitlessError)[] = [];
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
export function readLines(bytes: Buffer): (CallItem | WaitlessError)[] {
  const sound = isUtf8(bytes);
  const items: (CallItem | WaitlessError)[] = [];
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
const nothing: CallItem = { service: '', method: 'POST', path: '', query: '', rawHeaders: [], body: noBody };

function before(items: readonly (CallItem | WaitlessError)[]): CallItem {
  const last = items.at(-1);
  return last === undefined || last instanceof WaitlessError ? nothing : last;
}

const notText = (line: number): WaitlessError => ofLine(new WaitlessError('invalid-json', 'not valid UTF-8'), line);

function readLine(scan: JsonScan, line: number, like: CallItem): CallItem | WaitlessError {
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
function readItem(scan: JsonScan, at: string, like: CallItem): CallItem | WaitlessError {
  if (scan.next() !== openBrace) {
    scan.value(mostDepth - 1);
    return fieldError('invalid-parameter', at, 'must be an object such as {"service":"score","body":{}}');
  }
  scan.take(openBrace);
  const item: CallItem = { service: '', method: 'POST', path: '', query: '', rawHeaders: [], body: noBody };
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

/** Takes the value of a field; an error where it is JSON and not what the field takes. */
function readInto(
  item: CallItem,
  field: Field,
  scan: JsonScan,
  { at, like }: { at: string; like: CallItem },
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
