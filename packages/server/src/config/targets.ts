// Services named on the command line or in the environment: `--target score=http://…`, `--target jobs=pull`, `--pull jobs`.
import { isName } from '@waitless/protocol';
import { ConfigError, WrongValue } from './config-error.ts';
import type { Origin } from './sources.ts';
import { targetUrlValue } from './values.ts';

export interface TargetEntry {
  readonly name: string;
  /** The `target` field of a service document. */
  readonly target: { readonly url: string } | { readonly pull: true };
  readonly origin: Origin;
  /** `--target` or `WAITLESS_TARGET`. */
  readonly label: string;
}

export interface TargetSources {
  readonly kind: 'flag' | 'environment';
  readonly target: unknown;
  readonly targetLabel: string;
  readonly pull: unknown;
  readonly pullLabel: string;
}

function parts(given: unknown, comma: RegExp): string[] {
  if (given === undefined) return [];
  if (Array.isArray(given)) return given.map(String);
  const text = typeof given === 'string' ? given : JSON.stringify(given);
  return text
    .split(comma)
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

/** Each `NAME=…`. A comma parts two of them only before the next `NAME=`, since URLs may hold commas. */
export const splitPairs = (given: unknown): string[] => parts(given, /,(?=\s*[A-Za-z0-9][A-Za-z0-9_-]*=)/);

/** The services in the order given. Throws ConfigError for a wrong one and for a name given twice. */
export function readTargets({ kind, target, targetLabel, pull, pullLabel }: TargetSources): TargetEntry[] {
  const entries = new Map<string, TargetEntry>();
  const add = (name: string, document: TargetEntry['target'], label: string): void => {
    const fail = (sentence: string): never => {
      throw new ConfigError(`services.${name}`, sentence, { label });
    };
    if (!isName(name))
      fail(
        `${JSON.stringify(name)} is not a name; begin with a letter or digit and go on with letters, digits, "_" and "-"`,
      );
    if (entries.has(name)) fail(`the service "${name}" is given twice; keep one`);
    try {
      if ('url' in document) targetUrlValue(document.url);
    } catch (error) {
      if (error instanceof WrongValue) fail(`the service "${name}": ${error.message}`);
      throw error;
    }
    entries.set(name, { name, target: document, origin: Object.freeze({ kind, text: `${kind} ${label}` }), label });
  };
  for (const text of splitPairs(target)) {
    const equals = text.indexOf('=');
    // The text may be a URL with a password and never stands in the message.
    if (equals < 1)
      throw new ConfigError('services', 'it takes NAME=URL, such as score=http://127.0.0.1:9001, or NAME=pull', {
        label: targetLabel,
      });
    const url = text.slice(equals + 1);
    add(text.slice(0, equals), url === 'pull' ? { pull: true } : { url }, targetLabel);
  }
  for (const name of parts(pull, /,/)) add(name, { pull: true }, pullLabel);
  return [...entries.values()];
}
