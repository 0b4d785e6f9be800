// Bodies that a careless server changes: numbers beyond doubles, keys that stand twice, bytes that are no text.
import { createHash } from 'node:crypto';

const text = (source: string): Uint8Array => Buffer.from(source, 'utf8');

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Every byte value, so no text in any encoding. */
export const everyByte: Uint8Array = Uint8Array.from({ length: 256 }, (_, value) => value);

/** Reproducible bytes without a pattern. */
export function noise(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed >>> 0 || 1;
  for (let at = 0; at < length; at++) {
    // xorshift32: enough to make neighbouring pieces differ.
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[at] = state & 0xff;
  }
  return bytes;
}

/** Valid JSON whose value changes when it is parsed and written again. */
export const fragileJson: Readonly<Record<string, Uint8Array>> = {
  'an exponent beyond doubles': text('{"n":1e999}'),
  'an integer beyond 2^53': text('{"n":9007199254740993}'),
  'a key twice': text('{"a":1,"a":2}'),
  'spaces and line ends': text(' {\r\n\t"a" : [ 1 ,2 ] }\n'),
  'a number with zeros': text('{"n":1.10,"m":-0,"e":1E+2}'),
  'escapes of plain letters': text('{"\\u0061":"\\u0062\\/"}'),
  'a lone surrogate escape': text('{"s":"\\ud800"}'),
  'a reserved key': text('{"__proto__":{"x":1},"constructor":{}}'),
  'deep nesting': text('['.repeat(2000) + ']'.repeat(2000)),
  'a bare scalar': text('1e999'),
};

/** Bytes that are no JSON at all. */
export const otherBytes: Readonly<Record<string, Uint8Array>> = {
  nothing: new Uint8Array(0),
  'every byte value': everyByte,
  'broken JSON': text('{"a":'),
  'broken UTF-8': Uint8Array.from([0x22, 0xc3, 0x28, 0xff, 0x22]),
  'a byte order mark': Uint8Array.from([0xef, 0xbb, 0xbf, 0x7b, 0x7d]),
  'NUL and line ends': Uint8Array.from([0, 13, 10, 0, 10, 13]),
};
