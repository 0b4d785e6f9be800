// Resolves the configuration once, at start: flags > environment > file > default, each value with its origin, the result frozen.
import { dirname, join, resolve } from 'node:path';
import { isLoopback } from './addresses.ts';
import { ConfigError, WrongValue } from './config-error.ts';
import { readConfigFile } from './config-file.ts';
import type { Config } from './config-shape.ts';
import { readKeyFile } from './key-file.ts';
import { type Option, type OptionName, optionTable, type OptionValues } from './options.ts';
import { frozenMap } from './frozen-map.ts';
import { namedServices, resolveServices } from './services.ts';
import {
  codeDocument,
  type ConfigSources,
  environmentValue,
  fileOrigin,
  findConfigFile,
  type Found,
  whereOf,
  type Origin,
  splitList,
} from './sources.ts';
import { resolveSecretKeyFile } from './secret-key-file.ts';
import { resolveStore, type StoreShown } from './store.ts';
import { refuseUnknown, refuseUnknownFields } from './unknown-names.ts';

export type { ApiKey, Config, KeyOwner, LogLevel, ServiceConfig, ServiceTarget } from './config-shape.ts';
export { isPostgresAddress } from './postgres-address.ts';
export type { ConfigSources, OptionsGiven, Origin } from './sources.ts';
export type { StoreShown } from './store.ts';

export interface ResolvedConfig {
  readonly config: Config;
  /** Every option as resolved, for --print-config. */
  readonly values: Readonly<OptionValues>;
  /** By option name or path, such as `port` or `services.score.retry.maxAttempts`; what is not here is a default. */
  readonly origins: ReadonlyMap<string, Origin>;
  /** Absolute path of the config file that was read. */
  readonly configFile: string | undefined;
  /** Where the data is. */
  readonly store: StoreShown;
  /** Sentences to show at start: allowed, but perhaps not meant. */
  readonly warnings: readonly string[];
}

/**
 * Reads and checks everything. Throws ConfigError for the first thing wrong.
 * Relative paths in the config file start at the file's folder, all others at `cwd`.
 */
export function resolveConfig(sources: ConfigSources): ResolvedConfig {
  const options = sources.options ?? {};
  refuseUnknown(options, sources.env);
  const configFile = findConfigFile(options, sources);
  const file = sources.document
    ? codeDocument(sources.document)
    : configFile && readConfigFile({ ...configFile, env: sources.env });
  if (file !== undefined) refuseUnknownFields(file);

  const find = (option: Option): Found | undefined => {
    const flag = options[option.name];
    if (flag !== undefined)
      return {
        value: flag,
        origin: { kind: 'flag', text: `flag ${option.flag}` },
        label: option.flag,
        folder: sources.cwd,
      };
    const variable = environmentValue(option, sources.env);
    if (variable !== undefined) {
      const value = option.list && option.argument?.startsWith('NAME=') !== true ? splitList(variable) : variable;
      return {
        value,
        origin: { kind: 'environment', text: `environment ${option.env}` },
        label: option.env,
        folder: sources.cwd,
      };
    }
    const { field } = option;
    if (file === undefined || field === undefined || !Object.hasOwn(file.fields, field)) return undefined;
    const place = (index?: number): string => file.place(index === undefined ? [field] : [field, index]);
    return {
      value: file.fields[field],
      origin: fileOrigin(place()),
      place,
      folder: configFile ? dirname(configFile.path) : sources.cwd,
    };
  };

  const found = new Map<OptionName, Found>();
  const origins = new Map<string, Origin>();
  const resolved: Partial<Record<OptionName, unknown>> = {};
  for (const option of optionTable) {
    const given = find(option);
    if (given !== undefined) {
      found.set(option.name, given);
      origins.set(option.name, Object.freeze(given.origin));
    }
    resolved[option.name] = given ? readOption(option, given) : defaultOf(option);
  }
  const values = Object.freeze(resolved as unknown as OptionValues);

  const keyFile = found.get('apiKeyFile');
  const keys =
    values.apiKeyFile === undefined
      ? undefined
      : readKeyFile({
          path: resolve(keyFile!.folder, values.apiKeyFile),
          name: values.apiKeyFile,
          label: keyFile!.label,
        });
  if (keys === undefined && !isLoopback(values.host)) {
    throw new ConfigError(
      'host',
      `${values.host} can be reached from other machines, which needs API keys; make one with \`waitless keys new --append FILE\` and add --api-key-file FILE, or listen on 127.0.0.1`,
      whereOf(found.get('host')),
    );
  }

  const services = resolveServices({
    values,
    file,
    origins,
    named: [namedServices('environment', sources, options), namedServices('flag', sources, options)],
  });
  const store = resolveStore({ values, found, cwd: sources.cwd });
  const config: Config = Object.freeze({
    host: values.host,
    port: values.port,
    data: store.data,
    backupFolder:
      store.shown.kind === 'folder'
        ? resolve(found.get('backupFolder')?.folder ?? sources.cwd, values.backupFolder ?? join(store.data, 'backups'))
        : undefined,
    secretKeyFile: resolveSecretKeyFile({
      given: values.secretKeyFile,
      found: found.get('secretKeyFile'),
      store,
      sources,
    }),
    acceptWeakDurability: values.iAcceptWeakDurability,
    services,
    keys,
    publicUrl: values.publicUrl,
    backendUrl: values.backendUrl,
    allowNetwork: values.allowNetwork,
    corsOrigins: values.corsOrigin,
    trustProxy: values.trustProxy,
    maxBodyMemoryBytes: values.maxBodyMemory,
    maxWaitMs: values.maxWait,
    maxWaiters: values.maxWaiters,
    maxWaitersPerNamespace: values.maxWaitersPerNamespace,
    eventRetentionMs: values.eventRetention,
    eventMaxBytes: values.eventMaxBytes,
    shutdownTimeoutMs: values.shutdownTimeout,
    logLevel: values.logLevel,
  });
  return Object.freeze({
    config,
    values,
    origins: frozenMap(origins),
    configFile: configFile?.path,
    store: Object.freeze(store.shown),
    warnings: Object.freeze([
      ...store.warnings,
      ...(values.backupFolder !== undefined && config.backupFolder === undefined
        ? ['--backup-folder does nothing here: only a store in a folder is backed up by the server itself.']
        : []),
      ...(values.secretKeyFile !== undefined && store.shown.kind === 'memory'
        ? ['--secret-key-file does nothing here: secrets of a store in memory are gone with it.']
        : []),
      ...warningsOf(config),
    ]),
  });
}

function readOption(option: Option, given: Found): unknown {
  const read = (value: unknown, index?: number): unknown => {
    try {
      return option.read(value);
    } catch (error) {
      if (error instanceof WrongValue) throw new ConfigError(option.name, error.message, whereOf(given, index));
      throw error;
    }
  };
  if (!option.list) return read(given.value);
  return Object.freeze(
    Array.isArray(given.value) ? given.value.map((value, index) => read(value, index)) : [read(given.value)],
  );
}

function defaultOf(option: Option): unknown {
  if (option.list) return Object.freeze([]);
  return option.default === undefined ? undefined : option.read(option.default);
}

function warningsOf(config: Config): string[] {
  const { publicUrl, keys } = config;
  if (keys !== undefined || publicUrl === undefined || isLoopback(new URL(publicUrl).hostname.replace(/^\[|\]$/g, '')))
    return [];
  return [
    `There is no API key, so whoever reaches ${publicUrl} can start, read and cancel operations; add --api-key-file FILE.`,
  ];
}
