// Where the business key of a request stands: the `key` field of a service, and its short spelling on the command line.
import { unforwardedRequestHeaders } from '@waitless/protocol';
import { isFields } from './config-file.ts';
import type { KeyRule } from './config-shape.ts';
import { WrongValue } from './config-error.ts';
import { isHeaderName, ownHeaders, secretHeaders } from './header-names.ts';
import { didYouMean } from './nearest.ts';
import { integerValue, show } from './values.ts';

/** The parts in order, and the methods whose requests share results under them. */
export interface KeySource {
  readonly parts: readonly KeyRule[];
  readonly methods: readonly string[];
}

/** Repeating these does no harm that a stored result could hide. Others are done each time, whatever their key. */
export const sharingMethods: readonly string[] = Object.freeze(['GET', 'HEAD', 'POST']);

const places = ['body', 'query', 'header', 'path'] as const;
const mostParts = 8;
const mostSegments = 64;
const longestText = 256;

const isPointer = (text: string): boolean => /^(?:\/(?:[^~/]|~[01])*)+$/u.test(text);

/** A text of a rule: not empty, no control characters, not longer than anyone needs. */
function named(value: unknown, example: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is refused
  if (typeof value !== 'string' || value === '' || value.length > longestText || /[\0-\x1f\x7f]/.test(value))
    throw new WrongValue(`${show(value)} does not fit; it takes ${example}`);
  return value;
}

function headerPart(value: unknown): KeyRule {
  const name = named(value, 'the name of a request header such as "X-Customer"');
  const lower = name.toLowerCase();
  if (!isHeaderName(name)) throw new WrongValue(`${show(name)} is not a header name`);
  if (secretHeaders.has(lower))
    throw new WrongValue(
      `"${name}" carries a credential, and keys are shown to whoever looks at operations; name a header that is no secret`,
    );
  if (unforwardedRequestHeaders.has(lower) || ownHeaders.has(lower))
    throw new WrongValue(
      `"${name}" is not passed on as it came, so it cannot say what a result is about; name a header of your own, such as "X-Customer"`,
    );
  return { from: 'header', name: lower };
}

function part(value: unknown): KeyRule {
  if (!isFields(value))
    throw new WrongValue('it takes where the key stands, such as {"body": "/customerId"} or {"query": "customer"}');
  const given = places.filter((place) => Object.hasOwn(value, place));
  for (const field of Object.keys(value)) {
    if ((places as readonly string[]).includes(field)) continue;
    if (field === 'methods') throw new WrongValue('"methods" stands with a single place only; remove it from the list');
    throw new WrongValue(`there is no place "${show(field).slice(1, -1)}"${didYouMean(field, places)}`);
  }
  const [place] = given;
  if (place === undefined || given.length > 1)
    throw new WrongValue(
      'it takes exactly one of "body", "query", "header" and "path"; for a key of several parts write a list',
    );
  const content = value[place];
  if (place === 'header') return headerPart(content);
  if (place === 'query') return { from: 'query', name: named(content, 'the name of a query parameter') };
  if (place === 'path') {
    // A number the file wrote as text would be a guess; on the command line all is text and read before.
    if (typeof content !== 'number') throw new WrongValue(`${show(content)} does not fit; it takes a number from 1`);
    return { from: 'path', segment: integerValue(content, { min: 1, max: mostSegments }) };
  }
  const pointer = named(content, 'a JSON Pointer such as "/customerId" or "/customer/id"');
  if (!isPointer(pointer))
    throw new WrongValue(
      `${show(pointer)} is not a JSON Pointer (RFC 6901); ${
        pointer.startsWith('/') ? 'write "~" as "~0" and "/" as "~1"' : `did you mean ${show(`/${pointer}`)}?`
      }`,
    );
  return { from: 'body', pointer };
}

function readMethods(value: unknown): readonly string[] {
  const fail = (): never => {
    throw new WrongValue(`"methods": ${show(value)} does not fit; it takes a list of GET, HEAD and POST`);
  };
  if (!Array.isArray(value) || value.length === 0) return fail();
  for (const method of value) if (!sharingMethods.includes(method as string)) fail();
  return Object.freeze(sharingMethods.filter((method) => value.includes(method)));
}

/** The `key` field: one place, or a list of places whose values together are the key. Throws WrongValue. */
export function keyValue(value: unknown): KeySource {
  if (isFields(value) && Object.hasOwn(value, 'methods')) {
    const { methods, ...place } = value;
    return freeze([part(place)], readMethods(methods));
  }
  const parts = Array.isArray(value) ? value : [value];
  if (parts.length === 0 || parts.length > mostParts)
    throw new WrongValue(`it takes 1 to ${mostParts} places where the key stands; without a key remove the field`);
  return freeze(parts.map(part), sharingMethods);
}

function freeze(parts: readonly KeyRule[], methods: readonly string[]): KeySource {
  const seen = new Set<string>();
  for (const one of parts) {
    const text = JSON.stringify(one);
    if (seen.has(text)) throw new WrongValue('the same place stands there twice; keep one');
    seen.add(text);
  }
  return { parts: Object.freeze(parts.map((one) => Object.freeze(one))), methods };
}

/** A part as it stands in a service document. */
export function keyField(rule: KeyRule): Readonly<Record<string, string | number>> {
  if (rule.from === 'body') return { body: rule.pointer };
  if (rule.from === 'path') return { path: rule.segment };
  return { [rule.from]: rule.name };
}

/** `/customerId`, `query:customer`, `header:X-Customer` or `path:1` as a field of a service document. Throws WrongValue. */
export function keyFieldOfText(text: string): Readonly<Record<string, string | number>> {
  if (text.startsWith('/')) return { body: text };
  const colon = text.indexOf(':');
  const [place, content] = [text.slice(0, Math.max(0, colon)), text.slice(colon + 1)];
  if (place === 'body' || place === 'query' || place === 'header') return { [place]: content };
  if (place === 'path') return { path: integerValue(content, { min: 1, max: mostSegments }) };
  const example = '/customerId (in the body), query:customer, header:X-Customer or path:1';
  throw new WrongValue(
    `${show(text)} is no place of a key; it takes ${example}${colon < 0 ? `; did you mean ${show(`/${text}`)}?` : didYouMean(place, places)}`,
  );
}
