// Filters of subscriptions: the dialects exact, prefix, suffix, all, any and not of the CloudEvents Subscriptions API, over the attributes of an event. Pure.
import { WaitlessError } from '@waitless/protocol';

/** Attributes of an event by name; values are text as CloudEvents writes them. */
export type Attributes = Readonly<Record<string, unknown>>;
export type EventFilter = (attributes: Attributes) => boolean;

/** One look at each condition is all that an event costs, and so few conditions are few looks. */
const mostConditions = 64;
const mostDepth = 8;
/** Of the CloudEvents specification: lower-case letters and digits. */
const attributeName = /^[a-z0-9]{1,64}$/;

/** Text of an attribute as CloudEvents writes it; undefined where it has none. */
function textOf(attributes: Attributes, name: string): string | undefined {
  if (!Object.hasOwn(attributes, name)) return undefined;
  const value = attributes[name];
  return typeof value === 'string'
    ? value
    : typeof value === 'number' || typeof value === 'boolean'
      ? String(value)
      : undefined;
}

const comparisons = {
  exact: (text: string, wanted: string) => text === wanted,
  prefix: (text: string, wanted: string) => text.startsWith(wanted),
  suffix: (text: string, wanted: string) => text.endsWith(wanted),
} as const;

const dialects = ['exact', 'prefix', 'suffix', 'all', 'any', 'not'] as const;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const wrong = (pointer: string, detail: string): WaitlessError =>
  new WaitlessError('invalid-filter', `${pointer} ${detail}`, { members: { errors: [{ pointer, detail }] } });

/** The filter of a document; an array means all of it, and none at all lets everything through. Throws `invalid-filter` with the place that is wrong. */
export function readFilter(document: unknown, pointer = '/filter'): EventFilter {
  let conditions = 0;

  function read(value: unknown, at: string, depth: number): EventFilter {
    if (depth > mostDepth) throw wrong(at, `is nested deeper than ${mostDepth} levels`);
    if (Array.isArray(value)) return combine(value, { at, depth, all: true });
    if (!isObject(value))
      throw wrong(at, `must be an object with one of ${dialects.join(', ')}, or an array of them, which means all`);
    const names = Object.keys(value);
    const name = names[0] as (typeof dialects)[number];
    if (names.length !== 1 || !dialects.includes(name))
      throw wrong(
        at,
        names.length === 1
          ? `${JSON.stringify(names[0]!.slice(0, 32))} is no dialect that is known here; use one of ${dialects.join(', ')}`
          : `must have one member alone, one of ${dialects.join(', ')}; put several into "all"`,
      );
    const inner = `${at}/${name}`;
    if (name === 'all' || name === 'any') {
      if (!Array.isArray(value[name]) || value[name].length === 0)
        throw wrong(inner, 'must be an array of at least one filter');
      return combine(value[name], { at: inner, depth, all: name === 'all' });
    }
    if (name === 'not') {
      const filter = read(value.not, inner, depth + 1);
      return (attributes) => !filter(attributes);
    }
    return compare(name, value[name], inner);
  }

  function combine(
    values: readonly unknown[],
    { at, depth, all }: { at: string; depth: number; all: boolean },
  ): EventFilter {
    const filters = values.map((value, i) => read(value, `${at}/${i}`, depth + 1));
    if (filters.length === 1) return filters[0]!;
    return all
      ? (attributes) => filters.every((filter) => filter(attributes))
      : (attributes) => filters.some((filter) => filter(attributes));
  }

  function compare(name: keyof typeof comparisons, value: unknown, at: string): EventFilter {
    if (!isObject(value) || Object.keys(value).length === 0)
      throw wrong(at, 'must be an object of attribute names and texts, such as {"type": "order.placed"}');
    const matches = comparisons[name];
    const wanted = Object.entries(value).map(([attribute, text]): [string, string] => {
      if (!attributeName.test(attribute))
        throw wrong(
          at,
          `has ${JSON.stringify(attribute.slice(0, 32))}, which is no attribute name: lower-case letters and digits`,
        );
      if (typeof text !== 'string' || text === '')
        throw wrong(`${at}/${attribute}`, 'must be a text that is not empty');
      if (++conditions > mostConditions) throw wrong(pointer, `has more than ${mostConditions} conditions`);
      return [attribute, text];
    });
    return (attributes) =>
      wanted.every(([attribute, text]) => {
        const own = textOf(attributes, attribute);
        return own !== undefined && matches(own, text);
      });
  }

  if (document === undefined || document === null) return () => true;
  if (Array.isArray(document) && document.length === 0) return () => true;
  return read(document, pointer, 1);
}
