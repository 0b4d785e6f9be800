// Reads the config file (YAML 1.2, of which JSON is a part) and remembers on which line each field stands.
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { ConfigError, type Where } from './config-error.ts';
import { yaml } from './yaml.ts';

export interface ConfigFile {
  /** As it was named, for messages. */
  readonly name: string;
  /** The top-level fields; an empty file has none. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** `waitless.yaml line 7`, the line of the nearest field that exists on the way to this one. */
  place(path: readonly (string | number)[]): string;
}

/** A plain object: what YAML and JSON mappings become. */
export const isFields = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  [Object.prototype, null].includes(Object.getPrototypeOf(value));

type Environment = Readonly<Record<string, string | undefined>>;

const variable = /\$(\$?)\{env:([^}]*)\}/g;

/** Replaces `${env:NAME}` in every text, so that secrets need not stand in the file; `$${env:NAME}` stays as `${env:NAME}`. */
function substitute(
  value: unknown,
  env: Environment,
  path: readonly (string | number)[],
  fail: (path: readonly (string | number)[], sentence: string) => never,
): unknown {
  if (typeof value === 'string') {
    return value.replace(variable, (whole, escape: string, name: string) => {
      if (escape !== '') return whole.slice(1);
      return env[name] ?? fail(path, `the environment variable ${JSON.stringify(name)} is not set`);
    });
  }
  if (Array.isArray(value)) return value.map((item, index) => substitute(item, env, [...path, index], fail));
  if (isFields(value)) {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, substitute(item, env, [...path, key], fail)]),
    );
  }
  return value;
}

/** Parses the text of a config file. Throws ConfigError naming the line; the message never quotes the file, which may hold secrets. */
export function parseConfigFile({ name, text, env }: { name: string; text: string; env: Environment }): ConfigFile {
  const { isMap, isNode, isScalar, isSeq, LineCounter, parseDocument } = yaml();
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, strict: true, uniqueKeys: true });
  const file = basename(name);
  const fault = document.errors[0] ?? document.warnings[0];
  if (fault !== undefined) {
    throw new ConfigError('config', `${firstSentence(fault.message)}; mend the file`, {
      place: `${file} line ${lines.linePos(fault.pos[0]).line}`,
    });
  }

  const place = (path: readonly (string | number)[]): string => {
    let node: unknown = document.contents;
    let offset: number | undefined;
    for (const step of path) {
      let found: unknown;
      if (isMap(node)) {
        const pair = node.items.find(({ key }) => String(isScalar(key) ? key.value : key) === String(step));
        [found, node] = [pair?.key, pair?.value];
      } else if (isSeq(node)) {
        found = node = node.items[Number(step)];
      }
      if (!isNode(found)) break;
      offset = found.range?.[0] ?? offset;
    }
    return offset === undefined ? file : `${file} line ${lines.linePos(offset).line}`;
  };

  let content: unknown;
  try {
    content = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    throw new ConfigError('config', `${firstSentence((error as Error).message)}; mend the file`, { place: file });
  }
  content ??= {};
  if (!isFields(content))
    throw new ConfigError('config', 'the file must hold fields such as "port: 7878" at its top', { place: file });
  const fail = (path: readonly (string | number)[], sentence: string): never => {
    throw new ConfigError(path.join('.'), sentence, { place: place(path) });
  };
  return { name, fields: substitute(content, env, [], fail) as Record<string, unknown>, place };
}

/** Reads and parses a config file. */
export function readConfigFile({
  env,
  ...file
}: {
  path: string;
  name: string;
  label?: string | undefined;
  env: Environment;
}): ConfigFile {
  return parseConfigFile({ name: file.name, text: readText({ ...file, field: 'config' }), env });
}

/** The text of a file that an option names, or a ConfigError that says why it cannot be read. */
export function readText({
  path,
  name,
  field,
  label,
  place,
}: Where & {
  path: string;
  name: string;
  field: string;
}): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why =
      code === 'ENOENT'
        ? 'does not exist'
        : code === 'EISDIR'
          ? 'is a folder'
          : code === 'EACCES'
            ? 'may not be read by this user'
            : `cannot be read (${code})`;
    throw new ConfigError(field, `the file ${name} ${why}; check the path`, { label, place });
  }
}

/** What the parser says without what it quotes. */
const firstSentence = (message: string): string => message.split(/[\n;]|: /, 1)[0]!.replace(/[.:\s]+$/, '');
