// Single fields of services named on the command line or in the environment: `--key score=/customerId`, `--valid-for score=24h`.
import { ConfigError, WrongValue } from './config-error.ts';
import { keyFieldOfText } from './key-rule.ts';
import { didYouMean } from './nearest.ts';
import type { Origin } from './sources.ts';
import { splitPairs } from './targets.ts';

export interface FieldEntry {
  /** The service. */
  readonly name: string;
  readonly field: 'key' | 'validFor';
  /** As it would stand in the service's document. */
  readonly value: unknown;
  readonly origin: Origin;
  /** `--key` or `WAITLESS_KEY`. */
  readonly label: string;
}

export interface FieldSources {
  readonly kind: 'flag' | 'environment';
  readonly key: unknown;
  readonly keyLabel: string;
  readonly validFor: unknown;
  readonly validForLabel: string;
}

/** The fields of each service named. Throws ConfigError for what is no `NAME=…` and for a value given twice. */
export function readServiceOptions({ kind, key, keyLabel, validFor, validForLabel }: FieldSources): FieldEntry[] {
  const originOf = (label: string): Origin => Object.freeze({ kind, text: `${kind} ${label}` });
  const keys = new Map<string, ReturnType<typeof keyFieldOfText>[]>();
  for (const [name, text] of pairs(
    key,
    keyLabel,
    'key',
    'NAME=RULE, such as score=/customerId or score=query:customer',
  )) {
    try {
      keys.set(name, [...(keys.get(name) ?? []), keyFieldOfText(text)]);
    } catch (error) {
      if (error instanceof WrongValue)
        throw new ConfigError(`services.${name}.key`, error.message, { label: `${keyLabel} ${name}` });
      throw error;
    }
  }
  const times = new Map<string, string>();
  for (const [name, text] of pairs(validFor, validForLabel, 'validFor', 'NAME=DURATION, such as score=24h')) {
    if (times.has(name))
      throw new ConfigError(`services.${name}.validFor`, `the service "${name}" is given twice; keep one`, {
        label: validForLabel,
      });
    times.set(name, text);
  }
  return [
    // Several rules of one service are the parts of its key, in the order given.
    ...Array.from(keys, ([name, parts]): FieldEntry => ({
      name,
      field: 'key',
      value: parts.length === 1 ? parts[0] : parts,
      origin: originOf(keyLabel),
      label: keyLabel,
    })),
    ...Array.from(times, ([name, value]): FieldEntry => ({
      name,
      field: 'validFor',
      value,
      origin: originOf(validForLabel),
      label: validForLabel,
    })),
  ];
}

function pairs(given: unknown, label: string, field: string, takes: string): [name: string, text: string][] {
  return splitPairs(given).map((text) => {
    const equals = text.indexOf('=');
    if (equals < 1) throw new ConfigError(field, `it takes ${takes}`, { label });
    return [text.slice(0, equals), text.slice(equals + 1)];
  });
}

/** Refuses a field of a service that nobody defined. */
export function refuseUnknownService({ name, field, label }: FieldEntry, known: Iterable<string>): void {
  const names = [...known];
  if (names.includes(name)) return;
  const hint = didYouMean(name, names) || `; add it with --target ${name}=URL or --pull ${name}`;
  throw new ConfigError(`services.${name}.${field}`, `there is no service ${JSON.stringify(name)}${hint}`, { label });
}
