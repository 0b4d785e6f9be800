// Where the key lies that secrets of the store are sealed with: never in the data, which is copied and backed up.
import { isAbsolute, join, relative, resolve } from 'node:path';
import { ConfigError } from './config-error.ts';
import { type ConfigSources, type Found, whereOf } from './sources.ts';
import type { StoreChoice } from './store.ts';

interface Given {
  given: string | undefined;
  found: Found | undefined;
  store: Pick<StoreChoice, 'data' | 'shown'>;
  sources: Pick<ConfigSources, 'env' | 'cwd'>;
}

/** The path that was given, else the usual one where there is a home; undefined: there is none, and what needs the key says so. */
export function resolveSecretKeyFile({ given, found, store, sources }: Given): string | undefined {
  const { kind } = store.shown;
  if (kind === 'memory') return undefined;
  const inData = (path: string): boolean => kind === 'folder' && isInside(path, store.data);
  if (given === undefined) {
    const usual = usualPlace(sources.env);
    return usual === undefined || inData(usual) ? undefined : usual;
  }
  const path = resolve(found?.folder ?? sources.cwd, given);
  if (inData(path))
    throw new ConfigError(
      'secretKeyFile',
      'it lies in the data folder, so every copy of that would hold the key as well; name a file elsewhere',
      whereOf(found),
    );
  return path;
}

/** As the XDG Base Directory Specification has it. A home that is the root folder is that of a user without one, as in many containers. */
function usualPlace({ XDG_CONFIG_HOME: config = '', HOME: home = '' }: ConfigSources['env']): string | undefined {
  if (isAbsolute(config)) return join(config, 'waitless', 'secret.key');
  return isAbsolute(home) && resolve(home) !== '/' ? join(home, '.config', 'waitless', 'secret.key') : undefined;
}

function isInside(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return way === '' || !(/^\.\.(?:[/\\]|$)/.test(way) || isAbsolute(way));
}
