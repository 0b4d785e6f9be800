// `--filter NAME=VALUE`, the filters of subscriptions as they are typed.
import type { EventFilter } from '@waitless/client';
import { InvalidArgumentError, Option } from 'commander';

/** `before` stands before what it does. */
export const filterOption = (before = ''): Option =>
  new Option(
    '--filter <NAME=VALUE>',
    `${before}an attribute's value, or its beginning as in type=order.*, or its end as in subject=*.pdf; != for all others; may be repeated, for events that pass them all`,
  ).argParser(collectFilter);

/** Checks and collects `--filter`. */
export function collectFilter(value: string, before: readonly EventFilter[] | undefined): EventFilter[] {
  const [, name, not, text] = /^([a-z0-9]{1,64})(!?)=(.+)$/s.exec(value) ?? [];
  if (name === undefined)
    throw new InvalidArgumentError('It takes name=value, such as type=order.placed, type=order.* or subject!=17.');
  const filter = filterOf(name, text!);
  return [...(before ?? []), not === '' ? filter : { not: filter }];
}

function filterOf(name: string, text: string): EventFilter {
  const [atEnd, atStart] = [text.endsWith('*'), text.startsWith('*')];
  const bare = text.slice(atStart ? 1 : 0, atEnd ? -1 : undefined);
  if (bare.includes('*') || bare === '' || (atEnd && atStart))
    throw new InvalidArgumentError('A * stands at the beginning or at the end of the value, for whatever is there.');
  if (atEnd) return { prefix: { [name]: bare } };
  return atStart ? { suffix: { [name]: bare } } : { exact: { [name]: bare } };
}
