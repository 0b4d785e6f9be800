// Where values come from: the command line, the environment, the config file, or code; and how each place is called in messages.
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Where } from './config-error.ts';
import type { ConfigFile } from './config-file.ts';
import type { Option } from './options.ts';

/** The parsed command line by option name (`{ port: '0', target: ['score=http://…'] }`); undefined means not given. */
export type OptionsGiven = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

export interface ConfigSources {
  readonly options?: OptionsGiven;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Absolute path of the working folder; relative paths of flags and variables start here. */
  readonly cwd: string;
  /** A config document given by code. Then no file is read. */
  readonly document?: Readonly<Record<string, unknown>>;
}

/** Where a value came from. */
export interface Origin {
  readonly kind: 'flag' | 'environment' | 'file' | 'code' | 'default';
  /** `flag --port`, `environment WAITLESS_PORT`, `waitless.yaml line 3`, `default`. */
  readonly text: string;
}

export interface Found {
  readonly value: unknown;
  readonly origin: Origin;
  readonly label?: string;
  readonly place?: (index?: number) => string;
  /** Folder that a relative path starts from. */
  readonly folder: string;
}

export const defaultOrigin: Origin = Object.freeze({ kind: 'default', text: 'default' });

/** How a message calls the place a value came from. */
export const whereOf = (given: Found | undefined, index?: number): Where => ({
  label: given?.label,
  place: given?.place?.(index) || undefined,
});

export const fileOrigin = (place: string): Origin =>
  place === '' ? { kind: 'code', text: 'given by code' } : { kind: 'file', text: place };

export const codeDocument = (fields: Readonly<Record<string, unknown>>): ConfigFile => ({
  name: '',
  fields,
  place: () => '',
});

export const splitList = (text: string): string[] =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');

/** An empty variable counts as not set, as compose files leave them; so does the address that Kubernetes puts there for a service named "waitless". */
export function environmentValue(option: Option, env: ConfigSources['env']): string | undefined {
  const value = env[option.env];
  if (value === undefined || value === '') return undefined;
  return option.name === 'port' && /^(?:tcp|udp|sctp):\/\//.test(value) ? undefined : value;
}

export function findConfigFile(
  options: OptionsGiven,
  { env, cwd, document }: ConfigSources,
): { path: string; name: string; label?: string } | undefined {
  if (document !== undefined) return undefined;
  const flag = options['config'];
  const named = flag ?? (env['WAITLESS_CONFIG'] || undefined);
  if (named !== undefined) {
    return {
      path: resolve(cwd, String(named)),
      name: String(named),
      label: flag === undefined ? 'WAITLESS_CONFIG' : '--config',
    };
  }
  const usual = resolve(cwd, 'waitless.yaml');
  return existsSync(usual) ? { path: usual, name: 'waitless.yaml' } : undefined;
}
