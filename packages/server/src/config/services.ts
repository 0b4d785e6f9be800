// Puts the services together: those of the config file, and over them the targets of the environment and the command line.
import { ConfigError, type Where } from './config-error.ts';
import { type ConfigFile, isFields } from './config-file.ts';
import type { ServiceConfig } from './config-shape.ts';
import { frozenMap } from './frozen-map.ts';
import { type Option, optionTable, type OptionValues } from './options.ts';
import { readService } from './service-config.ts';
import { type ConfigSources, environmentValue, fileOrigin, type OptionsGiven, type Origin } from './sources.ts';
import { readTargets, type TargetEntry } from './targets.ts';

/** What the command line or the environment names as services. */
export function targetsOf(kind: 'flag' | 'environment', { env }: ConfigSources, options: OptionsGiven): TargetEntry[] {
  const [target, pull] = (['target', 'pull'] as const).map((name) =>
    optionTable.find((option) => option.name === name)!,
  );
  const given = (option: Option): unknown => (kind === 'flag' ? options[option.name] : environmentValue(option, env));
  const label = (option: Option): string => (kind === 'flag' ? option.flag : option.env);
  return readTargets({
    kind,
    target: given(target!),
    targetLabel: label(target!),
    pull: given(pull!),
    pullLabel: label(pull!),
  });
}

/** Every service, checked; adds the origins of their fields to `origins`. */
export function resolveServices({
  values,
  file,
  origins,
  targets,
}: {
  values: OptionValues;
  file: ConfigFile | undefined;
  origins: Map<string, Origin>;
  targets: readonly TargetEntry[];
}): ReadonlyMap<string, ServiceConfig> {
  const documents = new Map<string, unknown>();
  const labels = new Map<string, string>();
  const listed = file?.fields['services'] ?? {};
  if (!isFields(listed))
    throw new ConfigError(
      'services',
      'it takes names of services with their fields, such as services: { score: { target: { url: "http://127.0.0.1:9001" } } }',
      { place: file?.place(['services']) || undefined },
    );
  for (const [name, document] of Object.entries(listed)) {
    documents.set(name, document);
    noteOrigins(document, ['services', name], file!, origins);
  }
  for (const { name, target, origin, label } of targets) {
    const before = documents.get(name);
    // The file's target is replaced whole: headers meant for one address must not be sent to another.
    documents.set(name, before === undefined || isFields(before) ? { ...before, target } : before);
    const path = `services.${name}.target`;
    for (const noted of origins.keys()) if (noted.startsWith(`${path}.`)) origins.delete(noted);
    for (const field of Object.keys(target)) origins.set(`${path}.${field}`, origin);
    labels.set(path, label);
  }
  const limits = { maxWaitMs: values.maxWait, maxBodyMemoryBytes: values.maxBodyMemory };
  const services = new Map<string, ServiceConfig>();
  for (const [name, document] of documents) {
    const where = (path: readonly (string | number)[]): Where => {
      const label = labels.get(path.slice(0, 3).join('.'));
      return label === undefined ? { place: file?.place(path) || undefined } : { label: `${label} ${name}` };
    };
    services.set(name, readService({ name, document, limits, where }));
  }
  return frozenMap(services);
}

/** Remembers the place of every field of a service document, down to single headers and retry fields. */
function noteOrigins(document: unknown, path: readonly string[], file: ConfigFile, origins: Map<string, Origin>): void {
  if (!isFields(document)) return;
  for (const [field, value] of Object.entries(document)) {
    const at = [...path, field];
    origins.set(at.join('.'), Object.freeze(fileOrigin(file.place(at))));
    noteOrigins(value, at, file, origins);
  }
}
