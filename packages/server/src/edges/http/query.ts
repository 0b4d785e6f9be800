// Query strings of the resources: each name once, anything else is an error rather than a guess.
import { WaitlessError } from '@waitless/protocol';

export interface Query {
  get(name: string): string | undefined;
  /** Every value of a name that may stand more than once. */
  all(name: string): readonly string[];
  names(): Iterable<string>;
}

/** @param repeated the one name that may stand more than once */
export function parseQuery(text: string, { repeated }: { repeated?: string } = {}): Query {
  const found = new Map<string, string[]>();
  if (text !== '') {
    if (/%(?![0-9A-Fa-f]{2})/.test(text))
      throw new WaitlessError('invalid-parameter', 'the query has a percent sign that encodes nothing');
    for (const [name, value] of new URLSearchParams(text)) {
      // What was no UTF-8 has become this character, and would look for something else than was asked.
      if (name.includes('\ufffd') || value.includes('\ufffd'))
        throw new WaitlessError('invalid-parameter', 'the query is not UTF-8');
      const values = found.get(name);
      if (values && name !== repeated)
        throw new WaitlessError('invalid-parameter', `${JSON.stringify(name.slice(0, 64))} stands twice in the query`);
      if (values) values.push(value);
      else found.set(name, [value]);
    }
  }
  return { get: (name) => found.get(name)?.[0], all: (name) => found.get(name) ?? [], names: () => found.keys() };
}
