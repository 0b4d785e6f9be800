// An event in the words of CloudEvents 1.0: structured JSON and binary HTTP fields, put together from what was stored and nothing parsed anew. Pure.
import { isUtf8 } from 'node:buffer';
import type { LoggedEvent } from '../engine/topics.ts';
import type { Attributes } from './event-filter.ts';
import { attributesOf } from './event-taking.ts';

/** JSON media types: their data stands in structured JSON as its own source text. */
export const isJsonType = (type: string): boolean => /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i.test(type);
const isTextType = (type: string): boolean => /^text\/|^application\/(?:[\w.-]+\+)?xml\s*(?:;|$)/i.test(type);

/** Of an event without one the data is JSON, as the JSON format of CloudEvents says. */
export const dataType = (attributes: Attributes): string =>
  typeof attributes['datacontenttype'] === 'string' ? attributes['datacontenttype'] : 'application/json';

const words = new WeakMap<LoggedEvent, string>();

/** Structured JSON. The data of JSON types is the bytes that were published, verbatim; other text is a string, all else is base64. */
export function structuredJson(event: LoggedEvent): string {
  let text = words.get(event);
  if (text === undefined) words.set(event, (text = `${event.head.slice(0, -1)}${dataMember(event)}}`));
  return text;
}

function dataMember(event: LoggedEvent): string {
  const { body } = event;
  if (body.length === 0) return '';
  const type = dataType(attributesOf(event));
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  if (isJsonType(type)) return `,"data":${bytes.toString('utf8')}`;
  return isTextType(type) && isUtf8(bytes)
    ? `,"data":${JSON.stringify(bytes.toString('utf8'))}`
    : `,"data_base64":"${bytes.toString('base64')}"`;
}

/** Fields of the binary mode: `ce-*` for each attribute, and the data's own Content-Type. Values are percent-encoded as the HTTP binding says (3.1.3.2). */
export function binaryFields(event: LoggedEvent): [string, string][] {
  const attributes = attributesOf(event);
  const fields = Object.entries(attributes)
    .filter(([name]) => name !== 'datacontenttype')
    .map(([name, value]): [string, string] => [`ce-${name}`, percentEncoded(String(value))]);
  return event.body.length === 0 ? fields : [...fields, ['Content-Type', dataType(attributes)]];
}

/** Space, the double quote, the percent sign and all beyond printable ASCII. */
const percentEncoded = (text: string): string =>
  text.replaceAll(/[^!#$&-~]/gu, (character) =>
    [...Buffer.from(character)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
