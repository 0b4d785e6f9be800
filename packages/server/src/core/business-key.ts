// Under which business key the result of a request is kept, and which requests may share it. Pure.
//
// A key must say what the backend will compute: whoever can make the two read a request in two ways can file a result under somebody else's key.
// So it is read from what the backend gets, and what readers of that take in different ways (a name that stands twice, also in another
// spelling; a bare plus in a query) is refused rather than guessed.
import { hash } from 'node:crypto';
import { type ErrorCode, WaitlessError } from '@waitless/protocol';
import type { KeyRule } from '../config/config-shape.ts';
import type { RequestHead } from '../engine/engine.ts';
import { folded, valueAt } from './json-pointer.ts';

/** Of a business key, in bytes of UTF-8. */
export const longestKey = 512;
const tooLong = `is longer than the ${longestKey} bytes of UTF-8 that a business key may have`;

export interface KeySource extends RequestHead {
  /** Where the service says that the key stands; empty where it says nothing. */
  rules: readonly KeyRule[];
  contentEncoding: string | undefined;
  body: Uint8Array;
  /** What the client itself names in Result-Key, or null. */
  given: string | null;
}

const refused = (what: string, code: ErrorCode = 'invalid-parameter'): WaitlessError =>
  new WaitlessError(code, what, { members: { accepted: false } });

/** Throws for what cannot be a business key. @param what names it in the sentence. */
function checkKey(key: string, what: string): void {
  const fault = keyFault(key);
  if (fault !== undefined) throw refused(`${what} ${fault}`);
}

/** The business key of a request, or null where it has none. `path` is that after the service, and `headers` are those that are passed on. */
export function businessKey({ rules, given, ...request }: KeySource): string | null {
  if (given !== null) checkKey(given, 'Result-Key');
  if (rules.length === 0) return given;
  const parts = rules.map((rule) => {
    const part = partOf(rule, request);
    checkKey(part, nameOf(rule));
    return part;
  });
  const key = joinKey(parts);
  // A single part has been judged under its own name.
  if (parts.length > 1) checkKey(key, `the business key, made of ${rules.map(nameOf).join(' and ')},`);
  if (given !== null && given !== key)
    throw refused(
      `Result-Key is not the business key that this service reads from ${rules.map(nameOf).join(' and ')}; leave it out`,
      'conflicting-headers',
    );
  return key;
}

/** One key of several parts, so that no two lists of parts give the same one; a single part stays as it is. */
export const joinKey = (parts: readonly string[]): string =>
  parts.length === 1 ? parts[0]! : parts.map((part) => part.replaceAll('%', '%25').replaceAll('/', '%2F')).join('/');

/** Why a text cannot be a business key, to be said after its name; undefined where it can. */
export function keyFault(key: string): string | undefined {
  if (key === '') return 'is empty, and a business key needs a character at least';
  if (key.includes('\0')) return 'has a NUL in it, which no business key may have';
  if (!key.isWellFormed()) return 'has half of a surrogate pair, which is no character';
  if (key.length > longestKey || Buffer.byteLength(key) > longestKey) return tooLong;
  return undefined;
}

const names = new WeakMap<KeyRule, string>();

/** What a sentence calls it. Asked for every request and needed by few. */
function nameOf(rule: KeyRule): string {
  const known = names.get(rule);
  if (known !== undefined) return known;
  const name = describe(rule);
  names.set(rule, name);
  return name;
}

function describe(rule: KeyRule): string {
  switch (rule.from) {
    case 'body':
      return `${JSON.stringify(rule.pointer)} in the body`;
    case 'query':
      return `the query parameter ${JSON.stringify(rule.name)}`;
    case 'header':
      return `the header ${rule.name}`;
    case 'path':
      return `segment ${rule.segment} of the path`;
  }
}

type Request = Omit<KeySource, 'rules' | 'given'>;

function partOf(rule: KeyRule, request: Request): string {
  switch (rule.from) {
    case 'body':
      return bodyPart(rule.pointer, nameOf(rule), request);
    case 'query':
      return queryPart(rule.name, nameOf(rule), request.query);
    case 'header':
      return headerPart(rule.name, nameOf(rule), request.headers);
    case 'path':
      return pathPart(rule.segment, nameOf(rule), request.path);
  }
}

const missing = (what: string): WaitlessError =>
  refused(`${what} is missing, and this service reads the business key from it`);

function bodyPart(pointer: string, what: string, { body, contentEncoding }: Request): string {
  if (contentEncoding !== undefined && contentEncoding.trim().toLowerCase() !== 'identity')
    throw refused(
      `this service reads the business key from ${what}, which it cannot under Content-Encoding ${JSON.stringify(contentEncoding.slice(0, 64))}; send the body without`,
      'unsupported-content-encoding',
    );
  if (body.length === 0) throw missing(what);
  let found;
  try {
    found = valueAt(body, pointer, longestKey);
  } catch (error) {
    // A body that goes on to the backend may be anything; whoever is told that this one is not JSON has to be told why that matters.
    if (!(error instanceof WaitlessError)) throw error;
    throw refused(`this service reads the business key from ${what}, and ${error.message}`, error.code as ErrorCode);
  }
  switch (found.kind) {
    case 'missing':
      throw missing(what);
    case 'null':
    case 'object':
    case 'array':
      throw refused(
        `${what} is ${found.kind === 'null' ? '' : 'an '}${found.kind}; a business key is a string, a number, true or false`,
      );
    case 'too-long':
      throw refused(`${what} ${tooLong}`);
    default:
      return found.text;
  }
}

/** Readers of queries differ in case, and some take a dot for an underscore or `name[]` for the name. */
const queryFolded = (name: string): string => folded(name).replace(/[. ]/g, '_');

function queryPart(name: string, what: string, query: string): string {
  const wanted = queryFolded(name);
  let found: string | undefined;
  let times = 0;
  for (const pair of query.split('&')) {
    // Some readers separate at semicolons too. They must not find a second one there.
    for (const [i, piece] of pair.split(';').entries()) {
      const equals = piece.indexOf('=');
      const spelled = decoded(equals < 0 ? piece : piece.slice(0, equals));
      // A name that cannot be read is none that anybody looks for.
      const folding = spelled === undefined ? undefined : queryFolded(spelled.replaceAll('+', ' '));
      if (folding !== wanted && !folding?.startsWith(`${wanted}[`)) continue;
      times++;
      if (i > 0 || spelled !== name) continue;
      found = equals < 0 ? '' : pair.slice(equals + 1);
    }
  }
  if (times > 1)
    throw refused(`${what} stands twice, and the business key is read from it; send it once and in one spelling`);
  if (found === undefined) throw missing(what);
  if (/[+;]/.test(found))
    throw refused(
      `${what} has a bare "+" or ";", which is read in two ways; write a space as %20, a plus as %2B and a semicolon as %3B`,
    );
  return readable(decoded(found), what);
}

function headerPart(name: string, what: string, headers: RequestHead['headers']): string {
  // Gateways hand `X_Name` and `X-Name` to programs under one name.
  const wanted = name.toLowerCase().replaceAll('_', '-');
  const found = headers.filter(([other]) => other.toLowerCase().replaceAll('_', '-') === wanted);
  if (found.length > 1)
    throw refused(`${what} stands twice, and the business key is read from it; send it once`, 'duplicate-header');
  if (found[0]?.[0].toLowerCase() !== name.toLowerCase()) throw missing(what);
  return readable(utf8OfField(found[0]![1]), what);
}

function pathPart(segment: number, what: string, path: string): string {
  const segments = path.split('/').slice(1, segment + 1);
  const found = segments[segment - 1];
  if (found === undefined || found === '') throw missing(what);
  if (segments.slice(0, -1).some((before) => /%2f/i.test(before)))
    throw refused(
      `the path has an encoded slash before segment ${segment}, so that segments can be counted in two ways, and the business key is read there`,
    );
  if (found.includes(';')) throw refused(`${what} has a bare ";", which is read in two ways; write it as %3B`);
  return readable(decoded(found), what);
}

/** Percent-decoded once; undefined where the percent signs encode no UTF-8. */
function decoded(text: string): string | undefined {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

function readable(text: string | undefined, what: string): string {
  if (text === undefined) throw refused(`${what} is not UTF-8, and the business key is read from it`);
  return text;
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A field's value as UTF-8: it arrives with one character for each byte. Undefined where the bytes are none. */
export function utf8OfField(value: string): string | undefined {
  if (!/[^\0-\x7f]/.test(value)) return value;
  try {
    return strictUtf8.decode(Buffer.from(value, 'latin1'));
  } catch {
    return undefined;
  }
}

export interface SharingSource {
  key: string;
  service: string;
  head: Pick<RequestHead, 'method' | 'path' | 'query'>;
  contentType: string | undefined;
  body: Uint8Array;
  /** Of `forwardedValues`. */
  forwardedValues: readonly string[];
  /** The key is what a rule of the service yields, so that the operator answers for it; otherwise it is only what a client says. */
  ruled: boolean;
}

/**
 * The fields that the service's `forward` opts in, name and value in turn: they are credentials, and what one of them brings to light is for no other.
 * @param headers those that are passed on
 */
export function forwardedValues(headers: RequestHead['headers'], forward: readonly string[]): string[] {
  if (forward.length === 0) return [];
  return [...forward]
    .sort()
    .flatMap((name) => headers.flatMap(([other, value]) => (other.toLowerCase() === name ? [name, value] : [])));
}

/** Each part with its length, so that no two lists of parts give the same text. The first letter keeps digests of one purpose from serving for another. */
const framed = (purpose: string, parts: readonly string[]): string =>
  purpose + parts.map((part) => `${part.length}:${part}`).join('');

/** What a look-up by key compares. */
export const identityOf = ({
  key,
  service,
  forwardedValues: values,
}: Pick<SharingSource, 'key' | 'service' | 'forwardedValues'>): string =>
  hash('sha256', framed('identity/1 ', [service, key, ...values]), 'base64url');

export interface Digests {
  identity: string;
  share: string;
}

/** Those of keys that were asked for lately, in two halves of which the older one is dropped: what is asked for often is not digested again. */
const remembered = 4096;
let recent = new Map<string, Digests>();
let before = new Map<string, Digests>();

function ruledDigests({ service, key, head, forwardedValues: values }: SharingSource): Digests {
  // Credentials are not kept in memory for longer than their request takes.
  const name = values.length > 0 ? undefined : framed('', [service, key, head.method, head.path]);
  const known = name === undefined ? undefined : (recent.get(name) ?? before.get(name));
  if (known) return known;
  const identity = identityOf({ key, service, forwardedValues: values });
  const share = hash('sha256', framed('ruled/1 ', [identity, head.method, head.path]), 'base64url');
  const digests = { identity, share };
  if (name !== undefined && name.length <= 1024) {
    if (recent.size >= remembered) [before, recent] = [recent, new Map()];
    recent.set(name, digests);
  }
  return digests;
}

/** What a look-up by key compares, and what two requests must have in common for one result. SHA-256, base64url. */
export function sharingDigests(source: SharingSource): Digests {
  const { head, contentType, body, ruled } = source;
  if (ruled) return ruledDigests(source);
  const identity = identityOf(source);
  const media = contentType === undefined ? [] : [contentType];
  const start = framed('given/1 ', [identity, head.method, head.path, head.query, ...media]) + '!';
  return { identity, share: hash('sha256', Buffer.concat([Buffer.from(start), body]), 'base64url') };
}
