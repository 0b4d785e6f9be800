// Walks JSON in bytes, strictly and without recursion, so that an envelope is read once and no body in it is ever taken apart or copied.
//
// Why not JSON.parse: it builds every value of every body only to throw them away, and an array of ten million zeros in a body holds up everybody.
import { WaitlessError } from '@waitless/protocol';

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const colon = 0x3a;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

const isSpace = (c: number | undefined): boolean => c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09;
const isDigit = (c: number | undefined): boolean => c !== undefined && c >= 0x30 && c <= 0x39;

/** Bytes that may follow a backslash; after `u` come four hexadecimal digits. */
const escapes = new Set(Buffer.from('"\\/bfnrtu'));

export class JsonScan {
  readonly #bytes: Buffer;
  readonly #end: number;
  /** Of the last value: its first byte and the one after its last; of a string without the quotes. */
  from = 0;
  to = 0;
  /** The last string has escapes, so its bytes are not what it stands for. */
  escaped = false;
  at: number;

  /** The part of `bytes` from `at` to before `end`, which must be UTF-8. */
  constructor(bytes: Buffer, at = 0, end: number = bytes.length) {
    this.#bytes = bytes;
    this.at = at;
    this.#end = end;
  }

  /** The next byte that is no white space, not yet taken; undefined at the end. */
  next(): number | undefined {
    let at = this.at;
    while (at < this.#end && isSpace(this.#bytes[at])) at++;
    this.at = at;
    return at < this.#end ? this.#bytes[at] : undefined;
  }

  /** Takes the next byte where it is this one. */
  take(byte: number): boolean {
    if (this.next() !== byte) return false;
    this.at++;
    return true;
  }

  /** Takes the next byte, which must be this one. */
  need(byte: number, where: string): void {
    if (!this.take(byte)) throw this.wrong(`expected ${JSON.stringify(String.fromCharCode(byte))} ${where}`);
  }

  wrong(what: string): WaitlessError {
    const byte = this.at < this.#end ? `at byte ${this.at}` : 'at the end';
    return new WaitlessError('invalid-json', `not valid JSON ${byte}: ${what}`);
  }

  /** Takes a string; `from`, `to` and `escaped` tell of it. */
  string(): void {
    const bytes = this.#bytes;
    if (this.next() !== quote) throw this.wrong('expected a string');
    let at = this.at + 1;
    this.from = at;
    this.escaped = false;
    for (; at < this.#end; at++) {
      const c = bytes[at]!;
      if (c === quote) {
        this.to = at;
        this.at = at + 1;
        return;
      }
      if (c < 0x20) {
        this.at = at;
        throw this.wrong('a control character in a string; write it as an escape');
      }
      if (c === backslash) {
        this.escaped = true;
        at++;
        const letter = bytes[at];
        const whole = letter !== 0x75 || /^[0-9A-Fa-f]{4}$/.test(bytes.toString('latin1', at + 1, at + 5));
        if (at >= this.#end || !escapes.has(letter!) || !whole) {
          this.at = at;
          throw this.wrong('a broken escape in a string');
        }
      }
    }
    this.at = this.#end;
    throw this.wrong('a string that does not end');
  }

  /**
   * What the last string stands for. Half of a surrogate pair has no UTF-8 and would be kept as another character.
   * @param like given back where it is the same text: the items of a batch are much alike, and making a string is the dearest part of reading one
   */
  text(like = ''): string {
    if (this.is(like)) return like;
    if (!this.escaped) return this.#bytes.toString('utf8', this.from, this.to);
    const found = JSON.parse(this.#bytes.toString('utf8', this.from - 1, this.to + 1)) as string;
    if (!found.isWellFormed()) throw new WaitlessError('invalid-json', 'a string has half of a surrogate pair');
    return found;
  }

  /** Whether the last string is written with these characters of ASCII. */
  is(text: string): boolean {
    const { from } = this;
    const { length } = text;
    if (this.to - from !== length || this.escaped) return false;
    for (let i = 0; i < length; i++) {
      const c = this.#bytes[from + i]!;
      if (c !== text.charCodeAt(i) || c > 0x7f) return false;
    }
    return true;
  }

  /** The bytes of the last string in UTF-8: a view on the source where it has no escapes. */
  textBytes(): Buffer {
    return this.escaped ? Buffer.from(this.text(), 'utf8') : this.#bytes.subarray(this.from, this.to);
  }

  /** The source text of the last value: a view, not a copy. */
  source(): Buffer {
    return this.#bytes.subarray(this.from, this.to);
  }

  /** Takes any value; `from` and `to` tell where its source text stands. Deeper than `mostDepth` is an attack on whoever recurses. */
  value(mostDepth: number = Number.POSITIVE_INFINITY): void {
    const first = this.next();
    const from = this.at;
    if (first !== openBrace && first !== openBracket) {
      this.#scalar(first);
      if (first === quote) {
        this.from = from;
        this.to = this.at;
      }
      return;
    }
    /** 1 for each open object, 0 for each open array. */
    let open: Uint8Array = new Uint8Array(64);
    let depth = 0;
    for (;;) {
      // A value is expected here.
      const c = this.next();
      if (c === openBrace || c === openBracket) {
        this.at++;
        if (depth >= mostDepth)
          throw new WaitlessError('payload-too-complex', `nested deeper than ${mostDepth} levels`);
        if (depth === open.length) {
          const larger = new Uint8Array(depth * 2);
          larger.set(open);
          open = larger;
        }
        open[depth++] = c === openBrace ? 1 : 0;
        if (this.take(c === openBrace ? closeBrace : closeBracket)) depth--;
        else {
          if (c === openBrace) this.#key();
          continue;
        }
      } else this.#scalar(c);
      // A value has ended; so may those around it.
      while (depth > 0) {
        const inObject = open[depth - 1] === 1;
        const after = this.next();
        if (after === comma) {
          this.at++;
          if (inObject) this.#key();
          break;
        }
        if (after !== (inObject ? closeBrace : closeBracket))
          throw this.wrong(`expected "," or ${inObject ? '"}"' : '"]"'}`);
        this.at++;
        depth--;
      }
      if (depth === 0) break;
    }
    this.from = from;
    this.to = this.at;
  }

  #key(): void {
    this.string();
    this.need(colon, 'after a key');
  }

  #scalar(first: number | undefined): void {
    if (first === quote) return this.string();
    this.from = this.at;
    if (first === 0x74) this.#word('true');
    else if (first === 0x66) this.#word('false');
    else if (first === 0x6e) this.#word('null');
    else this.#number();
    this.to = this.at;
  }

  #word(word: string): void {
    for (let i = 0; i < word.length; i++) {
      if (this.at + i >= this.#end || this.#bytes[this.at + i] !== word.charCodeAt(i))
        throw this.wrong('expected a value');
    }
    this.at += word.length;
  }

  #number(): void {
    const bytes = this.#bytes;
    const end = this.#end;
    let at = this.at;
    const digits = (): boolean => {
      const from = at;
      while (at < end && isDigit(bytes[at])) at++;
      return at > from;
    };
    if (bytes[at] === 0x2d) at++;
    let good = at < end;
    if (good && bytes[at] === 0x30) at++;
    else good &&= digits();
    if (good && at < end && bytes[at] === 0x2e) {
      at++;
      good = digits();
    }
    if (good && at < end && (bytes[at]! | 0x20) === 0x65) {
      at++;
      if (at < end && (bytes[at] === 0x2b || bytes[at] === 0x2d)) at++;
      good = digits();
    }
    if (!good) throw this.wrong('expected a value');
    this.at = at;
  }
}
