// Refuses options, variables and fields that do not exist, with the nearest that does, and those that are not built yet.
import { ConfigError } from './config-error.ts';
import type { ConfigFile } from './config-file.ts';
import { didYouMean, nearest } from './nearest.ts';
import { foreignVariables, optionTable, unbuiltOptions } from './options.ts';
import type { ConfigSources, OptionsGiven } from './sources.ts';

export function refuseUnknown(options: OptionsGiven, env: ConfigSources['env']): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || optionTable.some((option) => option.name === name)) continue;
    const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    if (unbuiltOptions.some((option) => option.name === name))
      throw new ConfigError(name, 'not built yet; remove the option', { label: flag });
    throw new ConfigError(
      name,
      `there is no such option${didYouMean(
        flag,
        optionTable.map((option) => option.flag),
      )}`,
      { label: flag },
    );
  }
  // Only near misses: other programs and Kubernetes may use the prefix for variables of their own.
  const known = optionTable.map((option) => option.env.slice('WAITLESS_'.length));
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith('WAITLESS_') || value === '' || value === undefined || foreignVariables.has(name)) continue;
    if (unbuiltOptions.some((option) => option.env === name))
      throw new ConfigError(name, 'not built yet; unset the variable');
    const word = name.slice('WAITLESS_'.length);
    const meant = known.includes(word) ? undefined : nearest(word, known);
    if (meant !== undefined)
      throw new ConfigError(name, `there is no such variable; did you mean "WAITLESS_${meant}"?`);
  }
}

export function refuseUnknownFields(file: ConfigFile): void {
  const known = [...optionTable.flatMap((option) => option.field ?? []), 'services'];
  for (const field of Object.keys(file.fields)) {
    if (known.includes(field)) continue;
    const where = { place: file.place([field]) || undefined };
    if (unbuiltOptions.some((option) => option.name === field))
      throw new ConfigError(field, 'not built yet; remove the field', where);
    if (field === 'target' || field === 'pull')
      throw new ConfigError(
        field,
        'in a file services stand under "services", such as services: { score: { target: { url: "http://127.0.0.1:9001" } } }',
        where,
      );
    if (field === 'key' || field === 'validFor')
      throw new ConfigError(
        field,
        `in a file it is a field of a service, such as services: { score: { ${field}: ${field === 'key' ? '{ body: "/customerId" }' : '24h'} } }`,
        where,
      );
    throw new ConfigError(field, `there is no such field${didYouMean(field, known)}`, where);
  }
}
