// The Callback-… fields of a submit: who wants to be told of the operation's end, and of what else.
import { WaitlessError } from '@waitless/protocol';
import { readCallbackUrl } from '../../core/callback-url.ts';
import type { CallbackWanted } from '../../engine/deliveries.ts';
import type { FieldLookup } from './exchange.ts';

const members = { accepted: false };
const invalid = (detail: string): WaitlessError => new WaitlessError('invalid-parameter', detail, { members });

/** `base`: the address under which the caller knows the server. */
export function callbackOf(
  headers: FieldLookup,
  { correlationId, base }: { correlationId: string | null; base: string },
): CallbackWanted | null {
  const url = headers('callback-url');
  const events = wordOf(headers, 'Callback-Events', ['progress'], 'leave it out to be told of the end alone');
  const body = wordOf(headers, 'Callback-Body', ['full', 'thin'], 'full is the default');
  if (url !== undefined)
    return { ...readCallbackUrl(url), correlationId, progress: events === 'progress', thin: body === 'thin', base };
  const alone = events === undefined ? (body === undefined ? undefined : 'Callback-Body') : 'Callback-Events';
  if (alone !== undefined) throw invalid(`${alone} says what a Callback-Url is told, and there is none; send one`);
  return null;
}

function wordOf(headers: FieldLookup, name: string, words: readonly string[], otherwise: string): string | undefined {
  const value = headers(name.toLowerCase())?.trim();
  if (value === undefined || words.includes(value)) return value;
  throw invalid(`${name} takes ${words.join(' or ')}, not ${JSON.stringify(value.slice(0, 32))}; ${otherwise}`);
}
