// Query strings of the resources: each name once, anything else is an error rather than a guess.
import { WaitlessError } from '@waitless/protocol';

export interface Query {
  get(name: string): string | undefined;
  names(): Iterable<string>;
}

export function parseQuery(text: string): Query {
  const found = new Map<string, string>();
  if (text !== '') {
    for (const [name, value] of new URLSearchParams(text)) {
      if (found.has(name))
        throw new WaitlessError('invalid-parameter', `${JSON.stringify(name.slice(0, 64))} stands twice in the query`);
      found.set(name, value);
    }
  }
  return { get: (name) => found.get(name), names: () => found.keys() };
}
