// What --print-config shows: every value as YAML that works as a config file, with its origin as the comment of its line.
import { formatDuration } from '@waitless/protocol';
import { yaml } from './yaml.ts';
import type { ResolvedConfig } from './config.ts';
import type { ServiceConfig } from './config-shape.ts';
import { keyField, sharingMethods } from './key-rule.ts';
import { type OptionName, optionTable } from './options.ts';
import { formatRate } from './rate.ts';
import { mask } from './secrets.ts';
import { defaultOrigin } from './sources.ts';
import { formatSize } from './values.ts';

export interface ConfigEntry {
  /** `port`, `services.score.target.url` as steps. */
  readonly path: readonly string[];
  /** As a person would write it; undefined: not set. Secrets are `***`. */
  readonly value:
    | string
    | number
    | boolean
    | readonly (string | Readonly<Record<string, string | number>>)[]
    | undefined;
  /** Where it came from. */
  readonly origin: string;
}

/** A URL without what may be secret in it. None with a password passes the checks, and this does not rely on that. */
function withoutPassword(text: string): string {
  if (!URL.canParse(text)) return text;
  const url = new URL(text);
  if (url.username === '' && url.password === '') return text;
  url.username = '';
  url.password = '';
  return url.href.replace('://', `://${mask}@`);
}

/** Services stand under `services`, the others never change a running server. */
const elsewhere: ReadonlySet<OptionName> = new Set(['target', 'pull', 'key', 'validFor', 'config', 'printConfig']);
const durations: ReadonlySet<OptionName> = new Set(['maxWait', 'eventRetention', 'shutdownTimeout']);
const sizes: ReadonlySet<OptionName> = new Set(['maxBodyMemory', 'eventMaxBytes']);

/** The `key` field as it is written: one place with the methods it is for, or the list of its parts. */
function keyValues({ key, keyMethods }: ServiceConfig): [path: readonly string[], value: ConfigEntry['value']][] {
  const [first, ...more] = key.map(keyField);
  if (first === undefined) return [[['key'], undefined]];
  if (more.length > 0) return [[['key'], [first, ...more]]];
  const methods =
    keyMethods.length === sharingMethods.length
      ? []
      : [[['key', 'methods'], keyMethods] as [string[], readonly string[]]];
  return [
    ...Object.entries(first).map(([place, value]): [string[], string | number] => [['key', place], value]),
    ...methods,
  ];
}

/** As many as there are, and none of them. */
const shownSecrets = (secrets: readonly string[]): string | string[] =>
  secrets.length === 1 ? mask : secrets.map(() => mask);

export function serviceValues(service: ServiceConfig): [path: readonly string[], value: ConfigEntry['value']][] {
  const { target, retry } = service;
  const targetValues: [readonly string[], ConfigEntry['value']][] =
    target.kind === 'pull'
      ? [[['target', 'pull'], true]]
      : [
          [['target', 'url'], withoutPassword(target.url)],
          ...Object.keys(target.headers).map((name): [string[], string] => [['target', 'headers', name], mask]),
          ...(target.secrets
            ? [[['target', 'secret'], shownSecrets(target.secrets)] as [string[], ConfigEntry['value']]]
            : []),
        ];
  return [
    ...targetValues,
    [['mode'], service.mode],
    [['syncWait'], formatDuration(service.syncWaitMs)],
    [['forward'], service.forward],
    [['retryFailed'], service.retryFailed],
    [['idempotencyTtl'], formatDuration(service.idempotencyTtlMs)],
    [['timeout'], formatDuration(service.timeoutMs)],
    [['attemptTimeout'], formatDuration(service.attemptTimeoutMs)],
    [['replyTimeout'], formatDuration(service.replyTimeoutMs)],
    [['lease'], formatDuration(service.leaseMs)],
    [['retry', 'maxAttempts'], retry.maxAttempts],
    [['retry', 'initialDelay'], formatDuration(retry.initialDelayMs)],
    [['retry', 'maxDelay'], formatDuration(retry.maxDelayMs)],
    ...(Number.isFinite(service.concurrency) ? [[['concurrency'], service.concurrency] as [string[], number]] : []),
    [['maxBody'], formatSize(service.maxBodyBytes)],
    [['retention'], formatDuration(service.retentionMs)],
    ...keyValues(service),
    [['validFor'], service.validForMs === undefined ? undefined : formatDuration(service.validForMs)],
    [['staleWhileRevalidate'], formatDuration(service.staleMs)],
    [['poll'], service.poll],
    [['rate'], service.rate && formatRate(service.rate)],
    [['maxQueued'], service.maxQueued],
    [['publishTransitions'], service.publishTransitions],
    [['priority'], service.priority],
  ];
}

/** Every value with its origin: the options in the order of the table, then the services. */
export function configEntries({ config, values, origins, store }: ResolvedConfig): ConfigEntry[] {
  const originOf = (path: string): string => (origins.get(path) ?? defaultOrigin).text;
  const entries: ConfigEntry[] = [];
  for (const { name } of optionTable) {
    if (elsewhere.has(name)) continue;
    let value = values[name] as ConfigEntry['value'];
    if (name === 'data') value = store.data;
    else if (durations.has(name)) value = formatDuration(value as number);
    else if (sizes.has(name) && value !== undefined) value = formatSize(value as number);
    else if (typeof value === 'string') value = withoutPassword(value);
    const keys =
      name === 'apiKeyFile' && config.keys
        ? `; ${config.keys.length} ${config.keys.length === 1 ? 'key' : 'keys'}: ${config.keys.map((key) => `${key.name} (${key.namespace})`).join(', ')}`
        : '';
    entries.push({ path: [name], value, origin: originOf(name) + keys });
  }
  for (const [name, service] of config.services) {
    for (const [path, value] of serviceValues(service)) {
      const full = ['services', name, ...path];
      entries.push({ path: full, value, origin: originOf(full.join('.')) });
    }
  }
  return entries;
}

const scalar = (value: unknown): string =>
  yaml().stringify(value, { lineWidth: 0, defaultStringType: 'PLAIN' }).trimEnd();

/** The text of --print-config: YAML, one value a line, `# origin` behind it. Secrets are masked, key hashes never shown. */
export function describeConfig(resolved: ResolvedConfig): string {
  const rows: { text: string; comment: string }[] = [];
  let open: readonly string[] = [];
  for (const { path, value, origin } of configEntries(resolved)) {
    const parents = path.slice(0, -1);
    let depth = 0;
    while (depth < parents.length && parents[depth] === open[depth]) depth++;
    for (; depth < parents.length; depth++)
      rows.push({ text: `${'  '.repeat(depth)}${scalar(parents[depth])}:`, comment: '' });
    open = parents;
    const indent = '  '.repeat(parents.length);
    if (value === undefined) {
      // A field that is not set stays a comment, so that the output can be read back.
      rows.push({ text: `${indent}# ${path.at(-1)}:`, comment: 'not set' });
    } else {
      const written = Array.isArray(value)
        ? `[${value.map((item) => JSON.stringify(item)).join(', ')}]`
        : scalar(value);
      rows.push({ text: `${indent}${scalar(path.at(-1))}: ${written}`, comment: origin });
    }
  }
  const width = Math.min(60, Math.max(...rows.filter(({ comment }) => comment !== '').map(({ text }) => text.length)));
  const file = resolved.configFile === undefined ? 'no config file' : `config file ${resolved.configFile}`;
  return (
    [
      `# ${file}`,
      ...rows.map(({ text, comment }) => (comment === '' ? text : `${text.padEnd(width)}  # ${comment}`)),
    ].join('\n') + '\n'
  );
}
