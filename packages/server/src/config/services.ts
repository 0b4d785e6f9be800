// Puts the services together: those of the config file, and over them the targets of the environment and the command line.
import { ConfigError, type Where } from './config-error.ts';
import { type ConfigFile, isFields } from './config-file.ts';
import type { ServiceConfig } from './config-shape.ts';
import { frozenMap } from './frozen-map.ts';
import { optionTable, type OptionValues } from './options.ts';
import { readService } from './service-config.ts';
import { type FieldEntry, readServiceOptions, refuseUnknownService } from './service-options.ts';
import { type ConfigSources, environmentValue, fileOrigin, type OptionsGiven, type Origin } from './sources.ts';
import { readTargets, type TargetEntry } from './targets.ts';

/** What the command line or the environment says about services. */
export interface NamedServices {
  readonly targets: readonly TargetEntry[];
  readonly fields: readonly FieldEntry[];
}

export function namedServices(
  kind: 'flag' | 'environment',
  { env }: ConfigSources,
  options: OptionsGiven,
): NamedServices {
  const given = (name: 'target' | 'pull' | 'key' | 'validFor'): { value: unknown; label: string } => {
    const option = optionTable.find((one) => one.name === name)!;
    return kind === 'flag'
      ? { value: options[option.name], label: option.flag }
      : { value: environmentValue(option, env), label: option.env };
  };
  const [target, pull, key, validFor] = [given('target'), given('pull'), given('key'), given('validFor')];
  return {
    targets: readTargets({
      kind,
      target: target.value,
      targetLabel: target.label,
      pull: pull.value,
      pullLabel: pull.label,
    }),
    fields: readServiceOptions({
      kind,
      key: key.value,
      keyLabel: key.label,
      validFor: validFor.value,
      validForLabel: validFor.label,
    }),
  };
}

/** Every service, checked; adds the origins of their fields to `origins`. */
export function resolveServices({
  values,
  file,
  origins,
  named,
}: {
  values: OptionValues;
  file: ConfigFile | undefined;
  origins: Map<string, Origin>;
  /** The stronger source last. */
  named: readonly NamedServices[];
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
  const replace = (name: string, field: string, value: unknown, { origin, label }: TargetEntry | FieldEntry): void => {
    const before = documents.get(name);
    // Replaced whole: headers meant for one address must not be sent to another.
    documents.set(name, before === undefined || isFields(before) ? { ...before, [field]: value } : before);
    const path = `services.${name}.${field}`;
    for (const noted of origins.keys()) if (noted === path || noted.startsWith(`${path}.`)) origins.delete(noted);
    origins.set(path, origin);
    if (isFields(value)) for (const part of Object.keys(value)) origins.set(`${path}.${part}`, origin);
    labels.set(path, label);
  };
  for (const { targets } of named) for (const entry of targets) replace(entry.name, 'target', entry.target, entry);
  for (const { fields } of named) {
    for (const entry of fields) {
      refuseUnknownService(entry, documents.keys());
      replace(entry.name, entry.field, entry.value, entry);
    }
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
