// Reads what is published: CloudEvents 1.0 in structured, batched and binary mode, and any other body, which becomes the data of an event of ours. Pure.
//
// Attributes are few and small and are read; data is opaque: its source text is sliced out of the body and kept as it is.
import { isUtf8 } from 'node:buffer';
import { WaitlessError } from '@waitless/protocol';
import { type Attributes } from '../../core/event-filter.ts';
import { isJsonType } from '../../core/event-words.ts';
import { JsonScan } from './scan.ts';

/** An event as it was published. */
export interface ReadEvent {
  attributes: Attributes;
  data: Buffer;
  /** It came without a name and got one here, which nobody else has. */
  isNamedHere: boolean;
}

/** What an event of ours is called where the publisher gave it no name. */
export interface Naming {
  id: () => string;
  source: string;
  type: string;
  time: () => string;
}

/** More in one request holds up others that publish; a batch of them is one commit. */
export const mostBatchEvents = 1000;
/** Attributes are for routing and are sent as header fields: one that is larger than a header block reaches nobody. */
const mostAttributeBytes = 8192;
const mostAttributes = 64;
/** CloudEvents 1.0, 3.1: lower-case letters and digits; more than 20 characters are allowed and ill advised. */
const attributeName = /^[a-z0-9]{1,64}$/;
/** RFC 3339. */
const timestamp = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/;
// oxlint-disable-next-line no-control-regex -- CloudEvents 1.0, 3.1.1: no control characters in a String
const controls = /[\u0000-\u001f\u007f-\u009f]/;
const mediaType = /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+(?:\s*;.*)?$/;
const forbidden: ReadonlySet<string> = new Set(['constructor', 'prototype']);
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const [comma, colon, quote, hyphen] = [0x2c, 0x3a, 0x22, 0x2d];

const wrong = (detail: string): WaitlessError =>
  new WaitlessError('invalid-cloudevent', detail, { members: { accepted: false } });

const structuredType = /^application\/cloudevents\+json\s*(?:;|$)/i;
const batchedType = /^application\/cloudevents-batch\+json\s*(?:;|$)/i;

/** Every event of a request, in its order; one that is wrong refuses them all. */
export function readEvents(
  {
    body,
    headers,
    rawHeaders,
  }: { body: Buffer; headers: (lowerName: string) => string | undefined; rawHeaders: readonly string[] },
  naming: Naming,
): ReadEvent[] {
  const type = headers('content-type')?.trim();
  const fields = binaryAttributes(rawHeaders);
  const isStructured = type !== undefined && (structuredType.test(type) || batchedType.test(type));
  if (isStructured) {
    if (fields.length > 0)
      throw wrong(
        `mixes two modes: the body is ${type} and the header ${fields[0]![0]} is there too; drop one of them`,
      );
    if (!isUtf8(body)) throw wrong('the body is not valid UTF-8');
    const scan = new JsonScan(body);
    const events = batchedType.test(type) ? readBatch(scan) : [readStructured(scan, '')];
    if (scan.next() !== undefined) throw scan.wrong('something stands after it');
    return events;
  }
  if (type !== undefined && /^application\/cloudevents/i.test(type))
    throw wrong(
      `${type.slice(0, 64)} is not read here; send application/cloudevents+json or application/cloudevents-batch+json`,
    );
  if (fields.length > 0) return [judged(readBinary(fields, type), body, '')];
  const attributes: Record<string, unknown> = {
    specversion: '1.0',
    id: naming.id(),
    source: naming.source,
    type: naming.type,
    time: naming.time(),
    ...(type !== undefined
      ? { datacontenttype: type }
      : body.length > 0
        ? { datacontenttype: 'application/octet-stream' }
        : {}),
  };
  return [{ ...judged(attributes, body, ''), isNamedHere: true }];
}

function readBatch(scan: JsonScan): ReadEvent[] {
  const events: ReadEvent[] = [];
  scan.need(openBracket, 'a batch is a JSON array of events');
  if (scan.take(closeBracket)) return events;
  do {
    if (events.length === mostBatchEvents)
      throw new WaitlessError(
        'payload-too-large',
        `a batch takes at most ${mostBatchEvents} events; send the others in another one`,
        {
          members: { limitItems: mostBatchEvents, accepted: false },
        },
      );
    events.push(readStructured(scan, `/${events.length}`));
  } while (scan.take(comma));
  scan.need(closeBracket, 'or "," after an event');
  return events;
}

function readStructured(scan: JsonScan, at: string): ReadEvent {
  const attributes: Record<string, unknown> = {};
  let data: { bytes: Buffer; isText: boolean; text: () => Buffer } | undefined;
  let base64: Buffer | undefined;
  if (scan.next() !== openBrace) throw wrong(`${at === '' ? 'the body' : at} must be a JSON object`);
  scan.take(openBrace);
  let members = 0;
  if (!scan.take(closeBrace)) {
    do {
      // Counted as they come, so that a million of them are never put together. One of them may be data.
      if (++members > mostAttributes + 1) throw tooMany(at);
      scan.string();
      const name = scan.text();
      scan.need(colon, 'after a key');
      const first = scan.next();
      if (name === 'data') {
        if (data || base64)
          throw wrong(`${at}/data stands beside another data; an event has one of data and data_base64`);
        const isText = first === quote;
        scan.value();
        const source = scan.source();
        // The string's own bytes are kept before the scan goes on.
        const text = isText ? new JsonScan(source) : undefined;
        data = {
          bytes: source,
          isText,
          text: () => {
            text!.string();
            return text!.textBytes();
          },
        };
      } else if (name === 'data_base64') {
        if (data || base64)
          throw wrong(`${at}/data_base64 stands beside another data; an event has one of data and data_base64`);
        if (first !== quote) throw wrong(`${at}/data_base64 must be a string`);
        scan.string();
        base64 = fromBase64(scan.text(), at);
      } else
        setAttribute(attributes, { name, value: readValue(scan, { first, at: `${at}/${name.slice(0, 64)}` }), at });
    } while (scan.take(comma));
    scan.need(closeBrace, 'or "," after a member');
  }
  const type = attributes['datacontenttype'];
  const isJson = typeof type !== 'string' || isJsonType(type);
  // A null is data that is not there, unless it is JSON and so a value.
  const bytes = base64 ?? (data === undefined ? Buffer.alloc(0) : data.isText && !isJson ? data.text() : data.bytes);
  return judged(attributes, bytes, at, { sliced: data !== undefined && isJson });
}

function readValue(scan: JsonScan, { first, at }: { first: number | undefined; at: string }): unknown {
  if (first === openBrace || first === openBracket)
    throw wrong(`${at} must be a string, a number or true or false; only data may be more`);
  if (first === quote) {
    scan.string();
    return scan.text();
  }
  scan.value(1);
  const text = scan.source().toString('latin1');
  if (text === 'null') return undefined;
  return JSON.parse(text) as unknown;
}

function setAttribute(
  attributes: Record<string, unknown>,
  { name, value, at }: { name: string; value: unknown; at: string },
): void {
  if (!attributeName.test(name) || forbidden.has(name))
    throw wrong(`${at}/${name.slice(0, 64)} is no attribute name: lower-case letters and digits, 64 at most`);
  if (Object.hasOwn(attributes, name)) throw wrong(`${at}/${name} stands twice`);
  // As the JSON format says, null is an attribute that is not there.
  if (value !== undefined) attributes[name] = value;
}

const tooMany = (at: string): WaitlessError =>
  wrong(`${at === '' ? 'the event' : at} has more than ${mostAttributes} attributes`);

function fromBase64(text: string, at: string): Buffer {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64').replaceAll('=', '') !== text.replaceAll('=', ''))
    throw wrong(`${at}/data_base64 is not valid base64`);
  return bytes;
}

/** `ce-*` header fields, names in lower case. */
function binaryAttributes(rawHeaders: readonly string[]): [string, string][] {
  const found: [string, string][] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!;
    // Most fields are none, and a publish is too frequent to write all of them in lower case.
    if (name.charCodeAt(2) === hyphen && /^ce-/i.test(name)) found.push([name.toLowerCase(), rawHeaders[i + 1]!]);
  }
  return found;
}

function readBinary(fields: readonly [string, string][], type: string | undefined): Record<string, unknown> {
  const attributes: Record<string, unknown> = {};
  if (fields.length > mostAttributes) throw tooMany('');
  for (const [field, value] of fields)
    setAttribute(attributes, { name: field.slice(3), value: decoded(field, value), at: 'header ce-' });
  if (Object.hasOwn(attributes, 'datacontenttype'))
    throw wrong('the header ce-datacontenttype has no meaning in binary mode; Content-Type tells what the data is');
  if (type !== undefined) attributes['datacontenttype'] = type;
  return attributes;
}

/** Header values are UTF-8 in percent-encoding (HTTP binding 3.1.3.2); what is not encoded stays as it is. */
function decoded(field: string, value: string): string {
  if (!value.includes('%')) return value;
  const bytes = Buffer.from(
    value.replaceAll(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  );
  if (!isUtf8(bytes)) throw wrong(`the header ${field} is not UTF-8 once its percent-encoding is undone`);
  return bytes.toString('utf8');
}

/** What every event must have, whatever mode it came in. */
function judged(attributes: Record<string, unknown>, data: Buffer, at: string, { sliced = false } = {}): ReadEvent {
  const name = (attribute: string): string => (at === '' ? attribute : `${at}/${attribute}`);
  if (attributes['specversion'] !== '1.0')
    throw wrong(
      attributes['specversion'] === undefined
        ? `${name('specversion')} is missing; it must be "1.0"`
        : `${name('specversion')} must be "1.0", the only version that is read here`,
    );
  for (const needed of ['id', 'source', 'type'] as const)
    if (typeof attributes[needed] !== 'string' || attributes[needed] === '')
      throw wrong(
        `${name(needed)} ${attributes[needed] === undefined ? 'is missing' : 'must be a string that is not empty'}`,
      );
  for (const [attribute, value] of Object.entries(attributes)) {
    if (typeof value === 'number' && !(Number.isInteger(value) && Math.abs(value) <= 2 ** 31))
      throw wrong(`${name(attribute)} must be a whole number of 32 bits; write others as strings`);
    if (typeof value !== 'string') continue;
    if (Buffer.byteLength(value) > mostAttributeBytes)
      throw wrong(`${name(attribute)} has more than ${mostAttributeBytes} bytes; put what is large into the data`);
    if (controls.test(value) || !value.isWellFormed())
      throw wrong(`${name(attribute)} has a control character or half of a surrogate pair`);
  }
  const { time, datacontenttype, subject } = attributes;
  if (time !== undefined && !(typeof time === 'string' && timestamp.test(time) && !Number.isNaN(Date.parse(time))))
    throw wrong(`${name('time')} must be a time of RFC 3339 such as 2026-01-31T12:00:00Z`);
  if (datacontenttype !== undefined && !(typeof datacontenttype === 'string' && mediaType.test(datacontenttype)))
    throw wrong(`${name('datacontenttype')} must be a media type such as application/json`);
  if (subject === '') throw wrong(`${name('subject')} must not be empty; leave it out`);
  const isJson = typeof datacontenttype !== 'string' || isJsonType(datacontenttype);
  // What says that it is JSON is spliced into JSON when it is handed on.
  if (isJson && !sliced && data.length > 0 && !isJsonText(data))
    throw wrong(
      `${name('data')} is not the JSON that ${datacontenttype === undefined ? 'data without a datacontenttype is' : 'its type says'}`,
    );
  return { attributes, data, isNamedHere: false };
}

function isJsonText(bytes: Buffer): boolean {
  if (!isUtf8(bytes)) return false;
  try {
    const scan = new JsonScan(bytes);
    scan.value();
    return scan.next() === undefined;
  } catch {
    return false;
  }
}
