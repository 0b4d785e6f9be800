// Checks the members of a JSON body one by one, each failure a sentence that names the field by its JSON pointer.
import { type ErrorCode, parseDuration, WaitlessError } from '@waitless/protocol';

export class Shape {
  readonly #value: Record<string, unknown>;
  readonly #at: string;

  /** @param at JSON pointer of the object, empty for the body itself */
  constructor(value: unknown, at: string, fields: readonly string[]) {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw fieldError('invalid-parameter', at, 'must be a JSON object');
    this.#value = value as Record<string, unknown>;
    this.#at = at;
    for (const name of Object.keys(value))
      if (!fields.includes(name))
        throw fieldError(
          'unknown-field',
          `${at}/${name.slice(0, 64)}`,
          `is not known here; the fields are ${fields.join(', ')}`,
        );
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#value, name);
  }

  any(name: string): unknown {
    return this.has(name) ? this.#value[name] : undefined;
  }

  #wrong(name: string, what: string): WaitlessError {
    return fieldError('invalid-parameter', `${this.#at}/${name}`, what);
  }

  text(name: string, { most = 2000, least = 0 } = {}): string | undefined {
    const value = this.any(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'string' || value.length > most || value.length < least)
      throw this.#wrong(name, `must be a string of ${least} to ${most} characters`);
    return value;
  }

  needText(name: string, bounds: { most?: number; least?: number } = {}): string {
    const value = this.text(name, bounds);
    if (value === undefined) throw this.#wrong(name, 'is missing');
    return value;
  }

  number(
    name: string,
    { least, most, whole = false, above }: { least?: number; most: number; whole?: boolean; above?: number },
  ): number | undefined {
    const value = this.any(name);
    if (value === undefined) return undefined;
    const fits =
      typeof value === 'number' &&
      Number.isFinite(value) &&
      (!whole || Number.isInteger(value)) &&
      (least === undefined || value >= least) &&
      (above === undefined || value > above) &&
      value <= most;
    if (!fits)
      throw this.#wrong(
        name,
        `must be a ${whole ? 'whole ' : ''}number ${least === undefined ? `above ${above}` : `from ${least}`} ${least === undefined ? 'and at most' : 'to'} ${most}`,
      );
    return value;
  }

  boolean(name: string): boolean | undefined {
    const value = this.any(name);
    if (value !== undefined && typeof value !== 'boolean') throw this.#wrong(name, 'must be true or false');
    return value as boolean | undefined;
  }

  /** Milliseconds of a duration text or of a number of seconds. */
  pauseMs(name: string): number | undefined {
    const value = this.any(name);
    if (value === undefined) return undefined;
    const ms =
      typeof value === 'number' && value >= 0 && value <= 31_622_400
        ? Math.round(value * 1000)
        : typeof value === 'string'
          ? parseDuration(value)
          : undefined;
    if (ms === undefined) throw this.#wrong(name, 'must be a duration such as 30s, or seconds');
    return ms;
  }

  list(name: string, most: number): unknown[] | undefined {
    const value = this.any(name);
    if (value === undefined) return undefined;
    if (!Array.isArray(value) || value.length > most) throw this.#wrong(name, `must be a list of at most ${most}`);
    return value;
  }
}

export const fieldError = (code: ErrorCode, pointer: string, what: string): WaitlessError =>
  new WaitlessError(code, `${pointer || 'the body'} ${what}`, { members: { errors: [{ pointer, detail: what }] } });
