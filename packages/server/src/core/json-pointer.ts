// Finds one value in a JSON text without building the document: bodies may be large and deep, and only a key is wanted from them.
//
// The grammar of the whole text is checked on the way, in the same pass over the bytes and without recursion: what we would read in spite of an error, a
// backend might read in another way, and a result would be filed under a key that it does not belong to. JSON.parse would do for small
// bodies, but it takes the last of two equal members, so that the members have to be walked in any case; one way for all sizes is less to trust.
import { isUtf8 } from 'node:buffer';
import { WaitlessError } from '@waitless/protocol';

export type Pointed =
  /** `text`: of a string what it stands for, of a number its source, of a boolean its word. */
  | { kind: 'string' | 'number' | 'boolean'; text: string }
  /** `too-long`: a string or number of more than `longest` bytes. */
  | { kind: 'null' | 'object' | 'array' | 'missing' | 'too-long' };

/** Reference tokens of a JSON Pointer (RFC 6901); undefined when it is none. */
export function pointerTokens(pointer: string): string[] | undefined {
  if (pointer === '') return [];
  if (!pointer.startsWith('/') || /~(?![01])/.test(pointer)) return undefined;
  return pointer
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
}

/**
 * Names that some reader takes for the same: those of Go, .NET and others do not tell upper from lower case, so that of two such members each
 * side might take another one. Both directions, because a few letters meet only in one of them.
 */
export const folded = (name: string): string => name.toUpperCase().toLowerCase();

const invalid = (what: string): WaitlessError =>
  new WaitlessError('invalid-json', what, { members: { accepted: false } });

const quote = 34;
const comma = 44;
const minus = 45;
const colon = 58;
const openArray = 91;
const backslash = 92;
const closeArray = 93;
const openObject = 123;
const closeObject = 125;

/** 1 for the bytes that end a run of plain characters in a string: quote, backslash, control characters. */
const special = new Uint8Array(256);
for (let byte = 0; byte < 32; byte++) special[byte] = 1;
special[quote] = 1;
special[backslash] = 1;
/** 1 for the bytes that may follow a backslash, `u` apart. */
const escaped = new Uint8Array(256);
/** What they stand for there. */
const meant = new Uint8Array(256);
for (const letter of '"\\/bfnrt') {
  escaped[letter.charCodeAt(0)] = 1;
  meant[letter.charCodeAt(0)] = (JSON.parse(`"\\${letter}"`) as string).charCodeAt(0);
}

/** What four hexadecimal digits stand for; -1 where there are not four. */
function hexAt(bytes: Uint8Array, from: number): number {
  let unit = 0;
  for (let i = from; i < from + 4; i++) {
    const byte = bytes[i] ?? 0;
    const letter = byte | 32;
    const digit = isDigit(byte) ? byte - 48 : letter >= 97 && letter <= 102 ? letter - 87 : -1;
    if (digit < 0) return -1;
    unit = unit * 16 + digit;
  }
  return unit;
}

const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= 48 && byte <= 57;

/** The value at `pointer`; throws `invalid-json` for a text that is no JSON, or that has a member on the way twice. */
export function valueAt(body: Uint8Array, pointer: string, longest: number): Pointed {
  const steps = stepsOf(pointer);
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  if (!isUtf8(bytes)) throw invalid('the body is not valid UTF-8');
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf)
    throw invalid('the body begins with a byte order mark; send it without');
  return scan(bytes, new Way(bytes, steps), longest);
}

/** A reference token, and what is known of it beforehand. */
interface Step {
  token: string;
  ascii: boolean;
  folded: string;
  /** The element of an array that it names; -1 where it names none. */
  index: number;
}

/** Pointers come from configurations, so there are few. */
const known = new Map<string, readonly Step[]>();

function stepsOf(pointer: string): readonly Step[] {
  const seen = known.get(pointer);
  if (seen) return seen;
  const steps = pointerTokens(pointer)?.map((token) => ({
    token,
    ascii: isAscii(token),
    folded: folded(token),
    index: /^(?:0|[1-9]\d{0,14})$/.test(token) ? Number(token) : -1,
  }));
  if (!steps) throw new TypeError(`${JSON.stringify(pointer)} is no JSON Pointer`);
  // Services made over the API come and go.
  if (known.size >= 1000) known.clear();
  if (pointer.length <= 1024) known.set(pointer, steps);
  return steps;
}

/** The way from the outermost value to the one that is looked for, and how far the open objects and arrays are on it. */
class Way {
  /** How many of the open ones lie on the way. */
  entered = 0;
  readonly length: number;
  readonly #bytes: Buffer;
  readonly #steps: readonly Step[];
  /** Of each object or array on the way: how often its member was seen, or how many elements have come. */
  readonly #count: number[] = [];

  constructor(bytes: Buffer, steps: readonly Step[]) {
    this.length = steps.length;
    this.#bytes = bytes;
    this.#steps = steps;
  }

  enter(): void {
    this.#count[this.entered++] = 0;
  }

  /** Whether the next element of the innermost array is on the way. */
  element(): boolean {
    const level = this.entered - 1;
    return this.#count[level]!++ === this.#steps[level]!.index;
  }

  /** Whether the member with the name between these two quotes is. */
  member(start: number, end: number): boolean {
    const level = this.entered - 1;
    const step = this.#steps[level]!;
    const { token } = step;
    const spelled = step.ascii
      ? asciiSpelling(this.#bytes, { start: start + 1, end: end - 1, token })
      : this.#spelling(start, end, step);
    if (spelled === undefined) return false;
    if (this.#count[level]!++ > 0)
      throw invalid(
        `the member ${JSON.stringify(token.slice(0, 64))} stands twice in one object of the body, and the key is read through it; send it once and in one spelling`,
      );
    return spelled === 'same';
  }

  #spelling(start: number, end: number, { token, folded: wanted }: Step): Spelling {
    // A character stands there with six bytes at most, and three spelled in another case with as many as one alone.
    if (end - start > token.length * 18 + 2) return undefined;
    const name = JSON.parse(this.#bytes.toString('utf8', start, end)) as string;
    if (name === token) return 'same';
    return folded(name) === wanted ? 'other' : undefined;
  }
}

/** Whether a name is the one that is looked for, or is it in another spelling. */
type Spelling = 'same' | 'other' | undefined;

/** Without taking the name out of the text: hostile bodies have a million of them. */
function asciiSpelling(bytes: Buffer, { start, end, token }: { start: number; end: number; token: string }): Spelling {
  let at = start;
  let spelled: Spelling = 'same';
  for (let i = 0; i < token.length; i++) {
    if (at >= end) return undefined;
    let unit = bytes[at]!;
    if (unit === backslash) {
      const letter = bytes[at + 1]!;
      unit = letter === 117 ? hexAt(bytes, at + 2) : meant[letter]!;
      at += letter === 117 ? 6 : 2;
    } else if (unit < 128) at++;
    else {
      const pair = (unit << 8) | bytes[at + 1]!;
      unit =
        pair === 0xc4b0
          ? 0x130
          : pair === 0xc4b1
            ? 0x131
            : pair === 0xc5bf
              ? 0x17f
              : pair === 0xe284 && bytes[at + 2] === 0xaa
                ? 0x212a
                : 0;
      if (unit === 0) return undefined;
      at += unit === 0x212a ? 3 : 2;
    }
    const code = token.charCodeAt(i);
    if (unit === code) continue;
    if (inLowerCase(unit) !== inLowerCase(code)) return undefined;
    spelled = 'other';
  }
  return at === end ? spelled : undefined;
}

const isAscii = (text: string): boolean => !/[^\0-\x7f]/.test(text);

/** The letter that some reader takes a code unit for: the sign of the kelvin, the long s and the two other letters i have ASCII for a partner. */
function inLowerCase(unit: number): number {
  if (unit >= 65 && unit <= 90) return unit | 32;
  if (unit === 0x212a) return 107;
  if (unit === 0x17f) return 115;
  return unit === 0x130 || unit === 0x131 ? 105 : unit;
}

/** The stack of most texts; nothing else runs during a scan. */
const shallow = new Uint8Array(256);

/** Walks the whole text with a stack of its own. */
function scan(bytes: Buffer, way: Way, longest: number): Pointed {
  let found: Pointed = { kind: 'missing' };
  /** Kind of each open object or array, by its opening byte. */
  let open = shallow;
  let depth = 0;
  let at = 0;
  /** The value that comes next is on the way, or what is looked for. */
  let hit = true;
  for (;;) {
    at = afterSpace(bytes, at);
    const byte = bytes[at];
    const target = hit && way.entered === way.length;
    let first = false;
    if (byte === openObject || byte === openArray) {
      if (target) found = { kind: byte === openObject ? 'object' : 'array' };
      if (depth === open.length) {
        const larger = new Uint8Array(depth * 2);
        larger.set(open);
        open = larger;
      }
      open[depth++] = byte;
      if (hit && !target) way.enter();
      at = afterSpace(bytes, at + 1);
      first = bytes[at] !== (byte === openObject ? closeObject : closeArray);
    } else {
      const end = afterScalar(bytes, at);
      if (target) found = scalar(bytes, at, { end, longest });
      at = end;
    }
    // A value has ended, or its first member or element comes: close what ends here, then go to the next one.
    for (;;) {
      if (!first) at = afterSpace(bytes, at);
      if (depth === 0) {
        if (at < bytes.length) throw unexpected(bytes, at);
        return found;
      }
      const inObject = open[depth - 1] === openObject;
      // Counted in levels: the innermost open one is on the way when all around it are.
      const onWay = way.entered === depth;
      if (first || bytes[at] === comma) {
        if (!first) at = afterSpace(bytes, at + 1);
        if (inObject) {
          if (bytes[at] !== quote) throw unexpected(bytes, at);
          const end = afterString(bytes, at);
          hit = onWay && way.member(at, end);
          at = afterSpace(bytes, end);
          if (bytes[at] !== colon) throw unexpected(bytes, at);
          at++;
        } else hit = onWay && way.element();
        break;
      }
      if (bytes[at] !== (inObject ? closeObject : closeArray)) throw unexpected(bytes, at);
      at++;
      if (onWay) way.entered--;
      depth--;
    }
  }
}

function afterSpace(bytes: Uint8Array, from: number): number {
  let at = from;
  for (; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (byte > 32 || (byte !== 32 && byte !== 10 && byte !== 13 && byte !== 9)) break;
  }
  return at;
}

function afterString(bytes: Buffer, from: number): number {
  let at = from + 1;
  while (at < bytes.length) {
    const byte = bytes[at]!;
    if (special[byte] === 0) at++;
    else if (byte === quote) return at + 1;
    else if (byte !== backslash) throw unexpected(bytes, at);
    else if (at + 1 < bytes.length && escaped[bytes[at + 1]!] === 1) at += 2;
    else if (bytes[at + 1] === 117 && hexAt(bytes, at + 2) >= 0) at += 6;
    else throw unexpected(bytes, Math.min(at + 1, bytes.length));
  }
  throw unexpected(bytes, at);
}

function afterScalar(bytes: Buffer, from: number): number {
  const byte = bytes[from];
  if (byte === quote) return afterString(bytes, from);
  if (byte === minus || isDigit(byte)) return afterNumber(bytes, from);
  const word = byte === 116 ? 'true' : byte === 102 ? 'false' : 'null';
  for (let i = 0; i < word.length; i++) if (bytes[from + i] !== word.charCodeAt(i)) throw unexpected(bytes, from + i);
  return from + word.length;
}

function afterNumber(bytes: Buffer, from: number): number {
  let at = bytes[from] === minus ? from + 1 : from;
  at = bytes[at] === 48 ? at + 1 : afterDigits(bytes, at);
  if (bytes[at] === 46) at = afterDigits(bytes, at + 1);
  if (bytes[at] === 101 || bytes[at] === 69) {
    const sign = bytes[at + 1];
    at = afterDigits(bytes, sign === 43 || sign === minus ? at + 2 : at + 1);
  }
  return at;
}

function afterDigits(bytes: Buffer, from: number): number {
  let at = from;
  while (at < bytes.length && isDigit(bytes[at])) at++;
  if (at === from) throw unexpected(bytes, at);
  return at;
}

/** What the value that is looked for says. A character is six bytes at most as it stands in a string, and one at least as UTF-8. */
function scalar(bytes: Buffer, start: number, { end, longest }: { end: number; longest: number }): Pointed {
  const inString = bytes[start] === quote;
  if (bytes[start] === 110) return { kind: 'null' };
  if (end - start > (inString ? longest * 6 + 2 : longest)) return { kind: 'too-long' };
  const text = bytes.toString('utf8', start, end);
  if (inString) return { kind: 'string', text: text.includes('\\') ? (JSON.parse(text) as string) : text.slice(1, -1) };
  return { kind: text === 'true' || text === 'false' ? 'boolean' : 'number', text };
}

const unexpected = (bytes: Uint8Array, at: number): WaitlessError =>
  invalid(
    at >= bytes.length
      ? 'the body is not valid JSON: it ends in the middle'
      : `the body is not valid JSON: it goes wrong at byte ${at}`,
  );
