// Header fields as callers like to write them, turned into those that `fetch` sends.
import { WaitlessError } from '@waitless/protocol';

/** An object where every name stands once, or pairs where a name may stand twice. */
export type HeaderFields = Headers | Readonly<Record<string, string>> | readonly (readonly [string, string])[];

/** Throws WaitlessError `invalid-parameter` that names the field which HTTP does not allow; `fetch` would call it a network failure. */
export function headersOf(given: HeaderFields | undefined): Headers {
  const headers = new Headers();
  const pairs =
    given === undefined
      ? []
      : given instanceof Headers || Array.isArray(given)
        ? [...(given as Iterable<[string, string]>)]
        : Object.entries(given);
  for (const [name, value] of pairs) {
    try {
      headers.append(name, value);
    } catch {
      throw new WaitlessError(
        'invalid-parameter',
        `the header ${name} cannot be sent: its name or value has characters that HTTP does not allow.`,
      );
    }
  }
  return headers;
}
